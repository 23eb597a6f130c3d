#!/usr/bin/python3
"""Fixtures of tests/parity/test_head.c (scikit-learn's LogisticRegression) and
tests/parity/test_score.c (sklearn.metrics), on data both sides make by formula."""
import os

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (accuracy_score, average_precision_score, balanced_accuracy_score, f1_score,
                             roc_auc_score)

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/parity/fixtures")


def hashes(rows, dim):
    i, d = np.meshgrid(np.arange(rows), np.arange(dim), indexing="ij")
    return (i * 7919 + d * 104729 + i * d * 31) % 1009 - 504


def rule(rows, dim, classes, noise):
    """Integer score of each class: a linear rule and noise."""
    c, d = np.meshgrid(np.arange(classes), np.arange(dim), indexing="ij")
    i, k = np.meshgrid(np.arange(rows), np.arange(classes), indexing="ij")
    return hashes(rows, dim) @ ((c * 17 + d * 5) % 7 - 3).T + noise * ((i * 37 + k * 101) % 61 - 30)


def known(rows, classes):
    """Labels that are known; the others are uncertain or blank."""
    i, c = np.meshgrid(np.arange(rows), np.arange(classes), indexing="ij")
    return (i * 5 + c * 3) % 11 > 1


def losses(z, y):
    return np.logaddexp(0, z) - z * y


# kind, rows, dim, classes, noise, C
HEADS = [("single", 200, 10, 4, 100, 1.0), ("single", 333, 20, 8, 200, 0.01), ("single", 150, 30, 3, 20, 100.0),
         ("single", 1600, 25, 8, 300, 1.0), ("single", 120, 12, 2, 100, 1.0), ("single", 300, 6, 2, 300, 0.05),
         ("multi", 250, 12, 5, 100, 1.0), ("multi", 400, 20, 13, 200, 0.1)]
with open(os.path.join(here, "head.txt"), "w", encoding="ascii") as out:
    print(len(HEADS), file=out)
    for kind, rows, dim, classes, noise, c in HEADS:
        x = hashes(rows, dim) / 256.0
        score = rule(rows, dim, classes, noise)
        options = dict(C=c, tol=1e-9, max_iter=100000)
        if kind == "single":
            y = score.argmax(1)
            fit = LogisticRegression(**options).fit(x, y)
            z = fit.decision_function(x)
            if classes == 2:
                value = losses(z, y).sum() + (fit.coef_ ** 2).sum() / (2 * c)
                margin = np.abs(z)
            else:
                value = (np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1)
                         - z[np.arange(rows), y]).sum() + (fit.coef_ ** 2).sum() / (2 * c)
                margin = np.sort(z, 1)[:, -1] - np.sort(z, 1)[:, -2]
            predicted, coef = fit.predict(x), fit.coef_
        else:
            value, predicted, coef, margin = 0, [], [], []
            for k in range(classes):
                use = known(rows, classes)[:, k]
                y = (score[:, k] > 0).astype(int)
                fit = LogisticRegression(**options).fit(x[use], y[use])
                z = fit.decision_function(x)
                value += losses(z[use], y[use]).sum() + (fit.coef_ ** 2).sum() / (2 * c)
                predicted.append(fit.predict(x))
                coef.append(fit.coef_[0])
                margin.append(np.abs(z))
            predicted, coef = np.array(predicted).T, np.array(coef)
        assert np.min(margin) > 1e-5
        print(kind, rows, dim, classes, noise, c, repr(float(value)), file=out)
        print(*np.ravel(predicted), file=out)
        print(*(f"{w:.7g}" for w in np.ravel(coef)[:60]), file=out)


def minimum(x, y, classes, c, start=None, offset=0.0):
    """(weights and biases, objective) where scikit-learn's objective is least: damped Newton steps on the whole Hessian,
    which end where its own solvers, on rows that can be separated, stop short. Softmax of classes > 1, else logistic."""
    n, dim = x.shape
    ones = np.hstack([x, np.ones((n, 1))])
    penalty = np.ones((classes, dim + 1)) / c
    penalty[:, dim] = 0
    penalty = penalty.ravel()
    truth = np.eye(classes)[y] if classes > 1 else y[:, None]
    w = np.zeros(classes * (dim + 1)) if start is None else start.ravel()

    def logits(w):
        return ones @ w.reshape(classes, -1).T + offset

    def value(w):
        z = logits(w)
        top = z.max(1, keepdims=True)
        loss = (np.log(np.exp(z - top).sum(1)) + (top - z)[truth == 1]).sum() if classes > 1 else losses(z, truth).sum()
        return loss + 0.5 * (penalty * w * w).sum()

    best = value(w)
    for _ in range(200):
        z = logits(w)
        p = np.exp(z - z.max(1, keepdims=True)) if classes > 1 else 1 / (1 + np.exp(-z))
        p = p / p.sum(1, keepdims=True) if classes > 1 else p
        hessian = np.zeros((classes, dim + 1, classes, dim + 1))
        for a in range(classes):
            for b in range(classes):
                hessian[a, :, b] = ones.T @ (ones * (p[:, a] * ((a == b) - p[:, b]))[:, None])
        if classes > 1:  # adding a number to every bias changes nothing: hold their sum
            hessian[:, dim, :, dim] += 1
        gradient = ((p - truth).T @ ones).ravel() + penalty * w
        step = np.linalg.solve(hessian.reshape(len(w), len(w)) + np.diag(penalty), gradient)
        fall, t = gradient @ step, 1.0
        while value(w - t * step) > best - 1e-4 * t * fall and t > 1e-9:
            t /= 2
        if t <= 1e-9:
            break
        w = w - t * step
        best = value(w)
        if fall < 1e-13 * best:
            break
    assert fall < 1e-9 * best
    return w.reshape(classes, -1), best


def search(score):
    """The published search once: the C left over."""
    grid = [6.0, 4.0, 2.0, 0.0, -2.0, -4.0, -6.0]
    peak = grid[int(np.argmax([score(v) for v in grid]))]
    left, right = peak - 1, peak + 1
    for _ in range(8):
        middle = (left + right) / 2
        if score(left) < score(right):
            left = middle
        else:
            right = middle
    return left


# The published search for C: rows, validation rows after them, dim, classes, noise. For each C it tries, at the minimum of
# the objective and where scikit-learn ends (as published: lbfgs, at most 1000 iterations): objective and right answers.
SEARCHES = [(300, 200, 20, 4, 300), (150, 400, 60, 4, 600), (100, 500, 80, 5, 300), (120, 400, 40, 3, 900)]
with open(os.path.join(here, "search.txt"), "w", encoding="ascii") as out:
    print(len(SEARCHES), file=out)
    for rows, val, dim, classes, noise in SEARCHES:
        x = hashes(rows + val, dim) / 256.0
        y = rule(rows + val, dim, classes, noise).argmax(1)
        solved, theirs = {}, {}

        def exact(log10_c):
            if log10_c not in solved:
                near = min(solved, key=lambda v: abs(v - log10_c), default=None)
                for step in np.arange(-6 if near is None else near, log10_c, 0.5)[1:]:  # in steps: Newton needs a start
                    if step not in solved:
                        exact(step)
                near = min(solved, key=lambda v: abs(v - log10_c), default=None)
                w, value = minimum(x[:rows], y[:rows], classes, 10 ** log10_c, None if near is None else solved[near][0])
                z = x[rows:] @ w[:, :dim].T + w[:, dim]
                order = np.sort(z, 1)
                margin = ((order[:, -1] - order[:, -2]) / np.abs(w).max()).min()
                solved[log10_c] = w, value, (z.argmax(1) == y[rows:]).sum(), margin
            return solved[log10_c][2]

        def published(log10_c):
            fit = LogisticRegression(C=10 ** log10_c, max_iter=1000).fit(x[:rows], y[:rows])
            z = fit.decision_function(x[:rows])
            top = z.max(1, keepdims=True)
            value = np.log(np.exp(z - top).sum(1)).sum() + (top[:, 0] - z[np.arange(rows), y[:rows]]).sum()
            value += (fit.coef_ ** 2).sum() / (2 * 10 ** log10_c)
            theirs[log10_c] = value, round(fit.score(x[rows:], y[rows:]) * val)
            return theirs[log10_c][1]

        chosen = search(exact)
        published_chosen = np.mean([search(published) for seed in range(3)])
        print(rows, val, dim, classes, noise, chosen, published_chosen, len(theirs), file=out)
        for log10_c in theirs:
            exact(log10_c)
            w, value, right, margin = solved[log10_c]
            print(log10_c, repr(float(value)), right, f"{margin:.1e}", repr(float(theirs[log10_c][0])), theirs[log10_c][1],
                  file=out)


# A head with fixed logits beside it, as of a hybrid: kind, rows, dim, classes, noise, C. Objective and predictions at the
# minimum, found by Newton steps; for two classes in the difference of the logits, for several labels each by itself.
OFFSETS = [("single", 300, 20, 4, 200, 1.0), ("single", 200, 30, 6, 300, 0.01), ("single", 150, 12, 2, 100, 0.5),
           ("multi", 250, 12, 5, 100, 1.0), ("multi", 300, 16, 3, 200, 0.05)]
with open(os.path.join(here, "offset.txt"), "w", encoding="ascii") as out:
    print(len(OFFSETS), file=out)
    for kind, rows, dim, classes, noise, c in OFFSETS:
        x = hashes(rows, dim) / 256.0
        score = rule(rows, dim, classes, noise)
        i, k = np.meshgrid(np.arange(rows), np.arange(classes), indexing="ij")
        fixed = ((i * 13 + k * 29) % 17 - 8) / 4.0
        if kind == "multi" or classes == 2:
            value, z = 0.0, np.zeros((rows, classes))
            for label in range(classes if kind == "multi" else 1):
                use = known(rows, classes)[:, label] if kind == "multi" else np.ones(rows, bool)
                y = (score[:, label] > 0).astype(int) if kind == "multi" else score.argmax(1)
                own = fixed[:, label] if kind == "multi" else fixed[:, 1] - fixed[:, 0]
                w, least = minimum(x[use], y[use], 1, c, None, own[use, None])
                value += least
                z[:, label] = x @ w[0, :dim] + w[0, dim] + own
            said = (z > 0).astype(int) if kind == "multi" else (z[:, 0] > 0).astype(int)
            margin = np.abs(z if kind == "multi" else z[:, 0])
        else:
            w, value = minimum(x, score.argmax(1), classes, c, None, fixed)
            z = x @ w[:, :dim].T + w[:, dim] + fixed
            said, order = z.argmax(1), np.sort(z, 1)
            margin = order[:, -1] - order[:, -2]
        assert np.min(margin) > 1e-5
        print(kind, rows, dim, classes, noise, c, repr(float(value)), file=out)
        print(*np.ravel(said), file=out)


# kind, rows, dim, classes, noise, share of L1, lambda, balanced
SPARSE = [("single", 200, 30, 4, 100, 0.99, 0.02, 0), ("single", 400, 40, 8, 200, 0.99, 0.005, 0),
          ("single", 300, 25, 3, 100, 0.5, 0.03, 0), ("single", 260, 60, 3, 20, 1.0, 0.01, 0),
          ("single", 300, 30, 5, 200, 0.9, 0.01, 1), ("multi", 250, 24, 5, 100, 0.99, 0.02, 0),
          ("multi", 400, 40, 6, 200, 0.7, 0.01, 1)]
with open(os.path.join(here, "sparse.txt"), "w", encoding="ascii") as out:
    print(len(SPARSE), file=out)
    for kind, rows, dim, classes, noise, alpha, lam, balanced in SPARSE:
        x = hashes(rows, dim) / 256.0
        score = rule(rows, dim, classes, noise)
        x = (x - x.mean(0)) / x.std(0)

        def elastic(x, y):
            # Sums of losses over C n: their C is 1 / (lambda n), n all rows also where a label is not known.
            return LogisticRegression(penalty="elasticnet", solver="saga", l1_ratio=alpha, C=1 / (lam * rows), tol=1e-10,
                                      max_iter=200000, class_weight="balanced" if balanced else None).fit(x, y)

        def penalty(w):
            return lam * (alpha * np.abs(w).sum() + (1 - alpha) / 2 * (w ** 2).sum())

        if kind == "single":
            y = score.argmax(1)
            assert len(np.unique(y)) == classes
            fit = elastic(x, y)
            z = fit.decision_function(x)
            w = rows / (classes * np.bincount(y)) if balanced else np.ones(classes)
            value = (w[y] * (np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1)
                             - z[np.arange(rows), y])).mean() + penalty(fit.coef_)
            predicted, nonzeros = fit.predict(x), np.count_nonzero(fit.coef_)
            margin = np.sort(z, 1)[:, -1] - np.sort(z, 1)[:, -2]
        else:
            value, predicted, nonzeros, margin = 0, [], 0, []
            for k in range(classes):
                use = known(rows, classes)[:, k]
                y = (score[:, k] > 0).astype(int)
                fit = elastic(x[use], y[use])
                z = fit.decision_function(x)
                w = use.sum() / (2 * np.bincount(y[use])) if balanced else np.ones(2)
                value += (w[y] * losses(z, y))[use].sum() / rows + penalty(fit.coef_)
                predicted.append(fit.predict(x))
                nonzeros += np.count_nonzero(fit.coef_)
                margin.append(np.abs(z))
            predicted = np.array(predicted).T
        assert np.min(margin) > 1e-6
        print(kind, rows, dim, classes, noise, alpha, lam, balanced, repr(float(value)), nonzeros, file=out)
        print(*np.ravel(predicted), file=out)


def ece(confidence, right, w):
    total = 0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        total += abs(((right * w)[inside]).sum() - ((confidence * w)[inside]).sum())
    return total / w.sum()


def ranks(y, p, w):
    if w[y == 1].sum() == 0:
        return np.nan, np.nan
    auroc = roc_auc_score(y, p, sample_weight=w) if w[y == 0].sum() > 0 else np.nan
    return auroc, average_precision_score(y, p, sample_weight=w)


SCORES = [("single", 60, 3), ("single", 401, 8), ("single", 90, 2), ("multi", 80, 4), ("multi", 500, 13)]
with open(os.path.join(here, "score.txt"), "w", encoding="ascii") as out:
    print(2 * len(SCORES), file=out)
    for kind, rows, classes in SCORES:
        i, c = np.meshgrid(np.arange(rows), np.arange(classes), indexing="ij")
        level = (i * 31 + c * 17 + i * c * 7) % 23
        for weighted in (0, 1):
            w = (np.arange(rows) * 13) % 4 if weighted else np.ones(rows, int)
            if kind == "single":
                y = (np.arange(rows) * 7 + np.arange(rows) // 5) % classes
                raised = level + 1 + 9 * ((c == y[:, None]) & (i % 3 != 0))
                p = raised / raised.sum(1, keepdims=True)
                said = p.argmax(1)
                per = [ranks((y == k).astype(int), p[:, k], w) for k in range(classes)]
                values = [accuracy_score(y, said, sample_weight=w), balanced_accuracy_score(y, said, sample_weight=w)]
                f1 = f1_score(y, said, average="macro", sample_weight=w)
                calibration = ece(p.max(1), said == y, w)
            else:
                y = ((i * 3 + c * 5 + i * c) % 7 < 3).astype(int)
                p = (level + 20 * y * (i % 3 != 0) + 1) / 64
                use = known(rows, classes)
                said = (p > 0.5).astype(int)
                cols = [(y[use[:, k], k], said[use[:, k], k], p[use[:, k], k], w[use[:, k]]) for k in range(classes)]
                per = [ranks(a, q, v) for a, b, q, v in cols]
                ww = np.broadcast_to(w[:, None], y.shape)[use]
                values = [accuracy_score(y[use], said[use], sample_weight=ww),
                          np.mean([balanced_accuracy_score(a, b, sample_weight=v) for a, b, q, v in cols
                                   if 0 < (a * v).sum() < v.sum()])]  # of labels with both states
                f1 = np.mean([f1_score(a, b, sample_weight=v) for a, b, q, v in cols if ((a + b) * v).any()])
                calibration = ece(np.where(said, p, 1 - p)[use], (said == y)[use], ww)
            per = np.array(per)
            values += [np.nanmean(per[:, 0]), np.nanmean(per[:, 1]), f1, calibration, *per[:, 0], *per[:, 1]]
            print(kind, rows, classes, weighted, file=out)
            print(*(repr(float(v)) for v in values), file=out)
