#!/bin/bash
# Representations of another encoder: imported from every kind of file, found by id, through all stages with images and
# without, the same bits at 1 to 4 ranks; the linear probe; what is refused.
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
support=$PWD/tests/support same=$PWD/scripts/same-runs
. tests/support/place.sh
place encoder
python=/usr/bin/python3
settings="--result_dir out --set threads=1 --set image.size=48 --set sae.epochs=4 --set sae.batch=48 --set sae.expansion=3
          --set cav.positives=20 --set cav.negatives=20 --set select.count=12 --set decompose.nonzeros=4
          --set classify.controls=1 --set classify.bootstrap=20 --set explain.images=6"
cfn() { # ranks, command...: output in log
    local ranks=$1
    shift
    # shellcheck disable=SC2086
    timeout 100 $([ "$ranks" = 1 ] || echo mpirun -n "$ranks") "$CFN" "$@" $settings > log 2>&1
}
good() { # what, command...
    local what=$1
    shift
    "$@"
    local code=$?
    say $code "$what"
    [ $code = 0 ] || tail -6 log
}
$python "$support/toy_run.py" out
own=out/toy/resnet18/1 corpus=out/toy/corpus.h5
mv $own/embeddings.h5 . && rm -r $own && mkdir $own && mv embeddings.h5 $own
$python "$support/encoder.py" make . $corpus $own/embeddings.h5

# The program's own representations, exported and imported again under another name.
road() { for s in sae name cav select decompose classify; do cfn 1 $s --data toy --backbone resnet18 || return 1; done; }
good "stages from sae to classify" road
good "an export of the representations" cfn 1 export $own/embeddings.h5 /features own.npy
cfn 3 import own.npy --as embeddings --data toy --backbone biomedclip
say $? "its import"
grep -q "no --ids: the 240 rows are taken in the order of corpus.h5" log; say $? "without ids the order is said"
good "a run on it" cfn 3 run --data toy --backbone biomedclip
grep -q "embed  *embeddings.h5 was imported: kept" log && grep -q "pack  *corpus.h5 is the one embeddings.h5 was imported with" log &&
    ! grep -qE "(pack|train|embed) +starts" log
say $? "the run packs, trains and embeds nothing"
grep -q "retention, of linear probe" log; say $? "the summary says what retention is of"
$python "$same" $own out/toy/biomedclip/1 sae.h5 cav.h5 selection.h5 codes.h5 cbm.h5 > same 2>&1
say $? "imported again: the same bits in every later file"
page=out/toy/biomedclip/1/report/index.html
grep -q 'class="view"' $page && grep -q "by biomedclip" $page && ! grep -q "came without images" $page
say $? "the page shows the images"
good "a contact sheet shows the right picture" $python "$support/encoder.py" sheet out/toy/biomedclip/1 $corpus
cfn 1 run --data toy --backbone biomedclip && ! grep -q "starts" log; say $? "a second run has nothing to do"
cfn 1 embed --data toy --backbone biomedclip; test $? = 78 && grep -q "expected a network" log
say $? "an encoder of one's own cannot be run here: 78"
cfn 1 sae --data toy --backbone biomedclop; test $? = 78; say $? "a name nothing was imported under: 78"

# Without images, by id, from every form of file; at 1 to 4 ranks.
group="--set pack.group=patient"
for ranks in 1 2 3 4; do
    name=enc$ranks
    # shellcheck disable=SC2086
    cfn $ranks import f16.npy --as embeddings --data bare --backbone $name --labels t.csv --ids ids.npy \
        --encoder "org/Model <1>" $group && cfn $ranks run --data bare --backbone $name
    say $? "imported without images and run at $ranks ranks"
    [ $ranks = 1 ] && continue
    $python "$same" out/bare/enc1/1 out/bare/$name/1 embeddings.h5 sae.h5 cav.h5 selection.h5 codes.h5 cbm.h5 \
        explanations.h5 > same 2>&1
    say $? "the same bits in all files at 1 and $ranks ranks"
    cmp out/bare/enc1/1/names.json out/bare/$name/1/names.json; say $? "the same names at 1 and $ranks ranks"
done
grep -q "name: the representations were imported without images: no contact sheets" log; say $? "no contact sheets, and it is said"
good "rows by id: features, labels, splits, groups, attributes" $python "$support/encoder.py" rows out/bare/enc1/1 .
page=out/bare/enc1/1/report/index.html
grep -q "org/Model &lt;1&gt;" $page && grep -q "img00" $page && grep -q "came without images" $page && ! grep -q '<img' $page &&
    grep -q "linear probe" $page && ! grep -q "accuracy of the network" $page
say $? "the page shows ids in place of images, the linear probe in place of the network"
good "metrics, head and codes are what they say" $python "$support/check_head.py" out/bare/enc1/1
good "the linear probe is the best one there is" $python "$support/encoder.py" probe out/bare/enc1/1
$python -c "
import h5py
run = h5py.File('out/bare/enc1/1/explanations.h5')['run'].attrs
names = [line.split('  ')[1] for line in run['inputs'].splitlines()]
assert 'embeddings.h5' in names and 'corpus.h5' not in names and 'absent' not in run, names"
say $? "explain records no corpus.h5 where there is none"
form=0
for file in "columns.npy --ids ids.txt" "f64.safetensors --ids ids.csv" "f.h5 --ids ids.npy" "two.h5 --dataset b --ids ids.npy"; do
    form=$((form + 1))
    # shellcheck disable=SC2086
    cfn 2 import $file --as embeddings --data bare --backbone form$form --labels t.csv $group &&
        $python "$same" out/bare/enc1/1 out/bare/form$form/1 embeddings.h5 > same 2>&1
    say $? "the same from $file"
done
good "bf16" cfn 1 import bf16.safetensors --as embeddings --data bare --backbone bf16 --labels t.csv
good "fewer rows than ranks" cfn 4 import three.npy --as embeddings --data few --backbone enc --labels three.csv
cfn 1 import three.npy --as embeddings --data few --backbone enc --trial 2 --labels three.csv &&
    $python "$same" out/few/enc/1 out/few/enc/2 embeddings.h5 > same 2>&1
say $? "the same rows from one rank"

# Of a corpus some images.
for ranks in 1 4; do
    cfn $ranks import some.npy --as embeddings --data toy --backbone part$ranks --ids some_ids.npy
    say $? "representations of some of the images, $ranks ranks"
    grep -q "8 of 240 rows of corpus.h5 have no representation" log && grep -q "3 of 235 representations have no row" log
    say $? "missing and surplus rows are counted"
done
$python "$same" out/toy/part1/1 out/toy/part4/1 embeddings.h5 > same 2>&1; say $? "the same embeddings.h5 at 1 and 4 ranks"
good "their run" cfn 3 run --data toy --backbone part4
$python "$support/encoder.py" rows out/toy/part1/1 . $corpus; say $? "rows and pictures by id"
good "a contact sheet shows the right picture of some" $python "$support/encoder.py" sheet out/toy/part4/1 $corpus

# Without labels.
good "no labels" cfn 1 import f32.npy --as embeddings --data bare --backbone mute --labels no_label.csv
cfn 1 run --data bare --backbone mute; test $? = 65 && grep -q "classify: the head of the bottleneck needs labels" log &&
    test -e out/bare/mute/1/codes.h5
say $? "classify asks for labels, the stages before it do not"

# What is refused, with nothing written.
refused() { # code, text, arguments...: at 1 and 4 ranks
    local code=$1 text=$2 ranks found
    shift 2
    for ranks in 1 4; do
        cfn $ranks import "$@" --as embeddings --data no --backbone enc
        found=$?
        test $found = "$code" && grep -qF -- "$text" log && ! ls out/no/enc/1/*.h5* > /dev/null 2>&1
        say $? "$ranks ranks: $* is refused"
        [ $found = "$code" ] || { echo "# exit $found, expected $code"; tail -3 log; }
    done
}
refused 65 "cut.npy: tensor" cut.npy --labels t.csv
refused 65 "the file is empty" empty.npy --labels t.csv
refused 65 "type '<U1' is not read" texts.npy --labels t.csv
refused 65 "type '<c8' is not read" complex.npy --labels t.csv
refused 65 "values of type i32, expected real numbers" whole.npy --labels t.csv
refused 65 "shape 240 x 24 x 1, expected two extents" cube.npy --labels t.csv
refused 65 "extents that no memory holds" vast.npy --labels t.csv
refused 65 "of a storage that has 0" long.npy --labels t.csv
refused 65 "row 17 holds a value that is not finite" nan.npy --labels t.csv
refused 65 "row 200 holds a value that is not finite" large.npy --labels t.csv
refused 65 "2 matrices of real numbers" two.safetensors --labels t.csv
refused 65 "2 matrices of real numbers" two.h5 --labels t.csv
refused 65 "no dataset of real numbers in two extents" link.h5 --labels t.csv
refused 65 "behind a link" link.h5 --dataset a --labels t.csv
refused 65 "another kind of file" t.csv --labels t.csv
refused 65 "three.npy has 3 rows, t.csv 240: which belong together cannot be told" three.npy --labels t.csv
refused 65 "rows 0 and 239 have the same id" f32.npy --labels t.csv --ids twice.npy
refused 65 "239 ids, but f32.npy has 240 rows" f32.npy --labels t.csv --ids fewer.npy
refused 65 "none of its 240 ids is among the 240 of t.csv" f32.npy --labels t.csv --ids other.npy
refused 65 "doubled.csv:242: the id of an earlier row (line 2)" f32.npy --labels doubled.csv --ids ids.npy
refused 65 "no_id.csv:1: no column 'id'" f32.npy --labels no_id.csv
refused 66 "missing.npy" missing.npy --labels t.csv
refused 66 "missing.csv" f32.npy --labels missing.csv
refused 64 "--out" f32.npy --out x.h5
cfn 1 import f32.npy --as weights --data no --backbone enc; test $? = 64; say $? "--as weights: 64"
cfn 1 import f32.npy --ids ids.npy; test $? = 64; say $? "--ids without --as: 64"
cfn 1 import f32.npy --as embeddings --data no; test $? = 64; say $? "no --backbone: 64"
cfn 1 import f32.npy --as embeddings --data bare --backbone enc1 --labels t.csv; test $? = 73; say $? "what is there is kept: 73"
cfn 1 import f32.npy --as embeddings --data new --backbone enc --labels t.csv --dry-run && test ! -e out/new
say $? "a dry run writes nothing"

# Another corpus than at the import.
$python -c "
import h5py
with h5py.File('$corpus', 'r+') as f: f['label'][0] = (f['label'][0] + 1) % 4"
cfn 3 run --data toy --backbone part1; test $? = 65 && grep -q "its rows are those of another corpus.h5" log
say $? "a corpus that changed since is refused"
