#!/bin/bash
# Stopping, going on and being killed: the weights are those of an uninterrupted
# run, at another rank count too, and nothing that is not whole looks whole.
# run-tests: alone
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
tmp=$CFN_TEST_TMP/resume
mkdir -p "$tmp"
"$CFN" demo-corpus "$tmp/corpus" > /dev/null 2>&1
stage() { # ranks, result_dir, stage, more...
    local ranks=$1 dir=$2 stage=$3
    shift 3
    timeout 300 mpirun -n "$ranks" "$CFN" "$stage" --data cut --backbone resnet --trial 1 --root "$tmp/corpus" \
        --result_dir "$dir" --epoch 2 --set threads=1 --set image.size=32 --set train.batch=32 --set train.lr=0.001 \
        --set "stop_file=$tmp/stop" "$@" > "$tmp/log" 2>&1
}
stage 2 "$tmp/a" pack
say $? "pack"
cp -r "$tmp/a" "$tmp/b"
stage 2 "$tmp/a" train
say $? "train without interruption"

touch "$tmp/stop"
stage 2 "$tmp/b" train
code=$?
test $code = 75
say $? "a stop file ends training with 75"
[ $code = 75 ] || tail -5 "$tmp/log"
test ! -e "$tmp/b/cut/resnet18/1/backbone.h5"
say $? "no backbone.h5 yet"
rm -f "$tmp/stop"
stage 1 "$tmp/b" train --resume
code=$?
say $code "resume at another rank count"
[ $code = 0 ] || tail -5 "$tmp/log"
/usr/bin/python3 scripts/same-runs "$tmp/a/cut/resnet18/1" "$tmp/b/cut/resnet18/1" backbone.h5 > "$tmp/same" 2>&1
say $? "the weights are bitwise those of the uninterrupted run"
grep -v 'same bits' "$tmp/same"

# A checkpoint of other instructions: refused with the names, unless told to go on
cp -r "$tmp/b" "$tmp/c"
rm -f "$tmp/c/cut/resnet18/1/backbone.h5"
touch "$tmp/stop"
ONEDNN_MAX_CPU_ISA=SSE41 stage 1 "$tmp/c" train
test $? = 75
say $? "stop on the instructions of another processor"
rm -f "$tmp/stop"
for ranks in 1 4; do
    stage $ranks "$tmp/c" train --resume
    test $? = 78 && grep -q 'computed by onednn: checkpoint .*, this run ' "$tmp/log" && grep -q mix_libraries "$tmp/log"
    say $? "$ranks ranks: resume with other instructions is refused, both named"
done
BLIS_ARCH_TYPE=penryn stage 1 "$tmp/c" train --resume
test $? = 78 && grep -q 'computed by blis: checkpoint .*, this run .*penryn' "$tmp/log"
say $? "resume with other kernels of BLIS is refused, both named"
stage 2 "$tmp/c" train --resume --set mix_libraries=true
code=$?
say $code "mix_libraries goes on all the same"
[ $code = 0 ] || tail -5 "$tmp/log"

# kill -9 of one rank
rm -f "$tmp/b/cut/resnet18/1/backbone.h5"
stage 2 "$tmp/b" train --force --epoch 50 &
job=$!
victim=
for _ in $(seq 150); do
    sleep 0.2
    grep -q 'epoch 1/50' "$tmp/log" 2>/dev/null && victim=$(pgrep -f "$CFN train .*$tmp/b .*" -n) && break
done
begin=$SECONDS
[ -n "$victim" ] && kill -9 "$victim"
wait $job
code=$?
test -n "$victim" && test $code != 0 && test $((SECONDS - begin)) -lt 30
say $? "a killed rank ends the job non-zero in under 30 s (exit $code)"
test ! -e "$tmp/b/cut/resnet18/1/backbone.h5"
say $? "and leaves no backbone.h5"
stage 2 "$tmp/b" train --force
say $? "training starts again afterwards"
