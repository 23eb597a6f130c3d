# Packing data folders of tests/tools/chest_trees.py and comparing the corpus with what must be in it. Sourced, with $name set.
. tests/support/say.sh
. scripts/mpi-env
work=$CFN_TEST_TMP/$name
mkdir -p "$work"
/usr/bin/python3 tests/tools/chest_trees.py "$work" "$name" || echo "not ok - chest_trees.py"

pack() { # ranks, folder, options...
    local ranks=$1 root=$2 launch=
    shift 2
    [ "$ranks" = 1 ] || launch="mpirun -n $ranks"
    rm -rf "$work/out"
    # shellcheck disable=SC2086
    timeout 60 $launch "$CFN" pack --root "$work/$root" --data t --result_dir "$work/out" "$@" > "$work/log" 2>&1
}
holds() { # what, ranks, folder, expected, line that is said or "", options...
    local what=$1 ranks=$2 root=$3 expected=$4 line=$5 found
    shift 5
    pack "$ranks" "$root" "$@"
    found=$?
    [ $found = 0 ] && grep -qF -- "$line" "$work/log" &&
        /usr/bin/python3 tests/support/check_collection.py "$work/out/t/corpus.h5" "$work/$expected.json" >> "$work/log" 2>&1
    local ok=$?
    say $ok "$name: $what (at $ranks ranks)"
    [ $ok = 0 ] || { echo "# exit $found, expected 0 and '$line'"; sed 's/^/# /' "$work/log"; }
}
refused() { # what, ranks, exit code, line, folder, options...
    local what=$1 ranks=$2 code=$3 line=$4 root=$5 found
    shift 5
    pack "$ranks" "$root" "$@"
    found=$?
    [ $found = "$code" ] && grep -qF -- "$line" "$work/log" && [ ! -e "$work/out/t/corpus.h5" ]
    local ok=$?
    say $ok "$name: $what (at $ranks ranks)"
    [ $ok = 0 ] || { echo "# exit $found, expected $code and '$line'"; sed 's/^/# /' "$work/log"; }
}
