#!/bin/bash
# name and explain on a synthetic run: contributions add up in the file, names tell the truth that was planted, the
# same bits at 1 and 3 ranks, hostile texts stay texts, faults end with their exit codes.
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
tmp=$CFN_TEST_TMP/explain
mkdir -p "$tmp"
flags="--set data=toy --set image.size=48 --set explain.images=10 --set name.top=9 --set threads=1"
code_is() { # wanted exit code, part of the message, what, command...
    local wanted=$1 part=$2 what=$3 code
    shift 3
    timeout 60 "$@" > "$tmp/out" 2>&1
    code=$?
    if [ $code = "$wanted" ] && grep -qF -- "$part" "$tmp/out"; then say 0 "$what"; return; fi
    say 1 "$what"
    echo "exit $code"
    tail -5 "$tmp/out"
}

# Three kinds of corpus: grey classes with ground truth; coloured findings; classes without anything else.
for kind in grey multi plain; do
    case $kind in grey) options= ;; multi) options="--multi --colour" ;; plain) options=--plain ;; esac
    for ranks in 1 3; do
        /usr/bin/python3 tests/support/toy_run.py "$tmp/$kind$ranks" $options
        # shellcheck disable=SC2086
        timeout 100 mpirun -n $ranks "$CFN" name $flags --set "result_dir=$tmp/$kind$ranks" > "$tmp/name.$kind$ranks" 2>&1 &&
            timeout 100 mpirun -n $ranks "$CFN" explain $flags --set "result_dir=$tmp/$kind$ranks" > "$tmp/explain.$kind$ranks" 2>&1
        code=$?
        say $code "$kind: name and explain at $ranks ranks"
        [ $code = 0 ] || tail -5 "$tmp/name.$kind$ranks" "$tmp/explain.$kind$ranks"
    done
    run=toy/resnet18/1
    /usr/bin/python3 scripts/same-runs "$tmp/${kind}1/$run" "$tmp/${kind}3/$run" explanations.h5 > "$tmp/same" 2>&1
    say $? "$kind: explanations.h5 has the same bits at 1 and 3 ranks"
    grep -v 'same bits' "$tmp/same"
    cmp "$tmp/${kind}1/$run/names.json" "$tmp/${kind}3/$run/names.json"
    say $? "$kind: the same names.json at 1 and 3 ranks"
    diff -r "$tmp/${kind}1/$run/sheets" "$tmp/${kind}3/$run/sheets" > "$tmp/same" 2>&1
    say $? "$kind: the same contact sheets at 1 and 3 ranks"
    for ranks in 1 3; do # all but when and by which command
        sed -e 's/<th>Made<.*//' -e 's/<th>Command<.*//' -e '/<summary>All settings/,/<\/pre>/d' \
            "$tmp/$kind$ranks/$run/report/index.html" > "$tmp/page$ranks"
    done
    cmp "$tmp/page1" "$tmp/page3"
    say $? "$kind: the same page at 1 and 3 ranks"
    page=$tmp/${kind}3/$run/report/index.html
    ! grep -q "computed elsewhere" "$page" && grep -q "<h1>What the network sees" "$page"; say $? "$kind: the page is about the run's own network"
    case $kind in
        plain) ! grep -q "Choice of the autoencoder" "$page" ;;
        *) grep -q "Choice of the autoencoder" "$page" && grep -q "Kept: neurons=96 k=8, the one of smallest FVU" "$page" &&
            [ "$(grep -c 'r="8" fill="none"' "$page")" = 1 ] ;;
    esac
    say $? "$kind: the trainings of a sweep are drawn, the kept one in a ring"
    /usr/bin/python3 tests/support/check_explain.py "$tmp/${kind}3" $kind > "$tmp/check" 2>&1
    say $? "$kind: files hold what they should"
    cat "$tmp/check"
done

# Resuming leaves finished sheets, makes missing ones; --force makes all anew.
run=$tmp/grey3/toy/resnet18/1
sheet=$(find "$run/sheets" -name '*.png' | sort | head -1)
other=$(find "$run/sheets" -name '*.png' | sort | tail -1)
rm "$run/names.json" "$other"
echo kept > "$sheet"
# shellcheck disable=SC2086
"$CFN" name $flags --set "result_dir=$tmp/grey3" --resume > "$tmp/out" 2>&1 && [ "$(cat "$sheet")" = kept ] && [ -s "$other" ] &&
    [ -s "$run/names.json" ]
say $? "name --resume keeps finished sheets and makes the missing ones"
# shellcheck disable=SC2086
"$CFN" name $flags --set "result_dir=$tmp/grey3" --set name.sheets=5 --force > "$tmp/out" 2>&1 &&
    [ "$(find "$run/sheets" -name '*.png' | wc -l)" = 5 ]
say $? "name --force with name.sheets: 5 leaves five sheets"

# Faults, alone and on three ranks.
# shellcheck disable=SC2086
{
    code_is 73 "exists already" "explain does not overwrite" "$CFN" explain $flags --set "result_dir=$tmp/grey3"
    code_is 78 "name.endpoint" "a naming service is refused plainly" \
        mpirun -n 3 "$CFN" name $flags --set "result_dir=$tmp/grey3" --set name.endpoint=somewhere --force
    mv "$run/names.json" "$run/kept.json"
    code_is 66 "cfn name" "without names.json: 66, says which command makes it" \
        mpirun -n 3 "$CFN" explain $flags --set "result_dir=$tmp/grey3" --force
    echo '{"neurons": [' > "$run/names.json"
    code_is 65 "names.json: line" "broken names.json: 65 with its line" \
        mpirun -n 3 "$CFN" explain $flags --set "result_dir=$tmp/grey3" --force
    mv "$run/kept.json" "$run/names.json"
    for fault in atom selection top; do
        /usr/bin/python3 - "$run" $fault <<'PY'
import sys, h5py
file, name, at, value = {"atom": ("codes", "atom", (200, 0), 4000), "selection": ("selection", "index", 3, 9999),
                         "top": ("sae", "top/index", (0, 0), 100000)}[sys.argv[2]]
with h5py.File(f"{sys.argv[1]}/{file}.h5", "r+") as f:
    f[name][at] = value
PY
        code_is 65 "run \`cfn" "a wrong $fault is noticed" \
            mpirun -n 3 "$CFN" explain $flags --set "result_dir=$tmp/grey3" --force
        /usr/bin/python3 tests/support/toy_run.py "$tmp/grey3"
    done
}
