#!/bin/bash
# cfn cav, select and classify on made-up representations: files against their definitions, the same bits at several
# rank counts, several labels per image, and faulty inputs.
set -u
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
tmp=$CFN_TEST_TMP/cav
python=/usr/bin/python3
flags="--data t --backbone resnet18 --set threads=1 --set sae.epochs=8 --set sae.batch=64 --set sae.expansion=6
       --set cav.positives=20 --set cav.negatives=20 --set select.count=12 --set decompose.nonzeros=5
       --set classify.bootstrap=40 --set classify.controls=2"

stage() { # ranks, name, stage, more flags: output in $tmp/out
    local ranks=$1 name=$2
    shift 2
    # shellcheck disable=SC2086
    timeout 60 $([ "$ranks" = 1 ] || echo mpirun -n "$ranks") "$CFN" "$1" --result_dir "$tmp/$name" $flags "${@:2}" > "$tmp/out" 2>&1
}
file() { echo "$tmp/$1/t/resnet18/1/$2"; }
copy() { # from, to: the inputs of cfn cav
    mkdir -p "$(file "$2" .)" && cp "$(file "$1" embeddings.h5)" "$(file "$1" sae.h5)" "$(file "$2" .)"
}
make_inputs() { # name, fault, more flags: representations and their codes
    $python tests/support/make_run.py "$(file "$1" .)" 300 16 3 12 ${2:-} && rm "$(file "$1" cav.h5)" "$(file "$1" selection.h5)" &&
        stage 2 "$1" sae "${@:3}"
}
road() { # ranks, name, more flags
    local ranks=$1 name=$2
    shift 2
    for s in cav select decompose classify; do stage "$ranks" "$name" $s "$@" || return 1; done
}
same() { # name, name: the files of both
    for f in cav.h5 selection.h5 codes.h5 cbm.h5; do
        $python tests/support/same_data.py "$(file "$1" $f)" "$(file "$2" $f)" || return 1
    done
    cmp -s "$(file "$1" metrics.json)" "$(file "$2" metrics.json)"
}
mkdir -p "$tmp"

for kind in one multi; do # the run of several ranks is called one-3 below, whatever their number
    fault= ranks=8; [ $kind = multi ] && fault=multi
    make_inputs $kind-1 $fault && copy $kind-1 $kind-3 && road 1 $kind-1 && road $ranks $kind-3
    say $? "cav to classify, $kind label per image"
    same $kind-1 $kind-3; say $? "$kind label: $ranks ranks give the bits of 1"
    $python tests/support/check_head.py "$(file $kind-3 .)"; say $? "$kind label: files are what they say"
done
# A head that stops before its minimum is told.
settled() { $python -c "
import json, sys
head = json.load(open('$(file one-1 metrics.json)'))['head']
assert head['converged'] is $1 and head['fits'] >= 1 and head['iterations'] >= 1, head"; }
settled True; say $? "metrics.json: the head has converged"
stage 1 one-1 classify --force --set classify.search=fixed --set classify.max_iter=1 &&
    grep -q "used all 1 iterations without reaching its minimum" "$tmp/out" && settled False
say $? "one iteration: a warning, and metrics.json says so"
stage 1 one-1 classify --force
say $? "the head as before"
# Hybrid: the same head on concepts as without, its logits and the residual's add up, the same bits at other ranks.
hybrid="--set classify.residual=true --set classify.controls=1 --set classify.path=false --set classify.bootstrap=10"
for kind in one multi; do
    mkdir -p "$(file $kind-hybrid .)"
    for f in embeddings sae cav selection codes; do cp "$(file $kind-1 $f.h5)" "$(file $kind-hybrid .)"; done
    ok=0 several="2 4 8"; [ $kind = multi ] && several="3 8"
    for ranks in 1 $several; do
        # shellcheck disable=SC2086
        stage $ranks $kind-hybrid classify --force $hybrid || { ok=1; tail -3 "$tmp/out"; }
        [ $ranks = 1 ] || $python tests/support/same_data.py "$tmp/$kind-first.h5" "$(file $kind-hybrid cbm.h5)" || ok=1
        [ $ranks = 1 ] || cmp "$tmp/$kind-first.json" "$(file $kind-hybrid metrics.json)" || ok=1
        cp "$(file $kind-hybrid cbm.h5)" "$tmp/$kind-first.h5"; cp "$(file $kind-hybrid metrics.json)" "$tmp/$kind-first.json"
    done
    say $ok "classify.residual, $kind label: $several ranks give the bits of 1"
    $python tests/support/check_head.py "$(file $kind-hybrid .)" "$(file $kind-1 cbm.h5)"
    say $? "classify.residual, $kind label: concepts stay, the parts add up, the share reported is there"
done
# The rows of the dictionary as vectors: unit norm, the same bits, rated on held-out images; the road comes further below.
copy one-1 decoder-1 && copy one-1 decoder-3 && stage 1 decoder-1 cav --set cav.source=decoder &&
    stage 8 decoder-3 cav --set cav.source=decoder && $python tests/support/same_data.py "$(file decoder-1 cav.h5)" "$(file decoder-3 cav.h5)"
say $? "cav.source: decoder, the same bits at 1 and 8 ranks"
$python -c "
import h5py, numpy as np
cav, sae = h5py.File('$(file decoder-3 cav.h5)'), h5py.File('$(file decoder-3 sae.h5)')
rows = sae['decoder'][:][cav['neuron'][:]]
assert np.abs(cav['cav'][:] - rows / np.linalg.norm(rows, axis=1, keepdims=True)).max() < 1e-6
assert (np.diff(cav['neuron'][:]) > 0).all() and (cav['pvalue'][:] <= 1).all() and np.median(cav['accuracy'][:]) > 0.6
"
say $? "decoder: vectors are the dictionary's rows, better than chance on held-out images"
# How many concepts: FVU along the path as numpy finds it from whole runs, the same bits at 1 and 3 ranks.
for n in 1 3; do
    mkdir -p "$(file search-$n .)" && cp "$(file one-1 embeddings.h5)" "$(file one-1 cav.h5)" "$(file one-1 selection.h5)" "$(file search-$n .)"
    stage $n search-$n decompose --set decompose.search=validation --set decompose.slack=0.05 --set decompose.nonzeros=8
    say $? "decompose.search: validation at $n ranks"
done
grep -q "chosen: fewest" "$tmp/out" && $python tests/support/same_data.py "$(file search-1 codes.h5)" "$(file search-3 codes.h5)"
say $? "search: the table, and the same bits"
$python -c "
import h5py, numpy as np
f, c, v, e = (h5py.File('$(file search-3 .)' + '/' + n) for n in ('codes.h5', 'cav.h5', 'selection.h5', 'embeddings.h5'))
atoms, path, S = c['cav'][:][v['index'][:]].astype('f8'), f['validation_fvu'][:], f['atom'].shape[1]
val = np.flatnonzero(e['split'][:] == 1)
x = e['features'][:][val].astype('f8')
left = sum(((x[i] - f['intercept'][n] - f['value'][n] @ atoms[f['atom'][n]])**2).sum() for i, n in enumerate(val))
assert len(path) == 8 and (np.diff(path) <= 0).all() and 1 <= S < 8
assert abs(left / ((x - x.mean(0))**2).sum() - path[S - 1]) < 1e-5
assert path[S - 1] <= path[-1] + 0.05 and (S == 1 or path[S - 2] > path[-1] + 0.05)
"
say $? "search: the fewest within the slack, with the FVU of the file's codes"
# Concepts of rank 3, exactly: every image ends there, counted, at any precision.
mkdir -p "$(file flat .)" && cp "$(file one-1 embeddings.h5)" "$(file one-1 cav.h5)" "$(file one-1 selection.h5)" "$(file flat .)"
$python -c "
import h5py, numpy as np
with h5py.File('$(file flat cav.h5)', 'r+') as f:
    r = np.random.default_rng(4)
    f['cav'][:] = r.integers(-3, 4, (f['cav'].shape[0], 3)) @ r.integers(-3, 4, (3, f['cav'].shape[1])) / 32"
for precision in single double; do
    stage 2 flat decompose --force --set decompose.precision=$precision && grep -q "ended early: no concept\|at a dependent" "$tmp/out" &&
        $python -c "
import h5py, numpy as np
f = h5py.File('$(file flat codes.h5)')
assert ((f['atom'][:] >= 0).sum(1) <= 3).all() and np.isfinite(f['value'][:]).all() and np.abs(f['value'][:]).max() < 1e4"
    say $? "dependent concepts, $precision: pursuits end early and are counted"
done

# To the page: a made-up run with its corpus and names.
$python tests/support/toy_run.py "$tmp/toy" && rm "$tmp"/toy/toy/resnet18/1/{sae,cav,selection,codes,cbm}.h5
ok=0
for s in sae name cav select decompose classify explain; do
    timeout 60 mpirun -n 2 "$CFN" $s --data toy --backbone resnet18 --result_dir "$tmp/toy" --set image.size=48 --set threads=1 \
        --set sae.epochs=8 --set sae.batch=64 --set sae.expansion=6 --set cav.source=decoder --set cav.positives=30 --set cav.negatives=30 --set select.count=20 --set decompose.nonzeros=6 \
        --set classify.bootstrap=20 --set classify.controls=1 --set classify.residual=true \
        --set classify.search=fixed --set explain.images=4 --force > "$tmp/out" 2>&1 || { ok=1; tail -5 "$tmp/out"; break; }
done
[ $ok = 0 ] && [ -s "$tmp/toy/toy/resnet18/1/report/index.html" ] && [ -s "$tmp/toy/toy/resnet18/1/explanations.h5" ]
say $? "decoder: name, select, decompose, classify and explain follow"
$python -c "
import h5py, numpy as np, re
d = '$tmp/toy/toy/resnet18/1/'
e, c = h5py.File(d + 'explanations.h5'), h5py.File(d + 'cbm.h5')
z, r = c['logits'][:].astype('f8'), e['residual'][:]
assert (r == c['residual_logits'][:]).all() and r.any()
assert np.abs(e['contribution/value'][:].astype('f8').sum(2) + e['rest'][:] + r - z).max() < 1e-5 * max(1, np.abs(z).max())
page = open(d + 'report/index.html', encoding='utf-8').read()
shown = [int(x) for x in re.findall(r'id=\"row(\d+)\"', page)]
assert len(shown) == 4 and 'of the decisions come from what no concept explains' in page
terms = re.findall(r'residual of this image\).*?amount[^>]*>([^<]*)<', page, re.S)
assert len(terms) >= 4 and terms[0].replace('\u2212', '-').replace('\u2013', '-') != ''
for row in shown:
    want = '%.2f' % abs(r[row, z[row].argmax()])
    assert any(t.endswith(want) for t in terms), (row, want, terms)
"
say $? "hybrid: contributions, rest and residual add up, in the file and on the page"
# What must be known before the figures is on the page when it is so, and not when it is not.
page=$tmp/toy/toy/resnet18/1/report/index.html
toy() { timeout 60 mpirun -n 2 "$CFN" "$1" --data toy --backbone resnet18 --result_dir "$tmp/toy" --set image.size=48 --set threads=1 \
    --set explain.images=4 --set classify.bootstrap=20 --set classify.controls=1 --set classify.search=fixed --force "${@:2}" > "$tmp/out" 2>&1; }
! grep -q "The head has not converged\|The autoencoder:" "$page"
say $? "the page warns of nothing"
toy classify --set classify.max_iter=1 && $python -c "
import h5py
with h5py.File('$tmp/toy/toy/resnet18/1/sae.h5', 'a') as f: f.attrs['fvu_val'] = float('nan')" && toy explain &&
    grep -q "The head has not converged" "$page" && grep -q "The autoencoder:</b> the representations do not vary" "$page"
say $? "the page says that the head has not converged, and that the representations do not vary"
for method in logistic mean pattern; do
    copy one-1 $method-1 && copy one-1 $method-3 && stage 1 $method-1 cav --set cav.method=$method &&
        stage 8 $method-3 cav --set cav.method=$method && $python tests/support/same_data.py "$(file $method-1 cav.h5)" "$(file $method-3 cav.h5)"
    say $? "cav.method $method: 8 ranks give the bits of 1"
done
for what in "method=lasso --set decompose.lambda=0.01" "positive=true --set decompose.method=lasso" tolerance=0.3 positive=true precision=double intercept=false; do
    # shellcheck disable=SC2086
    stage 1 one-1 decompose --force --set decompose.$what && stage 8 one-3 decompose --force --set decompose.$what &&
        $python tests/support/same_data.py "$(file one-1 codes.h5)" "$(file one-3 codes.h5)"
    say $? "decompose.${what%% *}: 8 ranks give the bits of 1"
done
for ranks in 1 4; do
    stage $ranks one-3 decompose --force --set decompose.method=lasso --set decompose.search=validation
    [ $? = 78 ] && grep -q "goes along the path of decompose.method: omp" "$tmp/out"; say $? "search with the lasso at $ranks ranks: exit 78"
done
stage 1 one-1 decompose --force; stage 2 one-3 decompose --force
stage 2 one-3 classify --force --set classify.input=codes && $python tests/support/check_head.py "$(file one-3 .)"
say $? "head on codes"
codes="--set classify.input=codes --set classify.standardise=true --set classify.class_weight=balanced --set classify.head"
for head in dense "sparse --set classify.nec=4"; do
    # shellcheck disable=SC2086
    stage 1 one-1 classify --force $codes=$head && stage 8 one-3 classify --force $codes=$head
    same one-1 one-3 && $python tests/support/check_head.py "$(file one-1 .)"
    say $? "classify.head ${head%% *} on codes, classes balanced: 8 ranks give the bits of 1"
done
for ranks in 1 4; do
    stage $ranks one-3 classify --force --set classify.head=sparse
    [ $? = 78 ] && grep -q "classify.head: sparse needs classify.input: codes" "$tmp/out"; say $? "sparse head on reconstructions at $ranks ranks: exit 78"
done
stage 1 one-1 classify --force
stage 4 one-3 classify --force --set classify.search=fixed --set classify.controls=0 && grep -q "C = 1 after 1 fits" "$tmp/out"
say $? "fixed C without controls"
cp "$(file one-3 selection.h5)" "$tmp/lazy.h5"
stage 2 one-3 select --force --set select.optimizer=naive && $python tests/support/same_data.py "$tmp/lazy.h5" "$(file one-3 selection.h5)"
say $? "naive and lazy pick alike"
stage 2 one-3 select --force --set select.count=4000 && grep -q "warning: select.count = 4000" "$tmp/out"
say $? "more concepts than candidates: all, with a warning"
stage 2 one-3 cav; [ $? = 73 ]; say $? "existing cav.h5 is not overwritten"
stage 2 one-3 cav --resume; say $? "--resume keeps it"
before=$(md5sum "$(file one-3 cav.h5)")
stage 2 one-3 cav --force --dry-run && [ "$before" = "$(md5sum "$(file one-3 cav.h5)")" ] && grep -q "would write" "$tmp/out"
say $? "--dry-run writes nothing"

# Stopped at other rank counts, with neurons left, then to the same bits.
make_inputs wide "" --set sae.expansion=40 && copy wide stop && stage 3 wide cav; say $? "vectors of many neurons"
touch "$tmp/stop-now"
for ranks in 3 2; do
    stage $ranks stop cav --set stop_file="$tmp/stop-now"
    [ $? = 75 ] && [ ! -e "$(file stop cav.h5)" ]; say $? "stop file at $ranks ranks: exit 75"
done
rm "$tmp/stop-now"
stage 2 stop cav --set cav.c=2
[ $? = 78 ] && grep -q "cav.c" "$tmp/out"; say $? "other settings than the checkpoint's: exit 78 naming the key"
stage 1 stop cav && grep -q "going on after" "$tmp/out" &&
    $python tests/support/same_data.py "$(file wide cav.h5)" "$(file stop cav.h5)"
say $? "went on where it stopped, to the same bits"

# Faulty inputs: exit code, one line with the cause, no output; damage that one rank alone sees at 4.
break_file() { # name, file, python that changes f
    $python -c "import h5py, numpy as np
with h5py.File('$(file "$1" "$2")', 'r+') as f:
    $3"
}
fails() { # ranks, stage, output, file, change, words
    rm -rf "$tmp/bad"; cp -r "$tmp/one-1" "$tmp/bad"; rm "$(file bad "$3")"
    break_file bad "$4" "$5"
    stage "$1" bad "$2"
    [ $? = 65 ] && grep -q "$6" "$tmp/out" && [ ! -e "$(file bad "$3")" ]
    say $? "$2 at $1 ranks: exit 65, \"$6\""
}
fails 4 cav cav.h5 sae.h5 "f['codes/index'][7] = 4096" "holds neuron 4096"
fails 1 cav cav.h5 sae.h5 "f['codes/indptr'][3] = 99999" "does not ascend"
fails 4 cav cav.h5 sae.h5 "f['fire_rate'][:] = 0" "no neuron has 8"
fails 1 cav cav.h5 embeddings.h5 "f['split'][:] = 2" "0 training rows"
fails 4 select selection.h5 cav.h5 "f['cav'][2, 1] = np.nan" "row 2 holds NaN"
fails 1 select selection.h5 cav.h5 "f['accuracy'][:] = np.nan" "none of"
fails 4 classify cbm.h5 codes.h5 "f['atom'][290, 0] = 77" "row 290 names concept 77"
fails 4 classify cbm.h5 embeddings.h5 "f['split'][:] = np.where(f['split'][:] == 1, 2, f['split'][:])" "needs a validation split"
rm "$(file bad codes.h5)"; stage 2 bad classify; [ $? = 66 ] && grep -q "cfn decompose" "$tmp/out"
say $? "no codes.h5: exit 66, says what makes it"
