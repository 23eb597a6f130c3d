#!/bin/bash
# cfn selftest alone and at 3 ranks: every check is said, nothing is left behind.
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
work=$(mktemp -d "${CFN_TEST_TMP:-/tmp}/selftest.XXXXXX") || exit 1
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work" || exit 1

for ranks in 1 3; do
    if [ $ranks = 1 ]; then "$CFN" selftest > out 2> err < /dev/null; else
        mpirun -n $ranks "$CFN" selftest > out 2> err < /dev/null; fi
    say $? "selftest ends with 0 at $ranks ranks"
    good=$(grep -c '^  ok ' out)
    [ "$good" -ge 7 ] && ! grep -q FAILED out
    say $? "$good checks are ok at $ranks ranks"
    grep -q '^selftest: all checks passed' out; say $? "the last line says so at $ranks ranks"
    for name in ranks "sums over ranks" "allreduce bandwidth" files "matrix product" primitives network binding; do
        grep -qE "^  (ok|warning) +$name " out || { echo "not ok - $name is not reported at $ranks ranks"; cat out err; }
    done
    [ "$(find . -name 'cfn-selftest*' | wc -l)" = 0 ]; say $? "nothing is left behind at $ranks ranks"
done
grep -q 'GB/s per rank' out; say $? "the bandwidth of sums is measured"
grep -q '0 of 50021 values differ' out; say $? "sums are those of the plain tree"
