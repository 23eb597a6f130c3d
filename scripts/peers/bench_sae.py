#!/usr/bin/python3
"""`make bench-peers PEERS=sae`: training the sparse autoencoder beside PyTorch, one epoch of each in turn.

Usage: bench_sae.py [THREADS [SECONDS]]    measures for SECONDS (45) after the warm-up; medians; build/peers/sae.json
N = K = 8192, D = 1024, batch 4096. Both run in single precision and, where processor and library have it, with products
in bf16 (PyTorch: autocast); the better mode of each counts. To hold both to AVX2 on a newer processor:
ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 BLIS_ARCH_TYPE=3 (the number of haswell in BLIS 0.9).
"""
import json
import os
import statistics
import subprocess
import sys
import time

from processor import flags, has_bf16

if "MALLOC_TOP_PAD_" not in os.environ:  # PyTorch's best mode: memory that it gave back stays with the process
    os.environ.update(MALLOC_MMAP_MAX_="0", MALLOC_TRIM_THRESHOLD_=str(1 << 40), MALLOC_TOP_PAD_=str(1 << 28))
    os.execv(sys.executable, [sys.executable, *sys.argv])
if "avx512vl" in flags():  # else BLIS below PyTorch may run scalar code
    os.environ.setdefault("BLIS_ARCH_TYPE", "0")
MODES = ("", "-bf16") if has_bf16() else ("",)  # of ours
import torch

N, D, K, BATCH, TOP = 8192, 1024, 8192, 4096, 64
THREADS = int(sys.argv[1]) if len(sys.argv) > 1 else 2
LIMIT = float(sys.argv[2]) if len(sys.argv) > 2 else 45
torch.set_num_threads(THREADS)
torch.manual_seed(0)
x = torch.randn(N, D)


class Peer:
    """An autoencoder in PyTorch: relu, or topk for k > 0."""

    def __init__(self, k, bf16):
        self.k, self.bf16 = k, bf16
        self.decoder = torch.nn.functional.normalize(torch.randn(K, D), dim=1).requires_grad_()
        self.encoder = self.decoder.detach().clone().requires_grad_()
        self.be, self.b = torch.zeros(K, requires_grad=True), torch.zeros(D, requires_grad=True)
        self.adam = torch.optim.Adam([self.encoder, self.be, self.decoder, self.b], lr=1e-9)
        self.step(x[:BATCH])

    def step(self, batch):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            f = torch.relu((batch - self.b) @ self.encoder.T + self.be)
            if self.k:
                value, index = f.topk(self.k, dim=1, sorted=False)
                f = torch.zeros_like(f).scatter_(1, index, value)
            out = f @ self.decoder + self.b
        loss = ((out.float() - batch)**2).mean(1).mean()
        if not self.k:
            loss = loss + 3e-5 * f.float().sum(1).mean()
        self.adam.zero_grad(set_to_none=False)
        loss.backward()
        with torch.no_grad():
            g, w = self.decoder.grad, self.decoder
            g.sub_((g * w).sum(1, keepdim=True) * w)
        self.adam.step()
        with torch.no_grad():
            self.decoder.div_(self.decoder.norm(dim=1, keepdim=True))

    def epoch(self):
        begin = time.time()
        for first in range(0, N, BATCH):
            self.step(x[first:first + BATCH])
        return time.time() - begin


class Ours:
    def __init__(self):
        build = os.environ.get("BUILD", "build/gcc")
        self.process = subprocess.Popen([f"{build}/tests/bench/bench_sae", str(THREADS), "serve"], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ready = self.process.stdout.readline().strip()

    def epoch(self, case):
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()
        seconds, active = self.process.stdout.readline().split()
        return float(seconds), float(active)


ours = Ours()
peers = {"relu": Peer(0, False), "topk": Peer(TOP, False)}
if has_bf16():
    peers.update({"relu bf16": Peer(0, True), "topk bf16": Peer(TOP, True)})
rows = [("relu, dense codes", "relu-dense", "relu", "1.1"), ("relu, sparse codes", "relu-sparse", "relu", "3"),
        ("topk k=64", "topk", "topk", "4"), ("batchtopk k=64", "batchtopk", "topk", "-")]
print(f"PyTorch {torch.__version__}, {THREADS} threads, ours {ours.ready}; N {N}, D {D}, K {K}, batch {BATCH}", flush=True)
mine, theirs, active = {}, {}, {}
for row in rows:
    for mode in MODES:
        ours.epoch(row[1] + mode)
start = time.time()
while not mine or time.time() - start < LIMIT:
    for name in peers:
        if name.startswith("relu"):
            theirs.setdefault(name, []).append(peers[name].epoch())
    for _, case, _, _ in rows:
        for mode in (case + mode for mode in MODES):
            seconds, active[mode] = ours.epoch(mode)
            mine.setdefault(mode, []).append(seconds)
    for name in peers:
        if name.startswith("topk"):
            theirs.setdefault(name, []).append(peers[name].epoch())
score = ours.epoch("score")[0]
own, middle = ({name: statistics.median(v) for name, v in of.items()} for of in (mine, theirs))
print(f"medians of {len(mine['topk'])} epochs each, in turn\n")
print("| what | L0 | ours | PyTorch | fp32 beside fp32 | best beside best | wanted |")
print("| --- | --- | --- | --- | --- | --- | --- |")
out = []
for what, case, peer, wanted in rows:
    best = min((name for name in peers if name.startswith(peer)), key=middle.get)
    fastest = min(own[case + mode] for mode in MODES)
    ratio, single = middle[best] / fastest, middle[peer] / own[case]
    told = [f"fp32 {own[case]:.2f} s", f"fp32 {middle[peer]:.2f} s"]
    if has_bf16():
        told = [told[0] + f", bf16 {own[case + '-bf16']:.2f} s", told[1] + f", bf16 {middle[peer + ' bf16']:.2f} s"]
    print(f"| {what} | {active[case]:.0f} | {told[0]} | {told[1]} | {single:.1f} | {ratio:.2f} | {wanted} |")
    out.append({"what": what, "l0": active[case], "ours": fastest, "ours_fp32": own[case], "peer": middle[best],
                "mode": best, "ratio": ratio, "ratio_fp32": single, "wanted": wanted})
print(f"| monosemanticity, {K} neurons, {N} rows | | {score:.2f} s | | | | under 10 s |")
out.append({"what": "monosemanticity", "ours": score, "wanted": "under 10 s"})
os.makedirs("build/peers", exist_ok=True)
with open("build/peers/sae.json", "w", encoding="utf-8") as f:
    json.dump(out, f, indent=1)
