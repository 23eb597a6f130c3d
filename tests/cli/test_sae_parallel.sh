#!/bin/bash
# sae.parallel: files of feature-parallel runs beside data-parallel ones, the choice of auto and its printed costs, and a
# training that is stopped one way and goes on the other.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/support/say.sh
tmp=$CFN_TEST_TMP/sae_parallel
python=/usr/bin/python3
flags="--data t --backbone resnet18 --set threads=1 --set sae.epochs=4 --set sae.batch=64 --set sae.neurons=300
       --set sae.k=6 --set sae.resample_every=2"
mkdir -p "$tmp"

make_run() { # name: a run directory
    $python tests/support/make_run.py "$tmp/$1/t/resnet18/1" 300 16 3 12
}
sae() { # ranks, name, more flags: output in $tmp/out
    # shellcheck disable=SC2086
    timeout 60 mpirun -n "$1" "$CFN" sae --result_dir "$tmp/$2" $flags "${@:3}" > "$tmp/out" 2>&1
}
file() { echo "$tmp/$1/t/resnet18/1/$2"; }
same() { $python tests/support/same_data.py "$(file "$1" sae.h5)" "$(file "$2" sae.h5)"; }

for variant in relu topk batchtopk; do
    make_run $variant && sae 1 $variant --set sae.variant=$variant --set sae.parallel=data; say $? "$variant at 1 rank"
done
for case in "relu 2" "topk 4" "batchtopk 8"; do
    set -- $case
    make_run "$1$2" && sae "$2" "$1$2" --set sae.variant="$1" --set sae.parallel=feature && same "$1" "$1$2"
    say $? "$1 at $2 ranks, feature-parallel: sae.h5 is that of 1 rank, bit by bit"
done

# 300 neurons make 8 blocks: 64 rows of 16 values are fewer bytes than 2 x 300 x 16 weights.
make_run auto && sae 4 auto --set sae.variant=topk --dry-run &&
    grep -q 'a rank sends .* a step data-parallel, .* feature-parallel: feature-parallel (sae.parallel: auto)' "$tmp/out"
say $? "auto takes what sends less, and says both figures"
sae 4 auto --set sae.variant=topk && same topk auto && grep -q "feature-parallel: feature-parallel" "$tmp/out"
say $? "auto at 4 ranks: the same bits"
$python - "$(file auto perf.json)" <<'END'
import json
import sys
def find(node, key):
    if isinstance(node, dict):
        if key in node:
            return node[key]
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            found = find(one, key)
            if found is not None:
                return found
perf = json.load(open(sys.argv[1]))
step, data, feature = (find(perf, name) for name in ("step_bytes", "step_bytes_data", "step_bytes_feature"))
assert step == feature and 0 < feature < data / 2, (step, data, feature)
END
say $? "perf.json has the bytes of both ways"
make_run choice
sae 4 choice --dry-run --set sae.neurons=60 && grep -q 'data-parallel (sae.parallel: auto)' "$tmp/out"
say $? "auto: fewer blocks of neurons than ranks: rows are shared out"
sae 4 choice --dry-run --set sae.parallel=data && grep -q ': data-parallel (sae.parallel: data)' "$tmp/out"
say $? "data as asked"
sae 2 choice --dry-run --set sae.parallel=rows
[ $? = 78 ] && grep -q "sae.parallel" "$tmp/out"; say $? "another word: exit 78 naming the key"

# Stopped one way, resumed the other; a sweep.
make_run stop; touch "$tmp/stop-now"
sae 3 stop --set sae.variant=batchtopk --set sae.parallel=feature --set stop_file="$tmp/stop-now"
[ $? = 75 ]; say $? "stop file: exit 75"
sae 2 stop --set sae.variant=batchtopk --set sae.parallel=data --set stop_file="$tmp/stop-now"
[ $? = 75 ] && grep -q "going on from" "$tmp/out"; say $? "stopped again, data-parallel"
rm "$tmp/stop-now"
sae 4 stop --set sae.variant=batchtopk --set sae.parallel=feature && same batchtopk stop
say $? "went on feature-parallel to the same bits"
for way in data feature; do
    make_run sweep$way && sae 3 sweep$way --set sae.parallel=$way --set "sae.sweep=variant=topk,batchtopk neurons=256,300"
    say $? "a sweep, $way-parallel"
done
same sweepdata sweepfeature; say $? "its sae.h5 is the same both ways"
