#!/usr/bin/python3
"""Makes the inputs of the concept stages in a run directory: embeddings.h5, cav.h5, selection.h5.
Usage: make_run.py DIR ROWS D CLASSES CONCEPTS [nan|no-train|empty|foreign|multi|few]
(the last: a fault to plant, several labels per image, or few rows and no validation split)"""
import os
import sys

import h5py
import numpy as np

out, N, D, C, M = sys.argv[1], *map(int, sys.argv[2:6])
fault = sys.argv[6] if len(sys.argv) > 6 else ""
os.makedirs(out, exist_ok=True)
r = np.random.default_rng(0)
mix = np.abs(r.normal(size=(40, D)))
x = (np.maximum(r.normal(size=(N, 40)) - 1, 0) @ mix / np.sqrt(D) + 0.05 * np.abs(r.normal(size=(N, D)))).astype("f4")
split = r.choice([0, 1, 2], N, p=[0.7, 0.1, 0.2]).astype("u1")
index = r.permutation(2 * M)[:M].astype("i8")
if fault == "nan":
    x[N // 2, 1] = np.nan
if fault == "no-train":
    split[:] = 2
if fault == "empty":
    index = index[:0]
if fault == "few":
    split[:] = [0, 2] * (N // 2)
if fault == "foreign":
    index[1] = 2 * M
with h5py.File(out + "/embeddings.h5", "w") as f:
    f["features"] = x
    f["logits"] = r.normal(size=(N, C)).astype("f4")
    if fault == "multi":
        f["labels"] = r.integers(-2, 2, (N, C)).astype("i1")
    else:
        f["label"] = r.integers(0, C, N).astype("i4")
    f["split"] = split
    f.attrs["class_names"] = [f"class {i}" for i in range(C)]
cav = r.normal(size=(2 * M, D))
with h5py.File(out + "/cav.h5", "w") as f:
    f["cav"] = (cav / np.linalg.norm(cav, axis=1, keepdims=True)).astype("f4")
with h5py.File(out + "/selection.h5", "w") as f:
    f["index"] = index
