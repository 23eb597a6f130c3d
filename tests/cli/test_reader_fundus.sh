# Reader of Harvard-FairVLMed: pictures, arrays or both; splits, labels, reports and demographics of its table.
work=$CFN_TEST_TMP/reader_fundus
mkdir -p "$work"
. tests/support/collection_trees.sh

tree fundus both
holds "fundus: pictures and arrays" fundus "reports: column gpt4_summary" both classes=no,yes
tree fundus jpg images=jpg
holds "fundus: pictures alone" fundus "48 images" jpg ""
tree fundus npz images=npz
holds "fundus: arrays alone, stored" fundus "48 arrays slo_fundus" npz ""
holds "fundus: arrays in a corpus of files" fundus "images as files" npz "" --set image.store=encoded
/usr/bin/python3 - "$out/t/corpus.h5" "$work/npz.json" > "$work/compare" 2>&1 <<'PY'
import json, struct, sys, zlib
import h5py, numpy as np
sys.path.insert(0, "tests/tools")
from make_collections import pixels

def decode(png): # grey, 8 bits
    width, height, depth, colour = struct.unpack(">IIBB", png[16:26])
    assert png[:4] == b"\x89PNG" and (depth, colour) == (8, 0)
    at, data = 8, b""
    while at < len(png):
        length = struct.unpack(">I", png[at:at + 4])[0]
        data += png[at + 8:at + 8 + length] if png[at + 4:at + 8] == b"IDAT" else b""
        at += 12 + length
    rows, above = [], [0] * width
    for line in np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, width + 1):
        row = []
        for x in range(width):
            a, b, c = (row[-1], above[x], above[x - 1]) if x else (0, above[x], 0)
            nearest = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            row.append((int(line[1 + x]) + [0, a, b, (a + b) // 2, nearest][line[0]]) % 256)
        rows.append(row)
        above = row
    return np.array(rows, np.uint8)

truth = json.load(open(sys.argv[2]))
with h5py.File(sys.argv[1]) as f:
    at, ids = f["encoded_offset"][:], f["id"][:]
    for row in range(len(ids)):
        name = ids[row].decode().split("_")[-1].split(".")[0]
        shown = pixels(truth[name]["picture"], 33, 26, 1)
        assert np.array_equal(decode(f["encoded"][at[row]:at[row + 1]].tobytes()), shown), name
print("good")
PY
grep -q good "$work/compare"
say $? "fundus: arrays become PNG files there, without loss"
tree fundus deflated images=npz deflate=1
holds "fundus: arrays alone, deflated" fundus "48 arrays slo_fundus" deflated ""
for name in npz deflated; do
    same_at_ranks "fundus: the same corpus of arrays ($name) at 1, 2, 3 and 4 ranks" $name
done
tree fundus mixed
rm "$work"/mixed/Training/slo_fundus_0000[1-9].jpg "$work"/mixed/Test/data_0004*.npz
holds "fundus: some pictures, some arrays" fundus "39 files slo_fundus_NNNNN, 9 arrays" mixed ""
holds "fundus: the note as report" fundus "reports: column note" both report=note --set pack.columns=report=note
tree fundus useless use=
holds "fundus: no column use: splits of the folders" fundus "has no column use" useless ""
tree fundus coded coded=1
holds "fundus: demographics as numbers; rows with -1 stay" fundus "48 images" coded ""

# The published split files, with and without images/ in their paths.
for published in bare images; do
    tree fundus "$published" images=jpg published=$published
    holds "fundus: published split files ($published) with the table" fundus "48 images" $published classes=yes,no
    rm "$work/$published/data_summary.csv"
    holds "class2images: the same without it, images in their folders" class2images "28 train, 8 val, 12 test" $published "report= attributes="
    mkdir "$work/$published/images" && mv "$work/$published"/{Training,Validation,Test} "$work/$published/images/"
    holds "class2images: the same, images below images/" class2images "28 train, 8 val, 12 test" $published "report= attributes="
done

# What cannot be meant.
refused "fundus: a report that is not there" 78 "no column 'summary'" both --set pack.columns=report=summary
tree fundus gone images=npz
rm -r "$work/gone/Test"
refused "fundus: a folder that was not unpacked" 66 "expected a folder Test" gone
tree fundus damaged images=npz
/usr/bin/python3 - "$work/damaged/Training" <<'PY'
import sys
import numpy as np
folder = sys.argv[1]
with open(f"{folder}/data_00003.npz", "r+b") as f:
    f.truncate(400)
np.savez(f"{folder}/data_00004.npz", other=np.zeros((3, 4), np.uint8))
np.savez(f"{folder}/data_00005.npz", slo_fundus=np.zeros((33, 26), np.float32))
np.savez(f"{folder}/data_00006.npz", slo_fundus=np.array({"a": 1}, dtype=object))
PY
refused "fundus: arrays that cannot be used" 65 "data_summary.csv:6: " damaged
for reason in '^2,.*not a whole zip' '^3,.*holds no ""slo_fundus.npy""' '^4,.*an array of f32' "^5,.*type '|O' is not read"; do
    grep -q "$reason" "$out/t/rejects.csv"
    say $? "fundus: rejects.csv says $reason"
done
sed -i '$s/,no,/,maybe,/;$s/,yes,/,maybe,/' "$work/jpg/data_summary.csv"
refused "fundus: a label that is neither yes nor no" 65 "glaucoma is 'maybe'; expected yes or no" jpg
