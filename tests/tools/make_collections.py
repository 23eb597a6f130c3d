#!/usr/bin/python3
"""Small trees in the layouts of public collections, with made-up ids: make_collections.py KIND FOLDER [OPTION=VALUE ...].

Beside FOLDER, FOLDER.json says what a corpus of it must hold: by image the class, split, group, report and attributes.
Pictures are PNG whatever their names end with: what a file is, is read from its first bytes."""
import csv
import json
import os
import pickle
import struct
import sys
import zlib

import numpy as np

LONG = {"akiec": "actinic keratoses", "bcc": "basal cell carcinoma", "bkl": "benign keratosis-like lesions",
        "df": "dermatofibroma", "mel": "melanoma", "nv": "melanocytic nevi", "vasc": "vascular lesions"}


def pixels(salt, height=24, width=30, channels=3):
    """What picture `salt` shows: all differ."""
    y, x, c = np.mgrid[0:height, 0:width, 0:channels]
    value = (x * 7 + y * 13 + c * 29 + salt * 31 + x * y * (salt % 97)) % 256
    return (value if channels == 3 else value[..., 0]).astype(np.uint8)


def png(array):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    height, width = array.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in array)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2 if array.ndim == 3 else 0,
                                                             0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


class Tree:
    def __init__(self, folder):
        self.folder, self.truth = folder, {}
        os.makedirs(folder, exist_ok=True)

    def put(self, name, data):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)

    def table(self, name, rows, delimiter=",", quoting=csv.QUOTE_MINIMAL):
        self.put(name, "")
        with open(os.path.join(self.folder, name), "w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows(rows)

    def pickles(self, splits):
        for split, classes in splits.items():
            self.put(f"class2images_{split}.p", pickle.dumps(classes, protocol=4))

    def done(self):
        with open(self.folder.rstrip("/") + ".json", "w", encoding="utf-8") as file:
            json.dump(self.truth, file)


def ham_rows(columns):
    """Seven classes of five lesions, every other one with two images, in an order of their own."""
    rows = []
    for k, dx in enumerate(LONG):
        for lesion in range(5):
            for _ in range(1 + lesion % 2):
                i = len(rows)
                rows.append([f"HAM_{k:03d}{lesion:04d}", f"ISIC_{24306 + i:07d}", dx,
                             ["histo", "follow_up", "consensus", "confocal"][lesion % 4], ["", "45.0", "80.0"][i % 3],
                             ["male", "female", "unknown"][i % 3], ["back", "scalp", "unknown"][lesion % 3],
                             ["vidir_modern", "rosendahl"][i % 2]][:columns])
    return [rows[i] for i in np.random.default_rng(3).permutation(len(rows))]


def ham(tree, metadata="HAM10000_metadata.csv", columns="7", folders="HAM10000_images_part_1,HAM10000_images_part_2",
        twins="", missing="", published="", extra=""):
    """twins: each folder once more in lower case; missing: a folder that was not unpacked; published: split files."""
    rows = ham_rows(int(columns))
    head = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset"][:int(columns)]
    names = folders.split(",")
    for row in rows:
        number = int(row[1][5:])
        folder = names[(number + 1) % len(names)]
        picture = png(pixels(number))
        if folder != missing:
            tree.put(f"{folder}/{row[1]}.jpg", picture)
        if twins:
            tree.put(f"{folder.lower()}/{row[1]}.jpg", picture)
        tree.truth[row[1]] = {"class": LONG[row[2]], "group": row[0], "picture": number, "sex": row[5],
                              "age": float(row[4]) if row[4] else None}
    tab = metadata.endswith(".tab")
    tree.table(metadata, [head] + rows, "\t" if tab else ",", csv.QUOTE_NONNUMERIC if tab else csv.QUOTE_MINIMAL)
    for name in filter(None, extra.split(",")):
        tree.put(name, "pixel0000,pixel0001,label\n192,153,2\n")
    if published:
        splits = {}
        for split, low, high in (("train", 0, 3), ("val", 3, 4), ("test", 4, 9)):
            splits[split] = {}
            for dx in reversed(LONG):  # the order of the keys is that of the classes
                of_class = [row[1] for row in rows if row[2] == dx][low:high]
                splits[split][LONG[dx]] = [f"{name}.jpg" for name in of_class]
                for name in of_class:
                    tree.truth[name]["split"] = split
        tree.pickles(splits)


def isic(tree, without="", nested="1", lesions="1"):
    """ISIC 2018 Task 3; without: parts whose ground truth is not there."""
    columns = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    number = 24306
    for part, split, count in (("Training", "train", 42), ("Validation", "val", 14), ("Test", "test", 14)):
        stem = f"ISIC2018_Task3_{part}"
        truth, groups = [["image"] + columns], [["image", "lesion_id", "diagnosis_confirm_type"]]
        for j in range(count):
            name, k = f"ISIC_{number:07d}", j % 7
            tree.put(f"{stem}_Input/{name}.jpg", png(pixels(number)))
            truth.append([name] + [f"{float(c == k):.1f}" for c in range(7)])
            groups.append([name, f"HAM_{j // 14:07d}_{k}", "histopathology"])
            if part not in without.split(","):
                tree.truth[name] = {"class": LONG[columns[k].lower()], "split": split, "picture": number,
                                    "group": groups[-1][1] if part == "Training" and lesions else None}
            number += 1
        for extra in ("ATTRIBUTION.txt", "LICENSE.txt"):
            tree.put(f"{stem}_Input/{extra}", "x\n")
        if part not in without.split(","):
            tree.table((f"{stem}_GroundTruth/" if nested else "") + f"{stem}_GroundTruth.csv", truth)
    if lesions:
        tree.table("ISIC2018_Task3_Training_LesionGroupings.csv",
                   [groups[0]] + [[n, t["group"], "histopathology"] for n, t in tree.truth.items() if t["group"]])


def fundus(tree, images="both", use="1", published="", coded="", deflate=""):
    """Harvard-FairVLMed; images: jpg, npz or both; coded: demographics as numbers with -1; published: split files."""
    head = ["filename", "age", "gender", "race", "ethnicity", "language", "maritalstatus", "note", "gpt4_summary",
            "glaucoma", "use"]
    rows, splits, number = [], {}, 0
    for folder, word, split, count in (("Training", "training", "train", 28), ("Validation", "validation", "val", 8),
                                       ("Test", "test", "test", 12)):
        splits[split] = {"yes": [], "no": []}
        for j in range(count):
            number += 1
            label = "yes" if j % 3 == 0 else "no"
            grey = pixels(number, 33, 26, 1)
            if images in ("jpg", "both"):
                tree.put(f"{folder}/slo_fundus_{number:05d}.jpg", png(grey))
            if images in ("npz", "both"):
                path = os.path.join(tree.folder, folder, f"data_{number:05d}.npz")
                os.makedirs(os.path.dirname(path), exist_ok=True)
                (np.savez_compressed if deflate else np.savez)(
                    path, slo_fundus=grey, md=np.float64(-3.1), tds=np.zeros(52), age=np.float64(40 + j),
                    gender=np.int64(j % 2), ethnicity=np.int64([-1, 0, 1][j % 3]), glaucoma=np.int64(label == "yes"),
                    note=np.array('pt is a\n56 yo, "PERSON"'))
            gender, ethnicity = ["female", "male"][j % 2], ["unknown", "non-hispanic", "hispanic"][j % 3]
            note = f'PERSON is a {number} yo woman, presenting to "establish care".\nPer prior note: 1. drusen, ou'
            summary = f"Summary {number}: {'glaucoma suspicion' if label == 'yes' else 'no glaucoma'}, follow up."
            rows.append([f"data_{number:05d}.npz", float(40 + j), j % 2 if coded else gender, ["asian", "black", "white"][j % 3],
                         j % 3 - 1 if coded else ethnicity, "english", "single", note, summary, label, word])
            splits[split][label].append(f"{folder}/slo_fundus_{number:05d}.jpg")
            tree.truth[f"{number:05d}"] = {"class": label, "split": split, "picture": number, "report": summary, "note": note,
                                           "age": 40.0 + j, "gender": j % 2 if coded else gender, "ethnicity": j % 3 - 1 if coded else ethnicity}
    columns = [k for k in range(len(head)) if use or head[k] != "use"]
    tree.table("data_summary.csv", [[row[k] for k in columns] for row in [head] + rows])
    tree.table("gpt-4_summarized_notes.csv", [["filename", "note", "gpt4_summary"]] + [[r[0], r[7], r[8]] for r in rows])
    if published:
        prefix = "" if published == "bare" else published + "/"
        tree.pickles({s: {k: [prefix + n for n in v] for k, v in c.items()} for s, c in splits.items()})


def main():
    kind, folder = sys.argv[1:3]
    tree = Tree(folder)
    {"ham": ham, "isic": isic, "fundus": fundus}[kind](tree, **dict(option.split("=", 1) for option in sys.argv[3:]))
    tree.done()


if __name__ == "__main__":
    main()
