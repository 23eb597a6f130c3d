#!/usr/bin/python3
"""A hundred steps of the sparse autoencoder in plain PyTorch, for tests/parity/test_sae.c.

Usage: dump_sae.py [DIR]     writes DIR/sae.txt (default tests/parity/fixtures)

Rows, first weights and batches come from the formula below on both sides; the file
holds "D K rows batch steps l1 lr" and the loss of each step.
"""
import os
import sys

import numpy as np
import torch

D, K, ROWS, BATCH, STEPS, L1, LR = 24, 96, 160, 64, 100, 3e-3, 5e-4


def formula(count, salt):
    """[-1, 1), exact in single precision: the same integers in C."""
    h = (np.arange(count, dtype=np.uint64) + np.uint64(salt * 1000003)) * np.uint64(2654435761) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(16)
    h = h * np.uint64(0x85EBCA6B) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(13)
    return ((h >> np.uint64(8)).astype(np.float64) / 2**23 - 1).astype(np.float32)


def tensor(shape, salt, scale):
    return torch.from_numpy(formula(int(np.prod(shape)), salt).reshape(shape) * np.float32(scale)).requires_grad_()


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../tests/parity/fixtures")
    torch.set_num_threads(1)
    x = torch.from_numpy(formula(ROWS * D, 1).reshape(ROWS, D))
    encoder, encoder_bias = tensor((K, D), 2, 0.25), tensor((K,), 3, 0.125)
    decoder, bias = tensor((K, D), 4, 1.0), tensor((D,), 5, 0.0625)
    with torch.no_grad():
        decoder /= decoder.norm(dim=1, keepdim=True)
    adam = torch.optim.Adam([encoder, encoder_bias, decoder, bias], lr=LR)
    losses = []
    for step in range(STEPS):
        # The last batch of three is short, as an epoch's is.
        first = step % 3 * BATCH
        batch = x[first:first + BATCH]
        f = torch.relu((batch - bias) @ encoder.T + encoder_bias)
        loss = ((f @ decoder + bias - batch)**2).mean(1).mean() + L1 * f.abs().sum(1).mean()
        adam.zero_grad()
        loss.backward()
        with torch.no_grad():
            decoder.grad -= (decoder.grad * decoder).sum(1, keepdim=True) * decoder
        adam.step()
        with torch.no_grad():
            decoder /= decoder.norm(dim=1, keepdim=True)
        losses.append(loss.item())
    with open(os.path.join(directory, "sae.txt"), "w", encoding="ascii") as out:
        print(D, K, ROWS, BATCH, STEPS, L1, LR, file=out)
        for loss in losses:
            print(f"{loss:.9g}", file=out)


main()
