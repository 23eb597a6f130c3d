#!/usr/bin/python3
"""Ten steps of torch.optim.Adam and AdamW, for tests/parity/test_adam.c.

Usage: dump_adam.py [DIR]     writes DIR/adam.txt (default tests/parity/fixtures)

Weights and gradients come from the formula below on both sides; the file holds, for each case, "lr beta1 beta2 eps
weight_decay elements steps" and the weights after the last step.
"""
import os
import sys

import numpy as np
import torch

N, STEPS = 37, 10
CASES = [(5e-4, 0.9, 0.999, 1e-8, 0.0), (1e-4, 0.9, 0.999, 1e-8, 1e-2), (3e-2, 0.8, 0.95, 1e-3, 0.3)]


def formula(count, salt):
    """[-1, 1), exact in single precision: the same integers in C (tests/support/formula.h)."""
    h = (np.arange(count, dtype=np.uint64) + np.uint64(salt * 1000003)) * np.uint64(2654435761) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(16)
    h = h * np.uint64(0x85EBCA6B) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(13)
    return ((h >> np.uint64(8)).astype(np.float64) / 2**23 - 1).astype(np.float32)


def final_weights(case):
    lr, beta1, beta2, eps, decay = case
    w = torch.from_numpy(formula(N, 1)).requires_grad_()
    kind = torch.optim.AdamW if decay else torch.optim.Adam
    adam = kind([w], lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=decay)
    for step in range(1, STEPS + 1):
        w.grad = torch.from_numpy(formula(N, 100 + step) * np.float32(10.0 ** (step % 5 - 3)))
        adam.step()
    return w.detach().numpy()


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../tests/parity/fixtures")
    torch.set_num_threads(1)
    with open(os.path.join(directory, "adam.txt"), "w") as out:
        for case in CASES:
            out.write(" ".join(f"{v:.17g}" for v in case) + f" {N} {STEPS}\n")
            out.write(" ".join(f"{v:.9g}" for v in final_weights(case)) + "\n")


if __name__ == "__main__":
    main()
