#!/usr/bin/python3
"""Training steps of torchvision's vit_b_16, for tests/parity/test_vit.c.

Usage: dump_vit.py [DIR]     writes DIR/vit.txt (default tests/parity/fixtures)

Weights, images and labels come from the formula of dump_resnet.py on both sides. A case holds the first step's scores,
each gradient as its norm and its product with a formula vector, some gradients whole, the losses of the AdamW steps,
and scores and representation of the network in evaluation mode after the last one. Computed in double.
"""
import os
import sys

import numpy as np
import torch
import torchvision

CASES = [  # size, batch, classes, multi-label, steps
    (48, 4, 7, 0, 10),
    (32, 4, 3, 1, 3),
    (224, 1, 5, 0, 0),
]
LR, DECAY = 2e-6, 1e-2
IMAGES, TARGETS, MASK, PROBE = 901, 902, 903, 904
WHOLE = ("class_token", "heads.head.bias", "encoder.ln.weight", "encoder.layers.encoder_layer_0.ln_1.bias",
         "encoder.layers.encoder_layer_11.self_attention.out_proj.bias")


def formula(count, salt):
    """[-1, 1), exact in single precision: the same integers in C."""
    h = (np.arange(count, dtype=np.uint64) + np.uint64(salt * 1000003)) * np.uint64(2654435761) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(16)
    h = h * np.uint64(0x85EBCA6B) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(13)
    return ((h >> np.uint64(8)).astype(np.float64) / 2**23 - 1).astype(np.float32)


def fill(net):
    """Products keep the size of what they are given; queries and keys larger, so that attention chooses; tokens and
    norms off 0 and 1, so that each is seen."""
    for number, (name, p) in enumerate(net.named_parameters()):
        f = formula(p.numel(), number + 1).reshape(p.shape)
        if p.dim() == 4:
            value = f * np.float32(np.sqrt(3.0 / (p.shape[1] * p.shape[2] * p.shape[3])))
        elif p.dim() == 2:
            value = f * np.float32(np.sqrt((6.0 if "in_proj" in name else 3.0) / p.shape[1]))
        elif p.dim() == 3:
            value = f
        else:
            value = f * np.float32(0.125)
        p.data.copy_(torch.from_numpy(value))
    for name, p in net.named_parameters():
        if p.dim() == 1 and name.endswith("weight"):
            p.data += 1


def number(value):
    return f"{value:.9g}"


def line(out, *values):
    print(*values, file=out)


def summary(out, kind, name, tensor):
    t = tensor.detach().double().numpy().ravel()
    line(out, kind, name, number(np.linalg.norm(t)), number(t @ formula(t.size, PROBE).astype(np.float64)))


def whole(out, kind, tensor):
    line(out, kind, *[number(v) for v in tensor.detach().numpy().ravel()])


def case(out, size, batch, classes, multi, steps):
    line(out, "case", size, batch, classes, multi, steps)
    net = torchvision.models.vit_b_16(num_classes=classes, image_size=size)
    fill(net)
    net = net.double().train(steps > 0)
    x = torch.from_numpy(formula(batch * 3 * size * size, IMAGES).reshape(batch, 3, size, size)).double()
    labels = torch.arange(batch) * 5 % classes
    targets = torch.from_numpy((formula(batch * classes, TARGETS) > 0).astype(np.float32).reshape(batch, classes)).double()
    mask = torch.from_numpy((formula(batch * classes, MASK) > -0.5).astype(np.float32).reshape(batch, classes)).double()
    adam = torch.optim.AdamW(net.parameters(), lr=LR, weight_decay=DECAY)
    losses = []
    for step in range(steps):
        logits = net(x)
        if multi:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, mask, reduction="sum") / mask.sum()
        else:
            loss = torch.nn.functional.cross_entropy(logits, labels)
        adam.zero_grad()
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            whole(out, "logits", logits)
            for name, p in net.named_parameters():
                summary(out, "gradient", name, p.grad)
            for name, p in net.named_parameters():
                if name in WHOLE:
                    whole(out, f"whole {name}", p.grad)
        adam.step()
    if steps:
        line(out, "losses", *[number(v) for v in losses])
        for name, p in net.named_parameters():
            summary(out, "weight", name, p)
    net.eval()
    features = []
    net.encoder.register_forward_hook(lambda _m, _i, o: features.append(o[:, 0]))
    with torch.no_grad():
        logits = net(x)
    whole(out, "evaluated", logits)
    summary(out, "features", "encoder", features[0])
    line(out, "end")


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../tests/parity/fixtures")
    torch.set_num_threads(1)
    with open(os.path.join(directory, "vit.txt"), "w", encoding="ascii") as out:
        for row in CASES:
            case(out, *row)


main()
