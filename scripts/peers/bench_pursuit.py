#!/usr/bin/python3
"""Orthogonal matching pursuit beside scikit-learn on one core, the same sizes

1024-d, 800 atoms, 160 nonzeros. scikit-learn is called as the published scripts do, one image at a time
(OrthogonalMatchingPursuit), and as fast as it goes (orthogonal_mp with a shared Gram matrix). Rounds alternate.
Ours is a block of 64 images with everything but the Gram matrix. Results: build/peers/pursuit.json.
"""
import json
import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
import re
import statistics
import subprocess
import time
import warnings

import numpy as np
from sklearn.linear_model import OrthogonalMatchingPursuit, orthogonal_mp_gram

D, M, S, IMAGES, ROUNDS = 1024, 800, 160, 12, 3


def ours(program):
    text = subprocess.run([program, "1", "1"], capture_output=True, text=True, check=True).stdout
    return [float(re.search(kind + r" ([\d.]+) ms", text)[1]) for kind in ("single", "double")]


def published(atoms, signals):
    begin = time.perf_counter()
    for signal in signals:
        OrthogonalMatchingPursuit(n_nonzero_coefs=S).fit(atoms.T, signal)
    return 1e3 * (time.perf_counter() - begin) / len(signals)


def shared_gram(atoms, signals):
    a = atoms - atoms.mean(axis=1, keepdims=True)
    x = signals - signals.mean(axis=1, keepdims=True)
    gram = a @ a.T
    begin = time.perf_counter()
    orthogonal_mp_gram(gram, a @ x.T, n_nonzero_coefs=S)
    return 1e3 * (time.perf_counter() - begin) / len(signals)


def main():
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(1)
    atoms, signals = rng.uniform(-1, 1, (M, D)), rng.uniform(-1, 1, (IMAGES, D))
    rows = []
    for _ in range(ROUNDS):
        rows.append([*ours(os.environ["BUILD"] + "/tests/bench/bench_pursuit"), published(atoms, signals), shared_gram(atoms, signals)])
    single, double, peer, gram = (statistics.median(column) for column in zip(*rows))
    lines = [
        ("single (default)", single, peer, "as published", 50),
        ("full double", double, peer, "as published", 30),
        ("single (default)", single, gram, "shared Gram matrix", None),
        ("full double", double, gram, "shared Gram matrix", None),
    ]
    print(f"pursuit, {D}-d, {M} atoms, {S} nonzeros, one core: ms an image, medians of {ROUNDS}\n")
    print("| what | cfn | scikit-learn (mode) | ratio | wanted |\n| --- | --- | --- | --- | --- |")
    for what, mine, theirs, mode, wanted in lines:
        print(f"| {what} | {mine:.3f} | {theirs:.2f} ({mode}) | {theirs / mine:.1f} | {wanted or ''} |")
    os.makedirs("build/peers", exist_ok=True)
    with open("build/peers/pursuit.json", "w", encoding="ascii") as file:
        keys = ("what", "cfn_ms", "peer_ms", "mode", "wanted")
        json.dump([dict(zip(keys, line)) for line in lines], file, indent=1)


main()
