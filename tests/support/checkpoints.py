"""Weights of one resnet18 as different programs leave them, for tests/cli/test_checkpoints.sh.

checkpoints.py make DIR            DIR/<name>.pth, .safetensors, ..., DIR/values.npz, DIR/logits
checkpoints.py values DIR NAME FILE.h5   the parameters are those of the network, bit for bit or as the form rounds them
checkpoints.py logits DIR FILE     scores within 1e-4 of torch's, relative to the largest
"""
import argparse
import collections
import json
import pathlib
import struct
import sys
import zipfile

import numpy as np

CLASSES, IMAGES, SALT = 3, 4, 901


def formula(count, salt):
    """The images of tests/support/formula.h."""
    h = (np.arange(count, dtype=np.uint64) + np.uint64(salt * 1000003)) * np.uint64(2654435761)
    h &= np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(16)
    h = h * np.uint64(0x85EBCA6B) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(13)
    return ((h >> np.uint64(8)).astype(np.float64) / 2**23 - 1).astype(np.float32)


class Settings:
    """What a training script keeps of itself: no weight file needs it."""

    def __init__(self):
        self.lr = 0.1


def save(path, value, **how):
    torch.save(value, path, **how)


def rezip(source, target, method=zipfile.ZIP_DEFLATED, rename=lambda name: name, change=lambda name, data: data):
    with zipfile.ZipFile(source) as a, zipfile.ZipFile(target, "w", method) as b:
        for i in a.infolist():
            b.writestr(rename(i.filename), change(i.filename, a.read(i)))


def with_format_of_26(source, target):
    """torch 2.6 adds records and starts every storage at a multiple of 64 bytes; so does a file that it wrote itself."""
    with zipfile.ZipFile(source) as a, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as b:
        root = a.infolist()[0].filename.split("/")[0]
        added = (root + "/.format_version", root + "/.storage_alignment", root + "/byteorder", root + "/.data/serialization_id")
        for i in a.infolist():
            if i.filename in added:
                continue
            info, data = zipfile.ZipInfo(i.filename), a.read(i)
            at = b.fp.tell() + 30 + len(i.filename) + 4
            info.extra = struct.pack("<HH", 0x4246, -at % 64) + b"Z" * (-at % 64)
            b.writestr(info, data)
            if i.filename.endswith("data.pkl"):
                b.writestr(root + "/.format_version", b"1")
                b.writestr(root + "/.storage_alignment", b"64")
                b.writestr(root + "/byteorder", b"little")
        b.writestr(root + "/.data/serialization_id", b"0" * 40)


def forms(net, state):
    """name -> what torch.save is given. All hold the same values."""
    real = lambda f: {k: f(v) if v.is_floating_point() else v for k, v in state.items()}
    under = lambda prefix: {prefix + k: v for k, v in state.items()}
    body = {k: v for k, v in state.items() if not k.startswith("fc.")}
    adam = torch.optim.AdamW(net.parameters())
    net(torch.randn(2, 3, 32, 32)).sum().backward()
    adam.step()
    adam = adam.state_dict()
    named = {"exp_avg": {k: torch.zeros_like(v) for k, v in state.items()}, "exp_avg_sq": dict(real(torch.zeros_like))}
    flat = torch.cat([v.reshape(-1).float() for v in state.values()])
    at, views = 0, {}
    for k, v in state.items():
        views[k] = flat[at : at + v.numel()].view(v.shape)
        at += v.numel()
    log = collections.defaultdict(list)
    log["loss"] += [0.5, 0.25]
    extras = {"state_dict": state, "args": argparse.Namespace(lr=0.1), "settings": Settings(), "device": torch.device("cpu"),
              "size": torch.Size([3]), "best": np.float64(0.91), "curve": np.arange(5.0), "out": pathlib.Path("/x"),
              "seen": {1, 2}, "frozen": frozenset([3]), "raw": b"xy", "big": 1 << 200, "nan": float("nan"), "log": log,
              "count": collections.Counter("aab"), "range": range(3), "c": 1 + 2j, "rng": np.random.default_rng(1).bit_generator.state}
    return {
        "plain": state, "module": under("module."), "orig_mod": under("_orig_mod."), "model": under("model."),
        "several": under("module._orig_mod.net."), "average": torch.optim.swa_utils.AveragedModel(net).state_dict(),
        "net": {"net": state, "acc": 91.2}, "model_weights": {"model_weights": state}, "deepspeed": {"module": state, "global_steps": 3},
        "deep": {"a": [1, {"b": {"c": under("model.")}}]}, "nested": nested(state),
        "lightning": {"epoch": 1, "state_dict": {**under("model."), "criterion.weight": torch.ones(3)}, "callbacks": {}},
        "optimiser": {"optimizer": adam, "state_dict": state, "epoch": 3}, "moments": {"optimizer": named, "model": state},
        "loss": {**state, "criterion.weight": torch.ones(3)}, "extras": extras,
        "ema": {"state_dict": real(lambda v: v + 1), "state_dict_ema": state}, "twice": {"model": state, "ema": state},
        "second": {"teacher": real(lambda v: v + 1), "student": state},
        "parameters": {k: torch.nn.Parameter(v, requires_grad=False) for k, v in state.items()},
        "double": real(lambda v: v.double()), "views": views, "without_counters": {k: v for k, v in state.items() if "num_b" not in k},
        "channels_last": {k: v.contiguous(memory_format=torch.channels_last) if v.dim() == 4 else v for k, v in state.items()},
        "head_behind_dropout": {**body, "fc.1.weight": state["fc.weight"], "fc.1.bias": state["fc.bias"]},
        "head_renamed": {**body, "classifier.weight": state["fc.weight"], "classifier.bias": state["fc.bias"]},
        "half": real(lambda v: v.half()), "bf16": real(lambda v: v.bfloat16()),
        "headless": body, "head_mlp": {**body, "fc.0.weight": torch.ones(512, 512), "fc.0.bias": torch.ones(512),
                                      "fc.2.weight": state["fc.weight"], "fc.2.bias": state["fc.bias"]},
    }


def nested(state):
    """A dictionary in a dictionary for every dot."""
    out = {}
    for name, v in state.items():
        inner = out
        *path, last = name.split(".")
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = v
    return out


def changed(state):
    """name -> (values that are saved, values that are meant)."""
    tied, wide, bare, grey = (dict(state) for _ in range(4))
    ones = torch.ones(512)
    for k in state:
        if k.startswith("layer4") and k.endswith("running_var"):
            tied[k] = ones
        if k.endswith("running_var"):
            wide[k] = torch.full((1,), 0.5).expand(state[k].shape)
    del bare["fc.bias"]
    grey["conv1.weight"] = state["conv1.weight"].sum(1, keepdim=True)
    third = (grey["conv1.weight"] / 3).expand(64, 3, 7, 7)
    return {"tied": (tied, tied), "expanded": (wide, wide), "without_bias": (bare, {**bare, "fc.bias": torch.zeros(CLASSES)}),
            "one_channel": (grey, {**grey, "conv1.weight": third})}


def save_safetensors(path, tensors, extra=()):
    header, at, parts = {"__metadata__": {"format": "pt"}}, 0, []
    for name, t in tensors.items():
        raw = t.contiguous().numpy().tobytes()
        header[name] = {"dtype": {torch.float32: "F32", torch.int64: "I64"}[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + len(raw)]}
        at += len(raw)
        parts.append(raw)
    for name, dtype, size in extra:
        header[name] = {"dtype": dtype, "shape": [4], "data_offsets": [at, at + size]}
        at += size
        parts.append(bytes(size))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


class Runs:
    def __init__(self, function, *arguments):
        self.what = function, arguments

    def __reduce__(self):
        return self.what


class Stranger:
    """A tensor made by a function no one knows."""

    def __reduce__(self):
        return textless, (torch.ones(64, 3, 7, 7),)


def textless(x):
    return x


def wrong(d, net, state):
    """Files that are refused."""
    import os

    save(d + "/whole.pth", net)
    save(d + "/whole_inside.pth", {"model": net, "epoch": 3})
    torch.jit.script(net).save(d + "/script.pth")
    save(d + "/deeper.pth", torchvision.models.resnet34(num_classes=CLASSES).state_dict())
    save(d + "/deeper_nested.pth", nested(torchvision.models.resnet34(num_classes=CLASSES).state_dict()))
    save(d + "/stranger.pth", {**state, "conv1.weight": Stranger()})
    save(d + "/runs.pth", {"state_dict": state, "x": Runs(os.system, "touch " + d + "/executed")})
    save(d + "/imports.pth", {"state_dict": state, "x": Runs(__import__, "webbrowser")})
    save(d + "/layer.pth", {**state, "attention.weight": torch.ones(512, 512)})
    save(d + "/nan.pth", {**state, "fc.bias": torch.full((CLASSES,), float("nan"))})
    save(d + "/numbers.pth", {"epoch": 3, "loss": [0.1]})
    rezip(d + "/plain.pth", d + "/bomb.pth", change=lambda n, x: bytes(len(x)) if "/data/" in n else x)
    open(d + "/cut.pth", "wb").write(open(d + "/plain.pth", "rb").read()[:3000000])
    open(d + "/empty.pth", "w").close()
    open(d + "/lfs.pth", "w").write("version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 46830571\n")
    open(d + "/page.pth", "w").write("<!DOCTYPE html><html><head><title>Virus scan warning</title></head></html>")
    open(d + "/index.safetensors", "w").write(json.dumps({"metadata": {}, "weight_map": {"conv1.weight": "model-00001-of-00002.safetensors"}}))


def make(d):
    torch.manual_seed(7)
    torch.set_num_threads(2)
    net = torchvision.models.resnet18(num_classes=CLASSES)
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 2)
    net.eval()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    np.savez(d + "/values.npz", **{k: v.numpy() for k, v in state.items()})
    with torch.no_grad():
        net(torch.from_numpy(formula(IMAGES * 3 * 224 * 224, SALT).reshape(IMAGES, 3, 224, 224))).numpy().tofile(d + "/logits")
    net.load_state_dict(state)
    for name, value in forms(torchvision.models.resnet18(num_classes=CLASSES), state).items():
        if name == "average":
            value = {"n_averaged": torch.tensor(3), **{"module." + k: v for k, v in state.items()}}
        save(f"{d}/{name}.pth", value)
    meant = {}
    for name, (value, values) in changed(state).items():
        save(f"{d}/{name}.pth", value)
        meant[name] = {k: v.numpy() for k, v in values.items()}
        np.savez(f"{d}/{name}.npz", **meant[name])
    save(d + "/legacy.pth", {"state_dict": state, "args": argparse.Namespace()}, _use_new_zipfile_serialization=False)
    rezip(d + "/plain.pth", d + "/deflated.pth")
    rezip(d + "/plain.pth", d + "/rooted.pth", rename=lambda n: n.split("/", 1)[1])
    rezip(d + "/plain.pth", d + "/folder.pth", rename=lambda n: "weights/of/" + n)
    with_format_of_26(d + "/plain.pth", d + "/torch26.pth")
    save_safetensors(d + "/st.safetensors", {"model." + k: v for k, v in state.items()}, [("scale", "F8_E4M3", 4), ("rng", "U32", 16)])
    wrong(d, net, state)


def values(d, name, path):
    import h5py
    import os

    own = f"{d}/{name}.npz"
    want = dict(np.load(own if os.path.exists(own) else d + "/values.npz"))
    with h5py.File(path) as h:
        have = {}
        h["parameters"].visititems(lambda n, x: have.__setitem__(n, x[()]) if isinstance(x, h5py.Dataset) else None)
        classes = h.attrs["classes"]
    headless = name in ("headless", "head_mlp")
    want = {k: v for k, v in want.items() if "num_batches" not in k and not (headless and k.startswith("fc."))}
    assert sorted(have) == sorted(want), set(have) ^ set(want)
    assert classes == (0 if headless else CLASSES), classes
    for k, v in want.items():
        if name == "half":
            v = v.astype(np.float16).astype(np.float32)
        if name == "bf16":  # nearest, halves to even
            bits = v.view(np.uint32)
            v = ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
        assert have[k].shape == v.shape and (have[k] == v).all(), k


def logits(d, path):
    want, have = np.fromfile(d + "/logits", np.float32), np.fromfile(path, np.float32)
    assert want.shape == have.shape and np.abs(want - have).max() <= 1e-4 * np.abs(want).max()


if __name__ == "__main__":
    if sys.argv[1] == "make":
        import torch
        import torchvision

        make(sys.argv[2])
    else:
        {"values": values, "logits": logits}[sys.argv[1]](*sys.argv[2:])
