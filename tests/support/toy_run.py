#!/usr/bin/python3
"""A small synthetic run directory with every input of `cfn name` and `cfn explain`, in the dataset names and types of
the file contract. Numbers hang together: regions of an image decide its pixels, its label and its representation;
neurons follow regions; codes and head give logits that can be recomputed.

    toy_run.py RESULT_DIR [--data toy] [--rows 240] [--multi] [--colour] [--plain]

Writes RESULT_DIR/<data>/corpus.h5 and RESULT_DIR/<data>/resnet18/1/*. --multi: several findings per image with
uncertain and blank ones. --plain: no attributes, no metrics, no history, no audit."""
import argparse
import json
import os

import h5py
import numpy as np

p = argparse.ArgumentParser()
p.add_argument("result_dir")
p.add_argument("--data", default="toy")
p.add_argument("--rows", type=int, default=240)
p.add_argument("--multi", action="store_true")
p.add_argument("--colour", action="store_true")
p.add_argument("--plain", action="store_true")
a = p.parse_args()
rng = np.random.default_rng(7)
N, D, K, M, S, H = a.rows, 24, 96, 40, 9, 48
CLASSES = ["frontal", "deep_grey", "limbic <b>&", "cerebellum"]   # one name that must be escaped
C, T = len(CLASSES), 12

# Regions: a share of each in every image, one of them dominant.
truth = rng.integers(0, C, N)
share = rng.dirichlet(np.full(C, 0.5), N)
share[np.arange(N), truth] += 1.2
share /= share.sum(1, keepdims=True)
truth = share.argmax(1)
split = np.where(np.arange(N) % 10 < 6, 0, np.where(np.arange(N) % 10 < 8, 1, 2)).astype(np.uint8)

# Pixels: one blob per region, its brightness the share.
y, x = np.mgrid[0:H, 0:H] / H
image = np.zeros((N, H, H))
for c in range(C):
    cy, cx = 0.5 + 0.28 * np.sin(c * 2 * np.pi / C), 0.5 + 0.28 * np.cos(c * 2 * np.pi / C)
    blob = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 0.012)
    image += share[:, c, None, None] * blob[None]
image = np.clip(255 * image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
channels = 3 if a.colour else 1
pixels = np.repeat(image[..., None], channels, 3)
if a.colour:
    pixels[..., 1] = 255 - pixels[..., 1]

# Representation, head of the network.
mix = rng.normal(0, 1, (C, D))
features = share @ mix + rng.normal(0, 0.08, (N, D))
head = np.linalg.lstsq(np.c_[features, np.ones(N)], 8 * (np.arange(C)[None] == truth[:, None]) - 4, rcond=None)[0]
logits = np.c_[features, np.ones(N)] @ head

# Neurons: a third follow a region, a third are noise that fires now and then, the rest never fire.
act = np.zeros((N, K))
for k in range(K):
    if k % 3 == 0:
        act[:, k] = np.maximum(0, share[:, (k // 3) % C] - 0.3 + rng.normal(0, 0.05 + 0.004 * k, N))
    elif k % 3 == 1:
        act[:, k] = np.maximum(0, rng.normal(-0.8, 1, N)) * (rng.random(N) < 0.5)
act = act.astype(np.float32)
train = split == 0
alive = np.flatnonzero((act[train] > 0).any(0))
act[:, np.setdiff1d(np.arange(K), alive)] = 0
indptr = np.r_[0, np.cumsum((act > 0).sum(1))].astype(np.int64)
index = np.concatenate([np.flatnonzero(act[i]) for i in range(N)]).astype(np.int32)
top_index, top_value = np.full((K, T), -1, np.int64), np.zeros((K, T), np.float32)
rows = np.flatnonzero(train)
for k in alive:
    order = sorted((i for i in rows if act[i, k] > 0), key=lambda i: (-act[i, k], i))[:T]
    top_index[k, :len(order)], top_value[k, :len(order)] = order, act[order, k]

# Concept vectors, selection, codes, concept model.
cav = rng.normal(0, 1, (len(alive), D))
for j, k in enumerate(alive):
    if k % 3 == 0:
        cav[j] = mix[(k // 3) % C] + rng.normal(0, 0.3, D)
cav = (cav / np.linalg.norm(cav, axis=1, keepdims=True)).astype(np.float32)
chosen = rng.permutation(len(alive))[:M].astype(np.int64)
atoms = cav[chosen].astype(np.float64)
atom, value = np.full((N, S), -1, np.int32), np.zeros((N, S), np.float32)
rebuilt = np.zeros((N, D))
for i in range(N):
    n = S if i % 11 else S - 3                       # some rows use fewer
    residual, used = features[i].copy(), []
    for _ in range(n):
        used.append(int(np.argmax([-1 if m in used else abs(residual @ atoms[m]) for m in range(M)])))
        w = np.linalg.lstsq(atoms[used].T, features[i], rcond=None)[0]
        residual = features[i] - w @ atoms[used]
    atom[i, :n], value[i, :n] = used, w
    rebuilt[i] = value[i, :n].astype(np.float64) @ atoms[used]
fit = np.linalg.lstsq(np.c_[rebuilt, np.ones(N)], 8 * (np.arange(C)[None] == truth[:, None]) - 4, rcond=None)[0]
weight, bias = fit[:D].T, fit[D]
bottleneck = (rebuilt @ weight.T + bias + rng.normal(0, 0.5, (N, C))).astype(np.float32)
concept_weight = (weight @ atoms.T).astype(np.float32)


def write(path, sets, attrs=()):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with h5py.File(path, "w") as f:
        for name, data in sets.items():
            d = f.create_dataset(name, data=data)
            d.attrs["description"], d.attrs["unit"], d.attrs["dims"] = name, "1", ",".join("d" * np.ndim(data))
        for name, v in attrs:
            f.attrs[name] = v
        f.create_group("run")


names = np.array(CLASSES, dtype=h5py.string_dtype())
if a.multi:
    labels = np.where(share > 0.25, 1, 0).astype(np.int8)
    labels[::17, 0], labels[::13, 1] = -1, -2
    label = {"/labels": labels}
else:
    label = {"/label": truth.astype(np.int32)}
corpus = {"/images": pixels, "/split": split, "/id": np.array([f"img{i:05d}" for i in range(N)], "S8"), **label}
if not a.plain:
    for c, n in enumerate(("frontal", "deep_grey", "limbic", "cerebellum")):
        corpus["/attributes/frac_" + n] = share[:, c].astype(np.float32)
    age = rng.normal(60, 12, N).astype(np.float32)
    age[::9] = np.nan
    corpus["/attributes/patient_age"] = age
base = os.path.join(a.result_dir, a.data)
write(base + "/corpus.h5", corpus, [("class_names", names), ("data", a.data)])
run = base + "/resnet18/1/"
f32 = np.float32
write(run + "embeddings.h5", {"/features": features.astype(f32), "/logits": logits.astype(f32), "/split": split, **label},
      [("class_names", names)])
# The autoencoder was the third of four trainings; one blew up, one is outside the limits.
sweep = {} if a.plain else {
    "/sweep/settings": np.array(["neurons=48 k=4", "neurons=48 k=8", "neurons=96 k=8", "neurons=96 k=8 lr=9"], "S24"),
    "/sweep/neurons": np.array([48, 48, 96, 96]), "/sweep/within": np.array([1, 0, 1, 0], "u1"),
    "/sweep/fvu": np.array([0.3, 0.2, 0.15, np.nan]), "/sweep/l0": np.array([4.1, 8.2, 8.0, np.nan]),
    "/sweep/dead": np.array([0.01, 0.4, 0.02, np.nan]), "/sweep/dense": np.array([0.1, 0.1, 0.2, np.nan])}
chosen_sae = [] if a.plain else [("sweep_chosen", 2), ("sweep_rule", "fvu"), ("sweep_why", "of smallest FVU")]
write(run + "sae.h5", {
    "/encoder": np.zeros((K, D), f32), "/encoder_bias": np.zeros(K, f32), "/decoder": np.zeros((K, D), f32),
    "/bias": np.zeros(D, f32), "/fire_rate": (act[train] > 0).mean(0).astype(f32),
    "/mean_activation": act[train].mean(0).astype(f32), "/codes/indptr": indptr, "/codes/index": index,
    "/codes/value": act[act > 0].astype(f32), "/top/index": top_index, "/top/value": top_value, **sweep},
      [("variant", "batchtopk"), ("evaluated_on", "val"), *chosen_sae])
write(run + "cav.h5", {"/cav": cav, "/bias": np.zeros(len(alive), f32), "/neuron": alive.astype(np.int32),
                       "/accuracy": np.full(len(alive), 0.9, f32), "/pvalue": np.full(len(alive), 0.01, f32)})
write(run + "selection.h5", {"/index": chosen, "/gain": np.linspace(5, 1, M)})
write(run + "codes.h5", {"/atom": atom, "/value": value, "/intercept": np.zeros(N, f32),
                         "/residual_norm": np.linalg.norm(features - rebuilt, axis=1).astype(f32)})
prediction = (bottleneck > 0).astype(np.int8) if a.multi else bottleneck.argmax(1).astype(np.int32)
write(run + "cbm.h5", {"/weight": weight.astype(f32), "/bias": bias.astype(f32), "/concept_weight": concept_weight,
                       "/logits": bottleneck, "/prediction": prediction})
history = {} if a.plain else {"/history/loss": np.exp(-np.arange(12) / 4.0), "/history/val_accuracy": 1 - 0.6 * np.exp(-np.arange(12) / 3.0)}
write(run + "backbone.h5", {"/parameters/fc.weight": head[:D].T.astype(f32), **history},
      [("backbone", "resnet18"), ("classes", C)])
if not a.plain:
    def model(v):
        values = {"accuracy": v, "balanced_accuracy": v - 0.01, "f1": v - 0.012, "auroc": min(0.999, v + 0.1), "auprc": v - 0.03}
        spread = {n + "_interval": [x - 0.04, min(1, x + 0.04)] for n, x in values.items()}
        return {s: {"n": int((split == k).sum()), **values, **spread} for s, k in (("val", 1), ("test", 2))}

    kept = {n: (0.847 + d) / (0.862 + d) for n, d in (("accuracy", 0), ("auroc", 0.1))}
    with open(run + "metrics.json", "w") as f:
        json.dump({"backbone": model(0.862), "cbm": model(0.847), "random_concepts": model(0.611), "majority": model(0.25),
                   "retention": {"val": kept, "test": kept}}, f)
    with open(base + "/audit.json", "w") as f:
        json.dump({"notes": ["3 images occur twice <in> the train split"]}, f)
