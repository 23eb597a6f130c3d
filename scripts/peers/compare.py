#!/usr/bin/python3
"""PyTorch and cfn alternately on the same cores; see scripts/bench-peers for its options.

Each measurement is a process of its own, and a round runs every mode once, each
round starting at another one. A PyTorch mode slower than half the best of its
kind after the first round is not repeated, one that has not ended after --limit
seconds is given up. Where the libraries are held to instructions without
bfloat16 (ONEDNN_MAX_CPU_ISA), its modes are left out. Results are kept as one
JSON file a backbone, so the table can be made from runs at different times.
"""
import argparse
import glob
import json
import os
import signal
import statistics
import subprocess
import sys

from processor import has_bf16

HERE = os.path.dirname(os.path.abspath(__file__))
MODES = (  # mode of torch_mode.py, with tcmalloc, trains too
    ("plain", False, True),
    ("plain", True, True),
    ("channels_last", False, True),
    ("channels_last", True, True),
    ("bf16", False, True),
    ("bf16", True, True),
    ("bf16_weights", True, False),
    ("frozen", True, False),
)
NEWER = MODES + (("compile", True, True), ("compile_bf16", True, True))  # modes of PyTorch 2
LOW = ("bf16", "bf16_weights", "compile_bf16")  # modes that are not single precision
WANTED = {  # train against the best, train fp32 against the best fp32, embed against the best
    "resnet18": (1.4, 1.1, 1.2),
    "resnet50": (1.5, 1.25, 1.2),
    "densenet121": (1.6, 1.25, 1.4),
    "convnext_tiny": (5, 2.5, 4),
    "vit_b_16": (4, 2, 4),
}


def tcmalloc(root=""):
    found = sorted(glob.glob(root + "/usr/lib/*/libtcmalloc_minimal.so.4") +
                   glob.glob(root + "/usr/lib*/libtcmalloc_minimal.so.4"))
    return found[0][len(root):] if found else None


def root_of(release):
    default = os.path.join(HERE, "../../build/roots/debian" + release)
    return os.path.realpath(os.environ.get("DEBIAN%s_ROOT" % release, default)) if release else ""


def clean_environment(args):
    env = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_") and k != "LD_PRELOAD"}
    env["OMP_NUM_THREADS"] = str(args.threads)
    return env


def last_json(command, env, limit, script=None):
    """The JSON a command prints, or None when it ends with an error or not in time; `script` is its standard input."""
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, start_new_session=True) as process:
        try:
            out, err = process.communicate(script, timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # and what it started in another root
            print("  %s: no end after %d s" % (" ".join(command[:4]), limit), file=sys.stderr)
            return None
    if process.returncode != 0:
        print("  %s: exit %d: %s" % (" ".join(command[:4]), process.returncode, err.strip()[-300:]), file=sys.stderr)
        return None
    return json.loads(out[out.index("{"):])


def run_torch(args, backbone, mode, preload, release):
    """release: of Debian, in a root of its own (scripts/on-debian), "" for this system."""
    env = clean_environment(args)
    words = [backbone, mode, "--batch", str(args.batch), "--size", str(args.size), "--threads", str(args.threads)]
    words += ["--seconds", str(args.seconds)]
    with open(os.path.join(HERE, "torch_mode.py")) as file:
        script = file.read()
    inside = ["env", "LD_PRELOAD=" + tcmalloc(root_of(release))] if preload else []
    enter = [os.path.join(HERE, "..", "on-debian"), release] if release else []
    return last_json(enter + inside + ["/usr/bin/python3", "-"] + words, env, args.limit, script)


def run_cfn(args, backbone, precision):
    env = clean_environment(args)
    for name in ("OMPI_MCA_mpi_yield_when_idle",):
        env.pop(name, None)
    command = [args.cfn, "bench-model", backbone, "--batch", str(args.batch), "--size", str(args.size)]
    command += ["--threads", str(args.threads), "--precision", precision, "--shards", str(args.shards)]
    got = last_json(command + ["--seconds", str(args.seconds), "--json"], env, args.limit)
    if not got:
        return None
    return {
        "train": got["train"]["images_per_second"],
        "train_peak": got["train"]["peak_bytes"],
        "embed": got["embed"]["images_per_second"],
        "embed_peak": got["embed"]["peak_bytes"],
    }


def is_low(name):
    return name.split("+")[0].split(" ")[-1] in LOW


def is_slow(results, name, trains):
    """True when this mode is below half of the fastest of PyTorch's modes at everything it does."""
    if not results.get(name):
        return True
    for kind in ("train", "embed") if trains else ("embed",):
        best = max(r[0][kind] for n, r in results.items() if n.startswith("torch") and r and kind in r[0])
        if results[name][0][kind] > 0.5 * best:
            return False
    return True


def measure(args, backbone):
    jobs = [("cfn " + p, None, None, True, "") for p in args.precisions]
    for release in [""] + ([args.release] if args.release else []):
        who = "torch-debian%s " % release if release else "torch "
        for mode, preload, trains in NEWER if release else MODES:
            if (not preload or tcmalloc(root_of(release))) and (args.bf16 or mode not in LOW):
                jobs.append((who + mode + ("+tcmalloc" if preload else ""), mode, preload, trains, release))
    results = {job[0]: [] for job in jobs}
    for turn in range(args.rounds):
        at = turn * 3 % len(jobs)
        for name, mode, preload, trains, release in jobs[at:] + jobs[:at]:
            if turn > 0 and (not results[name] if not mode else is_slow(results, name, trains)):
                continue
            got = run_torch(args, backbone, mode, preload, release) if mode else run_cfn(args, backbone, name.split()[1])
            if not got:
                continue
            results[name].append(got)
            print("  round %d  %-32s train %7s  embed %7s img/s" % (
                turn + 1, name, "%.1f" % got["train"] if "train" in got else "-", "%.1f" % got["embed"]), flush=True)
    return results


def medians(results):
    """name -> kind -> median over the rounds; modes that never ran are left out."""
    out = {}
    for name, runs in results.items():
        kinds = runs[0].keys() & {"train", "embed", "train_peak", "embed_peak"} if runs else ()
        out[name] = {k: statistics.median(r[k] for r in runs) for k in kinds}
    return {n: m for n, m in out.items() if m}


def best(table, kind, who, low=None):
    """Fastest of `who`: (images a second, its memory, name); low: only bf16, only fp32, or any."""
    found = [(m[kind], m[kind + "_peak"], n) for n, m in table.items()
             if n.startswith(who) and kind in m and low in (None, is_low(n))]
    return max(found) if found else None


def row(backbone, what, kind, ours, peer, wanted):
    if not ours or not peer:
        return None
    mode = peer[2].split(" ", 1)[1]
    return "| %s | %s | %.1f | %.1f (%s) | %.2f | %s | %.2f | %.2f | %.0f %% |" % (
        backbone, what, ours[0], peer[0], mode, ours[0] / peer[0], "%g" % wanted if wanted else "",
        ours[1] / 1e9, peer[1] / 1e9, 100 * ours[1] / peer[1])


def summary(tables):
    lines = ["| backbone | | cfn img/s | PyTorch img/s (mode) | ratio | wanted | cfn GB | PyTorch GB | memory |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for backbone, table in tables.items():
        wanted = WANTED.get(backbone, (None, None, None))
        for kind, any_wanted, low_wanted in (("train", wanted[0], wanted[1]), ("embed", wanted[2], None)):
            fp32 = best(table, kind, "cfn", False) if "cfn fp32" in table else None
            lines.append(row(backbone, kind + ", best", kind, best(table, kind, "cfn"), best(table, kind, "torch"),
                             any_wanted))
            lines.append(row(backbone, kind + ", fp32", kind, fp32, best(table, kind, "torch", False), low_wanted))
    return [line for line in lines if line]


def details(tables):
    lines = ["| backbone | mode | train img/s | train GB | embed img/s | embed GB |", "| --- | --- | --- | --- | --- | --- |"]
    for backbone, table in tables.items():
        for name, m in table.items():
            train = ("%.1f" % m["train"], "%.2f" % (m["train_peak"] / 1e9)) if "train" in m else ("", "")
            lines.append("| %s | %s | %s | %s | %.1f | %.2f |" % (
                (backbone, name.replace("torch", "PyTorch")) + train + (m["embed"], m["embed_peak"] / 1e9)))
    return lines


def can_build(args, backbone):
    return subprocess.run([args.cfn, "model", backbone], env=clean_environment(args), capture_output=True).returncode == 0


def main():
    parser = argparse.ArgumentParser(prog="bench-peers")
    parser.add_argument("backbones", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"] if has_bf16() else ["fp32"])
    parser.add_argument("--limit", type=float, default=400, help="seconds a mode may take")
    parser.add_argument("--results", default="build/peers")
    parser.add_argument("--release", default="", help="of Debian, 12 or 13: its PyTorch, in its own root, is measured too")
    parser.add_argument("--table", action="store_true", help="no measurement: the table of what is there")
    args = parser.parse_args()
    args.bf16 = "bf16" in args.precisions
    args.cfn = os.environ.get("CFN", "build/gcc/cfn")
    os.makedirs(args.results, exist_ok=True)
    tables = {}
    for backbone in args.backbones or list(WANTED):
        path = os.path.join(args.results, backbone + ".json")
        if not args.table and not can_build(args, backbone):
            print("%s: not in this version of cfn" % backbone)
        elif not args.table:
            print("%s, batch %d, %dx%d, %d threads" % (backbone, args.batch, args.size, args.size, args.threads), flush=True)
            with open(path + ".part", "w") as file:
                json.dump(measure(args, backbone), file, indent=1)
            os.replace(path + ".part", path)
        if os.path.exists(path):
            with open(path) as file:
                tables[backbone] = medians(json.load(file))
    print("\n" + "\n".join(summary(tables)) + "\n\n" + "\n".join(details(tables)))


if __name__ == "__main__":
    main()
