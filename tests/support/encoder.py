#!/usr/bin/python3
"""For tests/cli/test_encoder.sh: files of representations in several forms, and checks of what was made of them.

    encoder.py make DIR CORPUS.h5 EMBEDDINGS.h5     files, good and bad
    encoder.py rows RUN DIR [CORPUS.h5]             embeddings.h5 has the representation, label and id of each row
    encoder.py probe RUN                            the linear probe is at the minimum of its objective
    encoder.py sheet RUN CORPUS.h5                  a contact sheet shows the picture of the neuron's first row"""
import csv
import json
import struct
import sys
import zlib

import h5py
import numpy as np


def npy(path, shape, descr):  # a header without its values
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (10 + len(text)) % 64) + b"\n"
    open(path, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)


def safetensors(path, arrays):
    head, data = {}, b""
    for name, (kind, a) in arrays.items():
        head[name] = {"dtype": kind, "shape": list(a.shape), "data_offsets": [len(data), len(data) + a.nbytes]}
        data += a.tobytes()
    text = json.dumps(head).encode()
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)


def make(d, corpus, embeddings):
    with h5py.File(corpus) as f, h5py.File(embeddings) as e:
        ids, label, split = [i.decode() for i in f["id"][()]], f["label"][()], f["split"][()]
        names, x = list(f.attrs["class_names"]), e["features"][()]
    N = len(x)
    with open(d + "/t.csv", "w", encoding="utf-8-sig", newline="") as f:
        w = csv.writer(f)
        w.writerow(["id", "label", "split", "patient", "age"])
        for i in range(N):
            w.writerow([ids[i], names[label[i]], ["train", "val", "test"][split[i]], f"p{i // 3}", 40 + i % 30])
    lines = open(d + "/t.csv", encoding="utf-8-sig").read().splitlines()
    write = lambda name, rows: open(f"{d}/{name}", "w").write("\n".join(rows))
    write("doubled.csv", lines + [lines[1]])
    write("no_id.csv", [line.split(",", 1)[1] for line in lines])
    write("no_label.csv", [",".join(np.array(line.split(","))[[0, 2]]) for line in lines])
    order = np.random.default_rng(1).permutation(N)
    np.save(d + "/ids.npy", np.array([ids[i] for i in order]))
    write("ids.txt", [ids[i] for i in order])
    write("ids.csv", ["id"] + [ids[i] for i in order])
    y = x[order].astype(np.float16).astype(np.float32)  # the same numbers in every form
    np.save(d + "/f32.npy", y)
    np.save(d + "/f16.npy", y.astype(np.float16))
    np.save(d + "/columns.npy", np.asfortranarray(y.astype(np.float64)))
    safetensors(d + "/f64.safetensors", {"feat": ("F64", y.astype(np.float64)), "number": ("I64", np.arange(N))})
    safetensors(d + "/two.safetensors", {"a": ("F32", y), "b": ("F32", y)})
    with h5py.File(d + "/f.h5", "w") as f:
        f["remarks"] = ["texts of any length", "are left alone"]
        f.create_dataset("enc/feat", data=y.astype(np.float16), chunks=(32, 8), compression="gzip")
    with h5py.File(d + "/two.h5", "w") as f:
        f["a"], f["b"] = y, y
    with h5py.File(d + "/link.h5", "w") as f:
        f["a"] = h5py.ExternalLink("two.h5", "/a")
    safetensors(d + "/bf16.safetensors", {"feat": ("BF16", (x.view("u4") >> 16).astype("u2"))})
    np.save(d + "/some.npy", y[5:])  # and some that are not there
    np.save(d + "/some_ids.npy", np.array([ids[i] for i in order[5:-3]] + ["x1", "x2", "x3"]))
    np.save(d + "/three.npy", y[:3])
    write("three.csv", ["id,label,split", "a,one,train", "b,one,val", "c,one,test"])
    # What must be refused.
    data = open(d + "/f32.npy", "rb").read()
    open(d + "/cut.npy", "wb").write(data[:len(data) // 2])
    open(d + "/empty.npy", "wb").close()
    np.save(d + "/texts.npy", np.array(["a", "b"]))
    np.save(d + "/complex.npy", x.astype("c8"))
    np.save(d + "/whole.npy", np.ones((N, 4), "i4"))
    np.save(d + "/cube.npy", x[:, :, None])
    npy(d + "/vast.npy", "(4294967296, 4294967296)", "<f4")
    npy(d + "/long.npy", "(999999999999, 100000)", "<f4")
    z = x.copy()
    z[17, 3] = np.nan
    np.save(d + "/nan.npy", z)
    z = x.astype("f8")
    z[200, 1] = 1e300
    np.save(d + "/large.npy", z)
    np.save(d + "/twice.npy", np.array(ids[:-1] + [ids[0]]))
    np.save(d + "/fewer.npy", np.array(ids[:-1]))
    np.save(d + "/other.npy", np.array([f"x{i}" for i in range(N)]))


def rows(run, d, corpus=None):
    table = {r["id"]: r for r in csv.DictReader(open(d + "/t.csv", encoding="utf-8-sig"))}
    x, ids = np.load(d + "/f32.npy"), np.load(d + "/ids.npy")
    where = {i: k for k, i in enumerate(ids)}
    if corpus:
        x, ids = np.load(d + "/some.npy"), np.load(d + "/some_ids.npy")
        where = {i: k for k, i in enumerate(ids)}
    with h5py.File(run + "/embeddings.h5") as e:
        names, got = list(e.attrs["class_names"]), [i.decode() for i in e["id"][()]]
        assert "logits" not in e and e["run"].attrs["stage"] == "import" and e.attrs["source_rows"] == len(x)
        assert got == [i for i in table if i in where], "the rows of the table that have a representation, in its order"
        assert (e["features"][()] == x[[where[i] for i in got]]).all(), "features by id"
        assert [names[c] for c in e["label"]] == [table[i]["label"] for i in got], "labels by id"
        assert [("train", "val", "test")[s] for s in e["split"]] == [table[i]["split"] for i in got], "splits by id"
        if corpus:
            with h5py.File(corpus) as c:
                assert [i.decode() for i in c["id"][()][e["corpus_row"][()]]] == got, "rows of the pictures"
        else:
            patient = [table[i]["patient"] for i in got]
            assert list(e["group"]) == [sorted(set(patient), key=patient.index).index(p) for p in patient], "groups"
            assert (e["attributes/age"][()] == [float(table[i]["age"]) for i in got]).all(), "attributes by id"


def newton(x, y, C, c):  # exact minimum of sum of losses + |w|^2 / (2 c), intercept free
    n, D = x.shape
    a = np.c_[x, np.ones(n)]
    w = np.zeros((C, D + 1))
    penalty = np.r_[np.full(D, 1 / c), 0]
    value = lambda w: np.logaddexp.reduce(a @ w.T, 1).sum() - (a @ w.T)[np.arange(n), y].sum() + 0.5 * (penalty * w * w).sum()
    for _ in range(200):
        z = a @ w.T
        p = np.exp(z - np.logaddexp.reduce(z, 1)[:, None])
        g = ((p - np.eye(C)[y]).T @ a + penalty * w).ravel()
        h = np.einsum("ic,ie,id,if->cdef", p, -p, a, a, optimize=True)
        h[np.arange(C), :, np.arange(C), :] += np.einsum("ic,id,if->cdf", p, a, a, optimize=True)
        h = h.reshape(C * (D + 1), -1) + np.diag(np.tile(penalty, C))
        step = np.linalg.lstsq(h, g, rcond=None)[0].reshape(C, -1)
        t = 1.0
        while value(w - t * step) > value(w) and t > 1e-8:
            t /= 2
        w = w - t * step
        if np.abs(g).max() < 1e-9 * n:
            break
    return value, w


def probe(run):
    with h5py.File(run + "/embeddings.h5") as e, h5py.File(run + "/cbm.h5") as f:
        x, y, split = e["features"][()].astype("f8"), e["label"][()], e["split"][()]
        ours = np.c_[f["probe_weight"][()].astype("f8"), f["probe_bias"][()]]
        c, C = float(f.attrs["probe_c"]), len(ours)
    train = split == 0
    value, best = newton(x[train], y[train], C, c)
    a = np.c_[x, np.ones(len(x))]
    assert value(ours) <= value(best) * (1 + 1e-5) + 1e-6, (value(ours), value(best))
    answers = (a @ ours.T).argmax(1)
    assert (answers == (a @ best.T).argmax(1)).all(), "answers of the minimum"
    m = json.load(open(run + "/metrics.json"))
    assert "backbone" not in m and m["retention"]["of"] == "probe"
    for name, k in (("val", 1), ("test", 2)):
        assert abs(m["probe"][name]["accuracy"] - (answers == y)[split == k].mean()) < 1e-12, name
        ratio = m["cbm"][name]["accuracy"] / m["probe"][name]["accuracy"]
        assert abs(m["retention"][name]["accuracy"] - ratio) < 1e-12, "retention"
    # The score of the published grid at scikit-learn's own minimum: ours is no worse on the validation rows.
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        print("# scikit-learn is not there: compared with Newton's method alone")
        return
    theirs = LogisticRegression(C=c, max_iter=20000, tol=1e-8).fit(x[train], y[train])
    assert value(ours) <= value(np.c_[theirs.coef_, theirs.intercept_]) * (1 + 1e-5) + 1e-6, "scikit-learn's minimum"
    assert (theirs.predict(x) == answers).mean() > 0.99, "scikit-learn's answers"
    grid = [LogisticRegression(C=10.0 ** k, max_iter=20000).fit(x[train], y[train]).score(x[split == 1], y[split == 1])
            for k in (6, 4, 2, 0, -2, -4, -6)]
    assert (answers == y)[split == 1].mean() >= max(grid) - 1e-12, ("C of the search", grid)


def pixels(path):  # an 8-bit PNG without interlace
    data, at, packed = open(path, "rb").read(), 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        part = data[at + 8:at + 8 + size]
        if kind == b"IHDR":
            width, height, _, colour = struct.unpack(">IIBB", part[:10])
        packed += part if kind == b"IDAT" else b""
        at += size + 12
    n = {0: 1, 2: 3}[colour]
    raw, line = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, -1), np.zeros(width * n + n, int)
    out = []
    for row in raw:
        new = np.zeros_like(line)
        for i, v in enumerate(row[1:].astype(int)):
            left, up, corner = new[i], line[i + n], line[i]
            p = left + up - corner
            paeth = min((abs(p - left), 0, left), (abs(p - up), 1, up), (abs(p - corner), 2, corner))[2]
            new[i + n] = (v + (0, left, up, (left + up) // 2, paeth)[row[0]]) & 255
        line = new
        out.append(new[n:].reshape(width, n)[:, 0])
    return np.array(out)


def sheet(run, corpus):
    with h5py.File(run + "/sae.h5") as s, h5py.File(run + "/embeddings.h5") as e, h5py.File(corpus) as c:
        k = int(np.flatnonzero(s["fire_rate"][()] > 0)[0])
        row = int(s["top/index"][k, 0])
        picture = c["images"][int(e["corpus_row"][row])][..., 0]
    png = pixels(f"{run}/sheets/neuron-{k:05d}.png")
    size = len(picture)
    near = [(i, j) for i in range(24) for j in range(24) if i + size <= len(png) and j + size <= png.shape[1]]
    assert any((png[i:i + size, j:j + size] == picture).all() for i, j in near), f"neuron {k}, row {row}"


{"make": make, "rows": rows, "probe": probe, "sheet": sheet}[sys.argv[1]](*sys.argv[2:])
