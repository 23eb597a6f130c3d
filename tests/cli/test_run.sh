#!/bin/bash
# Run directories: locks, existing outputs, places that cannot be written, dry runs.
cd "$(dirname "$0")/../.." || exit 1
top=$PWD
. scripts/mpi-env
. tests/support/say.sh
tmp=$CFN_TEST_TMP/run
mkdir -p "$tmp"
cd "$tmp" || exit 1
case $CFN in /*) ;; *) CFN=$top/$CFN ;; esac

ends() { # exit code, message, arguments...: at 1 and 4 ranks, said once
    local expected=$1 message=$2 code ranks
    shift 2
    for ranks in 1 4; do
        if [ $ranks = 1 ]; then timeout 60 "$CFN" "$@" > out 2> err
        else timeout 60 mpirun -n $ranks "$CFN" "$@" > out 2> err; fi
        code=$?
        test $code = "$expected" && test "$(cat out err | grep -cF -- "$message")" = 1
        say $? "$code at $ranks ranks: $message"
        [ $code = "$expected" ] || { echo "exit $code, expected $expected"; cat out err | head -8; }
    done
}
run=runs/ham/resnet18/1
mkdir -p $run

# A lock held by another process.
echo 'host elsewhere, process 77, cfn train since yesterday' > $run/.lock
exec 9>> $run/.lock
flock 9
ends 73 "$run: another job is writing here (host elsewhere, process 77, cfn train since yesterday)" embed
ends 73 "$run: another job is writing here" run
test ! -e $run/used.yml
say $? "the second job wrote nothing"
"$CFN" embed --trial 2 > out 2>&1
test $? = 66
say $? "another trial is free"
exec 9>&-
ends 66 'runs/ham/corpus.h5: no such file' embed

# What is there is kept, unless --force.
touch $run/embeddings.h5
ends 73 "$run/embeddings.h5: exists already" embed
ends 0 "embed: $run/embeddings.h5 is there, nothing to do" embed --resume
ends 66 'runs/ham/corpus.h5: no such file' embed --force
test -e $run/embeddings.h5
say $? "--force keeps the old file until the new one is whole"

# Places that cannot be written: root may write anywhere, so a file stands in the way.
echo > file
ends 73 'file' embed --result_dir file
ends 73 'file' pack --result_dir file
mkdir -p part/ham
echo > part/ham/resnet18
ends 73 'part/ham/resnet18' run --result_dir part

# Dry runs write nothing.
ends 0 'run: explain   would run' run --dry-run --result_dir dry
ends 66 'dry/ham/corpus.h5: no such file' train --dry-run --result_dir dry
test ! -e dry
say $? "a dry run writes nothing"
