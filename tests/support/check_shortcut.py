#!/usr/bin/python3
"""check_shortcut.py DATA AUDIT.json: the shortcut probe once more, from its description (docs/data.md) with numpy and
scikit-learn: AUROC of all features and of each family within 0.02."""
import csv
import json
import os
import sys

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

folder, audit = sys.argv[1], json.load(open(sys.argv[2]))
families = {"histogram": 16, "borders": 12, "size": 3, "sharpness": 5, "brightness and colour": 8}


def strip(a):
    return [a.mean() / 255, (a < 16).mean(), (a >= 240).mean()]


def features(path):
    image = Image.open(path)
    rgb, a = np.asarray(image.convert("RGB"), float), np.asarray(image.convert("L"), float)
    h, w = a.shape
    n = max(1, min(h, w) // 16)
    c = a[1:-1, 1:-1]
    laplace = np.mean((a[1:-1, 2:] + a[1:-1, :-2] + a[2:, 1:-1] + a[:-2, 1:-1] - 4 * c)**2)
    across, down = np.mean((a[1:-1, 2:] - c)**2), np.mean((a[2:, 1:-1] - c)**2)
    return np.concatenate([
        np.histogram(a, 16, (0, 256))[0] / a.size,
        strip(a[:n]), strip(a[-n:]), strip(a[:, :n]), strip(a[:, -n:]),
        np.log2([h, w, h / w]),
        np.log1p([across, down, laplace, down / (a.var() + 1), laplace / (a.var() + 1)]),
        rgb.mean((0, 1)) / 255, rgb.std((0, 1)) / 255,
        [np.abs(rgb[..., 0] - rgb[..., 1]).mean() / 255, np.abs(rgb[..., 1] - rgb[..., 2]).mean() / 255]])


rows = list(csv.DictReader(open(os.path.join(folder, "labels.csv"))))
x = np.array([features(os.path.join(folder, r["path"])) for r in rows])
y, split = np.array([r["label"] for r in rows]), np.array([r["split"] for r in rows])
train = split == "train"
deviation = x[train].std(0)
x = (x - x[train].mean(0)) / np.where(deviation > 1e-6, deviation, np.inf)
for part in "val", "test":
    said, at = audit["shortcut"][part], 0
    todo = [("all", said, slice(None))]
    for name, count in families.items():
        todo.append((name, said["alone"][name], slice(at, at + count)))
        at += count
    assert at == audit["shortcut"]["features"]
    for name, one, columns in todo:
        model = LogisticRegression(C=1, max_iter=5000, tol=1e-7).fit(x[train][:, columns], y[train])
        here = split == part
        score = roc_auc_score(y[here], model.predict_proba(x[here][:, columns]), multi_class="ovr", average="macro")
        assert abs(score - one["auroc"]) < 0.02, (part, name, score, one["auroc"])
        low, high = one["auroc_interval"]
        assert low <= one["auroc"] <= high and high - low < 0.5, (part, name, one)
print("good")
