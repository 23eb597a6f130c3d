#!/bin/bash
# The whole road on real images, shortened, at 1, 2 and 4 ranks: same bits, sums
# that add up, files that open, stages that are skipped.
# run-tests: alone
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
tmp=$CFN_TEST_TMP/e2e
mkdir -p "$tmp"
short="--set train.epochs=1 --set sae.epochs=10 --set sae.batch=400 --set name.sheets=60 --set select.count=40 --set decompose.nonzeros=12
--set classify.bootstrap=50 --set classify.controls=1 --set threads=1 --set root=$tmp/corpus"
run=demo/resnet18/1

"$CFN" demo-corpus "$tmp/corpus" > "$tmp/corpus.log" 2>&1
say $? "demo corpus is made"
test "$(find "$tmp/corpus" -name '*.png' | wc -l)" = 2400
say $? "demo corpus holds 2400 images"

for ranks in 1 2 4; do
    # shellcheck disable=SC2086
    timeout 400 mpirun -n $ranks "$CFN" run configs/demo.yml $short --set "result_dir=$tmp/$ranks" > "$tmp/run$ranks.log" 2>&1
    code=$?
    say $code "the road at $ranks ranks"
    [ $code = 0 ] || tail -15 "$tmp/run$ranks.log"
done
for ranks in 2 4; do
    /usr/bin/python3 scripts/same-runs "$tmp/1/$run" "$tmp/$ranks/$run" > "$tmp/same" 2>&1
    say $? "$ranks ranks give the bits of 1"
    grep -v 'same bits' "$tmp/same"
done
/usr/bin/python3 scripts/same-runs "$tmp/1/demo" "$tmp/4/demo" corpus.h5 > "$tmp/same" 2>&1
say $? "packing at 4 ranks gives the bits of 1"

/usr/bin/python3 - "$tmp/2/$run" <<'PY'
import sys, h5py, numpy as np
d = sys.argv[1]
e, c = h5py.File(d + "/explanations.h5"), h5py.File(d + "/cbm.h5")
total = e["contribution/value"][()].astype(np.float64).sum(2) + e["rest"][()]
gap = np.abs(total - c["logits"][()]).max()
sys.exit(0 if gap < 1e-5 else f"largest gap {gap}")
PY
say $? "contributions and rest add up to the logit within 1e-5"
/usr/bin/python3 - "$tmp/2/$run" <<'PY'
import sys, h5py, numpy as np
# The contributions themselves, computed again from codes, head and vectors.
d = sys.argv[1]
codes, cbm, cav, sel, ex = (h5py.File(f"{d}/{n}.h5") for n in ("codes", "cbm", "cav", "selection", "explanations"))
w = cbm["weight"][()].astype(np.float64) @ cav["cav"][()][sel["index"][()]].T.astype(np.float64)
atom, value = codes["atom"][()], codes["value"][()].astype(np.float64)
dense = np.zeros((atom.shape[0], w.shape[1]))
rows, cols = np.nonzero(atom >= 0)
np.add.at(dense, (rows, atom[rows, cols]), value[rows, cols])
concept, given = ex["contribution/concept"][()], ex["contribution/value"][()]
for n in range(0, atom.shape[0], 97):
    for k in range(w.shape[0]):
        mine = dense[n] * w[k]
        for t in range(concept.shape[2]):
            if concept[n, k, t] >= 0 and abs(mine[concept[n, k, t]] - given[n, k, t]) > 1e-4 * max(1, abs(mine).max()):
                sys.exit(f"image {n} class {k}: {mine[concept[n, k, t]]} is not {given[n, k, t]}")
PY
say $? "each contribution is code times weight of its concept"

for file in "$tmp/1/demo/corpus.h5" "$tmp/2/$run"/*.h5; do
    "$CFN" verify "$file" > "$tmp/verify.log" 2>&1 && "$CFN" info "$file" > "$tmp/info.log" 2>&1 && h5ls -r "$file" > /dev/null
    say $? "cfn verify, cfn info and h5ls read $(basename "$file")"
done

touch "$tmp/before"
# shellcheck disable=SC2086
mpirun -n 2 "$CFN" run configs/demo.yml $short --set "result_dir=$tmp/2" > "$tmp/again.log" 2>&1
say $? "a second run finds all stages done"
test "$(find "$tmp/2/$run" -name '*.h5' -newer "$tmp/before" | wc -l)" = 0
say $? "and writes no file again"
# shellcheck disable=SC2086
"$CFN" train configs/demo.yml $short --set "result_dir=$tmp/2" > "$tmp/exists.log" 2>&1
test $? = 73
say $? "train refuses to overwrite its output (73)"
echo "$tmp/2/$run" > "$CFN_TEST_TMP/e2e-run" # the page test looks at this run
