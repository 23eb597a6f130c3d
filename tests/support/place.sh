# Sourced by test scripts: a folder of the test's own, and the program by its full path.
# place NAME: changes into it; sets tmp.
place() {
    : "${CFN_TEST_TMP:?run the tests by make check}" "${CFN:?run the tests by make check}"
    case $CFN in /*) ;; *) CFN=$PWD/$CFN ;; esac
    tmp=$CFN_TEST_TMP/$1
    mkdir -p "$tmp" && cd "$tmp" || exit 1
}
