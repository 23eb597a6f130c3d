#!/usr/bin/python3
"""The published search for C beside scikit-learn's LogisticRegression: n = 8,010, 1024-d, 7 classes, the same cores.

The published script fits 7 values of C, then 8 times both ends of the interval, all of it for three seeds that change
nothing: 69 fits. They would take minutes, so scikit-learn makes six of them here, from C = 1e-6 to 1e2; a fit is the
same each time, so its seconds count as often as the script makes it. C between are interpolated in log10 C, those
beyond 1e2 counted as that one, which ends at max_iter. Which C are tried follows from the validation scores of our
search. Ours runs whole, three times, between theirs.

scikit-learn runs in its best mode: float64 or float32 rows, the installed BLAS with vector kernels or, where its folder
exists, OpenBLAS (environment PEER_BLAS: folder of its libblas.so.3); 60 iterations of each mode choose.
Rows look like pooled features: positive, correlated, classes of unequal size.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

THREADS, N, VAL, D, C, SEEDS = "2", 8010, 1000, 1024, 7, 3
OPENBLAS = os.environ.get("PEER_BLAS", "/usr/lib/x86_64-linux-gnu/openblas-pthread")
MEASURED = [-6.0, -4.0, -3.0, -2.0, 0.0, 2.0]


def make_rows():
    import numpy as np
    rng = np.random.default_rng(1)
    label = rng.choice(C, N + VAL, p=[0.67, 0.11, 0.11, 0.05, 0.03, 0.02, 0.01])
    hidden = rng.normal(size=(N + VAL, 96)) + 0.22 * rng.normal(size=(C, 96))[label]
    x = np.maximum(hidden @ rng.normal(size=(96, D)) / 10 + 0.3 * rng.normal(size=(N + VAL, D)), 0)
    return x.astype(np.float32), label.astype(np.int32)


def peer(path, dtype, max_iter, *log10_cs):
    """A process of its own: one line of JSON a fit, after a line on the input asks for it."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    warnings.simplefilter("ignore")
    with open(path, "rb") as file:
        file.seek(32)
        x = np.fromfile(file, np.float32, (N + VAL) * D).reshape(-1, D).astype(dtype)
        y = np.fromfile(file, np.int32)
    for log10_c in map(float, log10_cs):
        begin = time.perf_counter()
        fit = LogisticRegression(C=10 ** log10_c, max_iter=int(max_iter)).fit(x[:N], y[:N])
        right = fit.score(x[N:], y[N:])
        print(json.dumps([log10_c, time.perf_counter() - begin, int(fit.n_iter_[0]), right]), flush=True)


def run_peer(path, mode, max_iter, *log10_cs):
    blas, dtype = mode
    env = dict(os.environ, OMP_NUM_THREADS=THREADS, OPENBLAS_NUM_THREADS=THREADS, BLIS_NUM_THREADS=THREADS)
    with open("/proc/cpuinfo", encoding="ascii") as info:
        if "avx512bw" in info.read():  # old versions know no newer processors and fall back to scalar code
            env.update(OPENBLAS_CORETYPE="SkylakeX", BLIS_ARCH_TYPE="0")
    if blas == "OpenBLAS":
        env["LD_LIBRARY_PATH"] = OPENBLAS
    done = subprocess.run([sys.executable, __file__, "peer", path, dtype, str(max_iter), *map(str, log10_cs)], env=env,
                          capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def published(scores):
    """The C of one seed of the published search, repeats included, from the scores of our trials."""
    grid = [6.0, 4.0, 2.0, 0.0, -2.0, -4.0, -6.0]
    made = list(grid)
    peak = max(grid, key=lambda v: scores[v])  # the first of equals
    left, right = peak - 1, peak + 1
    for _ in range(8):
        made += [left, right]
        middle = (left + right) / 2
        left, right = (middle, right) if scores[left] < scores[right] else (left, middle)
    return made


def main():
    import numpy as np
    import sklearn
    x, y = make_rows()
    program = os.environ["BUILD"] + "/tests/bench/bench_head"
    ours = []
    with tempfile.NamedTemporaryFile() as file:
        file.write(np.array([N, VAL, D, C], np.int64).tobytes() + x.tobytes() + y.tobytes())
        file.flush()

        def run():
            text = subprocess.run([program, file.name, THREADS], capture_output=True, text=True, check=True).stdout
            ours.append((float(text.split()[0]), text.splitlines()))

        blas = ["OpenBLAS"] if os.path.exists(OPENBLAS + "/libblas.so.3") else ["installed BLAS"]
        modes = [(b, t) for b in blas for t in ("float64", "float32")]
        probe = {m: run_peer(file.name, m, 60, -2.0)[0][1] for m in modes}
        mode = min(probe, key=probe.get)
        fits = []
        for part in (MEASURED[:4], MEASURED[4:5], MEASURED[5:]):
            run()
            fits += run_peer(file.name, mode, 1000, *part)
    seconds = {f[0]: f[1] for f in fits}
    at = sorted(seconds)
    scores = dict(tuple(map(float, line.split()[:2])) for line in ours[0][1][1:-1])  # between summary and time of preparation
    made = published(scores)
    one = sum(float(np.interp(v, at, [seconds[a] for a in at])) for v in made)
    distinct = sum(float(np.interp(v, at, [seconds[a] for a in at])) for v in set(made))
    median = statistics.median(o[0] for o in ours)
    said = f"scikit-learn {sklearn.__version__}, {mode[0]}, {mode[1]}, {THREADS} threads"
    rows = [["the published search for C, 69 fits", f"{median:.2f} s", f"{SEEDS * one:.0f} s ({said}; from 6 fits)",
             SEEDS * one / median, 10],
            ["one of its three seeds, 23 fits", f"{median:.2f} s", f"{one:.0f} s", one / median, None],
            [f"each C once, {len(set(made))} fits", f"{median:.2f} s", f"{distinct:.0f} s", distinct / median, None]]
    print("| what | ours | peer (mode) | ratio | wanted |\n| --- | --- | --- | --- | --- |")
    for row in rows:
        print("| %s | %s | %s | %.1f | %s |" % (*row[:4], row[4] or ""))
    print("ours:", ours[0][1][0])
    print("modes, seconds of 60 iterations:", ", ".join(f"{b} {t} {probe[b, t]:.2f}" for b, t in modes))
    for log10_c, took, iterations, right in fits:
        print(f"theirs at C 1e{log10_c:g}: {took:.2f} s, {iterations} iterations, accuracy {right:.4f}"
              + (f" (ours {scores[log10_c]:.4f})" if log10_c in scores else ""))
    os.makedirs("build/peers", exist_ok=True)
    with open("build/peers/head.json", "w", encoding="ascii") as out:
        json.dump(rows, out, indent=1)


if sys.argv[1:2] == ["peer"]:
    peer(*sys.argv[2:])
else:
    main()
