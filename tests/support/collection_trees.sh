# Sourced by the tests of readers of public collections: trees, packing, comparing. $work is the folder of the test.
. tests/support/say.sh
. scripts/mpi-env
out=$work/out

tree() { # KIND NAME OPTION...: the folder $work/NAME and what a corpus of it must hold
    local kind=$1 name=$2
    shift 2
    /usr/bin/python3 tests/tools/make_collections.py "$kind" "$work/$name" "$@" || say 1 "the tree $name"
}
pack() { # RANKS NAME OPTION...
    local ranks=$1 root=$work/$2 launch="mpirun -n $1"
    shift 2
    rm -rf "$out"
    [ "$ranks" = 1 ] && launch=
    # shellcheck disable=SC2086
    timeout 60 $launch "$CFN" pack --root "$root" --data t --result_dir "$out" "$@" > "$work/log" 2>&1
}
# WHAT READER TEXT NAME "OPTION..." OPTION...: packs by itself with this reader, says TEXT, and holds what it must;
# options of the comparison are one word, those of packing come after it.
holds() {
    local what=$1 reader=$2 text=$3 name=$4 compare=$5 found
    shift 5
    pack 1 "$name" "$@"
    found=$?
    # shellcheck disable=SC2086
    [ $found = 0 ] && grep -qF "reader $reader: " "$work/log" && grep -qF -- "$text" "$work/log" &&
        /usr/bin/python3 tests/tools/check_collection.py "$out/t/corpus.h5" "$work/$name.json" $compare > "$work/compare" 2>&1 &&
        [ "$(cat "$work/compare")" = good ]
    local ok=$?
    say $ok "$what"
    [ $ok = 0 ] || { echo "# exit $found, expected '$text'"; sed 's/^/# /' "$work/log" "$work/compare"; }
}
refused() { # WHAT CODE TEXT NAME OPTION...: at one rank and at four, and nothing is written
    local what=$1 code=$2 text=$3 name=$4 ranks found
    shift 4
    for ranks in 1 4; do
        pack $ranks "$name" "$@"
        found=$?
        [ $found = "$code" ] && grep -qF -- "$text" "$work/log" && [ ! -e "$out/t/corpus.h5" ]
        local ok=$?
        say $ok "$what (at $ranks ranks)"
        [ $ok = 0 ] || { echo "# exit $found, expected $code and '$text'"; sed 's/^/# /' "$work/log"; }
    done
}
same_at_ranks() { # WHAT NAME OPTION...: the same contents at 1, 2, 3 and 4 ranks
    local what=$1 name=$2 ranks ok=0
    shift 2
    for ranks in 1 2 3 4; do
        pack $ranks "$name" "$@" && mv "$out/t/corpus.h5" "$work/ranks-$ranks.h5" || ok=1
        [ $ranks = 1 ] || /usr/bin/python3 tests/support/same_data.py "$work/ranks-1.h5" "$work/ranks-$ranks.h5" > "$work/same" ||
            { ok=1; sed 's/^/# /' "$work/same"; }
    done
    say $ok "$what"
}
