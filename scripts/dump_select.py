#!/usr/bin/python3
"""Fixture of tests/parity/test_select.c: picks and gains of plain greedy facility
location in Python, on vectors both sides make by formula. Most are dyadic, so that
ties are ties to the last bit. One line per case: similarity n dim distinct count,
then the picks, then the gains."""
import math
import os

CASES = [("features", n, d, m, k) for n, d, m, k in [
    (6, 5, 6, 6), (12, 7, 12, 12), (12, 7, 5, 12), (40, 24, 40, 20), (40, 24, 9, 40), (90, 33, 90, 30),
    (90, 64, 30, 50), (1, 4, 1, 1), (200, 16, 200, 25), (64, 70, 17, 64), (33, 1, 33, 33), (150, 130, 150, 40)]]
CASES += [("cosine", n, 16, m, k) for n, m, k in [
    (5, 5, 5), (16, 16, 16), (30, 30, 30), (30, 7, 30), (64, 64, 20), (64, 13, 40), (100, 100, 100), (150, 150, 50),
    (200, 50, 60), (1, 1, 1), (97, 97, 30)]]
CASES += [("smooth", n, d, n, k) for n, d, k in [(50, 12, 20), (121, 40, 10), (80, 9, 12)]]


def vector(kind, i, dim, distinct):
    i %= distinct
    if kind == "features":
        return [((i * 7 + d * 13 + i * d * 3) % 23 - 6) / 16 for d in range(dim)]
    if kind == "smooth":  # no structure, no ties
        return [((i * i * 7919 + d * d * 104729 + i * d * 31) % 1009 - 300) / 256 for d in range(dim)]
    x = [0.0] * dim       # four entries of +-1: norm 2, cosines are multiples of 1/4
    for j in range(4):
        x[((i * 5 + i * i) + j * (2 * (i % 4) + 1)) % dim] = -1.0 if (i * j + i // 4) % 2 else 1.0
    return x


def similarities(kind, n, dim, distinct):
    x = [vector(kind, i, dim, distinct) for i in range(n)]
    if kind == "features":
        return x
    norm = [math.sqrt(sum(a * a for a in row)) for row in x]
    return [[(sum(a * b for a, b in zip(x[i], x[j])) / (norm[i] * norm[j])) ** 2 for j in range(n)] for i in range(n)]


def greedy(sim, count, exact):
    best, picks, gains = [0.0] * len(sim[0]), [], []
    for _ in range(count):
        order = sorted((math.fsum(max(s, b) - b for s, b in zip(sim[i], best)), -i)
                       for i in range(len(sim)) if i not in picks)
        gain, pick = order[-1]
        # Similarities in float must not decide: no near ties where they are not exact.
        assert exact or gain - order[-2][0] > 1e-5 * (gains or [gain])[0], (len(sim), len(picks), order[-2:])
        picks.append(-pick)
        gains.append(gain)
        best = [max(s, b) for s, b in zip(sim[-pick], best)]
    return picks, gains


path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/parity/fixtures/select.txt")
with open(path, "w", encoding="ascii") as out:
    print(len(CASES), file=out)
    for kind, n, dim, distinct, count in CASES:
        picks, gains = greedy(similarities(kind, n, dim, distinct), count, kind != "smooth")
        print(kind, n, dim, distinct, count, file=out)
        print(*picks, file=out)
        print(*(f"{g:.10g}" for g in gains), file=out)
