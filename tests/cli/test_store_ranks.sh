# The store at rank counts that once lost or hung: 8 ranks again and again, 31 uneven ranks on few cores.
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
tmp=${CFN_TEST_TMP:-$(mktemp -d)}
export CFN_TEST_TMP=$tmp/store-ranks
mkdir -p "$CFN_TEST_TMP"

CFN_TEST_REPEATS=${SAN:+4}
[ -z "$CFN_TEST_REPEATS" ] && CFN_TEST_REPEATS=50
export CFN_TEST_REPEATS
timeout 120 mpirun -n 8 "$BUILD/tests/mpi/test_store_blocks" > "$CFN_TEST_TMP/log" 2>&1
code=$?
say $code "8 ranks, small interleaved blocks, $CFN_TEST_REPEATS times"
[ $code = 0 ] || tail -20 "$CFN_TEST_TMP/log"

export CFN_TEST_REPEATS=1
timeout 60 mpirun -n 31 "$BUILD/tests/mpi/test_store_blocks" > "$CFN_TEST_TMP/log" 2>&1
code=$?
say $code "31 uneven ranks end in under 60 s"
[ $code = 0 ] || tail -20 "$CFN_TEST_TMP/log"
