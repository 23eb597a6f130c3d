# What ends a job in the store: existing and contested outputs, full disks, damaged and hostile files, checkpoints of
# another run. Exit code and message at 1 and 4 ranks; nothing hangs, nothing that was there is lost.
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
tmp=${CFN_TEST_TMP:-$(mktemp -d)}/store-errors
mkdir -p "$tmp"
life=$BUILD/tests/mpi/test_store_blocks
point=$BUILD/tests/mpi/test_checkpoint
CFN=${CFN:-$BUILD/cfn}

# ends CODE TEXT WHAT RANKS COMMAND...: the exit code, and a line of output that matches TEXT (said once)
ends() {
    wanted=$1 pattern=$2 what=$3 ranks=$4
    shift 4
    if [ "$ranks" = 1 ]; then timeout 60 "$@" > "$tmp/log" 2>&1; else timeout 60 mpirun -n "$ranks" "$@" > "$tmp/log" 2>&1; fi
    code=$?
    said=$(grep -cE "$pattern" "$tmp/log")
    if [ $code = "$wanted" ] && [ "$said" = 1 ]; then say 0 "$what, $ranks ranks"; else
        say 1 "$what, $ranks ranks: exit $code (expected $wanted), said $said times: $pattern"
        head -8 "$tmp/log"
    fi
}

# Outputs that exist, or that another run writes.
ranks=4
rm -f "$tmp"/a.h5*
timeout 60 mpirun -n $ranks "$life" create "$tmp/a.h5" 1 > "$tmp/log" 2>&1 && [ -e "$tmp/a.h5" ]; say $? "a new file is made, $ranks ranks"
before=$(cksum < "$tmp/a.h5")
ends 73 'a.h5: exists already' "an existing output is not overwritten" $ranks "$life" create "$tmp/a.h5" 1
[ "$before" = "$(cksum < "$tmp/a.h5")" ] && [ ! -e "$tmp/a.h5.part" ]; say $? "and is left as it was"
"$life" hold "$tmp/b.h5" > "$tmp/held" 2>&1 &
holder=$!
for _ in $(seq 600); do grep -q held "$tmp/held" && break; sleep 0.1; done
ends 73 'b.h5: another run is writing' "a second writer is sent away" $ranks "$life" create "$tmp/b.h5" 1 replace
touch "$tmp/b.h5.go"
wait $holder; say $? "the first writer finishes"
"$CFN" info "$tmp/b.h5" | grep -q held; say $? "and its file is whole"
rm -f "$tmp"/b.h5*
ends 73 'cannot create' "a directory that is not there" 4 "$life" create "$tmp/no/where/a.h5" 1

# A writer that is killed leaves nothing under the name, and nothing that blocks the next one.
"$life" hold "$tmp/k.h5" > "$tmp/held" 2>&1 &
victim=$!
for _ in $(seq 600); do grep -q held "$tmp/held" && break; sleep 0.1; done
kill -9 $victim
wait $victim 2> "$tmp/killed"
[ ! -e "$tmp/k.h5" ]; say $? "a killed writer leaves no file under its name"
"$life" create "$tmp/k.h5" 1 > "$tmp/log" 2>&1 && "$CFN" info "$tmp/k.h5" > "$tmp/log" 2>&1
say $? "and the next writer takes its place"

# Inputs.
ends 66 'none.h5: No such file' "a missing input" 4 "$CFN" info "$tmp/none.h5"
ends 66 'not a regular file' "a directory as input" 1 "$CFN" info "$tmp"
echo "just text" > "$tmp/text.h5"
ends 65 'text.h5: not an HDF5 file' "a text file" 1 "$CFN" info "$tmp/text.h5"
: > "$tmp/empty.h5"
ends 65 'empty.h5: not an HDF5 file' "an empty file" 1 "$CFN" info "$tmp/empty.h5"
head -c 500000 "$tmp/a.h5" > "$tmp/cut.h5"
ends 65 'cut.h5: damaged HDF5 file: truncated' "a file cut off" 4 "$CFN" info "$tmp/cut.h5"

# Hostile inputs: nothing outside the file is followed, no size is believed.
/usr/bin/python3 - "$tmp" <<'PY'
import os, sys
import h5py
import numpy as np
top = sys.argv[1]
def new(name):
    return h5py.File(os.path.join(top, name), "w")
with new("external.h5") as f:
    f["x"] = h5py.ExternalLink("/etc/passwd", "/")
with new("soft.h5") as f:
    f["y"] = np.zeros(3)
    f["x"] = h5py.SoftLink("/y")
with new("storage.h5") as f:
    f.create_dataset("x", (4,), "i4", external=[("/etc/passwd", 0, 16)])
with new("virtual.h5") as f:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("a.h5", "x", (4,))
    f.create_virtual_dataset("x", layout)
with new("huge.h5") as f:
    f.create_dataset("x", (2**40, 2**20), "f4", chunks=(1, 1024))
with new("overflow.h5") as f:
    f.create_dataset("x", (2**40, 2**30), "f8", chunks=(1, 1024))
with new("type.h5") as f:
    f["x"] = np.zeros(3, "c8")
with new("name.h5") as f:
    f["x\x1b[31m"] = np.zeros(3)
with new("loop.h5") as f:
    f["g/x"] = np.zeros(3)
    f["g/again"] = f["g"]
PY
ends 65 '"/x" is an external or soft link' "an external link" 4 "$CFN" info "$tmp/external.h5"
ends 65 '"/x" is an external or soft link' "a soft link" 1 "$CFN" info "$tmp/soft.h5"
ends 65 '"/x" keeps its values in another file' "external storage" 1 "$CFN" info "$tmp/storage.h5"
ends 65 '"/x" keeps its values in another file' "a virtual dataset" 1 "$CFN" info "$tmp/virtual.h5"
ends 65 'more values than the file can hold' "a huge dataset without values" 1 "$CFN" info "$tmp/huge.h5"
ends 65 'product overflows' "sizes that overflow" 1 "$CFN" info "$tmp/overflow.h5"
ends 65 'unsupported type' "a type that is not ours" 1 "$CFN" info "$tmp/type.h5"
ends 65 'control characters in its name' "control characters in a name" 1 "$CFN" info "$tmp/name.h5"
ends 0 '/g/x' "a group that holds itself" 1 "$CFN" info "$tmp/loop.h5"

# Checkpoints of another run, and none that is whole.
id=data=abc,model=resnet18,batch=16
"$point" save "$tmp/points" 5 $id 1000 > "$tmp/log" 2>&1; say $? "a checkpoint is saved"
ends 0 'step 5' "and loaded" 4 "$point" load "$tmp/points" $id 1000
ends 78 'model: checkpoint resnet18, this run vit_b_16' "another model" 4 \
    "$point" load "$tmp/points" data=abc,model=vit_b_16,batch=16 1000
ends 78 '/x: expected 1001 values of f32, found 1000' "another size" 1 "$point" load "$tmp/points" $id 1001
"$point" load "$tmp/points" data=abd,model=resnet18,seed=3 1000 > "$tmp/log" 2>&1
[ $? = 78 ] && grep -q 'data: checkpoint abc, this run abd' "$tmp/log" &&
    grep -q 'batch: checkpoint 16, this run none' "$tmp/log" &&
    grep -q 'seed: checkpoint none, this run 3' "$tmp/log" && ! grep -q 'model:' "$tmp/log"
say $? "every field that differs is named, and no other"
"$point" save "$tmp/points" 6 $id 1000 > "$tmp/log" 2>&1
for f in "$tmp"/points/train-6-*; do printf x >> "$f"; done
ends 0 'train-6-.* is cut off or altered' "the checkpoint before a damaged one is used, with a warning" 4 \
    "$point" load "$tmp/points" $id 1000
for f in "$tmp"/points/train-5-*; do truncate -s 100 "$f"; done
ends 65 'none of 2 checkpoints of train is whole' "no checkpoint is whole" 4 "$point" load "$tmp/points" $id 1000

# A full disk: a small file system of its own where that may be mounted, and the limit on file size, which strikes in
# the middle of a write.
small=$tmp/small
mkdir -p "$small"
if mount -t tmpfs -o size=4m none "$small" 2> "$tmp/log"; then
    ends 74 'f.h5: needs 16777216 bytes, the file system has [0-9]+ free' "no room for a file" 4 "$life" create "$small/f.h5" 16
    [ -z "$(ls "$small")" ]; say $? "nothing is left behind"
    "$point" save "$small/points" 1 $id 300000 > "$tmp/log" 2>&1; say $? "a checkpoint that fits"
    ends 74 'train.part: needs [0-9]+ bytes, the file system has [0-9]+ free' "no room for the next" 4 \
        "$point" save "$small/points" 2 $id 900000
    ends 0 'step 1' "the previous checkpoint is intact" 1 "$point" load "$small/points" $id 300000
    timeout 60 mpirun -n 2 "$life" slow "$small/s.h5" 2 > "$tmp/slow" 2>&1 &
    writer=$!
    for _ in $(seq 600); do grep -q held "$tmp/slow" && break; sleep 0.1; done
    touch "$small/wait"
    dd if=/dev/zero of="$small/filler" bs=64k > "$tmp/log" 2>&1
    mv "$small/wait" "$small/s.h5.go"
    wait $writer
    code=$?
    [ $code = 74 ] && grep -q 's.h5.part: cannot write' "$tmp/slow" && [ ! -e "$small/s.h5" ]
    say $? "a disk that fills up while it is written ends with exit 74 (found $code)"
    umount "$small"
else
    echo "ok - full disk # SKIP no file system may be mounted here"
fi
limited() ( # KILOBYTES COMMAND...: writes beyond the limit fail like those to a full disk
    trap '' XFSZ
    ulimit -f "$1"
    shift
    exec "$@"
)
limited 20000 "$life" create "$tmp/l.h5" 32 > "$tmp/log" 2>&1
code=$?
[ $code = 74 ] && [ ! -e "$tmp/l.h5" ]; say $? "a write that fails midway ends with exit 74 (found $code) and no file"
"$point" save "$tmp/limit" 1 $id 1000 > "$tmp/log" 2>&1
limited 20000 "$point" save "$tmp/limit" 2 $id 9000000 > "$tmp/log" 2>&1
code=$?
[ $code = 74 ] && grep -q 'needs [0-9]* bytes' "$tmp/log" && [ "$(ls "$tmp/limit" | wc -l)" = 1 ]
say $? "a checkpoint that fails midway ends with exit 74 (found $code)"
ends 0 'step 1' "and the previous one is used" 1 "$point" load "$tmp/limit" $id 1000
