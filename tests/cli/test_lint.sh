#!/bin/bash
# scripts/lint finds what it says it finds: each fault is planted in a copy of the tree, named, and taken out again.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/support/say.sh
tree=$CFN_TEST_TMP/lint
mkdir -p "$tree"
cp -r src include scripts .clang-format "$tree"
cd "$tree" || exit 1
scripts/lint > log 2>&1
say $? "the tree as it is: $(tail -1 log)"
format=--no-format # but for the fault that it is about
finds() { # what, text of the complaint, file, then lines that are added to it
    local what=$1 text=$2 file=$3 before=
    shift 3
    [ -e "$file" ] && before=$(mktemp) && cp "$file" "$before"
    mkdir -p "$(dirname "$file")"
    printf '%s\n' "$@" >> "$file"
    scripts/lint $format > log 2>&1
    test $? = 1 && grep -qF -- "$text" log && test "$(wc -l < log)" = 1
    local code=$?
    say $code "$what"
    [ $code = 0 ] || sed 's/^/# /' log
    if [ -n "$before" ]; then mv "$before" "$file"; else rm "$file"; fi
}
finds "an include that points up" "base must not include dist/world.h: arrows point down" \
    src/base/probe.c '#include "dist/world.h"'
finds "a stage in what knows no stage" "job must not include stage/stage.h" src/job/probe.c '#include "stage/stage.h"'
finds "a module beside" "image must not include nn/network.h" src/image/probe.c '#include "nn/network.h"'
finds "a private header from another module" "nn/engine.h is private to src/nn/" src/stage/tools/probe.c '#include "nn/engine.h"'
finds "a room of stages in another" "stage/page/page.h is private to src/stage/page/" \
    src/stage/concepts/probe.c '#include "stage/page/page.h"'
touch include/stage/probe.h
finds "a header between rooms that is on no list" "stage/probe.h is not among what rooms" \
    src/stage/page/probe.c '#include "stage/probe.h"'
rm include/stage/probe.h
finds "a header that is not there" 'no header of include/ or src/' src/base/probe.c '#include "base/nothing.h"'
finds "a foreign header outside its home" "<hdf5.h> belongs to src/store/" src/image/probe.c '#include <hdf5.h>'
finds "a foreign header without a home" "<regex.h> has no home" src/base/probe.c '#include <regex.h>'
finds "memory that is not an arena's" "memory comes from an arena" src/nn/engine/probe.c 'void *probe = malloc(1);'
finds "MPI outside src/dist" "only src/dist calls MPI" src/nn/engine/probe.c 'int probe = MPI_Finalize();'
finds "an unbounded function" "unbounded or unchecked C function" src/base/probe.c 'int probe = atoi("1");'
mapfile -t body < <(for ((i = 0; i < 59; i++)); do echo '    probe();'; done)
finds "a function of 61 lines" "a function of 61 lines, 60 at most" src/base/probe.c 'void probe(void)' '{' "${body[@]}" '}'
if clang-format --version 2> /dev/null | grep -q 'version 14\.'; then
    format= finds "a file that is not formatted" "probe.c: not formatted" src/base/probe.c 'int   probe;'
else
    echo "ok - formatting # SKIP no clang-format 14"
fi
# A ring over two folders, and a folder of too many files.
ring() { # how often lint complains of the two
    printf '#include "concept/select/probe_two.h"\n' > src/concept/head/probe_one.c
    printf '#include "concept/head/probe_one.h"\n' > src/concept/select/probe_two.c
    scripts/lint --no-format 2>&1 | grep -c 'probe_one and src/concept/select/probe_two include each other'
}
touch src/concept/head/probe_one.h src/concept/select/probe_two.h
test "$(ring)" = 1; say $? "a ring of files in different folders"
rm src/concept/*/probe_*
for ((i = 0; i < 20; i++)); do touch "src/report/probe$i.c"; done
scripts/lint --no-format 2>&1 | grep -q '^src/report: 24 files, 20 at most'; say $? "a folder of more than 20 files"
rm src/report/probe*
scripts/lint > log 2>&1; say $? "nothing is left of it"
