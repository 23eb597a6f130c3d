#!/usr/bin/python3
"""Fixture of tests/parity/test_cav.c: scikit-learn's SVC(kernel="linear") on
examples made by a formula that both sides compute exactly. One line per case and tolerance (its default of 1e-3,
as cfn uses it, and 1e-7): positives negatives dim shift c bias, then the unit direction.
Then cav_methods.txt: for the same cases the logistic, mean and pattern directions, each with its bias."""
import os

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

CASES = [  # positives, negatives, dim, shift, c
    (20, 20, 8, 4, 1.0), (20, 20, 8, 1, 1.0), (30, 50, 16, 2, 0.1), (50, 30, 16, 0, 0.01), (40, 40, 64, 3, 1.0),
    (60, 60, 33, 1, 0.001), (100, 100, 128, 2, 1.0), (8, 90, 24, 3, 10.0), (90, 8, 24, 3, 0.5), (12, 12, 200, 1, 1.0),
]


def examples(positives, negatives, dim, shift):
    i, d = np.meshgrid(np.arange(positives + negatives), np.arange(dim), indexing="ij")
    x = ((i * 7919 + d * 104729 + i * d * 31) % 1009 - 504) / 256.0
    return x + (i < positives) * shift * ((d * 37) % 11 - 5) / 8.0


def unit(w, bias):
    return f"{bias / np.linalg.norm(w):.9g}", *(f"{v:.9g}" for v in w / np.linalg.norm(w))


def half_way(w, x, y):
    return w, -(x[y > 0].mean(0) @ w + x[y < 0].mean(0) @ w) / 2


path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/parity/fixtures/cav.txt")
with open(path, "w", encoding="ascii") as out:
    print(len(CASES), file=out)
    for positives, negatives, dim, shift, c in CASES:
        x = examples(positives, negatives, dim, shift)
        y = np.where(np.arange(positives + negatives) < positives, 1, -1)
        for tolerance in 1e-3, 1e-7:
            svc = SVC(kernel="linear", C=c, tol=tolerance).fit(x, y)
            w = svc.coef_[0]
            print(positives, negatives, dim, shift, c, repr(float(svc.intercept_[0] / np.linalg.norm(w))), file=out)
            print(*(f"{v:.9g}" for v in w / np.linalg.norm(w)), file=out)

with open(path.replace("cav.txt", "cav_methods.txt"), "w", encoding="ascii") as out:
    print(len(CASES), file=out)
    for positives, negatives, dim, shift, c in CASES:
        x = examples(positives, negatives, dim, shift)
        y = np.where(np.arange(positives + negatives) < positives, 1, -1)
        head = LogisticRegression(C=c, tol=1e-12, max_iter=500, solver="newton-cg").fit(x, y)
        svc = SVC(kernel="linear", C=c).fit(x, y).coef_[0]
        print(positives, negatives, dim, shift, c, 0, file=out)
        print(*unit(head.coef_[0], head.intercept_[0]), file=out)
        print(*unit(*half_way(x[y > 0].mean(0) - x[y < 0].mean(0), x, y)), file=out)
        print(*unit(*half_way(np.cov(x.T, bias=True) @ svc, x, y)), file=out)
