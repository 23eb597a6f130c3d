#!/usr/bin/python3
"""Checks names.json, sheets, explanations.h5 and the page of a synthetic run (toy_run.py) from outside.
Usage: check_explain.py RESULT_DIR grey|multi|plain"""
import html.parser
import json
import os
import re
import sys

import h5py
import numpy as np

base, kind = sys.argv[1] + "/toy", sys.argv[2]
run = base + "/resnet18/1/"
corpus, codes, cbm, ex, sae = (h5py.File(p) for p in (base + "/corpus.h5", run + "codes.h5", run + "cbm.h5",
                                                      run + "explanations.h5", run + "sae.h5"))
bad = []


def check(ok, what):
    if not ok:
        bad.append(what)


# Contributions and rest add up; each is code times weight; the strongest come first, and none stronger is left out.
concept, value, rest = ex["contribution/concept"][()], ex["contribution/value"][()].astype(np.float64), ex["rest"][()]
logits, weight = cbm["logits"][()].astype(np.float64), cbm["concept_weight"][()].astype(np.float64)
check(np.abs(value.sum(2) + rest - logits).max() < 1e-5, "contributions + rest differ from the logits")
atom, code = codes["atom"][()], codes["value"][()].astype(np.float64)
T = concept.shape[2]
for n in range(atom.shape[0]):
    for c in range(weight.shape[0]):
        mine = {int(a): code[n, s] * weight[c, a] for s, a in enumerate(atom[n]) if a >= 0}
        best = sorted(mine, key=lambda a: (-abs(np.float32(mine[a])), a))[:T]
        check(list(concept[n, c, :len(best)]) == best, f"row {n} class {c}: concepts {concept[n, c]} are not {best}")
        check((concept[n, c, len(best):] == -1).all() and (value[n, c, len(best):] == 0).all(), f"row {n}: unused places")
        check(np.allclose(value[n, c, :len(best)], [mine[a] for a in best], rtol=1e-6, atol=0), f"row {n}: values")
check((concept == -1).any() == (T > (atom >= 0).sum(1).min()), "rows with fewer atoms than T")
for name in ("contribution/concept", "contribution/value", "rest"):
    check({"description", "unit", "dims"} <= set(ex[name].attrs), f"{name}: attributes")

# Names: correlations against numpy.
names = json.load(open(run + "names.json"))
split, K = corpus["split"][()], sae["fire_rate"].shape[0]
act = np.zeros((len(split), K))
indptr, index, val = (sae["codes/" + n][()] for n in ("indptr", "index", "value"))
for i in range(len(split)):
    act[i, index[indptr[i]:indptr[i + 1]]] = val[indptr[i]:indptr[i + 1]]


def corr(x, k, rows):
    rows = rows & np.isfinite(x)
    a, t = act[rows, k], x[rows].astype(np.float64)
    return np.corrcoef(a, t)[0, 1] if a.std() > 0 and t.std() > 0 else np.nan


attributes = {n: corpus["attributes"][n][()] for n in corpus.get("attributes", {})}
train, test = split == 0, split == 2
check(len(names["neurons"]) == K, "every neuron has an entry")
check(set(names["regions"]) == set(attributes), "regions are the attributes")
for n, x in attributes.items():
    r = np.abs([corr(x, k, test) for k in range(K)])
    best = int(np.nanargmax(r))
    check(names["regions"][n]["neuron"] == best, f"{n}: best neuron {best}")
    check(abs(abs(names["regions"][n]["r_test"]) - r[best]) < 1e-6, f"{n}: r of the best neuron")
    honest = names["regions"][n]["chosen_without_test"]
    blind = np.abs([corr(x, k, ~test) for k in range(K)])
    check(honest["neuron"] == int(np.nanargmax(blind)), f"{n}: neuron chosen without test")
    check(abs(honest["r_test"] - corr(x, honest["neuron"], test)) < 1e-6, f"{n}: its r on test")
    if n.startswith("frac_"):
        check(abs(honest["r_test"]) > 0.8, f"{n}: the planted neuron is found")
rate, fired = sae["fire_rate"][()], 0
for k, entry in enumerate(names["neurons"]):
    fired += rate[k] > 0
    check(entry["neuron"] == k and abs(entry["fire_rate"] - rate[k]) < 1e-7, f"neuron {k}: entry")
    check((entry["name"] == "never fires") == (rate[k] == 0), f"neuron {k}: name of a dead one")
    if "attribute" in entry:
        r = {n: corr(x, k, train) for n, x in attributes.items()}
        check(abs(abs(entry["r_train"]) - np.nanmax(np.abs(list(r.values())))) < 1e-6, f"neuron {k}: best attribute")
        check(abs(entry["r_train"] - r[entry["attribute"]]) < 1e-6, f"neuron {k}: r_train")
    if k % 3 == 0 and kind == "grey" and abs(entry["r_train"]) > 0.5:
        planted = ("frontal", "deep_grey", "limbic", "cerebellum")[(k // 3) % 4]
        check(entry["attribute"] == "frac_" + planted, f"neuron {k}: {entry['name']} is not {planted}")
sheets = sorted(os.listdir(run + "sheets"))
check(sheets == [f"neuron-{k:05d}.png" for k in range(K) if rate[k] > 0], "one sheet per neuron that fires")
check(all(open(run + "sheets/" + s, "rb").read(8) == b"\x89PNG\r\n\x1a\n" for s in sheets), "sheets are PNG files")


# The page: well-formed, offline, escaped; its numbers are those of the files.
class Page(html.parser.HTMLParser):
    VOID = {"meta", "img", "br", "link", "input", "hr"}

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.uses, self.links, self.text, self.tags = [], set(), set(), [], [], {}

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags[tag] = self.tags.get(tag, 0) + 1
        if attrs.get("id"):
            check(attrs["id"] not in self.ids, f"id {attrs['id']} twice")
            self.ids.add(attrs["id"])
        for key in ("href", "src"):
            link = attrs.get(key)
            if link and link.startswith("#"):
                self.uses.add(link[1:])
            elif link:
                self.links.append(link)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        check(self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}")
        if self.open:
            self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


source = open(run + "report/index.html", encoding="utf-8").read()
page = Page()
page.feed(source)
text = re.sub(r"\s+", " ", " ".join(page.text))
check(not page.open, f"left open: {page.open}")
check(page.uses <= page.ids, f"references to nothing: {page.uses - page.ids}")
check(all(link.startswith("data:image/png;base64,") for link in page.links), "a link leads outside the page")
check(not re.search(r"(https?:)?//[a-z]", re.sub(r"base64,[A-Za-z0-9+/=]*", "", source)), "an address outside the page")
check("script" not in page.tags and "b&gt;" in source and "limbic <b>&" in text, "a hostile class name stays a text")
check(len(source) < 8e6, f"page of {len(source)} bytes")
shown = [int(r) for r in re.findall(r'id="row(\d+)"', source)]
check(len(shown) == 10 and all(split[r] == 2 for r in shown), f"10 test images explained, not {shown}")
for r in shown:
    top = logits[r].max()
    check(f"{'−' if top < 0 else ''}{abs(top):.2f}" in text, f"logit {top:.2f} of row {r} is on the page")
if kind != "multi":
    label, prediction = corpus["label"][()], logits.argmax(1)
    right = prediction == label
    check({label[r] for r in shown} == set(label[test]), "all classes are among the explained images")
    check(any(right[r] for r in shown) and (any(not right[r] for r in shown) or right[test].all()), "right and wrong ones")
if kind != "plain":
    kept = "98.4 %" if kind == "multi" else "98.3 %"   # of AUROC, of accuracy
    check("0.862" in text and "0.847" in text and kept in text, "accuracies and retention are on the page")
    check("occur twice <in> the train split" in text, "the note of the audit is on the page")
if bad:
    print("\n".join(bad[:20]))
sys.exit(1 if bad else 0)
