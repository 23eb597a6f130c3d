#!/bin/bash
# Configuration: every kind of mistake gives one message and the same exit code
# at 1 and 4 ranks, before anything is written; precedence; used.yml.
cd "$(dirname "$0")/../.." || exit 1
top=$PWD
. scripts/mpi-env
. tests/support/say.sh
. tests/support/place.sh
place config

all_ranks="1 4"
wrong() { # exit code, message, arguments...: run.yml is the configuration
    local expected=$1 message=$2 code ranks
    shift 2
    for ranks in $all_ranks; do
        if [ $ranks = 1 ]; then "$CFN" embed "$@" > out 2> err
        else mpirun -n $ranks "$CFN" embed "$@" > out 2> err; fi
        code=$?
        test $code = "$expected" && test "$(grep -cF -- "$message" err)" = 1 && test ! -e runs
        say $? "$code at $ranks ranks: $message"
        [ $code = "$expected" ] || { echo "exit $code, expected $expected"; grep -v '^--' err | head -5; }
    done
}
yaml() { # message, text of run.yml
    printf '%b' "$2" > run.yml
    wrong 78 "run.yml:$1" run.yml
}
yaml '2:7: train.lr: expected a number > 0, found "fast"' 'train:\n  lr: fast\n'
yaml '2:3: train.learning: unknown key' 'train:\n  learning: 1\n'
yaml '1:1: tran: unknown key (did you mean train?)' 'tran:\n  lr: 1\n'
yaml '3:3: train.lr: given twice, first at line 2' 'train:\n  lr: 1\n  lr: 2\n'
all_ranks=1   # the path to the message is the same: 4 ranks for each kind of origin are enough
yaml '2:11: sae.epochs: expected an integer from 1 to 1000000, found "1.5"' 'sae:\n  epochs: 1.5\n'
yaml '2:16: train.reduction: expected one of exact, fast, found "exat" (did you mean exact?)' 'train:\n  reduction:   exat\n'
yaml '2:11: sae.shards: expected a power of two from 1 to 1024, found "3"' 'sae:\n  shards: 3\n'
yaml '2:1: not valid YAML: found character that cannot start any token' 'train:\n\tlr: 1\n'
yaml '1:7: anchors and aliases' 'data: &a ham\n'
yaml '1:1: expected lines of `key: value`' '- 1\n'
yaml "1:7: data: expected a name of letters, digits, '-', '_' and '.', found \"../x\"" 'data: ../x\n'
yaml '1:1: a line of 1000000 characters, 8192 at most' "$(head -c 1000000 /dev/zero | tr '\0' a)"
all_ranks="1 4"
printf 'train: {batch: 6}\n' > run.yml
wrong 78 'train.batch: expected a multiple of train.shards (4), found 6 (run.yml:1)' run.yml
wrong 66 'missing.yml: No such file or directory' missing.yml
mkdir -p folder.yml
wrong 66 'folder.yml: is a directory, expected a configuration file' folder.yml
wrong 78 '--set: train.lr: expected a number > 0, found "0"' --set train.lr=0
wrong 78 '--set: train.epoch: unknown key (did you mean train.epochs?)' --set train.epoch=3
wrong 78 '--epoch: train.epochs: expected an integer from 0 to 100000, found "no"' --epoch no
wrong 78 'backbone: expected a network of this program, found "resnot" (flag --backbone)' --backbone resnot
export CFN_TRAIN_LR=x
wrong 78 'environment CFN_TRAIN_LR: train.lr: expected a number > 0, found "x"'
unset CFN_TRAIN_LR

# Precedence: flag > environment > file > default. The stage itself ends with 66: it has no inputs here.
printf 'trial: 3\nsae:\n  l1: 1e-3\n  lr: 1e-3\n  batch: 64\n' > run.yml
CFN_SAE_LR=2e-3 CFN_SAE_BATCH=128 "$CFN" embed run.yml --set sae.batch=256 --result_dir runs > out 2> err
test $? = 66 && grep -q '`cfn pack` makes it' err
say $? "without inputs the stage ends with 66 and names the command that makes them"
used=runs/ham/resnet18/3/used.yml
for line in '  l1: 0.001  # run.yml:3' '  lr: 0.002  # environment CFN_SAE_LR' '  batch: 256  # flag --set' \
    '  epochs: 200  # default' 'result_dir: runs  # flag --result_dir' 'trial: 3  # run.yml:1'; do
    grep -qxF -- "$line" $used
    say $? "used.yml: $line"
done
cp $used again.yml
"$CFN" embed again.yml > out 2> err
sed 's/  # .*//' again.yml > a
sed 's/  # .*//' $used > b
cmp -s a b
say $? "used.yml read back gives the same values"
! grep -q 'default$' $used
say $? "and says that they came from it"
CFN_SAE_LRR=1 "$CFN" embed run.yml > out 2> err
grep -qF 'environment CFN_SAE_LRR is not a setting (did you mean CFN_SAE_LR?)' err
say $? "a misspelt variable is warned about"
"$CFN" config > template.yml && "$CFN" embed template.yml --trial 9 > out 2> err
test $? = 66
say $? "the template is a configuration"
for file in "$top"/configs/*.yml; do
    "$CFN" embed "$file" --dry-run --result_dir none > out 2> err
    test $? = 66 && test ! -e none
    say $? "$(basename "$file") loads; a dry run without inputs ends with 66 and writes nothing"
done
