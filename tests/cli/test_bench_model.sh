#!/bin/bash
# `cfn bench-model`: figures that agree with each other and with `cfn model`, and
# messages for what is wrong on its command line. Speeds themselves are not judged.
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
: "${CFN_TEST_TMP:?run the tests by make check}"
tmp=$CFN_TEST_TMP/bench
mkdir -p "$tmp"
shape="--size 64 --batch 8 --shards 4"

"$CFN" bench-model resnet18 $shape --threads 1 --seconds 0.1 > "$tmp/text"
code=$?
grep -q '^resnet18, batch 8 in 4 shards, images 3x64x64, fp32' "$tmp/text" && [ $code = 0 ]
say $? "says what it measures"
for word in '^train  *[1-9]' '^embed  *[1-9]' '^  convolution  *[0-9]' '^  loss, sums, optimiser' 'conv2 .*convolution  [a-z]'; do
    grep -q "$word" "$tmp/text"
    say $? "prints a line like '$word'"
done
"$CFN" bench-model resnet18 $shape --threads 1 --seconds 0.1 --json > "$tmp/one.json"
mpirun -n 2 "$CFN" bench-model --seconds=0.1 resnet18 $shape --threads 1 --json > "$tmp/two.json"
"$CFN" model resnet18 $shape --json > "$tmp/model.json"
/usr/bin/python3 - "$tmp" <<'END'
import json
import sys

def say(ok, what):
    print(("ok - " if ok else "not ok - ") + what)

one, two, model = (json.load(open("%s/%s.json" % (sys.argv[1], name))) for name in ("one", "two", "model"))
say((one["ranks"], two["ranks"]) == (1, 2), "knows its ranks")
for got in (one, two):
    for kind in ("train", "embed"):
        r, what = got[kind], "%d ranks, %s: " % (got["ranks"], kind)
        flops = 8 * model["flops_train" if kind == "train" else "flops_forward"]
        say(abs(sum(f["flops"] for f in r["families"]) - flops) < 1e-6 * flops, what + "arithmetic as cfn model counts it")
        spent = sum(f["forward_seconds"] + f["backward_seconds"] for f in r["families"])
        nodes = sum(n["forward_seconds"] + n["backward_seconds"] for n in r["nodes"])
        say(abs(spent - nodes) < 1e-6 * spent, what + "families add up to their nodes")
        images = 8 * (got["ranks"] if kind == "embed" else 1)
        say(abs(r["images_per_second"] * r["step_seconds"] - images) < 1e-6 * images, what + "speed from its step")
        say(r["other_seconds"] >= 0 and r["best_images_per_second"] >= r["images_per_second"] > 0, what + "times in order")
        say(r["peak_bytes"] > r["network_bytes"] > 1e6, what + "the process holds the network")
        say(all(n["backward_seconds"] == 0 for n in r["nodes"]) == (kind == "embed"), what + "backward where it trains")
END
say $? "figures could be compared"
fails() { # code, text of the message, arguments...
    local expected=$1 text=$2 code
    shift 2
    "$CFN" bench-model "$@" > "$tmp/out" 2> "$tmp/err"
    code=$?
    [ $code = "$expected" ] && grep -qF -- "$text" "$tmp/err"
    say $? "$expected: $text"
    [ $code = "$expected" ] || { echo "exit $code"; cat "$tmp/err"; }
}
fails 64 '--seconds: expected a number above 0' resnet18 --seconds soon
fails 64 '--batches: unknown flag (did you mean --batch?)' resnet18 --batches 3
fails 78 'train.batch: expected a multiple of train.shards' resnet18 --batch 6
fails 78 '--precision: train.precision' resnet18 --precision fp17
fails 78 '"resnet81" is not a backbone' resnet81
