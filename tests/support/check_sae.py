#!/usr/bin/python3
"""Checks sae.h5 and codes.h5 of a run directory against their definitions, from the files alone.
Usage: check_sae.py DIR"""
import sys

import h5py
import numpy as np

folder = sys.argv[1]
embeddings, sae, codes, cav, selection = (h5py.File(f"{folder}/{name}.h5")
                                          for name in ("embeddings", "sae", "codes", "cav", "selection"))
x, split = embeddings["features"][:].astype("f8"), embeddings["split"][:]
N, K = len(x), len(sae["decoder"])
train, val = split == 0, split == 1
encoder, encoder_bias, decoder, bias = (sae[n][:].astype("f8") for n in ("encoder", "encoder_bias", "decoder", "bias"))
assert np.abs(np.linalg.norm(decoder, axis=1) - 1).max() < 1e-5, "decoder rows are not unit vectors"

# Codes from the weights, and from the file.
plain = np.maximum((x - bias) @ encoder.T + encoder_bias, 0)
threshold, variant = sae["threshold"][:].astype("f8"), sae.attrs["variant"]
if variant in ("topk", b"topk"):
    kth = np.sort(plain, axis=1)[:, [-int(sae.attrs["k"])]]
    plain[plain < kth * (1 - 1e-5)] = 0
else:
    margin = np.abs(plain - threshold) < 1e-4 # single precision may fall on either side
    plain[plain <= threshold] = 0
f = np.zeros((N, K))
indptr, index, value = (sae["codes/" + n][:] for n in ("indptr", "index", "value"))
assert indptr[0] == 0 and indptr[-1] == len(index) == len(value) and (np.diff(indptr) >= 0).all()
for i in range(N):
    row = slice(indptr[i], indptr[i + 1])
    assert (np.diff(index[row]) > 0).all(), "neurons of an image do not rise"
    f[i, index[row]] = value[row]
wrong = np.abs(f - plain) > 1e-4
if variant not in ("topk", b"topk"):
    wrong &= ~margin
assert (value > 0).all() and not wrong.any(), "codes are not those of the weights"

# What follows from them.
assert np.array_equal(sae["fire_rate"][:], ((f[train] > 0).sum(0) / train.sum()).astype("f4"))
assert np.allclose(sae["mean_activation"][:], f[train].mean(0), rtol=1e-6)
top_index, top_value = sae["top/index"][:], sae["top/value"][:]
for k in range(K):
    order = np.lexsort((np.arange(N), -f[:, k]))[:top_index.shape[1]]
    order = np.where(f[order, k] > 0, order, -1)
    order = np.pad(order, (0, top_index.shape[1] - len(order)), constant_values=-1)
    assert np.array_equal(top_index[k], order), f"top images of neuron {k}"
    assert np.array_equal(top_value[k], np.where(order >= 0, f[order, k], 0).astype("f4"))
rest = x[val] - (f[val] @ decoder + bias)
fvu = (rest**2).sum() / ((x[val] - x[val].mean(0))**2).sum()
assert abs(fvu - sae.attrs["fvu_val"]) < 1e-4 * fvu, (fvu, sae.attrs["fvu_val"])
assert abs((f[val] > 0).sum(1).mean() - sae.attrs["l0_val"]) < 0.01
assert sae.attrs["dead"] == ((f[train] > 0).sum(0) == 0).mean()
assert sae.attrs["dense"] == ((f[train] > 0).mean(0) > 0.1).mean()

# Scores, from the definition: every pair of training images.
unit = x[train] / np.linalg.norm(x[train], axis=1, keepdims=True)
cosine = unit @ unit.T
score = sae["monosemanticity"][:]
for k in range(K):
    a = f[train][:, k] - f[train][:, k].min()
    pairs = np.outer(a, a)
    np.fill_diagonal(pairs, 0)
    if pairs.sum() > 1e-5 * a.sum()**2:
        assert abs(score[k] - (pairs * cosine).sum() / pairs.sum()) < 1e-4, f"monosemanticity of neuron {k}"
assert abs(sae.attrs["monosemanticity"] - np.nanmean(score)) < 1e-9
alive = sae["fire_rate"][:] > 0
table = np.abs(decoder @ decoder.T)
np.fill_diagonal(table, 0)
table[:, ~alive] = table[~alive] = 0
assert np.abs(sae["nearest_cosine"][:] - table.max(1)).max() < 1e-5, "cosine to the nearest other direction"
history = sae["history"]
assert abs(history["fvu"][-1] - fvu) < 1e-3 * fvu and all(len(history[h]) == len(history["loss"]) for h in history)

# Decomposition: the residual is what the code leaves, and every atom is used once at most.
atoms = cav["cav"][:].astype("f8")[selection["index"][:]]
atom, coefficient = codes["atom"][:], codes["value"][:].astype("f8")
for i in range(N):
    used = atom[i][atom[i] >= 0]
    assert len(set(used)) == len(used) and (atom[i][len(used):] == -1).all()
    left = x[i] - codes["intercept"][i] - coefficient[i, :len(used)] @ atoms[used]
    assert abs(np.linalg.norm(left) - codes["residual_norm"][i]) < 1e-4
    assert abs(left.mean()) < 1e-5, "the intercept leaves a mean"
    assert np.abs((atoms - atoms.mean(1, keepdims=True))[used] @ left).max() < 1e-4, "residual leans on a chosen atom"
for file in (sae, codes):
    for name in file:
        for data in [file[name]] if isinstance(file[name], h5py.Dataset) else file[name].values():
            if isinstance(data, h5py.Dataset):
                assert {"description", "unit", "dims"} <= set(data.attrs), data.name
