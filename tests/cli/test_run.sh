#!/bin/bash
# Run directories: locks, existing outputs, places that cannot be written, dry runs.
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
. tests/support/place.sh
place run

ends() { # exit code, message, arguments...: at 1 and 4 ranks, said once
    local expected=$1 message=$2 code ranks
    shift 2
    for ranks in 1 4; do
        if [ $ranks = 1 ]; then timeout 60 "$CFN" "$@" > out 2> err
        else timeout 60 mpirun -n $ranks "$CFN" "$@" > out 2> err; fi
        code=$?
        test $code = "$expected" && test "$(cat out err | grep -cF -- "$message")" = 1
        say $? "$code at $ranks ranks: $message"
        [ $code = "$expected" ] || { echo "exit $code, expected $expected"; cat out err | head -8; }
    done
}
run=runs/ham/resnet18/1
mkdir -p $run

# A lock held by another process.
echo 'host elsewhere, process 77, cfn train since yesterday' > $run/.lock
exec 9>> $run/.lock
flock 9
ends 73 "$run: another job is writing here (host elsewhere, process 77, cfn train since yesterday)" embed
ends 73 "$run: another job is writing here" run
test ! -e $run/used.yml
say $? "the second job wrote nothing"
"$CFN" embed --trial 2 > out 2>&1
test $? = 66
say $? "another trial is free"
exec 9>&-
ends 66 'runs/ham/corpus.h5: no such file' embed

# What is there is kept, unless --force.
touch $run/embeddings.h5
ends 73 "$run/embeddings.h5: exists already" embed
ends 0 "embed: $run/embeddings.h5 is there, nothing to do" embed --resume
ends 66 'runs/ham/corpus.h5: no such file' embed --force
test -e $run/embeddings.h5
say $? "--force keeps the old file until the new one is whole"

# Places that cannot be written: root may write anywhere, so a file stands in the way.
echo > file
ends 73 'file' embed --result_dir file
ends 73 'file' pack --result_dir file
mkdir -p part/ham
echo > part/ham/resnet18
ends 73 'part/ham/resnet18' run --result_dir part

# A small folder of images.
mkdir -p images/a images/b
/usr/bin/python3 - <<'PY'
import struct, zlib
def png(path, value, size=40):
    rows = b"".join(b"\0" + bytes((value * (x + 1) + y) % 256 for x in range(size)) for y in range(size))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    open(path, "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0))
                           + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
lines = ["path,label,split"]
for i in range(12):
    name = f"{'ab'[i % 2]}/{i}.png"
    png("images/" + name, i + 1)
    lines.append(f"{name},{'ab'[i % 2]},{('train', 'train', 'val', 'test')[i // 2 % 4]}")
open("images/labels.csv", "w").write("\n".join(lines) + "\n")
PY

# Dry runs write nothing.
ends 66 'dry/ham/corpus.h5: no such file' train --dry-run --result_dir dry
ends 0 'run: explain   would run' run --dry-run --result_dir dry --root images
grep -q 'pack: 12 images in labels.csv: 8 train, 2 val, 2 test' out
say $? "a dry run reads the manifest"
test ! -e dry
say $? "a dry run writes nothing"

set -- --data tiny --root images --result_dir skip --set image.size=32
# What is valid is skipped; what a change reaches is run again. Packing and the audit take a second here.
both() { "$CFN" pack "$@" > out 2>&1 && "$CFN" audit "$@" >> out 2>&1; }
both "$@"
say $? "pack and audit"
plan() { # what a run would do: pack and audit only
    "$CFN" run "$@" --dry-run 2>&1 | grep -E 'run: (pack|audit) ' | sed -E 's/^run: ([a-z]+) +/\1 /; s/, writes.*//' |
        paste -sd ';'
}
expect() { # text of the plan, what, arguments...
    local expected=$1 what=$2 got
    shift 2
    got=$(plan "$@")
    test "$got" = "$expected"
    say $? "$what"
    [ "$got" = "$expected" ] || echo "found: $got"
}
expect 'pack done before;audit done before' 'nothing has changed' "$@"
expect 'pack would run (made with pack.on_bad=fail, now pack.on_bad=skip);audit would run (corpus.h5 will be written anew)' \
    'another setting' "$@" --set pack.on_bad=skip
expect 'pack done before;audit done before' 'threads and training do not reach the corpus' "$@" \
    --set threads=2 --set train.lr=1
expect 'pack would run (--force);audit would run (--force)' '--force' "$@" --force
mv images moved
expect 'pack done before;audit done before' 'images that are gone' "$@"
mv moved images
sed -i '2s/train/val/' images/labels.csv
expect 'pack would run (images/labels.csv has changed);audit would run (corpus.h5 will be written anew)' 'another table' "$@"
"$CFN" pack "$@" --force > out 2>&1
expect 'pack done before;audit would run (corpus.h5 has changed)' 'a corpus packed again reaches the audit' "$@"
rm skip/tiny/audit.json
expect 'pack done before;audit would run (no audit.json yet)' 'an output that was removed' "$@"

"$CFN" train "$@" --set train.batch=4 --dry-run > out 2>&1 && grep -q '1 steps per epoch' out &&
    grep -q 'per rank' out && grep -q 'per allreduce' out && grep -q 'would write skip/tiny/resnet18/1/backbone.h5' out &&
    test ! -e skip/tiny/resnet18
say $? "train --dry-run: steps per epoch, memory, bytes per allreduce, output; writes nothing"
ends 73 'skip/tiny/corpus.h5: exists already' pack --dry-run "$@"

# The corpus is shared: a run waits while another job packs it.
exec 9>> skip/tiny/.lock
flock 9
timeout 60 "$CFN" run "$@" --trial 4 --epoch 1 --set train.batch=4 --max-hours 0.00001 > waiting 2>&1 9>&- &
waiter=$!
for _ in $(seq 100); do
    grep -q 'waiting for another job' waiting && break
    sleep 0.1
done
grep -q 'skip/tiny: waiting for another job' waiting
say $? "a run waits for the job that packs the same corpus"
exec 9>&-
wait $waiter
code=$?
test $code = 75 && grep -q 'run: stopped (time limit) after pack' waiting
say $? "then goes on, and stops between stages when its time is over (75)"
[ $code = 75 ] || { echo "exit $code"; tail -5 waiting; }

# A signal in the middle of training: the same command goes on from the checkpoint.
long=(--trial 5 --epoch 5000 --set train.batch=4 --set threads=1)
"$CFN" run "$@" "${long[@]}" --max-hours 0.05 > first 2>&1 &
job=$!
for _ in $(seq 300); do
    grep -q 'train epoch 2/5000' first && break
    sleep 0.1
done
kill -USR1 $job
wait $job
code=$?
test $code = 75 && grep -q 'train: stopped (signal)' first && test ! -e skip/tiny/resnet18/5/backbone.h5 && ls skip/tiny/resnet18/5/checkpoints/train-* > /dev/null
say $? "SIGUSR1 in training ends the run with 75 and a checkpoint"
[ $code = 75 ] || { echo "exit $code"; tail -5 first; }
timeout 120 "$CFN" run "$@" "${long[@]}" --set max_hours=0.0005 > second 2>&1
code=$?
test $code = 75 && grep -q 'pack      done before' second && grep -q 'train: going on from epoch' second
say $? "the same command goes on from it"
[ $code = 75 ] || { echo "exit $code"; tail -5 second; }
