# cfn pack: the same corpus at any rank count; what a user gets told when the data folder is wrong.
. tests/support/say.sh
. scripts/mpi-env
work=$CFN_TEST_TMP/pack
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
expect() { # what, exit code, text, ranks, root, options...
    local what=$1 code=$2 text=$3 found
    shift 3
    rm -rf "$out"
    pack "$@"
    found=$?
    [ $found = "$code" ] && grep -qF -- "$text" "$work/log"
    local ok=$?
    say $ok "$what (at $1 ranks)"
    [ $ok = 0 ] || { echo "# exit $found, expected $code and '$text'"; sed 's/^/# /' "$work/log"; }
}

# 180 pictures of three classes in folders; an odd number per rank, chunks of 64 rows.
/usr/bin/python3 - "$work" <<'PY'
import os, struct, sys, zlib
work = sys.argv[1]
def png(w, h, rgb, salt):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    n = 3 if rgb else 1
    rows = b"".join(b"\0" + bytes((x * 7 + y * 13 + salt * 31 + x * y * salt) % 256 for x in range(w * n)) for y in range(h))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2 if rgb else 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
def put(name, data):
    os.makedirs(os.path.dirname(os.path.join(work, name)), exist_ok=True)
    open(os.path.join(work, name), "wb").write(data)
for i in range(180):
    put(f"equal/class{i % 3}/i{i:03d}.png", png(20, 16, i % 5 == 0, i))
    put(f"mixed/class{i % 3}/i{i:03d}.png", png(20 + i % 4, 16 + i % 3, False, i))
good = png(20, 16, False, 1)
rows = ["path,label,split"]
for i in range(40):
    put(f"bad/img/{i}.png", png(20, 16, False, i) if i % 10 != 3 else [good[:60], b"text, not pixels", b"", good[:-9]][i // 10])
    rows.append(f"img/{i}.png,{'xy'[i % 2]},{['train', 'val', 'test'][i % 3]}")
rows.append("img/missing.png,x,train")
put("bad/labels.csv", "\n".join(rows).encode())
put("unknown/a.png", good)
put("unknown/labels.csv", b"path,label,split\na.png,cat,train\na2.png,dog,test\n")
put("climb/labels.csv", b"path,label\n../unknown/a.png,cat\n")
for split, text in (("train", b"(dVx\n(lVa.png\nas."), ("val", b"(d."), ("test", b"cposix\nsystem\n(Vtouch pwned\ntR.")):
    put(f"pickle/class2images_{split}.p", text)
os.makedirs(os.path.join(work, "empty"))
PY

# The same contents, and the contents of the files.
for store in equal-1 equal-2 equal-3 equal-4 equal-8 mixed-1 mixed-3; do
    rm -rf "$out"
    pack "${store#*-}" "$work/${store%-*}" && mv "$out/t/corpus.h5" "$work/$store.h5"
done
/usr/bin/python3 - "$work" > "$work/compare" 2>&1 <<'PY'
import sys, h5py, numpy as np
work = sys.argv[1]
def contents(path):
    found = {}
    with h5py.File(path) as f:
        f.visititems(lambda name, o: found.update({name: o[()]}) if isinstance(o, h5py.Dataset) and not name.startswith("run") else None)
        found["class_names"] = np.array(f.attrs["class_names"])
        for name, o in f.items():
            if isinstance(o, h5py.Dataset):
                assert o.attrs["description"] and o.attrs["dims"] is not None and o.attrs["unit"], name
    return found
for store in ("equal", "mixed"):
    one = contents(f"{work}/{store}-1.h5")
    assert len(one["label"]) == 180
    for ranks in (2, 3, 4, 8) if store == "equal" else (3,):
        other = contents(f"{work}/{store}-{ranks}.h5")
        assert one.keys() == other.keys()
        for name in one:
            assert np.array_equal(one[name], other[name]), (store, ranks, name)
ids = [i.decode() for i in contents(f"{work}/equal-1.h5")["id"]]
assert ids == sorted(ids) and ids[0] == "class0/i000.png"
images = contents(f"{work}/equal-3.h5")["images"]
assert images.shape == (180, 16, 20, 3)          # some are colour: grey ones are widened
i = int(ids[70].split("i")[-1][:3])
x, y = np.arange(20), 9
expected = (x * 7 + y * 13 + i * 31 + x * y * i) % 256
assert i % 5 == 0 or (images[70, 9, :, 1] == expected).all()
mixed = contents(f"{work}/mixed-3.h5")
row = 101
name = mixed["id"][row].decode()
at = mixed["encoded_offset"]
assert mixed["encoded"][at[row]:at[row + 1]].tobytes() == open(f"{work}/mixed/{name}", "rb").read()
print("good")
PY
grep -q good "$work/compare"
say $? "pack: the same contents at 1, 2, 3, 4 and 8 ranks, and those of the files"
grep -q good "$work/compare" || sed 's/^/# /' "$work/compare"

# Bad images: listed alike at any rank count, stopping or left out.
for ranks in 1 4; do
    expect "pack: a cut file stops it, with its line" 65 "labels.csv:5: img/3.png: PNG" $ranks "$work/bad"
    mv "$out/t/rejects.csv" "$work/rejects-$ranks.csv"
done
cmp -s "$work/rejects-1.csv" "$work/rejects-4.csv" && [ "$(grep -c . "$work/rejects-1.csv")" = 6 ] &&
    grep -q '^13,"img/13.png","of no kind that is read here' "$work/rejects-1.csv" &&
    grep -q '^23,"img/23.png","the file is empty' "$work/rejects-1.csv" &&
    grep -q '^40,"img/missing.png","the file is missing' "$work/rejects-1.csv"
say $? "pack: rejects.csv names row, path and reason, the same at 1 and 4 ranks"
expect "pack: on_bad skip leaves them out" 0 "5 of 41 images are left out" 3 "$work/bad" \
    --set pack.on_bad=skip --set pack.max_bad_fraction=0.5
h5dump -d /id "$out/t/corpus.h5" | grep -q '( 36 )'
say $? "pack: 36 of 41 rows are kept"
expect "pack: more bad images than max_bad_fraction" 65 "max_bad_fraction" 1 "$work/bad" \
    --set pack.on_bad=skip --set pack.max_bad_fraction=0.01

# Wrong folders and manifests.
expect "pack: an empty folder" 66 "no images" 1 "$work/empty"
expect "pack: a folder that is not there" 66 "expected a folder of images" 4 "$work/none"
expect "pack: a label that train does not have" 65 "labels.csv:3: unknown label 'dog'" 4 "$work/unknown"
expect "pack: a path out of the folder" 65 "labels.csv:2: the path leaves the data folder" 1 "$work/climb"
expect "pack: a pickle that would run something" 65 "opcode GLOBAL 'posix.system' is not allowed" 4 "$work/pickle"
[ ! -e pwned ] && [ ! -e "$out/t/corpus.h5" ]
say $? "pack: nothing ran and nothing was written"
expect "pack: pixels of several sizes" 65 "image.store: pixels needs images of one size" 4 "$work/mixed" \
    --set image.store=pixels
expect "pack: short_side makes one store of files smaller" 0 "images as files" 1 "$work/mixed" --set image.short_side=8
expect "pack: a column that is not there" 78 "pack.group" 1 "$work/unknown" --set pack.group=patient
expect "pack: a dry run writes nothing" 0 "180 images" 1 "$work/equal" --dry-run
[ ! -e "$out/t/corpus.h5" ]
say $? "pack: no corpus after a dry run"

# An output that is there.
pack 1 "$work/equal"
pack 4 "$work/equal"
[ $? = 73 ] && grep -q "exists already" "$work/log"
say $? "pack: an existing corpus is not overwritten"
pack 1 "$work/equal" --force
say $? "pack: --force makes it again"
pack 1 "$work/mixed" --resume && h5dump -H -d /images "$out/t/corpus.h5" | grep -q '( 180, 16, 20, 3 )'
say $? "pack: --resume keeps a whole corpus"
