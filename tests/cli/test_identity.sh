#!/bin/bash
# A checkpoint belongs to the settings it was made with: each key of train, sae and cav is changed once, and the stage
# refuses to go on from the checkpoint and names the key. Keys that say how a job runs, not what it computes, may change:
# train and sae, whose keys those are, then go on.
set -u
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
tmp=$CFN_TEST_TMP/identity
python=/usr/bin/python3
run=$tmp/out/t/resnet18/1
mkdir -p "$tmp"
flags=(--data t --backbone resnet18 --result_dir "$tmp/out" --root "$tmp/corpus" --set "stop_file=$tmp/stop" --set threads=1
       --set image.size=32 --set train.batch=32 --set train.epochs=2 --set sae.epochs=40 --set sae.batch=64
       --set cav.positives=20 --set cav.negatives=20)
neutral=" train.checkpoint_activations train.check_every sae.parallel "
stage() { timeout 100 "$CFN" "$1" "${flags[@]}" "${@:2}" > "$tmp/log" 2>&1; }
# KEY VALUE lines of a section: another value than the one in use, from what the reference says a key takes.
others() { # section
    "$CFN" config "$1" --markdown | $python -c '
import re, sys
used = dict(zip(sys.argv[1::2], sys.argv[2::2]))
for line in sys.stdin:
    m = re.match(r"\| `([\w.]+)` \| (\S+) \| ([^|]*) \|", line)
    if not m:
        continue
    key, default, takes = m[1], m[2].strip("`"), m[3]
    now = used.get(key, default)
    if takes.startswith("one of"):
        words = takes.split(";")[0][7:].split(", ")
        print(key, next(w for w in words if w != now))
    elif takes.startswith("true"):
        print(key, "true" if now == "false" else "false")
    elif takes.startswith("a power of two"):
        print(key, 2 * int(now))
    elif takes.startswith("an integer"):
        high = int(re.search(r"to (\d+)", takes)[1])
        print(key, int(now) + 32 if int(now) + 32 <= high else int(now) - 1)
    elif takes.startswith("a number"):
        print(key, 0.5 if float(now) != 0.5 else 0.25)
    else:
        print(key, "-")
' train.batch 32 train.epochs 2 sae.epochs 40 sae.batch 64 cav.positives 20 cav.negatives 20
}
refused() { # stage, key, value
    stage "$1" --resume --set "$2=$3"
    local code=$?
    test $code = 78 && grep -q 'this checkpoint belongs to another run' "$tmp/log" && grep -qF "  $2: checkpoint " "$tmp/log"
    local bad=$?
    say $bad "$1: $2=$3 is another run"
    [ $bad = 0 ] || { echo "# exit $code"; tail -4 "$tmp/log" | sed 's/^/# /'; }
}
walk() { # stage: all keys of its section; those that are texts are looked at elsewhere
    local key value count=0
    while read -r key value; do
        count=$((count + 1))
        case $neutral in *" $key "*) continue ;; esac
        [ "$value" = - ] && continue
        refused "$1" "$key" "$value"
    done < <(others "$1")
    test $count -ge "$2"; say $? "$1: $count keys of the reference"
}
stops() { # stage: a checkpoint and no output
    touch "$tmp/stop"
    stage "$1"
    test $? = 75; say $? "$1 stops with a checkpoint"
    rm "$tmp/stop"
}
goes_on() { # stage, settings...
    touch "$tmp/stop"
    stage "$1" --resume "${@:2}"
    local code=$?
    rm "$tmp/stop"
    test $code = 75; say $? "$1 goes on: ${*:2}"
    [ $code = 75 ] || tail -4 "$tmp/log" | sed 's/^/# /'
}

saves_by_time() { # stage: goes on to its end, with checkpoints on the way
    stage "$1" --resume --set checkpoint_minutes=0.00001
    local code=$?
    [ $code = 0 ] && $python -c '
import json, sys
assert json.load(open(sys.argv[1]))[sys.argv[2]]["phase_seconds"]["checkpoint"]["max"] > 0' "$run/perf.json" "$1" 2> "$tmp/log"
    local bad=$?
    say $bad "$1 saves every checkpoint_minutes"
    [ $bad = 0 ] || tail -4 "$tmp/log" | sed 's/^/# /'
}

"$CFN" demo-corpus "$tmp/corpus" > "$tmp/log" 2>&1 && stage pack; say $? "a corpus"
stops train
walk train 15
refused train seed 7
refused train image.resize 48
refused train image.interpolation bilinear
refused train image.mean grey
refused train image.std grey
goes_on train --set train.checkpoint_activations=true --set checkpoint_minutes=7 --set train.check_every=1
stage train --force --set train.checkpoint_minutes=7
test $? = 78 && grep -q 'train.checkpoint_minutes: unknown key (did you mean checkpoint_minutes?)' "$tmp/log"
say $? "the key of before: 78, names the one of now"

$python tests/support/make_run.py "$run" 300 16 3 12 > "$tmp/log" 2>&1; say $? "representations"
rm -f "$run"/{sae,cav,selection}.h5
stops sae
walk sae 30
refused sae seed 7
refused sae sae.sweep "neurons=32,48"
goes_on sae --set sae.parallel=data
saves_by_time sae
stops cav
walk cav 7
refused cav seed 7
saves_by_time cav
