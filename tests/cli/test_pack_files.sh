# cfn pack: kinds of files, 16-bit samples, grey in colour files, resized files, reports as a stream, a pack that is killed.
. tests/support/say.sh
. scripts/mpi-env
work=$CFN_TEST_TMP/pack_files
mkdir -p "$work"
out=$work/out

pack() { # ranks, root, options...
    local ranks=$1 root=$2
    shift 2
    local launch="mpirun -n $ranks"
    [ "$ranks" = 1 ] && launch=
    # shellcheck disable=SC2086
    timeout 60 $launch "$CFN" pack --root "$root" --data t --result_dir "$out" "$@" > "$work/log" 2>&1
}
check() { # what, script: Python with h5py, np, work and `f`, the corpus
    /usr/bin/python3 - "$work" "$2" > "$work/found" 2>&1 <<'PY'
import sys, h5py, numpy as np
work = sys.argv[1]
with h5py.File(f"{work}/out/t/corpus.h5") as f:
    exec(sys.argv[2])
PY
    local ok=$?
    say $ok "$1"
    [ $ok = 0 ] || { sed 's/^/# /' "$work/found"; sed 's/^/# /' "$work/log"; }
}
says() { # what, exit code of the run before, expected one, text in its log
    [ "$2" = "$3" ] && grep -qF -- "$4" "$work/log"
    local ok=$?
    say $ok "$1"
    [ $ok = 0 ] || { echo "# exit $2, expected $3 and '$4'"; sed 's/^/# /' "$work/log"; }
}

# Trees, made without an imaging library: PNG and PNM by hand.
/usr/bin/python3 - "$work" <<'PY'
import os, struct, sys, zlib
import numpy as np
work = sys.argv[1]
def png(a, depth, extra=b""):
    h, w, c = a.shape
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in a)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, {1: 0, 3: 2, 4: 6}[c], 0, 0, 0)) +
            extra_chunk(chunk, extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
def extra_chunk(chunk, bits):
    return chunk(b"sBIT", bits) if bits else b""
def put(name, data):
    os.makedirs(os.path.dirname(os.path.join(work, name)), exist_ok=True)
    open(os.path.join(work, name), "wb").write(data)
y, x = np.mgrid[0:40, 0:50]
def ramp(i, top):  # 0 to top, every level of 8 bits
    return (((x + y * 50 + i * 7) % 2000) / 1999 * top).astype(int)[:, :, None]
for i in range(9):
    c = "ab"[i % 2]
    put(f"bits12/{c}/{i}.png", png(ramp(i, 4095), 16))
    put(f"bits10/{c}/{i}.png", png(ramp(i, 1023), 16))
    put(f"rgb12/{c}/{i}.png", png(np.concatenate([ramp(i + k, 4095) for k in range(3)], 2), 16))
    put(f"low/{c}/{i}.png", png(ramp(i, 3000), 16, b"\x0c"))                   # sBIT 12, samples as they are
    v = ramp(i, 4095)
    put(f"scaled/{c}/{i}.png", png(v << 4 | v >> 8, 16, b"\x0c"))              # sBIT 12, samples scaled up as PNG asks
    put(f"bits12pgm/{c}/{i}.pgm", b"P5 50 40 65535\n" + ramp(i, 4095).astype(">u2").tobytes())
    grey = ramp(i, 255)
    put(f"grey/{c}/{i}.png", png(grey if i % 3 else np.concatenate([grey] * 3 + [grey * 0 + 255], 2), 8))
    put(f"sizes/{c}/{i}.png", png(np.concatenate([ramp(i, 255), 255 - ramp(i, 255), ramp(i + 1, 255)], 2)[:30 + i], 8))
grey = ramp(0, 255)
put("kinds/a/text.png", b"P2 50 40 255\n" + " ".join(map(str, grey.ravel())).encode() + b"\n")  # a PNM with another ending
put("kinds/a/0.png", png(grey, 8))
head = struct.pack("<IiiHHIIiiII", 40, 50, -40, 1, 8, 0, 0, 0, 0, 256, 0)
palette = b"".join(bytes([v, v, v, 0]) for v in range(256))
rows = b"".join(row.astype("u1").tobytes().ljust(52, b"\0") for row in grey[:, :, 0])
put("kinds/b/0.BMP", struct.pack("<2sIHHI", b"BM", 54 + 1024 + len(rows), 0, 0, 54 + 1024) + head + palette + rows)
tags = [(256, 4, 50), (257, 4, 40), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 4, 40), (279, 4, 2000)]
put("kinds/b/1.tif", struct.pack("<2sHI", b"II", 42, 2008) + grey.astype("u1").tobytes() + struct.pack("<H", len(tags)) +
    b"".join(struct.pack("<HHII", t, k, 1, v) for t, k, v in tags) + struct.pack("<I", 0))
put("kinds/b/2.pgm", b"P5 50 40 255\n" + grey.astype("u1").tobytes())
put("dicom/a/0.png", png(grey, 8))
put("dicom/b/1.png", b"\0" * 128 + b"DICM" + b"\0" * 100)
table = ["path,label,split,report"]
for i in range(500):
    put(f"reports/{i}.pgm", b"P5 8 8 255\n" + bytes((k * i) % 256 for k in range(64)))
    text = "" if i == 7 else f"Report {i}: no finding. \u00e9\u2713" + "x" * (60000 if i == 100 else i % 300)
    table.append(f'{i}.pgm,{"uv"[i % 2]},{["train", "val", "test"][i % 3]},"{text}"')
put("reports/labels.csv", "\n".join(table).encode())
PY

# 16-bit samples: all levels of 8 bits are there, by the rule that the log and the file name.
for case in bits12:4095 bits10:1023 rgb12:4095 bits12pgm:4095; do
    name=${case%:*} white=${case#*:}
    for ranks in $([ "$name" = bits12 ] && echo 1) 3; do
        rm -rf "$out"
        pack $ranks "$work/$name"
        says "pack: $name: the mapping is said ($ranks ranks)" $? 0 "0 to $white becomes 0 to 255"
        check "pack: $name: the upper 8 of the used bits" "
a, white = f['images'][()].astype(int), $white
assert f.attrs['white'] == white, dict(f.attrs)
x, y = np.meshgrid(np.arange(50), np.arange(40))
for row, name in enumerate(f['id'][()]):
    i = int(name.decode().split('/')[1].split('.')[0])
    for k in range(a.shape[3]):
        v = (((x + y * 50 + (i + k) * 7) % 2000) / 1999 * white).astype(int)
        assert (a[row, :, :, k] == np.minimum(v * 256 // (white + 1), 255)).all(), (name, k)
assert len(np.unique(a)) == 256 and a.shape[3] == (3 if '$name' == 'rgb12' else 1)"
    done
done
rm -rf "$out"
pack 1 "$work/low"
says "pack: sBIT 12 is said" $? 0 "12 of them used (sBIT): 0 to 4095 becomes 0 to 255"
check "pack: sBIT 12: 3000 of 4095 is 187" "assert f['images'][()].max() == 187 and f.attrs['white_sbit_12'] == 4095"
rm -rf "$out"
pack 2 "$work/scaled"
says "pack: sBIT 12 of samples that are scaled up" $? 0 "0 to 65535 becomes 0 to 255"
check "pack: their high bytes" "assert len(np.unique(f['images'][()])) == 256 and f.attrs['white_sbit_12'] == 65535"

# Files keep their 16 bits, and the loader maps them as pack said.
rm -rf "$out"
pack 1 "$work/bits12" --set image.store=encoded
cp "$out/t/corpus.h5" "$work/files.h5" && rm -rf "$out" && pack 1 "$work/bits12"
check "pack: files of 16 bits keep the mapping" "
g = h5py.File(f'{work}/files.h5')
assert g.attrs['white'] == 4095 and 'encoded' in g
assert (g['content_hash'][()] == f['content_hash'][()]).all()"

# Grey in colour files, other endings, other kinds.
rm -rf "$out"
pack 3 "$work/grey"
says "pack: colour files that are grey are counted" $? 0 "3 images are grey in colour files"
check "pack: RGBA files that are grey leave the corpus grey" "
a = f['images'][()]
assert a.shape == (9, 40, 50, 1) and len(np.unique(a)) == 256"
rm -rf "$out"
pack 2 "$work/kinds"
says "pack: TIFF, BMP, PNM and PNG in one corpus" $? 0 "5 images of 40 x 50 x 1"
check "pack: the same picture in each of them" "
assert (f['images'][()] == f['images'][0]).all() and len(set(f['content_hash'][()])) == 1"
for ranks in 1 4; do
    rm -rf "$out"
    pack $ranks "$work/dicom"
    says "pack: a DICOM file is named ($ranks ranks)" $? 65 "a DICOM file"
done

# Resized files are PNG of the pixels that a corpus of pixels holds, made once and leaving nothing behind.
for ranks in 1 3; do
    rm -rf "$out"
    pack $ranks "$work/sizes" --set image.short_side=12 --set image.store=encoded
    mv "$out/t/corpus.h5" "$work/png-$ranks.h5"
    [ "$(ls -A "$out/t" | grep -c 'corpus.h5.')" = 0 ]
    say $? "pack: no file is left beside the corpus ($ranks ranks)"
done
rm -rf "$out"
pack 1 "$work/bits12" --set image.short_side=12 --set image.store=encoded
mv "$out/t/corpus.h5" "$work/deep.h5" && rm -rf "$out" && pack 2 "$work/bits12" --set image.short_side=12
check "pack: resized files are the resized pixels, at 1 and 3 ranks" "
import zlib
def pixels(data):
    at, body = 8, b''
    while at < len(data):
        n = int.from_bytes(data[at:at + 4], 'big')
        if data[at + 4:at + 8] == b'IHDR': w, h = (int.from_bytes(data[at + k:at + k + 4], 'big') for k in (8, 12))
        if data[at + 4:at + 8] == b'IDAT': body += data[at + 8:at + 8 + n]
        at += 12 + n
    return w, h, len(zlib.decompress(body))
one, three, deep = (h5py.File(f'{work}/{n}.h5') for n in ('png-1', 'png-3', 'deep'))
for name in ('encoded', 'encoded_offset', 'content_hash', 'source_size', 'id'):
    assert (one[name][()] == three[name][()]).all(), name
at = deep['encoded_offset'][()]
for i in range(9):
    assert pixels(deep['encoded'][at[i]:at[i + 1]].tobytes()) == (15, 12, 12 * 16)
assert f['images'].shape == (9, 12, 15, 1) and len(np.unique(f['images'][()])) > 100"
pack 1 "$work/sizes" --force --set image.decode=scaled
says "pack: image.decode: scaled without image.short_side is refused" $? 78 "set image.short_side"

# JPEG at a part of its size: 21 x 30 at 1/2 is above 8 pixels, and becomes what the whole file becomes, about.
/usr/bin/python3 - "$work" <<'PY'
import os, sys
for line in open("tests/parity/fixtures/image_files.txt"):
    name, *_, data = line.split()
    if name in ("jpeg", "jpeg_444"):
        path = f"{sys.argv[1]}/jpeg/{name}/0.jpg"
        os.makedirs(os.path.dirname(path))
        open(path, "wb").write(bytes.fromhex(data))
PY
rm -rf "$out"
pack 1 "$work/jpeg" --set image.short_side=8
mv "$out/t/corpus.h5" "$work/exact.h5"
pack 1 "$work/jpeg" --set image.short_side=8 --set image.decode=scaled
check "pack: image.decode: scaled is kept, with the file's size" "
e = h5py.File(f'{work}/exact.h5')
assert f.attrs['decode'] == 'scaled' and 'decode' not in e.attrs
assert (f['source_size'][()] == [21, 30]).all() and f['images'].shape == e['images'].shape == (2, 8, 11, 3)
difference = np.abs(f['images'][()].astype(int) - e['images'][()])
assert 0 < difference.mean() < 20, difference.mean()"

# Reports as one stream: no longer than they are, the same at any rank count.
for ranks in 1 2 3 4 8; do
    rm -rf "$out"
    pack $ranks "$work/reports"
    mv "$out/t/corpus.h5" "$work/reports-$ranks.h5"
done
mkdir -p "$out/t" && cp "$work/reports-3.h5" "$out/t/corpus.h5"
check "pack: reports come back from their stream, at 1, 2, 3, 4 and 8 ranks" "
import csv, os
rows = list(csv.DictReader(open(f'{work}/reports/labels.csv', encoding='utf-8')))
stream, at = f['report'][()].tobytes(), f['report_offset'][()]
assert [stream[a:b].decode() for a, b in zip(at, at[1:])] == [r['report'] for r in rows]
for ranks in (1, 2, 4, 8):
    with h5py.File(f'{work}/reports-{ranks}.h5') as g:
        for name in f:
            if isinstance(f[name], h5py.Dataset): assert (f[name][()] == g[name][()]).all(), (ranks, name)
assert os.path.getsize(f'{work}/out/t/corpus.h5') < 400000"

# Killed at random moments, then the same command again: the same datasets.
for moment in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf "$out"
    timeout -s KILL "0.$((RANDOM % 9 + 1))" "$CFN" pack --root "$work/reports" --data t --result_dir "$out" > "$work/log" 2>&1
    [ -e "$out/t/corpus.h5" ] || pack 2 "$work/reports"
    h5diff "$work/reports-1.h5" "$out/t/corpus.h5" /report /report > "$work/found" 2>&1 &&
        h5diff "$work/reports-1.h5" "$out/t/corpus.h5" /images /images >> "$work/found" 2>&1
    ok=$?
    [ $ok = 0 ] || break
done
say $ok "pack: killed at ten moments and started again, the datasets are the same"
[ $ok = 0 ] || sed 's/^/# /' "$work/found" "$work/log"
