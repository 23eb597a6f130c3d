#!/bin/bash
# cfn sae and cfn decompose on made-up representations: what the files say is checked against its definition from
# outside, at several rank counts, after stops, and with faulty inputs.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/support/say.sh
tmp=$CFN_TEST_TMP/sae
python=/usr/bin/python3
flags="--data t --backbone resnet18 --set threads=1 --set sae.epochs=12 --set sae.batch=64 --set sae.expansion=6
       --set decompose.nonzeros=7"

make_run() { # name, fault, rows: a run directory
    $python tests/support/make_run.py "$tmp/$1/t/resnet18/1" "${3:-300}" 16 3 12 ${2:-}
}
stage() { # ranks, name, stage, more flags: output in $tmp/out
    local ranks=$1 name=$2
    shift 2
    # shellcheck disable=SC2086
    timeout 60 mpirun -n "$ranks" "$CFN" "$1" --result_dir "$tmp/$name" $flags "${@:2}" > "$tmp/out" 2>&1
}
file() { echo "$tmp/$1/t/resnet18/1/$2"; }
mkdir -p "$tmp"

for ranks in 1 3 4 8; do
    make_run $ranks && stage $ranks $ranks sae && stage $ranks $ranks decompose
    say $? "sae and decompose at $ranks ranks"
done
$python tests/support/check_sae.py "$(dirname "$(file 3 sae.h5)")"; say $? "sae.h5 and codes.h5 are what they say"
for ranks in 3 4 8; do
    for name in sae.h5 codes.h5; do
        $python tests/support/same_data.py "$(file 1 $name)" "$(file $ranks $name)"
        say $? "$name at $ranks ranks is that of 1 rank, bit by bit"
    done
done

# The other variants: files as they say, the same bits at 8 ranks.
for variant in topk batchtopk jumprelu matryoshka; do
    for ranks in 1 8; do
        make_run $variant$ranks && stage $ranks $variant$ranks sae --set sae.variant=$variant --set sae.k=6 \
            --set sae.decay=0.3 --set sae.epochs=5 && stage $ranks $variant$ranks decompose
        say $? "$variant at $ranks ranks"
    done
    $python tests/support/check_sae.py "$(dirname "$(file ${variant}1 sae.h5)")"; say $? "$variant: sae.h5 is what it says"
    $python tests/support/same_data.py "$(file ${variant}1 sae.h5)" "$(file ${variant}8 sae.h5)"
    say $? "$variant at 8 ranks is that of 1 rank, bit by bit"
done

# Products in bf16: a model of its own, the same bits at 3 ranks, no mixture of the two at --resume.
for ranks in 1 3; do
    make_run half$ranks && stage $ranks half$ranks sae --set sae.precision=bf16 && cp "$tmp/out" "$tmp/half.out" &&
        stage $ranks half$ranks decompose
    say $? "sae.precision=bf16 at $ranks ranks"
done
$python tests/support/check_sae.py "$(dirname "$(file half1 sae.h5)")"; say $? "bf16: sae.h5 is what it says"
$python tests/support/same_data.py "$(file half1 sae.h5)" "$(file half3 sae.h5)"
say $? "bf16 at 3 ranks is that of 1 rank, bit by bit"
if ! grep -q "using fp32" "$tmp/half.out"; then
    ! $python tests/support/same_data.py "$(file half1 sae.h5)" "$(file 1 sae.h5)" > /dev/null 2>&1
    say $? "bf16 is not single precision"
    make_run split; stage 2 split sae --set sae.precision=bf16 --set sae.parallel=feature
    [ $? = 78 ] && grep -q "leave sae.parallel at auto" "$tmp/out"; say $? "bf16 with split neurons: exit 78"
else
    $python tests/support/same_data.py "$(file half1 sae.h5)" "$(file 1 sae.h5)"
    say $? "a note where the processor has no bf16, and single precision"
    echo "ok - bf16 is not single precision # SKIP this processor has no bf16"
fi
make_run mixed; touch "$tmp/stop-now"
stage 2 mixed sae --set sae.precision=bf16 --set stop_file="$tmp/stop-now"; rm "$tmp/stop-now"
stage 2 mixed sae
[ $? = 78 ] && grep -q "sae.precision" "$tmp/out"; say $? "a checkpoint of another precision: exit 78 naming the key"

# What a step sends, foretold and in perf.json: 16 x 96 weights twice, biases: few enough that each of 4 ranks sends its
# sum to the three others.
make_run told && stage 4 told sae --dry-run && grep -q 'a rank sends .* a step: sums of gradients .*, rows 0 B' "$tmp/out"
say $? "sae --dry-run says what a rank sends a step"
grep -q '"step_bytes": *393[0-9][0-9]' "$(file 4 perf.json)"; say $? "perf.json has the bytes of a step"

# Trained again with other seeds; 8 ranks.
for ranks in 1 8; do
    make_run seeds$ranks && stage $ranks seeds$ranks sae --set sae.variant=batchtopk --set sae.k=6 --set sae.neurons=48 \
        --set sae.epochs=6 --set sae.resample_every=2 --set sae.stability=2
    say $? "sae.stability at $ranks ranks"
done
$python - "$(file seeds1 sae.h5)" <<'END'
import sys
import h5py
f = h5py.File(sys.argv[1])
s, alive = f["stability"][:], f["fire_rate"][:] > 0
assert abs(s).max() <= 1 + 1e-6 and s[alive].mean() > 0.2, s
assert abs(s[alive].mean() - f.attrs["stability"]) < 1e-9
END
say $? "stability: a cosine of each neuron, above chance"
$python tests/support/same_data.py "$(file seeds1 sae.h5)" "$(file seeds8 sae.h5)"
say $? "sae.h5 at 8 ranks is that of 1 rank, bit by bit"

# Fewer chunks of rows than ranks, no validation rows; several labels per image.
for ranks in 1 4; do
    make_run few$ranks few 20 && stage $ranks few$ranks sae && grep -q "no validation rows" "$tmp/out" &&
        stage $ranks few$ranks decompose
    say $? "20 images without validation split at $ranks ranks"
done
$python tests/support/same_data.py "$(file few1 sae.h5)" "$(file few4 sae.h5)" &&
    $python tests/support/same_data.py "$(file few1 codes.h5)" "$(file few4 codes.h5)"
say $? "ranks without rows change nothing"
make_run multi multi && stage 2 multi sae; say $? "several labels per image"

# Stopped again and again at other rank counts, in the middle of epochs.
make_run stop; touch "$tmp/stop-now"
for ranks in 2 1 3; do
    stage $ranks stop sae --set stop_file="$tmp/stop-now"
    [ $? = 75 ]; say $? "stop file at $ranks ranks: exit 75"
done
[ ! -e "$(file stop sae.h5)" ]; say $? "no sae.h5 yet"
rm "$tmp/stop-now"
stage 2 stop sae && grep -q "going on from epoch 1" "$tmp/out" &&
    $python tests/support/same_data.py "$(file 1 sae.h5)" "$(file stop sae.h5)"
say $? "went on where it stopped, to the same bits"
touch "$tmp/stop-now"
stage 1 stop sae --force --set stop_file="$tmp/stop-now"; rm "$tmp/stop-now"
rm "$(file stop sae.h5)"
stage 2 stop sae --set sae.l1=0.1
[ $? = 78 ] && grep -q "sae.l1" "$tmp/out"; say $? "other settings than the checkpoint's: exit 78 naming the key"

# Faulty inputs: exit code and one line with the cause; nothing hangs, nothing is written.
fails() { # ranks, fault, stage, code, words
    make_run "bad-$2" "$2"
    stage "$1" "bad-$2" "$3"
    [ $? = "$4" ] && grep -q "$5" "$tmp/out" && [ ! -e "$(file "bad-$2" "$3.h5")" ]
    say $? "$3 with $2 at $1 ranks: exit $4, \"$5\""
}
for ranks in 1 4; do
    fails $ranks nan sae 65 "row 150 of /features"
    fails $ranks no-train sae 65 "no row is in the training split"
    fails $ranks empty decompose 65 "/index is empty"
    fails $ranks foreign decompose 65 "/index\[1\] is 24"
done
rm -r "$tmp/bad-nan"; stage 2 bad-nan sae
[ $? = 66 ] && grep -q "cfn embed" "$tmp/out"; say $? "no embeddings.h5: exit 66, says what makes it"
make_run blow; stage 3 blow sae --set sae.lr=1e30
[ $? = 70 ] && grep -q "not finite at epoch" "$tmp/out"; say $? "loss that blows up: exit 70 on all ranks"
stage 2 1 decompose
[ $? = 73 ]; say $? "existing codes.h5 is not overwritten"
make_run many; stage 2 many decompose --set decompose.nonzeros=99 && grep -q "using 12" "$tmp/out"
say $? "more nonzeros than concepts: uses all, and says so"

# What cannot be dissected is told, not measured.
for ranks in 1 3; do
    make_run flat
    $python - "$(file flat embeddings.h5)" <<'PY'
import h5py, sys
with h5py.File(sys.argv[1], "a") as f:
    f["features"][...] = 0.7
PY
    rm -f "$(file flat sae.h5)"; stage $ranks flat sae && grep -q "FVU undefined" "$tmp/out" &&
        grep -q "warning: sae: the representations do not vary" "$tmp/out"
    say $? "constant representations at $ranks ranks: FVU is undefined, with a warning"
done
$python - "$(file flat sae.h5)" <<'PY'
import h5py, math, sys
f = h5py.File(sys.argv[1])
assert math.isnan(f.attrs["fvu_val"]) and all(math.isnan(v) for v in f["history/fvu"][()]), f.attrs["fvu_val"]
assert all(math.isnan(v) for v in f["monosemanticity"][()]), f["monosemanticity"][()]
PY
say $? "and so are the scores of its neurons"
make_run early; stage 2 early sae --set sae.epochs=1 --set sae.lr=1e-9 && grep -q "warning: sae: FVU .*trained too little" "$tmp/out"
say $? "an autoencoder that tells less than the mean is warned about"
