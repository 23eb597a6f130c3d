# --dry-run of the concept stages says what a rank will need: within 15 % of what the run then takes, at one rank and at
# several, by each of the ways that take different memory; and it writes nothing. (Training: test_dry_run.sh.)
. tests/support/say.sh
. scripts/mpi-env
. tests/support/place.sh
top=$PWD
place dry_run_concepts
python=/usr/bin/python3
run=out/made/resnet18/1
$python "$top/tests/support/make_run.py" $run 4000 256 6 400
flags=(--data made --backbone resnet18 --result_dir out --set threads=1 --set sae.variant=batchtopk --set sae.neurons=2000
    --set sae.k=32 --set sae.batch=1024 --set sae.epochs=2 --set cav.positives=20 --set cav.random=20 --set select.count=400
    --set decompose.nonzeros=30 --set classify.controls=1 --set classify.bootstrap=50 --set classify.search=fixed)
cp $run/cav.h5 .

# Bytes that the line `STAGE: ... X per rank` names.
predicted() {
    sed -n "s/^$1:.*[^0-9.]\([0-9.]\+ [kMGT]\?B\) per rank.*/\1/p" out.dry |
        awk '{ split("B kB MB GB TB", u, " "); for (i in u) if (u[i] == $2) print $1 * 1000 ^ (i - 1) }'
}
dry() { # what, stage, ranks, settings...: a dry run, a run, their memory
    local what=$1 stage=$2 ranks=$3 said found before
    shift 3
    before=$(find out -type f -exec md5sum {} + | sort)
    mpirun -n "$ranks" "$CFN" "$stage" "${flags[@]}" "$@" --force --dry-run > out.dry 2>&1 || cat out.dry
    [ "$before" = "$(find out -type f -exec md5sum {} + | sort)" ] || { say 1 "$stage: a dry run writes nothing"; return; }
    mpirun -n "$ranks" "$CFN" "$stage" "${flags[@]}" "$@" --force > log 2>&1 || { tail -5 log; say 1 "cfn $stage"; return; }
    said=$(predicted "$stage")
    found=$($python -c "import json; print(json.load(open('$run/perf.json'))['$stage']['peak_memory_bytes'])")
    # A sanitizer has memory of its own.
    awk -v p="${said:-0}" -v m="${found:-0}" -v san="${SAN:-}" 'BEGIN { exit !(m > 0 && p > 0 && (san != "" || (p > 0.85 * m && p < 1.15 * m))) }'
    say $? "$stage${what:+, $what}, $ranks ranks: memory within 15 %, nothing written"
    echo "# $stage $what $ranks: said ${said:-nothing}, took ${found:-nothing}"
}
dry "a sweep" sae 2 --set sae.parallel=data --set "sae.sweep=neurons=1000,2000 k=16,32"
# Room for the auxiliary codes of dead neurons counts, but no neuron dies in two epochs.
dry "rows shared out" sae 2 --set sae.parallel=data
# Moments of the neurons of other ranks are there only once a checkpoint has gathered them.
dry "neurons shared out" sae 2 --set sae.parallel=feature --set sae.aux_weight=0
dry "relu, neurons shared out" sae 4 --set sae.parallel=feature --set sae.variant=relu
dry "trained again" sae 1 --set sae.stability=1 --set sae.neurons=1000 --set sae.aux_weight=0
dry "relu" sae 1 --set sae.variant=relu
dry "relu in bf16" sae 1 --set sae.variant=relu --set sae.precision=bf16
dry "batchtopk in bf16" sae 2 --set sae.precision=bf16
for ranks in 1 4; do
    dry "" sae $ranks
    dry "" cav $ranks
done
dry "the dictionary" cav 2 --set cav.source=decoder
cp cav.h5 $run
dry "" decompose 1
dry "" classify 1
dry "" classify 4
dry "with the residual" classify 1 --set classify.residual=true
dry "on codes" classify 2 --set classify.input=codes
$python - $run/cav.h5 <<'PY'
import sys
import h5py
import numpy as np
n, r = 5000, np.random.default_rng(1)
cav = r.normal(size=(n, 64))
with h5py.File(sys.argv[1], "w") as f:
    f["cav"] = (cav / np.linalg.norm(cav, axis=1, keepdims=True)).astype("f4")
    for name in "bias", "accuracy", "pvalue":
        f[name] = np.full(n, 0.5, "f4")
    f["neuron"] = (np.arange(n) % 2000).astype("i4")
PY
few=(--set select.count=40)
for ranks in 1 4; do
    dry "similarities kept" select $ranks "${few[@]}"
done
dry "in tiles" select 4 "${few[@]}" --set select.similarity_memory=1 --set select.optimizer=stochastic
dry "a tree of parts" select 2 "${few[@]}" --set select.optimizer=greedyml --set select.similarity_memory=1
dry "eight parts" select 1 "${few[@]}" --set select.optimizer=greedi
