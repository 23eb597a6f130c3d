#!/usr/bin/python3
"""Orthogonal matching pursuit by scikit-learn, for tests/parity/test_omp.c.

Usage: dump_omp.py [DIR]     writes DIR/omp.txt (default tests/parity/fixtures)

Atoms and signals come from the formula below on both sides. For each case one line
"M D S intercept rows", then for each signal: pick order, coefficients in pick order,
intercept, and every 7th coordinate of the prediction.
"""
import os
import sys
import warnings

import numpy as np
from sklearn.linear_model import OrthogonalMatchingPursuit


def formula(count, salt):
    """[-1, 1), exact in single precision: the same integers in C."""
    h = (np.arange(count, dtype=np.uint64) + np.uint64(salt * 1000003)) * np.uint64(2654435761) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(16)
    h = h * np.uint64(0x85EBCA6B) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(13)
    return (h >> np.uint64(8)).astype(np.float64) / 2**23 - 1


def pick_order(atoms, signal, nonzeros, intercept):
    """Supports of 1, 2, ... atoms are nested: the new one is the pick."""
    order = []
    for n in range(1, nonzeros + 1):
        fit = OrthogonalMatchingPursuit(n_nonzero_coefs=n, fit_intercept=intercept).fit(atoms.T, signal)
        order += [k for k in np.flatnonzero(fit.coef_) if k not in order]
    return order, fit


def main():
    warnings.simplefilter("ignore")
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../tests/parity/fixtures")
    with open(os.path.join(directory, "omp.txt"), "w", encoding="ascii") as out:
        for case, (M, D, S, intercept, rows) in enumerate([(40, 64, 12, 1, 6), (40, 64, 12, 0, 6), (96, 64, 20, 1, 4)]):
            atoms = formula(M * D, 10 * case + 1).reshape(M, D)
            # A share of the first dimension's offset makes centring matter.
            signals = formula(rows * D, 10 * case + 2).reshape(rows, D) + 0.25
            print(M, D, S, intercept, rows, file=out)
            for signal in signals:
                order, fit = pick_order(atoms, signal, S, bool(intercept))
                prediction = fit.predict(atoms.T)
                print(*order, file=out)
                print(*(f"{fit.coef_[k]:.17g}" for k in order), file=out)
                print(f"{float(fit.intercept_):.17g}", file=out)
                print(*(f"{v:.17g}" for v in prediction[::7]), file=out)


main()
