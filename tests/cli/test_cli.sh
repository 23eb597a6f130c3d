#!/bin/bash
# The command line: help and version without MPI, once and fast; what is wrong
# with a command line, in one message; the reference documents are up to date.
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
: "${CFN_TEST_TMP:?run the tests by make check}"
tmp=$CFN_TEST_TMP/cli
mkdir -p "$tmp"

fast() { # what, command...: exit 0 in under 0.3 s (the best of 3: a busy machine may delay one), silent on stderr
    local what=$1 best=9999 begin ms
    shift
    for _ in 1 2 3; do
        begin=$(date +%s%N)
        "$@" > "$tmp/out" 2> "$tmp/err" || { say 1 "$what exits 0"; return; }
        ms=$((($(date +%s%N) - begin) / 1000000))
        [ $ms -lt $best ] && best=$ms
    done
    test -s "$tmp/out" && test ! -s "$tmp/err"
    say $? "$what exits 0, with text on stdout alone"
    [ -n "${SAN:-}" ] || { test $best -lt 300; say $? "$what answers in under 0.3 s"; }
}
fast "--help" "$CFN" --help
fast "--version" "$CFN" --version
fast "train --help" "$CFN" train --help
for word in 'gcc\|clang' 'Open MPI' 'HDF5' 'BLIS.*kernel' 'oneDNN'; do
    "$CFN" --version | grep -q "$word"
    say $? "--version names $word"
done
for command in $("$CFN" --help | awk '/^  [a-z][a-z-]* +[a-z]/ && !/COMMAND/ { print $1 }'); do
    "$CFN" "$command" --help > "$tmp/out" 2>&1 && grep -q "^cfn $command: " "$tmp/out"
    say $? "$command --help"
done
"$CFN" --help > "$tmp/alone"
mpirun -n 4 "$CFN" --help > "$tmp/four" 2>&1
code=$?
test $code = 0 && cmp -s "$tmp/alone" "$tmp/four"
say $? "--help appears once under mpirun -n 4"
mpirun -n 4 "$CFN" config sae > "$tmp/four" 2>&1 && "$CFN" config sae | cmp -s - "$tmp/four"
say $? "config appears once under mpirun -n 4"

usage() { # expected first line, arguments...: exit 64 and this message once, at 1 and 4 ranks
    local expected=$1 code
    shift
    "$CFN" "$@" > "$tmp/out" 2> "$tmp/err"
    code=$?
    test $code = 64 && test ! -s "$tmp/out" && test "$(head -1 "$tmp/err")" = "cfn: $expected"
    say $? "64: $expected"
    [ $code = 64 ] || { echo "exit $code"; cat "$tmp/err"; }
    mpirun -n 4 "$CFN" "$@" > "$tmp/out" 2> "$tmp/err"
    code=$?
    test $code = 64 && test "$(grep -cF -- "$expected" "$tmp/err")" = 1
    say $? "64 at 4 ranks, said once: $expected"
}
usage 'trian: unknown command (did you mean train?)' trian
usage 'expected a command'
usage '--epochs: unknown flag (did you mean --epoch?)' train --epochs 3
usage '--epoch: expected a value after it' train --epoch
usage '--set train.lr: expected KEY=VALUE, as in --set train.lr=1e-3' train --set train.lr
usage 'b.yml: expected one configuration, found a second one after a.yml' train a.yml b.yml
usage '--save_dir b: differs from --ckpt_dir a' train --ckpt_dir a --save_dir b
usage '--force replaces what exists and --resume keeps it: give one of them' train --force --resume
"$CFN" config trian > "$tmp/out" 2> "$tmp/err"
test $? = 64 && grep -q 'no section trian (did you mean train?)' "$tmp/err"
say $? "config: an unknown section"

scripts/docs --check > "$tmp/diff" 2>&1
code=$?
say $code "docs/reference is up to date (make docs)"
[ $code = 0 ] || head -20 "$tmp/diff"
