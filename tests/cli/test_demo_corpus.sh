# cfn demo-corpus: the corpus of docs/data.md from the volumes of mricron-data, checked by a second implementation.
. tests/support/say.sh
. scripts/mpi-env
work=$CFN_TEST_TMP/demo_corpus
mkdir -p "$work"

CFN_MRICRON_DIR=$work/none mpirun -n 4 "$CFN" demo-corpus "$work/x" > "$work/log" 2>&1
[ $? = 66 ] && grep -q "mricron-data" "$work/log" && [ ! -e "$work/x" ]
say $? "demo-corpus: without the volumes it names the package"
"$CFN" demo-corpus > "$work/log" 2>&1
[ $? = 64 ]
say $? "demo-corpus: without a folder it says how it is used"
if [ ! -e /usr/share/mricron/templates/ch2.nii.gz ]; then
    echo "ok - demo-corpus: contents # SKIP mricron-data is not installed"
    exit 0
fi

"$CFN" demo-corpus "$work/one" > "$work/log" 2>&1 && mpirun -n 3 "$CFN" demo-corpus "$work/three" > "$work/log" 2>&1
say $? "demo-corpus: is made at 1 and 3 ranks"
diff -r "$work/one" "$work/three" > "$work/log" 2>&1
say $? "demo-corpus: the same files at 1 and 3 ranks"

/usr/bin/python3 - "$work/one" > "$work/check" 2>&1 <<'PY'
import csv, gzip, struct, sys, zlib
import numpy as np
root, base = sys.argv[1], "/usr/share/mricron/templates/"
def volume(name):
    data = gzip.open(base + name).read()
    nx, ny, nz = struct.unpack("<3h", data[42:48])
    start = int(struct.unpack("<f", data[108:112])[0])
    return np.frombuffer(data, np.uint8, nx * ny * nz, start).reshape(nz, ny, nx)
def png(path):
    data = open(path, "rb").read()
    at, body = 8, b""
    while at < len(data):
        n, name = struct.unpack(">I4s", data[at:at + 8])
        if name == b"IHDR":
            w, h, depth, colour = struct.unpack(">IIBB", data[at + 8:at + 18])
        if name == b"IDAT":
            body += data[at + 8:at + 8 + n]
        at += 12 + n
    assert (w, h, depth, colour) == (64, 64, 8, 0)
    rows, out = np.frombuffer(zlib.decompress(body), np.uint8).reshape(64, 65).astype(int), np.zeros((65, 65), int)
    for y in range(64):                      # PNG filters
        for x in range(64):
            a, b, c = out[y + 1, x], out[y, x + 1], out[y, x]
            p = a + b - c
            paeth = min((a, b, c), key=lambda v: abs(p - v))
            out[y + 1, x + 1] = (rows[y, x + 1] + [0, a, b, (a + b) // 2, paeth][rows[y, 0]]) % 256
    return out[1:, 1:]
head, atlas = volume("ch2.nii.gz"), volume("aal.nii.gz")
code, region = np.zeros(256, int), {}
for line in open(base + "aal.nii.txt"):
    if line.strip():
        i, name, number = line.split()
        code[int(i)], region[int(i)] = int(number) // 1000, name
classes = code[atlas]
names = {2: "frontal", 3: "insula", 4: "limbic", 5: "occipital", 6: "parietal", 7: "deep_grey", 8: "temporal", 9: "cerebellum"}
def split_of(x):
    w = x - 90
    return "train" if -66 <= w <= -4 else ("val" if w // 8 % 4 == 0 else "test") if 4 <= w <= 66 else None
expected = {}
for split, k in (("train", 200), ("val", 40), ("test", 60)):
    planes = [x for x in range(181) if split_of(x) == split]
    for c in names:
        found = [(x, y, z) for x in planes for z, y in zip(*np.nonzero(classes[:, :, x] == c)) if y % 2 == 0 and z % 2 == 0]
        found.sort()
        for t in range(k):
            x, y, z = found[(2 * t + 1) * len(found) // (2 * k)]
            expected[f"{names[c]}/{split}_x{x:03d}_y{y:03d}_z{z:03d}.png"] = (x, y, z, c, split)
rows = list(csv.DictReader(open(root + "/labels.csv")))
assert list(rows[0]) == ["path", "label", "split", "aal_region"] + ["frac_" + names[c] for c in names]
assert len(rows) == 2400 and {r["path"] for r in rows} == set(expected)
wide, labels = np.pad(head.astype(int), ((32, 32), (32, 32), (0, 0))), np.pad(classes, ((32, 32), (32, 32), (0, 0)))
for i, r in enumerate(rows):
    x, y, z, c, split = expected[r["path"]]
    window = labels[z:z + 64, y:y + 64, x]
    assert r["label"] == names[c] and r["split"] == split and r["aal_region"] == region[atlas[z, y, x]]
    for k in names:
        assert abs(float(r["frac_" + names[k]]) - (window == k).mean()) < 5.1e-5
    if i % 97 == 0:
        assert (png(root + "/" + r["path"]) == np.minimum(255, wide[z:z + 64, y:y + 64, x] * 3 // 2)[::-1]).all()
print("good")
PY
grep -q good "$work/check"
say $? "demo-corpus: files, windows, labels and shares are the documented ones"
grep -q good "$work/check" || sed 's/^/# /' "$work/check"

stamp=$(stat -c %Y.%i "$work/one/labels.csv")
"$CFN" demo-corpus "$work/one" > "$work/log" 2>&1 && grep -q "is complete" "$work/log" &&
    [ "$stamp" = "$(stat -c %Y.%i "$work/one/labels.csv")" ]
say $? "demo-corpus: a complete corpus is left alone"
rm "$work/one/limbic/"*_y1*.png
"$CFN" demo-corpus "$work/one" > "$work/log" 2>&1 && diff -r "$work/one" "$work/three" > /dev/null
say $? "demo-corpus: missing files are made again"
echo "path,label" > "$work/three/labels.csv"
mpirun -n 2 "$CFN" demo-corpus "$work/three" > "$work/log" 2>&1
[ $? = 73 ] && grep -q "another labels.csv" "$work/log" && [ "$(cat "$work/three/labels.csv")" = "path,label" ]
say $? "demo-corpus: another folder's labels.csv is not overwritten"
