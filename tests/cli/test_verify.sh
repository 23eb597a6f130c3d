# `cfn info` and `cfn verify`: what they say of a sound file, and that each broken promise of a layout is found, with
# the dataset and the first row, the same at 1 and 3 ranks.
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
tmp=${CFN_TEST_TMP:-$(mktemp -d)}/verify
mkdir -p "$tmp"
CFN=${CFN:-$BUILD/cfn}

# One sound file, then copies with one fault each.
/usr/bin/python3 - "$tmp" <<'PY'
import os, shutil, sys
import h5py
import numpy as np
top = sys.argv[1]
def path(name):
    return os.path.join(top, name + ".h5")
rng = np.random.default_rng(1)
K, D, N = 7, 5, 11
decoder = rng.normal(size=(K, D)).astype("f4")
decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
counts = rng.integers(0, 4, N)
indptr = np.concatenate([[0], np.cumsum(counts)]).astype("i8")
entries = int(indptr[-1])
sets = {"/decoder": (decoder, "K,D", "decoder directions, unit rows"),
        "/encoder": (rng.normal(size=(K, D)).astype("f4"), "K,D", "encoder"),
        "/codes/indptr": (indptr, "N+1", "offsets"),
        "/codes/index": (rng.integers(0, K, entries).astype("i4"), "entries", "neurons"),
        "/codes/value": (rng.random(entries).astype("f4"), "entries", "activations"),
        "/label": (rng.integers(0, 2, N).astype("i4"), "N", "class"),
        "/split": (rng.integers(0, 3, N).astype("u1"), "N", "split"),
        "/id": (np.array([f"row{i}" for i in range(N)], "S8"), "N", "names"),
        "/gain": (rng.random(3), "M", "gains"),
        "/empty": (np.zeros((0, D), "f4"), "E,D", "no rows")}
with h5py.File(path("sound"), "w") as f:
    for name, (value, dims, description) in sets.items():
        d = f.create_dataset(name, data=value)
        d.attrs["dims"], d.attrs["unit"], d.attrs["description"] = dims, "nat" if name == "/gain" else "1", description
    f.attrs["class_names"] = ["no", "y\u00e9s"]
    f.attrs["best"] = 0.25
    f.attrs["fixed"] = np.bytes_("fixed width")
    f.create_group("run").attrs["command_line"] = "cfn sae\nsecond \x1b[31mline"
def broken(name, change):
    shutil.copy(path("sound"), path(name))
    with h5py.File(path(name), "r+") as f:
        change(f)
def put(name, at, value):
    def change(f):
        f[name][at] = value
    return change
broken("nan", put("/encoder", (5, 2), np.nan))
broken("infinite", put("/gain", 2, np.inf))
broken("unit", put("/decoder", (3, 0), 2.0))
broken("index", put("/codes/index", entries - 1, K))
broken("falling", put("/codes/indptr", N - 1, 0))
broken("label", put("/label", 10, 2))
broken("split", put("/split", 4, 3))
def two(f):
    f["/encoder"][6, 0] = np.nan
    f["/encoder"][1, 4] = -np.inf
broken("two", two)
def description(f):
    del f["/label"].attrs["description"]
broken("description", description)
def dims(f):
    f["/decoder"].attrs["dims"] = "K"
broken("dims", dims)
def extent(f):
    del f["/split"]
    d = f.create_dataset("/split", data=np.zeros(N + 1, "u1"))
    d.attrs["dims"], d.attrs["unit"], d.attrs["description"] = "N", "1", "split"
broken("extent", extent)
def run(f):
    del f["/run"]
broken("run", run)
def text(f):
    f["/id"][2] = np.bytes_("a\0b")
broken("text", text)
PY

for ranks in 1 3; do
    timeout 60 mpirun -n $ranks "$CFN" verify "$tmp/sound.h5" > "$tmp/verify-$ranks" 2>&1
    say $? "a sound file is found sound at $ranks ranks"
    timeout 60 mpirun -n $ranks "$CFN" info "$tmp/sound.h5" > "$tmp/info-$ranks" 2>&1
    say $? "info at $ranks ranks"
    timeout 60 mpirun -n $ranks "$CFN" info "$tmp/sound.h5" --json > "$tmp/json-$ranks" 2>&1
    say $? "info --json at $ranks ranks"
done
cmp -s "$tmp/verify-1" "$tmp/verify-3" && cmp -s "$tmp/info-1" "$tmp/info-3" && cmp -s "$tmp/json-1" "$tmp/json-3"
say $? "the same words at any rank count"
grep -qE 'xxh3-128 [0-9a-f]{32}$' "$tmp/verify-1"; say $? "verify prints the checksum"
grep -qE '^/decoder +f32 +\[7 x 5\] +K,D +decoder directions, unit rows$' "$tmp/info-1" &&
    grep -qE '^/gain +f64 +\[3\] +M +gains \[nat\]$' "$tmp/info-1" && grep -q 'class_names: no, yés' "$tmp/info-1" &&
    grep -q 'fixed: fixed width' "$tmp/info-1" && grep -q 'command_line: cfn sae' "$tmp/info-1"
say $? "info shows shapes, units, descriptions, attributes and /run"
! grep -q "$(printf '\033')" "$tmp/info-1"; say $? "no escape sequence reaches the terminal"
/usr/bin/python3 - "$tmp/json-1" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
sets = {s["name"]: s for s in d["datasets"]}
assert sets["/decoder"]["shape"] == [7, 5] and sets["/decoder"]["type"] == "f32"
assert sets["/gain"]["attributes"]["unit"] == "nat"
assert d["attributes"]["class_names"] == ["no", "y\u00e9s"] and d["attributes"]["best"] == 0.25
assert d["run"]["command_line"].endswith("\x1b[31mline")
PY
say $? "info --json says the same"

found() { # FAULT TEXT [RANKS...]: verify must end with 65 and say TEXT, alone and at other rank counts
    fault=$1 pattern=$2
    shift 2
    for ranks in 1 "$@"; do
        launch=
        [ "$ranks" = 1 ] || launch="mpirun -n $ranks"
        timeout 60 $launch "$CFN" verify "$tmp/$fault.h5" > "$tmp/log" 2>&1
        code=$?
        [ $code = 65 ] && grep -qE "$pattern" "$tmp/log"
        good=$?
        say $good "$fault at $ranks ranks"
        [ $good = 0 ] || { echo "exit $code, expected 65 and: $pattern"; head -5 "$tmp/log"; }
    done
}
found nan '/encoder row 5 holds -?nan'
found two '/encoder row 1 holds -inf' 2 3
found infinite '/gain row 2 holds inf'
found unit '/decoder row 3 has norm' 3
found index '/codes/index row [0-9]+ holds 7, expected 0 to 6'
found falling '/codes/indptr row 10 holds 0 after' 4
found label '/label row 10 holds 2, expected -1 to 1'
found split '/split row 4 holds 3, expected 0 to 2'
found description '/label has no attribute "description"'
found dims '/decoder has 2 extents, its attribute "dims" names "K"'
found extent '/split extent N is 12, but 11 in' 3
found run 'group /run is missing'
found text '/id row 2 has bytes after the end'
