#!/usr/bin/python3
"""Orthogonal matching pursuit by scikit-learn, for tests/parity/test_pursuit.c.

Usage: dump_pursuit.py [DIR]     writes DIR/pursuit.txt and DIR/pursuit_many.txt (default tests/parity/fixtures)

Atoms and signals come from the formula below on both sides. pursuit.txt: for each case one line
"M D S intercept rows", then for each signal: pick order, coefficients in pick order,
intercept, and every 7th coordinate of the prediction.
pursuit_many.txt: 1,000 signals with and without intercept, one line each: a hash of the support, then coefficients,
and predictions, each summed with fixed weights, and the intercept; then 100 signals each of scipy's non-negative
least squares (norm of what is left) and of Lasso, plain and positive (objective).
"""
import os
import sys
import warnings

import numpy as np
from scipy.optimize import nnls
from sklearn.linear_model import Lasso, OrthogonalMatchingPursuit

MANY, M, D, S = 1000, 96, 128, 24  # pursuit_many.txt
OTHERS, LAMBDA = 100, 0.02


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


def support_hash(support):
    """FNV-1a over the atoms in ascending order."""
    h = 2166136261
    for k in support:
        h = (h ^ int(k)) * 16777619 & 0xFFFFFFFF
    return h


def many(out):
    atoms = formula(M * D, 101).reshape(M, D)
    signals = formula(MANY * D, 102).reshape(MANY, D) + 0.25
    of_atoms, of_dims = formula(M, 103), formula(D, 104)
    print(MANY, M, D, S, file=out)
    for intercept in False, True:
        for signal in signals:
            fit = OrthogonalMatchingPursuit(n_nonzero_coefs=S, fit_intercept=intercept).fit(atoms.T, signal)
            sums = fit.coef_ @ of_atoms, fit.predict(atoms.T) @ of_dims, float(fit.intercept_)
            print(support_hash(np.flatnonzero(fit.coef_)), *(f"{v:.13g}" for v in sums), file=out)
    print(OTHERS, LAMBDA, file=out)
    for signal in signals[:OTHERS]:
        objectives = [nnls(atoms.T, signal)[1]]
        for positive in False, True:
            fit = Lasso(alpha=LAMBDA, positive=positive, tol=1e-12, max_iter=100000).fit(atoms.T, signal)
            left = signal - fit.predict(atoms.T)
            objectives.append(left @ left / (2 * D) + LAMBDA * np.abs(fit.coef_).sum())
        print(*(f"{v:.15g}" for v in objectives), file=out)


def main():
    warnings.simplefilter("ignore")
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../tests/parity/fixtures")
    with open(os.path.join(directory, "pursuit.txt"), "w", encoding="ascii") as out:
        for case, (m, d, s, intercept, rows) in enumerate([(40, 64, 12, 1, 6), (40, 64, 12, 0, 6), (96, 64, 20, 1, 4)]):
            atoms = formula(m * d, 10 * case + 1).reshape(m, d)
            # A share of the first dimension's offset makes centring matter.
            signals = formula(rows * d, 10 * case + 2).reshape(rows, d) + 0.25
            print(m, d, s, intercept, rows, file=out)
            for signal in signals:
                order, fit = pick_order(atoms, signal, s, bool(intercept))
                prediction = fit.predict(atoms.T)
                print(*order, file=out)
                print(*(f"{fit.coef_[k]:.17g}" for k in order), file=out)
                print(f"{float(fit.intercept_):.17g}", file=out)
                print(*(f"{v:.17g}" for v in prediction[::7]), file=out)
    with open(os.path.join(directory, "pursuit_many.txt"), "w", encoding="ascii") as out:
        many(out)


main()
