#!/bin/bash
# cfn select on made-up vectors: objectives and optimisers by their keys, filters, lists, pools, tiles, the same bits at
# several rank counts, --compare, and faulty inputs.
set -u
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
tmp=$CFN_TEST_TMP/select
python=/usr/bin/python3
run=$tmp/t/resnet18/1
mkdir -p "$tmp"

select_() { # ranks, more flags: output in $tmp/out
    local ranks=$1
    shift
    timeout 60 $([ "$ranks" = 1 ] || echo mpirun -n "$ranks") "$CFN" select --data t --backbone resnet18 --result_dir "$tmp" \
        --set threads=1 --set select.count=10 --force "$@" > "$tmp/out" 2>&1
}
index() { # expression over i (picks), g (gains), f (cav.h5)
    $python -c "
import h5py, numpy as np, sys
s = h5py.File('$run/selection.h5'); f = h5py.File('$run/cav.h5'); i = s['index'][:]; g = s['gain'][:]
sys.exit(not ($1))"
}
$python tests/support/make_run.py "$run" 240 12 3 40 && $python - "$run" <<'END'
import sys, h5py, numpy as np
run, r = sys.argv[1], np.random.default_rng(1)
with h5py.File(run + "/cav.h5", "a") as f:
    n = len(f["cav"])
    f["accuracy"] = np.linspace(0.5, 1, n).astype("f4")
    f["pvalue"] = np.linspace(0, 0.5, n).astype("f4")
    f["neuron"] = np.arange(n)[::-1].astype("i4")
with h5py.File(run + "/sae.h5", "w") as f:
    f["fire_rate"] = np.linspace(0, 1, n).astype("f4")
    f["monosemanticity"] = np.linspace(0, 1, n).astype("f4")
with h5py.File(run + "/../matrix.h5", "w") as f:
    a = r.integers(0, 9, (n, n)) / 8
    f["similarity"] = (a + a.T).astype("f4")
np.savetxt(run + "/../costs.txt", 1 + np.arange(n) % 3)
np.savetxt(run + "/../initial.txt", [5, 70], fmt="%d")
END
say $? "inputs"

for objective in feature_based max_coverage saturated_coverage graph_cut sum_redundancy mutual_information reconstruction labo; do
    good=0
    for ranks in 1 8; do
        select_ $ranks --set select.objective=$objective --set select.signs=$([[ $objective =~ feature|max ]] && echo absolute || echo keep) || good=1
        cp "$run/selection.h5" "$tmp/$ranks.h5"
    done
    [ $good = 0 ] && $python tests/support/same_data.py "$tmp/1.h5" "$tmp/8.h5" && index "len(set(i)) == 10"
    say $? "$objective: the bits of one rank at eight"
done
good=0
for optimizer in naive approximate two_stage stochastic sample modular greedi greedyml; do
    for ranks in 1 8; do
        select_ $ranks --set select.optimizer=$optimizer --set select.parts=3 || good=1
        cp "$run/selection.h5" "$tmp/$ranks.h5"
    done
    $python tests/support/same_data.py "$tmp/1.h5" "$tmp/8.h5" && index "len(set(i)) == 10" || good=1
done
say $good "optimisers: the bits of one rank at eight"
select_ 1 && cp "$run/selection.h5" "$tmp/stored.h5" && select_ 8 --set select.similarity_memory=0 &&
    grep -q "in tiles" "$tmp/out" && $python tests/support/same_data.py "$tmp/stored.h5" "$run/selection.h5" index
say $? "tiles make the picks of the stored matrix"
select_ 2 --set select.objective=mixture --set "select.mixture=facility_location=1 mutual_information=0.5" && index "len(i) == 10"
say $? "mixture"
select_ 2 --set select.objective=mixture --set "select.mixture=facility=1"; [ $? = 78 ] && grep -q "facility=1" "$tmp/out"
say $? "unknown member of a mixture: exit 78"
good=0
for mixture in modular=1 labo=1 mutual_information=1x facility_location= facility_location=inf facility_location=-1 =1 \
    "sum_redundancy graph_cut facility_location mutual_information reconstruction"; do
    for ranks in 1 4; do
        select_ $ranks --set select.objective=mixture --set "select.mixture=$mixture"; [ $? = 78 ] && grep -qF "${mixture##* }" "$tmp/out" || good=1
    done
done
say $good "names of the code, weights that are no numbers > 0, a fifth member: exit 78 and the word, at one rank and four"
select_ 2 --set select.objective=mixture --set "select.mixture=feature_based=1" --set select.concave=log1p --set select.signs=absolute &&
    cp "$run/selection.h5" "$tmp/mixture.h5" && select_ 2 --set select.objective=feature_based --set select.concave=log1p \
    --set select.signs=absolute && $python tests/support/same_data.py "$tmp/mixture.h5" "$run/selection.h5"
say $? "a mixture of one is that one"
select_ 2 --set select.objective=reconstruction && grep -q "gains of reconstruction can grow" "$tmp/out"
say $? "lazy gives way where gains can grow, with a note"
select_ 2 --set select.similarity=precomputed --set select.similarity_file="$tmp/t/resnet18/matrix.h5" && index "len(set(i)) == 10"
say $? "precomputed similarity"
matrix="--set select.similarity=precomputed --set select.similarity_file=$tmp/t/resnet18/matrix.h5"
good=0
for objective in mutual_information feature_based reconstruction; do # none of them looks at similarities between vectors
    for similarity in "--set select.similarity=cosine" "$matrix"; do
        select_ 2 --set select.objective=$objective --set select.signs=absolute $similarity || good=1
        cp "$run/selection.h5" "$tmp/${similarity##*[=/]}.picks"
    done
    $python tests/support/same_data.py "$tmp/cosine.picks" "$tmp/matrix.h5.picks" || good=1
done
say $good "what looks at the vectors picks the same beside a matrix of similarities"
select_ 2 --set select.objective=labo $matrix && cp "$run/selection.h5" "$tmp/labo.h5" &&
    select_ 2 --set select.objective=mixture --set "select.mixture=facility_location mutual_information" $matrix &&
    $python tests/support/same_data.py "$tmp/labo.h5" "$run/selection.h5" index && index "len(set(i)) == 10"
say $? "mutual information beside facility location on a matrix"
select_ 4 --set select.objective=mixture --set "select.mixture=facility_location reconstruction" $matrix
[ $? = 78 ] && grep -q "reconstruction looks at the vectors" "$tmp/out"; say $? "vectors and a matrix in one mixture: exit 78"
for what in nan inf; do # of a pair, so that the matrix stays symmetric
    $python -c "
import h5py, shutil
shutil.copy('$tmp/t/resnet18/matrix.h5', '$tmp/$what.h5')
with h5py.File('$tmp/$what.h5', 'a') as f:
    f['similarity'][3, 7] = f['similarity'][7, 3] = float('$what')"
    select_ 3 --set select.similarity=precomputed --set select.similarity_file="$tmp/$what.h5"
    [ $? = 65 ] && grep -qF "/similarity[3,7] is not finite" "$tmp/out"; say $? "$what in a matrix of one's own: exit 65 and its place"
done
select_ 2 --set select.objective=feature_based; [ $? = 65 ] && grep -q "needs entries >= 0" "$tmp/out"
say $? "negative entries where roots are taken: exit 65"
select_ 2 --set select.min_accuracy=0.6 --set select.max_pvalue=0.4 && index "(f['accuracy'][:][i] >= 0.6).all() and (f['pvalue'][:][i] <= 0.4).all()"
say $? "accuracy and significance"
select_ 2 --set select.min_fire_rate=0.3 --set select.max_fire_rate=0.6 --set select.min_monosemanticity=0.4 &&
    index "(lambda k: (k >= 0.4 * 79).all() and (k <= 0.6 * 79).all())(f['neuron'][:][i])"
say $? "fire rate and monosemanticity"
echo '{"neurons": [{"neuron": 3, "rating": 5}, {"neuron": 9, "rating": 2}, {"neuron": 7, "rating": 4}]}' > "$run/names.json"
select_ 2 --set select.min_rating=4 && index "sorted(f['neuron'][:][i]) == [3, 7]"; say $? "ratings of names"
select_ 2 --set select.costs="$tmp/t/resnet18/costs.txt" --set select.budget=8 && index "sum(1 + i % 3) <= 8 and len(i) < 10"
say $? "costs within the budget"
select_ 2 --set select.initial="$tmp/t/resnet18/initial.txt" && index "not set(i) & {5, 70}"; say $? "initial ones are not taken again"
cat > "$tmp/pools.py" <<'END'
# Which class each vector responds to most, by its definition; 3 + 3 + 4 picks of 10 (pools that are large enough).
import sys
import h5py
import numpy as np
run, budget = sys.argv[1], float(sys.argv[2])
e, c, s = (h5py.File(f"{run}/{n}.h5") for n in ("embeddings", "cav", "selection"))
x, y, train = e["features"][:].astype("f8"), e["label"][:], e["split"][:] == 0
mean = np.stack([x[train & (y == k)].mean(0) for k in range(y.max() + 1)])
pool = (c["cav"][:].astype("f8") @ mean.T).argmax(1)
size, picked, classes = np.bincount(pool, minlength=len(mean)), s["index"][:], len(mean)
assert len(set(picked)) == len(picked)
if budget:
    assert 0 < (1 + picked % 3).sum() <= budget, (1 + picked % 3).sum()
    assert len(set(pool[picked])) == classes
else:
    taken = 0
    for k in range(classes):
        due = min(10 * (k + 1) // classes - taken, size[k])
        assert (pool[picked[taken:taken + due]] == k).all(), (k, pool[picked])
        taken += due
    assert taken == len(picked) == 10
END
for ranks in 2 8; do
    select_ $ranks --set select.pools=class --set select.costs="$tmp/t/resnet18/costs.txt" --set select.budget=9 &&
        $python "$tmp/pools.py" "$run" 9
    say $? "pools share the budget, at $ranks ranks"
done
select_ 2 --set select.pools=class && $python "$tmp/pools.py" "$run" 0; say $? "a pool for each class"
cp "$run/selection.h5" "$tmp/pools.h5"
jaccard() { # file, file: as --compare prints it
    $python -c "
import h5py, sys
a, b = (set(h5py.File(p)['index'][:]) for p in sys.argv[1:])
print('Jaccard %.4f;' % (len(a & b) / len(a | b)))" "$1" "$2"
}
timeout 60 "$CFN" select --compare "$tmp/stored.h5" "$tmp/pools.h5" > "$tmp/out" 2>&1 &&
    grep -qF "$(jaccard "$tmp/stored.h5" "$tmp/pools.h5")" "$tmp/out"
say $? "--compare of two files"
# The published behaviour beside cosine, with what the heads built on either reach.
mkdir -p "$tmp/a" "$tmp/b" && cp "$tmp/stored.h5" "$tmp/a/selection.h5" && select_ 2 --set select.similarity=features &&
    cp "$run/selection.h5" "$tmp/b" && echo '{"cbm": {"val": {"accuracy": 0.5}, "test": {"accuracy": 0.75}}}' > "$tmp/a/metrics.json" &&
    echo '{"cbm": {"val": {"accuracy": 0.625}, "test": {"accuracy": 0.5}}}' > "$tmp/b/metrics.json"
timeout 60 "$CFN" select --compare "$tmp/a" "$tmp/b" > "$tmp/out" 2>&1 && grep -q "cosine" "$tmp/out" && grep -q "features" "$tmp/out" &&
    grep -qF "$(jaccard "$tmp/a/selection.h5" "$tmp/b/selection.h5")" "$tmp/out" && ! grep -q "Jaccard 1" "$tmp/out" &&
    grep -qF "difference +0.1250" "$tmp/out" && grep -qF "difference -0.2500" "$tmp/out"
say $? "--compare of cosine and features: Jaccard and difference in accuracy"
timeout 60 mpirun -n 2 "$CFN" select --compare "$run" "$run" --json > "$tmp/out" 2>&1 && grep -q '"jaccard": 1' "$tmp/out"
say $? "--compare of run directories, JSON"
timeout 60 "$CFN" select --compare "$run" > "$tmp/out" 2>&1; [ $? = 64 ]; say $? "--compare of one: exit 64"
select_ 2 --set select.costs="$tmp/none.txt"; [ $? = 66 ]; say $? "no file of costs: exit 66"
good=0
for similarity in cosine correlation euclidean features; do
    for ranks in 1 8; do
        select_ $ranks --set select.similarity=$similarity || good=1
        cp "$run/selection.h5" "$tmp/$ranks.h5"
    done
    $python tests/support/same_data.py "$tmp/1.h5" "$tmp/8.h5" || good=1
done
say $good "similarities: the bits of one rank at eight"
select_ 4 && $python - "$run/perf.json" <<'END'
import json, sys
def find(node, name):
    if isinstance(node, dict):
        return node[name] if name in node else next((v for v in (find(c, name) for c in node.values()) if v is not None), None)
    return next((v for v in (find(c, name) for c in node) if v is not None), None) if isinstance(node, list) else None
root = json.load(open(sys.argv[1]))
stage = root.get("select", root) if isinstance(root, dict) else root
messages, sent, evaluations = (find(stage, k) for k in ("messages_per_pick", "bytes_per_pick", "gain_evaluations"))
sys.exit(not (0 < messages <= 6 * 3 and 0 < sent <= messages * 1024 * 8 and 80 <= evaluations <= 800))
END
say $? "perf.json counts messages and bytes a pick"
$python - "$run/cav.h5" <<'END'
import sys, h5py
with h5py.File(sys.argv[1], "a") as f:
    f["cav"][37, 3] = float("nan")
END
good=0
for ranks in 1 4; do
    select_ $ranks; [ $? = 65 ] && grep -q "37" "$tmp/out" && grep -qi "nan" "$tmp/out" || good=1
done
say $good "NaN in /cav: exit 65 and the row, at one rank and four"
