"""Training steps of torchvision's networks as fixtures, for dump_backbones.py.

Weights, images and labels come from the formula below on both sides (tests/support/parity_network.c). A case holds
the first step's scores, each gradient as its norm and its product with a formula vector, some gradients whole, running
statistics likewise, the losses of the AdamW steps, and scores and representation in evaluation mode after the last one.
"""
import os
import sys

import numpy as np
import torch
import torchvision

LR, DECAY = 2e-5, 1e-2
IMAGES, TARGETS, MASK, PROBE = 901, 902, 903, 904


def formula(count, salt):
    """[-1, 1), exact in single precision: the same integers in C."""
    h = (np.arange(count, dtype=np.uint64) + np.uint64(salt * 1000003)) * np.uint64(2654435761) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(16)
    h = h * np.uint64(0x85EBCA6B) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(13)
    return ((h >> np.uint64(8)).astype(np.float64) / 2**23 - 1).astype(np.float32)


def fill(net, lift):
    """Deviation of He's initialisation for convolutions; norms off 1 and 0, so that each is seen; queries and keys
    large, so that attention chooses; positions as large as what they are added to.

    With `lift` biases of norms are that far from zero, on either side: few values come near the kink of a relu, where
    rounding decides a gradient.
    """
    for number, (name, p) in enumerate(net.named_parameters()):
        f = formula(p.numel(), number + 1).reshape(p.shape)
        if p.dim() == 4:
            scale = np.float32(np.sqrt(6.0 / (p.shape[0] * p.shape[2] * p.shape[3])))
            value = f * scale
        elif p.dim() == 2:
            value = f * np.float32(np.sqrt((6.0 if "in_proj" in name else 1.0) / p.shape[1]))
        elif p.dim() == 3 and p.shape[0] == 1:
            value = f
        else:
            value = f * np.float32(0.125)
        p.data.copy_(torch.from_numpy(value))
    for name, p in net.named_parameters():
        if p.dim() == 1 and name.endswith("weight"):
            p.data += 1
        elif lift and any(norm in name for norm in ("norm", "bn", "downsample.1")):
            p.data += lift * torch.sign(p.data)


def number(value):
    return f"{value:.9g}"


def line(out, *values):
    print(*values, file=out)


def summary(out, kind, name, tensor):
    t = tensor.detach().double().numpy().ravel()
    line(out, kind, name, number(np.linalg.norm(t)), number(t @ formula(t.size, PROBE).astype(np.float64)))


def case(out, whole, backbone, size, batch, classes, multi, steps, lift):
    line(out, "case", backbone, size, batch, classes, multi, steps, lift)
    vit = {"image_size": size} if backbone.startswith("vit") else {}
    net = getattr(torchvision.models, backbone)(num_classes=classes, **vit)
    fill(net, lift)
    for m in net.modules():
        if isinstance(m, torchvision.ops.StochasticDepth):
            m.p = 0.0
    net = net.double()  # the reference proper: single precision is as far from it as we are
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
            line(out, "logits", *[number(v) for v in logits.detach().numpy().ravel()])
            for name, p in net.named_parameters():
                summary(out, "gradient", name, p.grad)
            for name, p in net.named_parameters():
                if name in whole:
                    line(out, "whole", name, *[number(v) for v in p.grad.numpy().ravel()])
            for name, b in net.named_buffers():
                if b.dim() == 1:
                    summary(out, "buffer", name, b)
        adam.step()
    line(out, "losses", *[number(v) for v in losses])
    for name, p in net.named_parameters():
        summary(out, "weight", name, p)
    net.eval()
    features = []
    head = [m for m in net.modules() if isinstance(m, torch.nn.Linear)][-1]
    head.register_forward_pre_hook(lambda _m, i: features.append(i[0]))
    with torch.no_grad():
        logits = net(x)
    line(out, "evaluated", *[number(v) for v in logits.numpy().ravel()])
    summary(out, "features", "avgpool", features[0])
    line(out, "end")


def dump(file, cases, whole):
    """Fixture `file` in the folder given, or in tests/parity/fixtures; gradients named in `whole` are written whole."""
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../tests/parity/fixtures")
    torch.set_num_threads(1)
    with open(os.path.join(directory, file), "w", encoding="ascii") as out:
        for row in cases:
            case(out, whole, *row)
