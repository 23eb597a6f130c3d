#!/usr/bin/python3
"""Compares a packed corpus with what make_collections.py says it must hold: check_collection.py CORPUS.h5 TREE.json
[OPTION=VALUE ...]. Prints "good" or what differs.

  images=NAME,...  only these must be there (default: all of the tree, and nothing else)
  splits=lesion    no group lies in two splits, and every class has images in all three
  report=note      the key of the truth that the report is; report= none is stored
  attributes=      none is stored
  classes=a,b      class names in this order"""
import collections
import json
import os
import sys

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from make_collections import pixels  # noqa: E402

SPLITS = ["train", "val", "test"]


def name_of(image_id, truth):
    """"ISIC_0024306" of "images/ISIC_0024306.jpg", "00001" of "Training/data_00001.npz"."""
    stem = os.path.basename(image_id).split(".")[0]
    return stem if stem in truth else stem.split("_")[-1]


def texts(values):
    return [v.decode() if isinstance(v, bytes) else v for v in values]


def report_texts(file):
    """One text a row, or one stream of bytes with offsets."""
    if "report_offset" in file:
        at, stream = file["report_offset"][:], file["report"][:].tobytes()
        return [stream[at[i]:at[i + 1]].decode() for i in range(len(at) - 1)]
    return texts(file["report"][:])


def attribute(file, name, row):
    values = file[f"attributes/{name}"]
    value = values[row]
    if "values" not in values.attrs:
        return None if np.isnan(value) else float(value)
    return None if value < 0 else texts(values.attrs["values"])[int(value)]


def check_row(file, names, row, name, fact, seen, keys):
    problems = []

    def same(what, found, expected):
        if found != expected:
            problems.append(f"{name}: {what} is {found!r}, expected {expected!r}")

    same("class", names[file["label"][row]], fact["class"])
    if "split" in fact:
        same("split", SPLITS[file["split"][row]], fact["split"])
    if "images" in file:
        found, shown = file["images"][row], pixels(fact["picture"], *file["images"].shape[1:3], file["images"].shape[3])
        same("picture", True, np.array_equal(found, shown.reshape(found.shape)))
    for key in keys:
        if key in fact and f"attributes/{key}" in file:
            missing = fact[key] == "unknown"
            same(key, attribute(file, key, row), None if missing else fact[key])
        elif key in fact:
            problems.append(f"no attribute {key}")
    if fact.get("group"):
        seen[fact["group"]].add(int(file["group"][row]))
    return problems


def main():
    options = dict(option.split("=", 1) for option in sys.argv[3:])
    with open(sys.argv[2], encoding="utf-8") as source:
        truth = json.load(source)
    if options.get("splits") == "lesion":  # made here, not those of the source
        truth = {name: {k: v for k, v in fact.items() if k != "split"} for name, fact in truth.items()}
    wanted = options["images"].split(",") if "images" in options else list(truth)
    keys = options.get("attributes", "age,sex,gender,ethnicity").split(",")
    problems, groups = [], collections.defaultdict(set)
    with h5py.File(sys.argv[1]) as file:
        ids, names = texts(file["id"][:]), texts(file.attrs["class_names"])
        rows = {name_of(i, truth): row for row, i in enumerate(ids)}
        if sorted(rows) != sorted(wanted) or len(ids) != len(wanted):
            problems.append(f"{len(ids)} rows, expected {len(wanted)}: {sorted(set(rows) ^ set(wanted))[:5]}")
        for name, row in rows.items():
            problems += check_row(file, names, row, name, truth[name], groups, keys)
        if any(len(numbers) != 1 for numbers in groups.values()):
            problems.append("a group of the source has several numbers")
        if len({min(n) for n in groups.values()}) != len(groups):
            problems.append("two groups of the source have one number")
        if "classes" in options and names != options["classes"].split(","):
            problems.append(f"classes are {names}")
        report = options.get("report", "report" if "report" in next(iter(truth.values())) else "")
        if not report and "report" in file:
            problems.append("there are reports")
        for name, row in rows.items() if report else ():
            if report_texts(file)[row] != truth[name][report]:
                problems.append(f"{name}: report is {report_texts(file)[row][:60]!r}")
        if options.get("splits") == "lesion":
            split, group, label = file["split"][:], file["group"][:], file["label"][:]
            if any(len(set(split[group == g])) > 1 for g in set(group)):
                problems.append("a group lies in two splits")
            if any(set(split[label == k]) != {0, 1, 2} for k in range(len(names))):
                problems.append("a class is missing from a split")
    print("\n".join(problems[:10]) if problems else "good")


if __name__ == "__main__":
    main()
