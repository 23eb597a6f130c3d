#!/usr/bin/python3
"""Position embeddings at other image sizes, as torchvision's interpolate_embeddings makes them.

Usage: dump_positions.py [DIR]     writes DIR/positions.txt (default tests/parity/fixtures)

A case: patches along a side before and after, width; norm of the difference from zero and product with a formula
vector of the whole result, then the whole result for small cases.
"""
import os
import sys
from collections import OrderedDict

import numpy as np
import torch
from torchvision.models.vision_transformer import interpolate_embeddings

CASES = [(14, 2, 3), (2, 5, 3), (3, 2, 4), (1, 3, 2), (14, 1, 5), (4, 4, 3), (14, 24, 768)]
INPUT, PROBE = 701, 702
SMALL = 200


def formula(count, salt):
    """[-1, 1), exact in single precision: the same integers in C."""
    h = (np.arange(count, dtype=np.uint64) + np.uint64(salt * 1000003)) * np.uint64(2654435761) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(16)
    h = h * np.uint64(0x85EBCA6B) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(13)
    return ((h >> np.uint64(8)).astype(np.float64) / 2**23 - 1).astype(np.float32)


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../tests/parity/fixtures")
    with open(os.path.join(directory, "positions.txt"), "w", encoding="ascii") as out:
        for before, after, width in CASES:
            x = formula((1 + before**2) * width, INPUT).reshape(1, 1 + before**2, width)
            state = OrderedDict({"encoder.pos_embedding": torch.from_numpy(x).double()})
            y = interpolate_embeddings(after * 16, 16, state)["encoder.pos_embedding"].numpy().ravel()
            values = [np.linalg.norm(y), y @ formula(y.size, PROBE).astype(np.float64)]
            if y.size <= SMALL:
                values += list(y)
            print("case", before, after, width, y.size <= SMALL and 1 or 0, *[f"{v:.9g}" for v in values], file=out)


main()
