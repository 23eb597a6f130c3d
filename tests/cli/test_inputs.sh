#!/bin/bash
# What a stage opened is what its record names, no more and no less: a verbose log says what is opened, at the place where
# it is. Then what `cfn run` makes of the records: an input that changed, and one that was not there and now is.
set -u
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
tmp=$CFN_TEST_TMP/inputs
run=$tmp/out/t/resnet18/1
mkdir -p "$tmp"
flags=(--data t --backbone resnet18 --result_dir "$tmp/out" --root "$tmp/corpus" --set threads=1 --set image.size=32
       --set train.batch=32 --set train.epochs=1 --set sae.epochs=10 --set sae.neurons=64 --set sae.batch=64
       --set sae.variant=topk --set sae.k=8
       --set cav.positives=20 --set cav.negatives=20 --set select.count=6 --set decompose.nonzeros=3 --set name.sheets=2
       --set classify.controls=1 --set classify.search=fixed --set classify.bootstrap=20 --set explain.images=4)
declare -A output=([pack]=corpus.h5 [audit]=audit.json [train]=backbone.h5 [embed]=embeddings.h5 [sae]=sae.h5
                   [name]=names.json [cav]=cav.h5 [select]=selection.h5 [decompose]=codes.h5 [classify]=cbm.h5
                   [explain]=explanations.h5)
# Names, one a line, of a note of an output: files of the run by name, others by path.
noted() { # stage, note
    test -e "$run/${output[$1]}" || test -e "$tmp/out/t/${output[$1]}" || { echo "no output"; return; }
    /usr/bin/python3 - "$run" "$tmp/out/t" "${output[$1]}" "$2" <<'PY'
import os, re, sys, h5py
run, data, output, note = sys.argv[1:]
path = os.path.join(run if os.path.exists(os.path.join(run, output)) else data, output)
if output.endswith(".h5"):
    with h5py.File(path) as f:
        value = f["run"].attrs.get(note, "")
    text = value.decode() if isinstance(value, bytes) else value
else:
    found = re.search(rf"^\[{note}\]\n(.*?)(?=^\[|\Z)", open(path + ".run").read(), re.M | re.S)
    text = found[1] if found else ""
for line in text.splitlines():
    name = line.split("  ", 1)[1] if note == "inputs" else line
    print(os.path.basename(name) if os.path.dirname(os.path.abspath(name)) == run else name)
PY
}
opened() { # of the last stage, from its log
    sed -n 's/^opens //p' "$tmp/log" | sed -e "s|^$run/||" -e "s|^$tmp/out/t/||" | sort -u
}
stage() { # ranks, stage, settings...
    timeout 400 mpirun -n "$1" "$CFN" "$2" "${flags[@]}" --set log_level=verbose "${@:3}" > "$tmp/log" 2>&1
    local code=$?
    say $code "$2 ${*:3}"
    [ $code = 0 ] || tail -5 "$tmp/log" | sed 's/^/# /'
}
same() { # stage, files it must have opened...: those it opened are those recorded
    opened > "$tmp/opened"
    noted "$1" inputs | sort -u > "$tmp/recorded"
    cmp -s "$tmp/opened" "$tmp/recorded" && diff <(printf '%s\n' "${@:2}" | sort) "$tmp/recorded" > "$tmp/diff"
    local bad=$?
    say $bad "$1 records what it opened: ${*:2}"
    [ $bad = 0 ] || { echo "# opened:" $(cat "$tmp/opened"); echo "# recorded:" $(cat "$tmp/recorded"); }
}
plan() { # stage, what a dry run says of it, settings...
    "$CFN" run "${flags[@]}" --dry-run "${@:3}" > "$tmp/plan" 2>&1
    grep -E "^run: $1 " "$tmp/plan" | grep -qF -- "$2"
    local bad=$?
    say $bad "$1: $2"
    [ $bad = 0 ] || grep '^run:' "$tmp/plan" | sed 's/^/# /'
}

"$CFN" demo-corpus "$tmp/corpus" > "$tmp/log" 2>&1; say $? "a corpus"
sed -i -n '1p; 2~6p' "$tmp/corpus/labels.csv" # a sixth of it is enough
stage 1 pack; same pack "$tmp/corpus/labels.csv"
stage 2 train; same train corpus.h5
stage 2 embed; same embed corpus.h5 backbone.h5
stage 2 sae; same sae embeddings.h5
stage 2 name; same name corpus.h5 embeddings.h5 sae.h5
stage 2 cav; same cav embeddings.h5 sae.h5
stage 2 select; same select cav.h5
stage 2 decompose; same decompose embeddings.h5 cav.h5 selection.h5
stage 2 classify; same classify embeddings.h5 cav.h5 selection.h5 codes.h5 sae.h5
everything=(corpus.h5 embeddings.h5 sae.h5 names.json cav.h5 selection.h5 codes.h5 cbm.h5 metrics.json backbone.h5)
stage 2 explain; same explain "${everything[@]}"
test "$(noted explain absent)" = audit.json; say $? "explain: no audit.json was there"

# An audit comes later: the page is to tell of it. Before, nothing else has changed.
plan classify 'done before'
plan explain 'audit.json will be written anew'
stage 1 audit; same audit corpus.h5
plan explain 'audit.json is there now'
stage 1 explain --force; same explain "${everything[@]}" audit.json
plan explain 'done before'
test -z "$(noted explain absent)"; say $? "explain: nothing was missing"

# A setting of each stage without checkpoints (tests/unit/test_commands.c asks the table about all of them).
for change in pack:on_bad:fail:skip embed:precision:fp32:bf16 name:top:16:9 select:optimizer:lazy:stochastic \
    decompose:intercept:true:false classify:l1_ratio:0.99:0.9 explain:top:5:3; do
    IFS=: read -r name key was now <<< "$change"
    plan "$name" "made with $name.$key=$was, now $name.$key=$now" --set "$name.$key=$now"
done

# Files of the user, and inputs that only some settings ask for.
rows=$(/usr/bin/python3 -c "import h5py, sys; print(len(h5py.File(sys.argv[1])['cav']))" "$run/cav.h5")
yes 1 | head -n "$rows" > "$tmp/costs.txt"
stage 3 select --force --set "select.costs=$tmp/costs.txt" --set select.min_fire_rate=0.0001
same select cav.h5 sae.h5 "$tmp/costs.txt"
plan select 'done before' --set "select.costs=$tmp/costs.txt" --set select.min_fire_rate=0.0001
yes 2 | head -n "$rows" > "$tmp/costs.txt"
plan select "$tmp/costs.txt has changed" --set "select.costs=$tmp/costs.txt" --set select.min_fire_rate=0.0001
mkdir -p "$tmp/other" && cp "$run/backbone.h5" "$tmp/other/start.h5"
stage 1 train --force --set "train.weights=$tmp/other/start.h5"; same train corpus.h5 "$tmp/other/start.h5"
stage 3 train --force --set train.epochs=0 --set "train.weights=$tmp/other/start.h5"
same train corpus.h5 "$tmp/other/start.h5"

# A dry run of one stage names what it reads, and ends with 66 where that is not there.
"$CFN" explain "${flags[@]}" --force --dry-run > "$tmp/log" 2>&1; say $? "explain --dry-run"
for name in "${everything[@]}" audit.json; do grep -q "^explain: reads .*/$name (" "$tmp/log" || echo "$name"; done > "$tmp/left"
test ! -s "$tmp/left"; say $? "it names what it reads"
for pair in audit:corpus.h5 sae:embeddings.h5 explain:names.json; do
    file=$(ls "$run/${pair#*:}" "$tmp/out/t/${pair#*:}" 2> /dev/null)
    mv "$file" "$tmp/away"
    for ranks in 1 4; do
        timeout 60 mpirun -n $ranks "$CFN" "${pair%:*}" "${flags[@]}" --force --dry-run > "$tmp/log" 2>&1
        test $? = 66 && grep -qF "$file: no such file" "$tmp/log"
        say $? "${pair%:*} --dry-run at $ranks ranks: no ${pair#*:}"
    done
    mv "$tmp/away" "$file"
done
