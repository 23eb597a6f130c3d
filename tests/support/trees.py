"""Small trees of images for tests of readers: making them, packing them, and what the corpus must hold."""
import os, struct, subprocess, zlib

import h5py
import numpy as np

SPLITS = ("train", "val", "test")


def png(salt, width=12, height=10):
    """A grey PNG, another one for each `salt`."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    rows = b"".join(b"\0" + bytes((x * 7 + y * 13 + salt * 31 + x * y * salt) % 256 for x in range(width)) for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def put(path, data):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "wb") as f:
        f.write(data.encode() if isinstance(data, str) else data)


class Bench:
    """Runs cfn pack below `work` and prints a line for every case."""

    def __init__(self, work):
        self.work, self.cfn = work, os.environ["CFN"]

    def pack(self, root, *options, ranks=1):
        """Exit code, what was said, and the corpus as a dictionary (None when there is none)."""
        out = f"{self.work}/out"
        subprocess.run(["rm", "-rf", out])
        launch = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
        settings = [x for o in options for x in ("--set", o)]
        run = subprocess.run(launch + [self.cfn, "pack", "--root", root, "--data", "t", "--result_dir", out, *settings],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
        path = f"{out}/t/corpus.h5"
        return run.returncode, run.stdout.decode("utf-8", "replace"), corpus(path) if os.path.exists(path) else None

    def say(self, what, wrong, said):
        print(f"{'not ok' if wrong else 'ok'} - {what}", flush=True)
        if wrong:
            print("\n".join("# " + line for line in [str(wrong)] + said.splitlines()))

    def good(self, what, root, expected, *options, said=(), ranks=1):
        """The folder packs; `expected` has name -> values of what the corpus must hold; `said` what must be printed."""
        code, text, found = self.pack(root, *options, ranks=ranks)
        wrong = f"exit {code}" if code or not found else None
        for name, values in expected.items() if found else ():
            if name not in found or not same(found[name], values):
                wrong = f"{name}: {found.get(name)} instead of {values}"
        wrong = wrong or next((f"not said: {line}" for line in said if line not in text), None)
        self.say(what, wrong, text)

    def bad(self, what, root, code, said, *options, ranks=1):
        """The folder is refused with this exit code and text, and nothing is left."""
        found, text, left = self.pack(root, *options, ranks=ranks)
        missing = [line for line in said if line not in text]
        self.say(what, f"exit {found}, not said: {missing}" if found != code or missing or left else None, text)


def same(a, b):
    a, b = list(a), list(b)
    return len(a) == len(b) and all(x == y or (x != x and y != y) or (isinstance(x, (list, np.ndarray)) and same(x, y))
                                    for x, y in zip(a, b))


def texts(values):
    return [v.decode() if isinstance(v, bytes) else v for v in values]


def corpus(path):
    """Datasets and attributes as lists; `class` and `splits` by name."""
    with h5py.File(path) as f:
        found = {"classes": texts(f.attrs["class_names"]), "id": texts(f["id"][:]),
                 "splits": [SPLITS[s] for s in f["split"][:]], "hash": list(f["content_hash"][:]),
                 "reader": texts([f.attrs["reader"]]), "attributes": sorted(f["attributes"]) if "attributes" in f else []}
        if "label" in f:
            found["class"] = [found["classes"][k] for k in f["label"][:]]
        else:
            found["labels"] = f["labels"][:].tolist()
        if "group" in f:
            found["group"] = list(f["group"][:])
        for name in found["attributes"]:
            d = f["attributes"][name]
            values = texts(d.attrs["values"]) if "values" in d.attrs else None
            found[f"@{name}"] = [None if v < 0 else values[v] for v in d[:]] if values else list(d[:].astype("f8"))
    return found
