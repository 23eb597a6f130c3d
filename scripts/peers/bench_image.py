#!/usr/bin/python3
"""Reading images beside Pillow and torchvision on one core, the same files

Grey JPEG of 2544 x 3056 to a short side of 256: in full ("exact") and by a part of the DCT ("scaled", Pillow's draft); and
the training transform of a 600 x 450 colour JPEG at 224 with decoding, as torchvision composes it from Pillow images. Rounds
alternate; each figure is the fastest repetition of all rounds in seconds of the processor, which other work on the machine
disturbs least. Results:
build/peers/image.json.
"""
import io
import json
import os

os.environ["OMP_NUM_THREADS"] = "1"
import subprocess
import time

import numpy as np
import torch
from PIL import Image, ImageFilter
from torchvision import transforms
from torchvision.transforms import InterpolationMode

SIDE, SIZE, SECONDS, ROUNDS = 256, 224, 2, 4


def make(path, height, width, colour):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    shade = 128 + 60 * np.sin(x / 180) + 40 * np.cos(y / 230)
    planes = [shade + rng.normal(0, 6, shade.shape) + 9 * k for k in range(3 if colour else 1)]
    a = np.clip(np.stack(planes, 2), 0, 255).astype(np.uint8)
    Image.fromarray(a if colour else a[:, :, 0]).filter(ImageFilter.GaussianBlur(1)).save(path, quality=90)


def ours(*arguments):
    text = subprocess.run([os.environ["BUILD"] + "/tests/bench/bench_image", *map(str, arguments)], capture_output=True,
                          text=True, check=True).stdout
    return float(text)


def fastest(work):
    best, start = 1e9, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return 1e3 * best


def shrink(data, draft):
    im = Image.open(io.BytesIO(data))
    if draft:
        im.draft("L", (SIDE, SIDE))
    return im.resize((SIDE, SIDE * 3056 // 2544), Image.BICUBIC)


def main():
    torch.set_num_threads(1)
    folder = "build/peers"
    os.makedirs(folder, exist_ok=True)
    large, small = f"{folder}/radiograph.jpg", f"{folder}/lesion.jpg"
    make(large, 3056, 2544, False)
    make(small, 450, 600, True)
    data, lesion = open(large, "rb").read(), open(small, "rb").read()
    train = transforms.Compose([transforms.RandomRotation(30), transforms.RandomHorizontalFlip(), transforms.GaussianBlur(5),
                                transforms.Resize(SIZE, InterpolationMode.BICUBIC), transforms.CenterCrop(SIZE),
                                transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
    works = [
        ("decode and resize, exact", lambda: ours("pack", "exact", SIDE, SECONDS, large), lambda: shrink(data, False), "Pillow", 1.5),
        ("decode and resize, scaled", lambda: ours("pack", "scaled", SIDE, SECONDS, large), lambda: shrink(data, False), "Pillow", 4),
        ("decode and resize, scaled", lambda: ours("pack", "scaled", SIDE, SECONDS, large), lambda: shrink(data, True), "Pillow, draft", None),
        ("training transform", lambda: ours("train", SIZE, SECONDS, small), lambda: train(Image.open(io.BytesIO(lesion))), "torchvision", 2),
    ]
    best = [[1e9, 1e9] for _ in works]
    for _ in range(ROUNDS):
        for figures, (_, mine, theirs, _, _) in zip(best, works):
            figures[0] = min(figures[0], mine())
            figures[1] = min(figures[1], fastest(theirs))
    print(f"images, one core: ms of the processor an image, the fastest of {ROUNDS} rounds\n")
    print("| what | cfn | peer | ratio | wanted |\n| --- | --- | --- | --- | --- |")
    rows = []
    for (mine, theirs), (what, _, _, peer, wanted) in zip(best, works):
        print(f"| {what} | {mine:.1f} | {theirs:.1f} ({peer}) | {theirs / mine:.2f} | {wanted or ''} |")
        rows.append({"what": what, "cfn_ms": mine, "peer": peer, "peer_ms": theirs, "ratio": theirs / mine, "wanted": wanted})
    with open(f"{folder}/image.json", "w", encoding="ascii") as f:
        json.dump(rows, f, indent=1)


main()
