#!/usr/bin/python3
"""`make bench-peers PEERS=sweep`: sae.sweep beside the same trainings one after another, alternately, whole stages.

Usage: bench_sweep.py [--rows 8192] [--dim 1024] [--epochs 5] [--rounds 3] [--ranks 1 2] [--results build/peers]
Four trainings of batchtopk: neurons=2048,4096 k=32,64. Generated representations; every run reads them, trains,
measures and writes. Cores are shared out among the ranks. Prints a table and writes sweep.json.
"""
import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

NEURONS, TOP = (2048, 4096), (32, 64)
CFN, WORK = os.environ["CFN"], "build/bench-sweep"


def sae(ranks, args, trial, **settings):
    """Seconds of one stage."""
    folder = f"{WORK}/t/resnet18/{trial}"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    os.symlink("../1/embeddings.h5", f"{folder}/embeddings.h5")
    settings = {"variant": "batchtopk", "epochs": args.epochs, "batch": 1024, **settings}
    threads = max(1, len(os.sched_getaffinity(0)) // ranks)
    command = ["mpirun", "-n", str(ranks), CFN, "sae", "--result_dir", WORK, "--data", "t", "--backbone", "resnet18",
               "--trial", str(trial), "--set", f"threads={threads}"]
    for key, value in settings.items():
        command += ["--set", f"sae.{key}={value}"]
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return seconds


def main():
    parser = argparse.ArgumentParser()
    for name, default in (("rows", 8192), ("dim", 1024), ("epochs", 5), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--results", default="build/peers")
    args = parser.parse_args()
    subprocess.run([sys.executable, "tests/support/make_run.py", f"{WORK}/t/resnet18/1", str(args.rows), str(args.dim),
                    "3", "12"], check=True)
    both = list(itertools.product(NEURONS, TOP))
    sweep = f"neurons={','.join(map(str, NEURONS))} k={','.join(map(str, TOP))}"
    rows = []
    for ranks in args.ranks:
        runs = [(sae(ranks, args, 2, sweep=sweep), sum(sae(ranks, args, 3, neurons=n, k=k) for n, k in both))
                for _ in range(args.rounds)]
        together, apart = (statistics.median(v) for v in zip(*runs))
        rows.append({"ranks": ranks, "together": together, "apart": apart})
    print(f"{len(both)} trainings, {args.rows} rows of {args.dim}, {args.epochs} epochs, medians of {args.rounds} rounds")
    print("| ranks | sae.sweep | one after another | ratio |\n| --- | --- | --- | --- |")
    for r in rows:
        print("| %d | %.1f s | %.1f s | %.2f |" % (r["ranks"], r["together"], r["apart"], r["apart"] / r["together"]))
    os.makedirs(args.results, exist_ok=True)
    with open(os.path.join(args.results, "sweep.json"), "w", encoding="ascii") as out:
        json.dump(rows, out, indent=1)


main()
