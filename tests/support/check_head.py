#!/usr/bin/python3
"""cav.h5, selection.h5, cbm.h5 and metrics.json of a run against their definitions, computed again with numpy.
Usage: check_head.py DIR [CBM]: cbm.h5 of the same run without its residual head"""
import json
import sys

import h5py
import numpy as np

d = sys.argv[1]
emb, sae, cav, sel, codes, cbm = (h5py.File(f"{d}/{n}.h5") for n in
                                  ("embeddings", "sae", "cav", "selection", "codes", "cbm"))
wrong = []


def check(ok, what):
    if not ok:
        wrong.append(what)


# Vectors: unit rows; the most activating training images lie on the positive side more than the silent ones.
w, neuron, split = cav["cav"][()].astype("f8"), cav["neuron"][()], emb["split"][()]
x = emb["features"][()].astype("f8")
check(np.abs(np.linalg.norm(w, axis=1) - 1).max() < 1e-6, "unit rows")
check((np.diff(neuron) > 0).all(), "neurons rise")
n, k = len(x), sae["decoder"].shape[0]
dense = np.zeros((n, k))
indptr = sae["codes/indptr"][()]
rows = np.repeat(np.arange(n), np.diff(indptr))
dense[rows, sae["codes/index"][()]] = sae["codes/value"][()]
train = dense[split == 0]
apart = []
for a, i in enumerate(neuron):
    z = x[split == 0] @ w[a] + cav["bias"][a]
    apart.append(z[np.argsort(-train[:, i], kind="stable")[:8]].mean() - z[train[:, i] == 0].mean())
    check((train[:, i] > 0).sum() >= 8 and (train[:, i] == 0).sum() >= 8, f"examples of neuron {i}")
check((np.array(apart) > 0).all(), "activating images lie on the positive side")
enough = ((train > 0).sum(0) >= 8) & ((train == 0).sum(0) >= 8)
check(len(neuron) + cav.attrs["left_out_no_direction"] == enough.sum(), "every neuron with examples has a vector")
check(((cav["pvalue"][()] > 0) & (cav["pvalue"][()] <= 1)).all(), "p-values")

# Selection: each pick has the largest gain there is, and the gain it says.
s = (w @ w.T) ** 2
best = np.zeros(len(s))
index, gain = sel["index"][()], sel["gain"][()]
for m, i in enumerate(index):
    gains = np.maximum(s - best, 0).sum(1)
    gains[index[:m]] = -1
    check(gains[i] >= gains.max() - 1e-4, f"pick {m}")
    check(abs(gains[i] - gain[m]) < 1e-4, f"gain {m}")
    best = np.maximum(best, s[i])

# Head: logits from codes, prediction from logits.
atoms, atom, value = w[index], codes["atom"][()], codes["value"][()].astype("f8")
coef = np.zeros((n, len(index)))
used = atom >= 0
np.add.at(coef, (np.nonzero(used)[0], atom[used]), value[used])
logits = cbm["logits"][()]
residual = cbm["residual_logits"][()] if "residual_logits" in cbm else np.zeros_like(logits)
concepts = logits - residual
weights = cbm["concept_weight"][()].astype("f8")
if "weight" in cbm:
    full = cbm["weight"][()].astype("f8")
    check(np.abs(weights - full @ atoms.T).max() < 1e-5 * np.abs(weights).max(), "concept weights")
    rest = np.outer(codes["intercept"][()], full.sum(1))
else:
    rest = 0
gap = np.abs(coef @ weights.T + rest + cbm["bias"][()] - concepts).max()
check(gap < 1e-4 * max(1, np.abs(logits).max()), f"logits from codes: off by {gap}")
prediction = cbm["prediction"][()]
check((prediction == (logits.argmax(1) if prediction.ndim == 1 else logits > 0)).all(), "predictions")

# Metrics: accuracy, and intervals around it.
m = json.load(open(f"{d}/metrics.json"))
hybrid = "residual_logits" in cbm
probe = emb["features"][()].astype("f8") @ cbm["probe_weight"][()].astype("f8").T + cbm["probe_bias"][()]
# What retention is of: the network's own head, or the probe where representations came without one.
own = "logits" in emb
whole = ("backbone", emb["logits"][()]) if own else ("probe", probe)
models = [("cbm", concepts), whole] + [("probe", probe)] * own + [("hybrid", logits)] * hybrid
wanted = [whole[0], "cbm", "majority"] + ["probe"] * own + ["random_concepts"] + ["hybrid"] * hybrid
wanted += ["retention", "calibration", "head", "sae"]
wanted += ["sparse"] * ("sparse" in cbm) + ["residual"] * hybrid
check(list(m) == wanted, "models in metrics.json")
with h5py.File(f"{d}/sae.h5") as f:
    told = {"neurons": f["decoder"].shape[0], "fvu": f.attrs["fvu_val"], "l0": f.attrs["l0_val"], "dead": f.attrs["dead"]}
    check(all(m["sae"][k] == v for k, v in told.items()), "the autoencoder's figures in metrics.json")
for name, number in (("val", 1), ("test", 2)):
    here = split == number
    for model, z in models:
        v = m[model][name]
        if "label" in emb:
            accuracy = (z[here].argmax(1) == emb["label"][()][here]).mean()
        else:
            y = emb["labels"][()][here]
            accuracy = ((z[here] > 0) == y)[y >= 0].mean()
        check(v["n"] == here.sum() and abs(v["accuracy"] - accuracy) < 1e-12, f"accuracy of {model} on {name}")
        for key in ("accuracy", "balanced_accuracy", "auroc", "auprc", "f1"):
            low, high = v[key + "_interval"]
            check(low <= v[key] <= high or high - low < 0.2, f"interval of {key}, {model} on {name}")
        check(len(v["auroc_per_class"]) == len(v["auprc_per_class"]) == z.shape[1], "one value per class")
    ratio = m["cbm"][name]["auroc"] / m[whole[0]][name]["auroc"]
    check(m["retention"]["of"] == whole[0], "what retention is of")
    check(abs(m["retention"][name]["auroc"] - ratio) < 1e-12, "retention")

# Calibration: the temperature has the least log loss around it; bins hold every image.
def log_loss(z, here, t):
    if "label" in emb:
        z = z[here].astype("f8") / t
        return (np.logaddexp.reduce(z, 1) - z[np.arange(len(z)), emb["label"][()][here]]).mean()
    y = emb["labels"][()][here]
    return (np.logaddexp(0, z[here].astype("f8") / t) - z[here].astype("f8") / t * (y == 1))[y >= 0].mean()


for model, z in [("cbm", concepts), whole] + [("hybrid", logits)] * hybrid:
    c = m["calibration"][model]
    t = c["temperature"]
    at = [log_loss(z, split == 1, t * f) for f in (0.98, 1, 1.02)]
    check(at[1] <= min(at) or not 1e-2 < t < 1e2, f"temperature of {model}")
    for name, number in (("val", 1), ("test", 2)):
        check(abs(c[name]["before"]["ece"] - m[model][name]["ece"]) < 1e-9, f"error of {model} before")
        check(abs(c[name]["after"]["log_loss"] - log_loss(z, split == number, t)) < 1e-9, f"log loss of {model} after")
model = "hybrid" if hybrid else "cbm"
check(cbm.attrs["temperature"] == m["calibration"][model]["temperature"], "temperature in cbm.h5")

# The residual head: its logits from what the codes leave, the concept part as without it, the share it carries.
if hybrid:
    with h5py.File(sys.argv[2]) as plain:
        for name in ("weight", "bias", "concept_weight"):
            check((plain[name][()] == cbm[name][()]).all(), f"{name} as without the residual")
        check(np.abs(plain["logits"][()] - concepts).max() < 1e-5 * max(1, np.abs(logits).max()), "concepts' logits stay")
    left = x - coef @ atoms - codes["intercept"][()].astype("f8")[:, None]
    gap = np.abs(left @ cbm["residual_weight"][()].astype("f8").T + cbm["residual_bias"][()] - residual).max()
    check(gap < 1e-4 * max(1, np.abs(residual).max()), f"residual logits from weights: off by {gap}")
    check(np.abs(residual).max() > 0, "a residual that does something")

    def size(z, here):
        z = z.astype("f8") - z[split == 0].astype("f8").mean(0)
        z = z - z.mean(1, keepdims=True) if "label" in emb else z
        return np.abs(z[here]).mean()

    for name, number in (("val", 1), ("test", 2)):
        here, v = split == number, m["residual"][name]
        a, b = size(concepts, here), size(residual, here)
        check(abs(v["share"] - b / (a + b)) < 1e-5 and abs(v["mean_absolute_residual"] - b) < 1e-5 * (1 + b), "share")
        same = (logits[here].argmax(1) == concepts[here].argmax(1)) if "label" in emb else \
            ((logits[here] > 0) == (concepts[here] > 0)).all(1)
        check(abs(v["changed"] - 1 + same.mean()) < 1e-9, "answers changed")
        key = "accuracy" if "label" in emb else "auroc"
        check(v["with"] == m["hybrid"][name][key] and v["without"] == m["cbm"][name][key], "scores with and without")
    check(m["residual"]["val"]["with"] >= m["residual"]["val"]["without"] - 0.02, "not worse on validation")

# Sparse heads: as many weights as they say, and the score that is reported.
classes = logits.shape[1]
if "sparse" in m:
    check((np.diff(cbm["sparse/nec"][()]) > 0).all() and (np.diff(cbm["path/lambda"][()]) < 0).all(), "levels and path")
    reached = m["sparse"]["cbm"]["nec"]
    for level, wanted in enumerate(m["sparse"]["levels"]):
        at = list(cbm["sparse/nec"][()]).index(wanted)
        w = cbm["sparse/weight"][at].astype("f8")
        check(abs(np.count_nonzero(w) / classes - reached[level]) < 1e-9 and reached[level] <= wanted, f"NEC {wanted}")
        z = coef @ w.T + cbm["sparse/bias"][at]
        if "label" in emb:
            for name, number in (("val", 1), ("test", 2)):
                here = split == number
                accuracy = (z[here].argmax(1) == emb["label"][()][here]).mean()
                check(abs(m["sparse"]["cbm"][name]["values"][level] - accuracy) < 1e-12, f"accuracy at NEC {wanted}")
    v = m["sparse"]["cbm"]["test"]
    check(v["at_5"] == v["values"][0] and abs(v["average"] - np.mean(v["values"])) < 1e-12, "at 5 and average")
if cbm.attrs["head"] in (b"sparse", "sparse"):
    check(np.count_nonzero(weights) <= 4 * classes and (weights != 0).any(), "weights of the sparse head")
sys.exit("wrong: " + ", ".join(wrong) if wrong else 0)
