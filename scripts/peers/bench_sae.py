#!/usr/bin/python3
"""PyTorch beside bench_sae: the same training step, plain and in the fastest forms found.

Usage: bench_sae.py [THREADS [SECONDS]]    prints seconds of an epoch, best of what fits in the time
"""
import sys
import time

import torch

N, D, K, BATCH = 8192, 1024, 8192, 4096
threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
limit = float(sys.argv[2]) if len(sys.argv) > 2 else 10
torch.set_num_threads(threads)
torch.manual_seed(0)
x = torch.randn(N, D)


def measure(name, k, encoder_bias, bf16):
    decoder = torch.nn.functional.normalize(torch.randn(K, D), dim=1).requires_grad_()
    encoder = decoder.detach().clone().requires_grad_()
    be = torch.full((K,), encoder_bias).requires_grad_()
    b = torch.zeros(D).requires_grad_()
    adam = torch.optim.Adam([encoder, be, decoder, b], lr=1e-9)
    active = 0.0

    def step(batch):
        nonlocal active
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            p = torch.relu((batch - b) @ encoder.T + be)
            if k:
                value, index = p.topk(k, dim=1, sorted=False)
                f = torch.zeros_like(p).scatter_(1, index, value)
            else:
                f = p
            out = f @ decoder + b
        loss = ((out.float() - batch)**2).mean(1).mean()
        if not k:
            loss = loss + 3e-5 * f.float().sum(1).mean()
        adam.zero_grad(set_to_none=False)
        loss.backward()
        with torch.no_grad():
            decoder.grad.sub_((decoder.grad * decoder).sum(1, keepdim=True) * decoder)
        adam.step()
        with torch.no_grad():
            decoder.div_(decoder.norm(dim=1, keepdim=True))
        return (f > 0).float().sum(1).mean().item()

    best, start, epochs = 1e9, time.time(), 0
    active = step(x[:BATCH])
    while epochs < 2 or time.time() - start < limit:
        begin = time.time()
        for first in range(0, N, BATCH):
            step(x[first:first + BATCH])
        best = min(best, time.time() - begin)
        epochs += 1
    print(f"  {name:12} L0 {active:7.1f} {best:8.3f} s an epoch {N / best:8.0f} row/s", flush=True)


print(f"PyTorch {torch.__version__}, {threads} threads")
measure("relu", 0, 0.0, False)
measure("relu bf16", 0, 0.0, True)
measure("topk", 64, 0.0, False)
measure("topk bf16", 64, 0.0, True)
