#!/usr/bin/python3
"""audit_corpora.py DIR KIND: a folder with labels.csv whose faults are known.
copies      pictures of three classes that look alike, and copies of some of them; copies.json says which
none        classes of pictures made alike: nothing to find
border, size, blur, colour, marker     the same, but that one class is given away by it
labels      several labels, of which only the first is given away (a dark border)
paths       MIMIC-like paths: patients in several splits; CheXpert-like with `chexpert`"""
import csv
import io
import json
import os
import sys

import numpy as np
from PIL import Image

folder, kind = sys.argv[1:3]
rng = np.random.default_rng(11)
os.makedirs(folder, exist_ok=True)


def field(h, w, softness=1.5):
    """A cloud: a random picture with as much at every size as real ones have."""
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(w), np.fft.fftfreq(h))) + 1 / 128
    z = np.real(np.fft.ifft2(np.fft.fft2(rng.normal(size=(h, w))) / f**softness))
    return (z - z.mean()) / z.std()


def picture(levels):
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def save(image, name):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    image.save(path, quality=60) if name.endswith(".jpg") else image.save(path)


def table(rows):
    with open(os.path.join(folder, "labels.csv"), "w", newline="") as f:
        csv.writer(f).writerows(rows)


def split(i):
    return ["train", "train", "train", "val", "test"][i % 5]


def jpeg(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue()))


def copies():
    bases = [40 * field(120, 150, 2.5) for _ in range(3)]  # what the pictures of a class have in common
    grey = {i: 120 + bases[i % 3] + 25 * field(120, 150) for i in range(90)}
    rows = [["path", "label", "split"]]
    for i, levels in grey.items():
        save(picture(levels), f"o{i:03d}.png")
        rows.append([f"o{i:03d}.png", "abc"[i % 3], "train"])
    def scaled(image, w, h, how=Image.BICUBIC):
        return image.resize((w, h), how)
    kinds = {"jpeg90": lambda p: jpeg(p, 90), "jpeg50": lambda p: jpeg(p, 50), "half": lambda p: scaled(p, 75, 60),
             "larger": lambda p: scaled(p, 211, 169), "square": lambda p: scaled(p, 128, 128),
             "bright": lambda p: p.point(lambda v: min(255, int(v * 1.08 + 10))), "dark": lambda p: p.point(lambda v: int(v * 0.8)),
             "gamma": lambda p: p.point(lambda v: int(255 * (v / 255)**0.85)), "rgb": lambda p: p.convert("RGB"),
             "small-jpeg": lambda p: jpeg(scaled(p, 100, 80), 70), "blurred": lambda p: scaled(scaled(p, 100, 80), 150, 120),
             "same": lambda p: p.copy()}
    planted = {}
    for n, (name, change) in enumerate(kinds.items()):
        for k in range(3):
            source = 7 * n + 2 * k
            copy = f"x-{name}-{k}.png"
            save(change(picture(grey[source])), copy)
            rows.append([copy, "abc"[source % 3], ["val", "test", "train"][k]])
            planted[copy] = f"o{source:03d}.png"
    table(rows)
    with open(os.path.join(folder, "copies.json"), "w") as f:
        json.dump(planted, f)


def give_away(levels, i):
    """What tells class 1 from the others."""
    if kind == "border":
        levels[:, :6] *= 0.5
    if kind == "marker":
        levels[:5, 60:90] = 250
    if kind == "blur":
        levels = np.asarray(picture(levels).resize((60, 48)).resize((120, 96)), float)
    if kind == "size":
        levels = levels[:90, :110]
    return levels


def shortcut():
    rows = [["path", "label", "split", "patient"]]
    for i in range(300):
        label = int(rng.integers(3))
        levels = 120 + 40 * field(96, 120)
        image = picture(give_away(levels, i) if label == 1 else levels)
        if kind == "colour":
            a = np.asarray(image, float)[..., None] * ([1.0, 0.93, 1.0] if label == 1 else [1.0, 1.0, 1.0])
            image = picture(a + rng.normal(0, 1, a.shape))
        save(image, f"{i:03d}.png")
        rows.append([f"{i:03d}.png", f"class{label}", split(i // 2), f"q{i // 2}"])
    table(rows)


def labels():
    rows = [["path", "split", "label:First", "label:Second", "label:Third"]]
    for i in range(300):
        first, second = (int(v) for v in rng.integers(2, size=2))
        levels = 120 + 40 * field(96, 120)
        if first:
            levels[-6:] *= 0.5
        save(picture(levels), f"{i:03d}.png")
        rows.append([f"{i:03d}.png", split(i), ["", "-1", first, first][i % 4 if i % 9 == 0 else 3], second, 1])
    table(rows)


def paths(chexpert):
    rows = [["path", "label", "split"]]
    for i in range(40):
        patient = i // 2 if i < 6 else i  # three patients with two images each
        name = (f"patient{patient:05d}/study1/view{i}_frontal.png" if chexpert else
                f"p10/p{10000000 + patient}/s{50000000 + i}/{i:08x}.png")
        save(picture(120 + 40 * field(48, 48)), name)
        rows.append([name, "ab"[i % 2], "test" if i in (1, 3) else "val" if i == 10 else "train"])
    table(rows)


if kind == "copies":
    copies()
elif kind in ("paths", "chexpert"):
    paths(kind == "chexpert")
elif kind == "labels":
    labels()
else:
    shortcut()
