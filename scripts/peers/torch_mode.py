#!/usr/bin/python3
"""One measurement of PyTorch: a backbone of torchvision in one mode, in a process of its own.

Usage: torch_mode.py BACKBONE MODE [--batch 16] [--size 224] [--threads 2] [--seconds 3] [--train 1]

Embeds first (eval, no_grad), then trains (forward, backward, AdamW), so that each
peak of memory is its own. Prints one JSON object: images a second from the median
step, and the peak resident memory (VmHWM, reset between the two where the kernel
allows it), in bytes. Images are random and stay in memory: no loading is measured.

Modes: plain          as installed
       channels_last  memory format of model and images
       bf16           channels_last and torch.autocast
       bf16_weights   channels_last, model and images in bfloat16 (embedding only)
       frozen         channels_last, torch.jit.trace, freeze and optimize_for_inference (embedding only)
       compile        channels_last and torch.compile (version 2; needs a C++ compiler)
       compile_bf16   the same under torch.autocast
"""
import argparse
import json
import os
import statistics
import time
import warnings

warnings.filterwarnings("ignore")

import torch  # noqa: E402
import torchvision  # noqa: E402

CLASSES = 1000
TRAINS = ("plain", "channels_last", "bf16", "compile", "compile_bf16")
BF16 = ("bf16", "compile_bf16")


def peak_bytes():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def reset_peak():
    try:
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")
    except OSError:
        pass


def rate(step, batch, seconds):
    """Images a second: the median of the steps that fit, after warming up."""
    begin = time.perf_counter()
    step()
    if time.perf_counter() - begin < seconds:
        step()
    times = []
    begin = time.perf_counter()
    while not times or time.perf_counter() - begin < seconds:
        before = time.perf_counter()
        step()
        times.append(time.perf_counter() - before)
    return batch / statistics.median(times)


def embedding(model, images, mode):
    model.eval()
    if mode == "bf16_weights":
        model, images = model.bfloat16(), images.bfloat16()
    if mode == "frozen":
        with torch.no_grad():
            model = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, images)))

    def step():
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=mode in BF16):
            model(images)

    return step


def training(model, images, mode):
    model.train()
    labels = torch.arange(len(images)) % CLASSES
    loss_of = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=1e-2)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=mode in BF16):
            loss = loss_of(model(images).float(), labels)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("backbone")
    parser.add_argument("mode")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--train", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    size = {"image_size": args.size} if args.backbone.startswith("vit") else {}
    model = getattr(torchvision.models, args.backbone)(weights=None, **size)
    images = torch.rand(args.batch, 3, args.size, args.size)
    if args.mode != "plain":
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    if args.mode.startswith("compile"):
        model = torch.compile(model)
    result = {"torch": torch.__version__, "mode": args.mode, "tcmalloc": "tcmalloc" in os.environ.get("LD_PRELOAD", "")}
    reset_peak()
    result["embed"] = rate(embedding(model, images, args.mode), args.batch, args.seconds)
    result["embed_peak"] = peak_bytes()
    if args.train and args.mode in TRAINS:
        reset_peak()
        result["train"] = rate(training(model, images, args.mode), args.batch, args.seconds)
        result["train_peak"] = peak_bytes()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
