#!/bin/bash
# sae.sweep: several trainings on the same batches give what each gives alone, at any rank count and after stops; one is
# kept by the stated rule; wrong sweeps end with a message.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/support/say.sh
tmp=$CFN_TEST_TMP/sae_sweep
python=/usr/bin/python3
flags="--data t --backbone resnet18 --set threads=1 --set sae.epochs=8 --set sae.batch=64 --set sae.variant=batchtopk
       --set sae.resample_every=2"
sweep="neurons=24,48 k=2,6; neurons=40 k=4 aux_weight=0; variant=relu neurons=32 l1=1e-3; neurons=32 k=3 lr=1e30"

make_run() { $python tests/support/make_run.py "$tmp/$1/t/resnet18/1" 300 16 3 12 ${2:-}; }
sae() { # ranks, name, more flags: output in $tmp/out
    local ranks=$1 name=$2
    shift 2
    # shellcheck disable=SC2086
    timeout 60 mpirun -n "$ranks" "$CFN" sae --result_dir "$tmp/$name" $flags "$@" > "$tmp/out" 2>&1
}
file() { echo "$tmp/$1/t/resnet18/1/sae.h5"; }
mkdir -p "$tmp"

for ranks in 1 3 8; do
    make_run $ranks && sae $ranks $ranks --set "sae.sweep=$sweep" --set sae.sweep_max_dead=0.5
    say $? "a sweep at $ranks ranks"
    [ $ranks = 1 ] && cp "$tmp/out" "$tmp/first"
    [ $ranks = 1 ] || $python tests/support/same_data.py "$(file 1)" "$(file $ranks)"
    say $? "$ranks ranks: the bits of 1 rank"
done
[ "$(grep -c "^sae epoch 5/8 .*fvu.*l0.*dead" "$tmp/first")" = 6 ] && grep -q "^sae epoch 5/8 .* given up" "$tmp/first"
say $? "a row a training and epoch"
grep -q "neurons=32 k=3 lr=1e+30 given up in epoch 1" "$tmp/first"
say $? "a training that blows up is given up, the others go on"

# The rules, from their definition (docs/methods/sae.md).
cat > "$tmp/choice.py" <<'END'
import sys
import h5py
import numpy as np
rule, max_dead, max_l0 = sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
f = h5py.File(sys.argv[1])
s = {n: f["sweep/" + n][:] for n in ("fvu", "l0", "dead", "within")}
for n in ("fvu", "l0", "dead", "loss", "dense"):
    assert np.array_equal(f["sweep/history/" + n][:, -1], f["sweep/" + n][:], equal_nan=True)
    kept = f["history/" + n][:]
    assert np.array_equal(f["sweep/history/" + n][f.attrs["sweep_chosen"]], kept), n
there = np.isfinite(s["fvu"])
assert there.sum() == len(there) - 1
within = there & (s["fvu"] <= 1) & (s["dead"] <= max_dead) & (s["l0"] <= max_l0 if max_l0 else True)
assert np.array_equal(within, s["within"] == 1)
among = [p for p in range(len(there)) if (within[p] if within.any() else there[p])]
fvu = min(among, key=lambda p: (s["fvu"][p], s["l0"][p]))
l0 = min(among, key=lambda p: (s["l0"][p], s["fvu"][p]))
best = {"fvu": fvu, "l0": l0}.get(rule)
if rule == "knee":
    def total(p):
        return ((s["l0"][p] - s["l0"][l0]) / (s["l0"][fvu] - s["l0"][l0])
                + (s["fvu"][p] - s["fvu"][fvu]) / (s["fvu"][l0] - s["fvu"][fvu]))
    best = min(among, key=total) if min(map(total, among)) < 1 else fvu
assert best == f.attrs["sweep_chosen"], (best, dict(f.attrs), s)
assert f.attrs["sweep_rule"] == rule
assert f["sweep/neurons"][best] == f["decoder"].shape[0]
END
$python "$tmp/choice.py" "$(file 1)" knee 0.5 0; say $? "the one at the knee is kept"
for rule in fvu l0; do
    make_run $rule && sae 2 $rule --set "sae.sweep=$sweep" --set sae.sweep_rule=$rule --set sae.sweep_max_dead=1 \
        --set sae.sweep_max_l0=5 && $python "$tmp/choice.py" "$(file $rule)" $rule 1 5
    say $? "the one of smallest $rule within the limits is kept"
done
make_run none && sae 1 none --set "sae.sweep=$sweep" --set sae.sweep_rule=fvu --set sae.sweep_max_l0=0.01 &&
    grep -q "no training is within the limits" "$tmp/out" && $python "$tmp/choice.py" "$(file none)" fvu 0.1 0.01
say $? "none within the limits: chosen among all, with a warning"

# Each training alone: the kept one whole, another by its history.
settings=$($python -c "
import h5py, sys
f = h5py.File(sys.argv[1])
print(' '.join('--set sae.' + w for w in f['sweep/settings'][f.attrs['sweep_chosen']].decode().split()))" "$(file 1)")
make_run alone
# shellcheck disable=SC2086
sae 2 alone $settings && $python tests/support/same_data.py "$(file 1)" "$(file alone)" sweep
say $? "the kept one is what it is alone, bit by bit ($settings)"
make_run relu && sae 1 relu --set sae.variant=relu --set sae.neurons=32 --set sae.l1=1e-3 && $python - "$(file 1)" \
    "$(file relu)" <<'END'
import sys
import h5py
import numpy as np
a, b = (h5py.File(p) for p in sys.argv[1:])
p = [w.decode() for w in a["sweep/settings"][:]].index("variant=relu neurons=32 l1=0.001")
for n in ("loss", "fvu", "l0", "dead", "dense"):
    assert np.array_equal(a["sweep/history/" + n][p], b["history/" + n][:]), n
END
say $? "one of another variant too"

# Stopped again and again at other rank counts, in the middle of epochs.
make_run stop; touch "$tmp/stop-now"
for ranks in 2 1 3; do
    sae $ranks stop --set "sae.sweep=$sweep" --set sae.sweep_max_dead=0.5 --set stop_file="$tmp/stop-now"
    [ $? = 75 ]; say $? "stop file at $ranks ranks: exit 75"
done
rm "$tmp/stop-now"
sae 4 stop --set "sae.sweep=$sweep" --set sae.sweep_max_dead=0.5 && grep -q "going on from epoch 1" "$tmp/out" &&
    $python tests/support/same_data.py "$(file 1)" "$(file stop)"
say $? "went on where it stopped, to the same bits"

refused() { # sweep, words
    sae 2 1 --force --set "sae.sweep=$1"
    [ $? = 78 ] && grep -q "$2" "$tmp/out"; say $? "\"$1\": exit 78, \"$2\""
}
refused "neuron=3" "did you mean sae.neurons"
refused "k=1,x" "sae.k: expected an integer from 1 to 1000000, found \"x\""
refused "epochs=3" "sae.epochs is the same for all trainings"
refused "k=1,2; k=2" "asked for twice"
refused "neurons=8 k=9" "sae.k: expected at most the 8 neurons"
make_run batches
timeout 60 mpirun -n 2 "$CFN" sae --result_dir "$tmp/batches" --data t --backbone resnet18 --set threads=1 \
    --set "sae.sweep=variant=relu,topk k=2" > "$tmp/out" 2>&1
[ $? = 78 ] && grep -q "Set sae.batch" "$tmp/out"
say $? "trainings that want other batches: exit 78"
make_run dry
sae 2 dry --set "sae.sweep=$sweep" --dry-run && grep -q "per rank, for all trainings together" "$tmp/out" &&
    [ "$(grep -cE "sae: .*: [0-9]+ neurons$" "$tmp/out")" = 7 ] && [ ! -e "$(file dry)" ]
say $? "a dry run names all trainings and their memory together"
