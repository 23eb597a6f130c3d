#!/usr/bin/python3
"""Facility location beside apricot's lazy greedy, 800 of n vectors of 1024 entries, similarity included

apricot 0.6.1 is not in the package lists, so its algorithm stands in: similarities in double precision by the library's
product, squared cosines, then a priority queue of gains from which one candidate at a time is evaluated again until it
still leads (numpy in place of numba: each evaluation is two vectorised passes). What apricot itself took is quoted with
its source. Every round is a new process for both; ours runs twice in it, on fresh memory and again.
"""
import argparse
import heapq
import json
import os
import re
import statistics
import subprocess
import sys
import time

import numpy as np

D, K = 1024, 800
APRICOT = {8192: 7.1}  # seconds of apricot 0.6.1 itself, lazy, measured on such a 2-core machine at another time


def vectors(n):
    """Those of tests/bench/bench_select.c."""
    u = np.uint32
    row = np.arange(n, dtype=u)
    centre = (row + u(1)) * u(2654435761)
    centre = (centre ^ centre >> u(15)) * u(2246822519)
    a, b = (centre ^ centre >> u(13)) % u(2000) * u(2654435761), row * u(2246822519) + u(374761393)
    x = np.empty((n, D), np.float32)
    for d in range(D):
        a = a * u(1664525) + u(1013904223)
        b = b * u(22695477) + u(1)
        x[:, d] = ((a >> u(8)).astype(np.float32) + (b >> u(8)).astype(np.float32)) / np.float32(16777216) - np.float32(1)
    return x


def apricot_lazy(x, k):
    x = x.astype(np.float64)
    x /= np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
    similarity = x @ x.T
    np.square(similarity, out=similarity)
    n = len(x)
    best, spare = np.zeros(n), np.empty(n)
    queue = [(-gain, i) for i, gain in enumerate(similarity.sum(axis=1))]
    heapq.heapify(queue)
    picks, evaluations = [], n
    _, first = heapq.heappop(queue)
    while True:
        picks.append(first)
        np.maximum(best, similarity[first], out=best)
        if len(picks) == k:
            return picks, evaluations
        value, leader = best.sum(), (np.inf, -1)
        while True:
            if leader[0] <= queue[0][0]:
                break
            _, i = heapq.heappop(queue)
            np.maximum(similarity[i], best, out=spare)
            gain = value - spare.sum()
            evaluations += 1
            if leader[1] >= 0:
                worse = max(leader, (gain, i))
                leader = min(leader, (gain, i))
                heapq.heappush(queue, worse)
            else:
                leader = (gain, i)
        first = leader[1]


def ours(n, threads):
    program = os.path.join(os.environ["BUILD"], "tests/bench/bench_select")
    env = dict(os.environ, OMP_NUM_THREADS=str(threads))
    text = subprocess.run([program, "lazy", str(n), str(K), str(threads), "2"], env=env, capture_output=True, text=True, check=True).stdout
    fresh, again = (float(s) for s in re.findall(r": ([\d.]+) s", text))
    return fresh, again, [int(i) for i in re.search(r"picks (.*)", text)[1].split()]


def peer(n, threads):
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))
    text = subprocess.run([sys.executable, __file__, "--peer", str(n)], env=env, capture_output=True, text=True, check=True).stdout
    return json.loads(text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", default="build/peers")
    args = parser.parse_args()
    if args.peer:
        x = vectors(args.peer)
        begin = time.perf_counter()
        picks, evaluations = apricot_lazy(x, K)
        print(json.dumps([time.perf_counter() - begin, picks, evaluations]))
        return
    rows = []
    for n in (8192, 10000):
        runs = [(ours(n, args.threads), peer(n, args.threads)) for _ in range(args.rounds)]
        fresh, again, theirs = (statistics.median(v) for v in zip(*((a[0], a[1], b[0]) for a, b in runs)))
        same = sum(a == b for a, b in zip(runs[-1][0][2], runs[-1][1][1]))
        rows.append({"n": n, "fresh": fresh, "again": again, "peer": theirs, "apricot": APRICOT.get(n),
                     "same_picks": same, "peer_gains": runs[-1][1][2]})
    print("facility location, %d of n vectors, D %d, %d threads, similarity included, median of %d"
          % (K, D, args.threads, args.rounds))
    print("| what | cfn | peer (mode) | ratio | wanted |\n| --- | --- | --- | --- | --- |")
    for r in rows:
        for name in ("fresh", "again"):
            what = "n %d, %s" % (r["n"], "new process" if name == "fresh" else "again in it")
            wanted = "under 1 s" if r["n"] == 10000 else ""
            print("| %s | %.3f s | %.2f s (its algorithm in numpy) | %.1f | %s |" % (what, r[name], r["peer"], r["peer"] / r[name], wanted))
            if r["apricot"]:
                print("| %s | %.3f s | %.1f s (apricot 0.6.1, quoted) | %.1f | 10 |" % (what, r[name], r["apricot"], r["apricot"] / r[name]))
        print("picks equal at n = %d: %d of %d" % (r["n"], r["same_picks"], K), file=sys.stderr)
    os.makedirs(args.results, exist_ok=True)
    with open(os.path.join(args.results, "select.json"), "w", encoding="ascii") as out:
        json.dump(rows, out, indent=1)


main()
