#!/usr/bin/python3
"""check_collection.py CORPUS.h5 EXPECTED.json: does a corpus hold what tests/tools/chest_trees.py says of its folder?

Rows are found by the stem of their id's file name, with "by": "path" by the end of the id, with "by": "id" by the id."""
import json
import os
import sys
import zlib

import h5py
import numpy as np

expected = json.load(open(sys.argv[2]))
with h5py.File(sys.argv[1]) as f:
    ids = [i.decode() for i in f["id"][()]]
    names = [n.decode() if isinstance(n, bytes) else n for n in np.atleast_1d(f.attrs["class_names"])]
    data = {k: f[k][()] for k in ("label", "labels", "split", "group", "images") if k in f}
    def texts(name):
        """Texts are rows of a fixed width, or bytes with offsets."""
        if f"{name}_offset" in f:
            at, raw = f[f"{name}_offset"][()], f[name][()].tobytes()
            return [raw[a:b].decode() for a, b in zip(at[:-1], at[1:])]
        return [t.decode() for t in f[name][()]]
    reports = {n: texts(n) for n in ("report", "findings", "impression") if n in f}
    attributes = {}
    for name, d in f.get("attributes", {}).items():
        codes = d.attrs.get("values")
        values = d[()]
        if codes is not None:
            words = [c.decode() if isinstance(c, bytes) else c for c in np.atleast_1d(codes)]
            values = [words[int(v)] if v >= 0 else None for v in values]
        attributes[name] = list(values)

rows, by = expected["rows"], expected.get("by")
stem = lambda i: os.path.splitext(os.path.basename(i))[0]
find = {"path": lambda i: next((k for k in rows if i.endswith(k)), i), "id": lambda i: i, None: stem}[by]
keys = [find(i) for i in ids]
assert len(set(keys)) == len(keys), "rows of one key"
assert set(keys) == set(rows), f"{len(set(rows) - set(keys))} rows missing, {sorted(set(keys) - set(rows))[:3]} not expected"
assert names == expected["classes"], f"classes {names}"
groups = {}
for i, key in enumerate(keys):
    want = rows[key]
    if "label" in want:
        assert data["label"][i] == want["label"], f"{key}: label {data['label'][i]}, expected {want['label']}"
    if "labels" in want:
        assert list(data["labels"][i]) == want["labels"], f"{key}: labels {list(data['labels'][i])}, expected {want['labels']}"
    if "split" in want:
        assert data["split"][i] == want["split"], f"{key}: split {data['split'][i]}, expected {want['split']}"
    if "group" in want:
        assert groups.setdefault(want["group"], data["group"][i]) == data["group"][i], f"{key}: group"
    if "pixels" in want:
        assert zlib.crc32(data["images"][i].tobytes()) == want["pixels"], f"{key}: pixels"
    for name in ("report", "findings", "impression"):
        if name in want and (name in reports or name == "report"):
            assert reports[name][i] == want[name], f"{key}: {name} {reports[name][i]!r}, expected {want[name]!r}"
    for name, value in want.get("attributes", {}).items():
        found = attributes[name][i]
        assert found == value or (value is None and found is None), f"{key}: {name} {found}, expected {value}"
assert len(set(groups.values())) == len(groups), "two patients in one group"
assert "group" in data or not groups
if not any("report" in r for r in rows.values()):
    assert "report" not in reports, "reports where there are none"
if "splits" in expected:
    assert sorted(set(data["split"])) == expected["splits"], f"splits {sorted(set(data['split']))}"
if expected.get("whole_groups"):
    for g in set(data["group"]):
        inside = {s for s, h in zip(data["split"], data["group"]) if h == g}
        assert len(inside) == 1, "a patient in two splits"
print("good")
