"""Weight files of torchvision's models for tests/cli/test_weights.sh, and what cfn made of them.

weights.py make DIR BACKBONE CLASSES IMAGES   DIR/<BACKBONE>.{zip.pth,old.pth,safetensors,...}, .truth, .logits
weights.py check DIR BACKBONE FILE.h5  the same values, bit for bit (or as rounded: files named f16, bf16)
weights.py logits DIR BACKBONE FILE    within 1e-4 of torchvision's, relative to the largest
weights.py loads DIR BACKBONE FILE     an exported .pth or .safetensors: load_state_dict(strict=True), equal tensors
"""
import json
import re
import struct
import sys

import numpy as np

if sys.argv[1] in ("make", "loads") or any("f16." in word for word in sys.argv[4:5]):  # torch takes seconds to start
    import torch
    import torchvision

SALT = 901


def no_initial_values():
    """torch's own draws take longer than all that is tested; make() draws simpler ones."""
    for name in dir(torch.nn.init):
        if name.endswith("_") and not name.startswith("_"):
            setattr(torch.nn.init, name, lambda tensor, *args, **more: tensor)


def formula(count, salt, start=0):
    h = (np.arange(start, start + count, dtype=np.uint64) + np.uint64(salt * 1000003)) * np.uint64(2654435761)
    h &= np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(16)
    h = h * np.uint64(0x85EBCA6B) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(13)
    return ((h >> np.uint64(8)).astype(np.float64) / 2**23 - 1).astype(np.float32)


def save_safetensors(path, tensors):
    dtypes = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}
    header, at, parts = {"__metadata__": {"format": "pt"}}, 0, []
    for name, t in tensors.items():
        t = t.detach().contiguous()
        raw = (t.view(torch.int16) if t.dtype == torch.bfloat16 else t).numpy()
        header[name] = {"dtype": dtypes[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + raw.nbytes]}
        at += raw.nbytes
        parts.append(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for raw in parts:
            raw.tofile(f)


def read_safetensors(path):
    """Arrays that are views of the file."""
    data = np.memmap(path, mode="c")
    n = struct.unpack("<Q", data[:8].tobytes())[0]
    header = json.loads(data[8 : 8 + n].tobytes())
    kinds = {"F32": np.float32, "I64": np.int64}
    out = {}
    for name, e in header.items():
        if name != "__metadata__":
            a, b = e["data_offsets"]
            out[name] = data[8 + n + a : 8 + n + b].view(kinds[e["dtype"]]).reshape(e["shape"])
    return out


def renamed(state, rules):
    out = {}
    for name, t in state.items():
        for pattern, by in rules:
            name = re.sub(pattern, by, name)
        out[name] = t
    return out


def early(backbone, state):
    """Names of torchvision's earlier files, undone by the patterns its loaders use; None where there are none."""
    if backbone.startswith("densenet"):
        return renamed(state, [(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.")])
    if backbone.startswith("vit"):
        return renamed(state, [(r"mlp\.0\.", "mlp.linear_1."), (r"mlp\.3\.", "mlp.linear_2.")])
    return None


def timm(backbone, state):
    if backbone.startswith("convnext"):
        def stage(m):
            i = int(m[1])
            if i == 0:
                return f"stem.{m[2]}."
            return f"stages.{i // 2}.{'blocks' if i % 2 else 'downsample'}.{m[2]}."
        out = renamed(state, [(r"^features\.(\d)\.(\d+)\.", stage), (r"block\.0\.", "conv_dw."), (r"block\.2\.", "norm."),
                              (r"block\.3\.", "mlp.fc1."), (r"block\.5\.", "mlp.fc2."), (r"layer_scale$", "gamma"),
                              (r"^classifier\.0\.", "head.norm."), (r"^classifier\.2\.", "head.fc.")])
        return {k: v.flatten() if k.endswith("gamma") else v for k, v in out.items()}
    if backbone.startswith("vit"):
        return renamed(state, [(r"^class_token", "cls_token"), (r"^encoder\.pos_embedding", "pos_embed"),
                               (r"^conv_proj", "patch_embed.proj"), (r"^encoder\.layers\.encoder_layer_", "blocks."),
                               (r"ln_([12])\.", r"norm\1."), (r"self_attention\.in_proj_", "attn.qkv."),
                               (r"self_attention\.out_proj", "attn.proj"), (r"mlp\.0", "mlp.fc1"), (r"mlp\.3", "mlp.fc2"),
                               (r"^encoder\.ln", "norm"), (r"^heads\.head", "head")])
    return None


def hugging_face(backbone, state):
    if backbone.startswith("resnet"):
        return renamed(state, [(r"^conv1\.", "resnet.embedder.embedder.convolution."),
                               (r"^bn1\.", "resnet.embedder.embedder.normalization."), (r"^fc\.", "classifier.1."),
                               (r"^layer(\d)\.(\d+)\.", lambda m: f"resnet.encoder.stages.{int(m[1]) - 1}.layers.{m[2]}."),
                               (r"downsample\.0", "shortcut.convolution"), (r"downsample\.1", "shortcut.normalization"),
                               (r"\.conv(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.convolution."),
                               (r"\.bn(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.normalization.")])
    if backbone.startswith("convnext"):
        def stage(m):
            i = int(m[1])
            if i == 0:
                return "convnext.embeddings." + ("patch_embeddings." if m[2] == "0" else "layernorm.")
            return f"convnext.encoder.stages.{i // 2}.{'layers' if i % 2 else 'downsampling_layer'}.{m[2]}."
        out = renamed(state, [(r"^features\.(\d)\.(\d+)\.", stage), (r"block\.0\.", "dwconv."), (r"block\.2\.", "layernorm."),
                              (r"block\.3\.", "pwconv1."), (r"block\.5\.", "pwconv2."),
                              (r"layer_scale$", "layer_scale_parameter"),
                              (r"^classifier\.0\.", "convnext.layernorm."), (r"^classifier\.2\.", "classifier.")])
        return {k: v.flatten() if k.endswith("layer_scale_parameter") else v for k, v in out.items()}
    if backbone.startswith("vit"):
        out = renamed(state, [(r"^class_token", "vit.embeddings.cls_token"),
                              (r"^encoder\.pos_embedding", "vit.embeddings.position_embeddings"),
                              (r"^conv_proj", "vit.embeddings.patch_embeddings.projection"),
                              (r"^encoder\.layers\.encoder_layer_", "vit.encoder.layer."), (r"ln_1\.", "layernorm_before."),
                              (r"ln_2\.", "layernorm_after."), (r"self_attention\.out_proj", "attention.output.dense"),
                              (r"mlp\.0", "intermediate.dense"), (r"mlp\.3", "output.dense"), (r"^encoder\.ln", "vit.layernorm"),
                              (r"^heads\.head", "classifier")])
        split = {}
        for k, v in out.items():
            m = re.match(r"(.*)self_attention\.in_proj_(weight|bias)", k)
            for part, piece in zip(("query", "key", "value"), v.chunk(3)) if m else ():
                split[f"{m[1]}attention.attention.{part}.{m[2]}"] = piece
            if not m:
                split[k] = v
        return split
    return None


def model(backbone, classes):
    no_initial_values()
    return getattr(torchvision.models, backbone)(weights=None, num_classes=classes)


def make(directory, backbone, classes, count):
    torch.manual_seed(20261123)
    torch.set_num_threads(2)
    net = model(backbone, classes).eval()
    state = net.state_dict()
    for name, t in state.items():  # nothing is left at 0 or 1, where a mistaken name would not be seen
        norm = t.dim() == 1 and name.endswith("weight")
        if not t.is_floating_point():
            continue
        if name.endswith("running_var") or norm:
            t.uniform_(0.5, 1.0)
        elif t.dim() == 1:
            t.uniform_(-0.2, 0.2)
        elif "layer_scale" in name:
            t.uniform_(0.1, 0.9)
        elif name.endswith(("class_token", "pos_embedding")):
            t.uniform_(-0.1, 0.1)
        else:
            bound = (6 / t[0].numel()) ** 0.5
            t.uniform_(-bound, bound)
    stem = f"{directory}/{backbone}"
    save_safetensors(stem + ".truth", state)
    torch.save(state, stem + ".zip.pth")
    torch.save({"epoch": 3, "lr": 0.1, "state_dict": {"module." + k: torch.nn.Parameter(v, requires_grad=False) for k, v in state.items()}},
               stem + ".old.pth", _use_new_zipfile_serialization=False)
    save_safetensors(stem + ".safetensors", state)
    for name, other in ("early", early(backbone, state)), ("timm", timm(backbone, state)), ("face", hugging_face(backbone, state)):
        if other and backbone != "convnext_base":  # has the names of convnext_tiny
            save_safetensors(f"{stem}.{name}.safetensors", other)
    if early(backbone, state):
        torch.save(early(backbone, state), stem + ".early.pth", _use_new_zipfile_serialization=False)
    if backbone == "resnet18":
        order = {k: tuple(reversed(range(v.dim()))) for k, v in state.items()}
        strided = {k: v.double().permute(order[k]).contiguous().permute(order[k]) for k, v in state.items()}
        torch.save(strided, stem + ".strided.pth")
        real = {k: v for k, v in state.items() if v.dtype == torch.float32}
        save_safetensors(stem + ".f16.safetensors", {k: v.half() for k, v in real.items()})
        torch.save({k: v.bfloat16() for k, v in real.items()}, stem + ".bf16.pth")
    with torch.no_grad():
        pixels = 3 * 224 * 224
        images = torch.from_numpy(formula(count * pixels, SALT).reshape(count, 3, 224, 224))
        net(images).numpy().tofile(stem + ".logits")


def expected(directory, backbone):
    """Values and number of classes."""
    values = read_safetensors(f"{directory}/{backbone}.truth")
    return values, next(v.size for k, v in reversed(values.items()) if k.endswith("bias"))


def check(directory, backbone, path):
    import h5py

    want, classes = expected(directory, backbone)
    want = {k: v for k, v in want.items() if not k.endswith("num_batches_tracked")}
    h = h5py.File(path)
    have = {}
    h["parameters"].visititems(lambda name, x: have.__setitem__(name, x[()]) if isinstance(x, h5py.Dataset) else None)
    assert sorted(have) == sorted(want), set(have) ^ set(want)
    assert h.attrs["backbone"] == backbone and h.attrs["classes"] == classes and len(h.attrs["source_sha256"]) == 64
    for name, v in want.items():
        if ".bf16." in path:
            v = torch.from_numpy(v).bfloat16().float().numpy()
        elif ".f16." in path:
            v = torch.from_numpy(v).half().float().numpy()
        assert have[name].shape == v.shape and (have[name] == v).all(), name


def check_logits(directory, backbone, path):
    want, have = np.fromfile(f"{directory}/{backbone}.logits", np.float32), np.fromfile(path, np.float32)
    assert want.shape == have.shape, (want.shape, have.shape)
    error = np.abs(want - have).max() / np.abs(want).max()
    images = want.size // expected(directory, backbone)[1]
    print(f"# {backbone}: largest difference of the logits on {images} images {error:.1e} of the largest")
    assert error <= 1e-4 and np.abs(want).max() > 1e-3


def loads(directory, backbone, path):
    want, classes = expected(directory, backbone)
    state = torch.load(path) if path.endswith(".pth") else {k: torch.from_numpy(v) for k, v in read_safetensors(path).items()}
    assert list(state) == list(want) and type(state) is not list
    model(backbone, classes).load_state_dict(state, strict=True)
    for name, v in want.items():
        assert state[name].dtype == torch.from_numpy(v).dtype and (state[name].numpy() == v).all(), name


if __name__ == "__main__":
    job, directory, backbone, last = sys.argv[1:5]
    if job == "make":
        make(directory, backbone, int(last), int(sys.argv[5]))
    else:
        {"check": check, "logits": check_logits, "loads": loads}[job](directory, backbone, last)
