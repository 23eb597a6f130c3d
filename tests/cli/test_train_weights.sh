# train.weights: training that starts from files of torch, in its three formats, at one rank and at three; the head of
# another number of classes; going on with another file; files that do not fit.
. tests/support/say.sh
. scripts/mpi-env
. tests/support/place.sh
python=/usr/bin/python3
if ! $python -c "import torchvision, h5py" 2>/dev/null; then
    echo "ok - training from files of torch # SKIP python3-torch, python3-torchvision or python3-h5py is missing"
    exit 0
fi
here=$PWD
place train_weights
$python - "$here/tests/support" <<'PY'
import os, sys
import numpy, PIL.Image, torch, torchvision
sys.path.insert(0, sys.argv[1])
import weights

os.makedirs("images")
rng = numpy.random.default_rng(7)
with open("images/labels.csv", "w") as table:
    table.write("path,label,split\n")
    for i in range(24):
        PIL.Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=numpy.uint8)).save(f"images/{i}.png")
        table.write(f"{i}.png,{'abc'[i % 3]},{'train' if i < 16 else 'val' if i < 20 else 'test'}\n")
torch.manual_seed(3)
for classes in 1000, 3:
    state = torchvision.models.resnet18(weights=None, num_classes=classes).state_dict()
    torch.save(state, f"{classes}.pth")
    if classes == 1000:
        torch.save(state, "old.pth", _use_new_zipfile_serialization=False)
        weights.torch = torch
        weights.save_safetensors("new.safetensors", state)
        short = dict(state)
        del short["layer3.0.conv1.weight"]
        torch.save(short, "short.pth")
        wide = dict(state)
        wide["conv1.weight"] = torch.zeros(64, 4, 7, 7)
        torch.save(wide, "wide.pth")
PY
flags=(--data tiny --result_dir out --backbone resnet18 --set log_level=normal --set threads=1 --set image.size=32
    --set train.batch=8 --set train.shards=4 --set train.augment=none)
"$CFN" pack "${flags[@]}" --root images > log 2>&1 || { cat log; exit 1; }

train() { # file to write, ranks, settings...
    local to=$1 ranks=$2 run=("$CFN")
    shift 2
    [ "$ranks" = 1 ] || run=(mpirun -n "$ranks" "$CFN")
    "${run[@]}" train "${flags[@]}" --set train.epochs=1 "$@" > log 2>&1 || cat log
    mv out/tiny/resnet18/1/backbone.h5 "$to"
    rm -r out/tiny/resnet18/1
}
same() { # what, A, B
    $python "$here/tests/support/same_data.py" "$2" "$3" 2> /dev/null
    say $? "$1"
}
# A step so small that no weight moves: what is written is what training started from.
train still.h5 1 --set train.lr=1e-30 --set train.weight_decay=0 --set train.weights=1000.pth
$python - still.h5 1000.pth <<'PY'
import math, sys
import h5py, torch
state = torch.load(sys.argv[2])
with h5py.File(sys.argv[1]) as f:
    for name, value in state.items():
        if name.startswith("fc.") or "running" in name or "num_batches" in name:
            continue
        assert abs(f["parameters/" + name][()] - value.numpy()).max() < 1e-25, name
    head, bound = f["parameters/fc.weight"][()], 1 / math.sqrt(512)
    assert head.shape == (3, 512) and abs(head).max() <= bound and abs(head).max() > 0.95 * bound, head
    assert abs(head.mean()) < 0.1 * bound and abs(head.std() - bound / math.sqrt(3)) < 0.1 * bound
    bias = f["parameters/fc.bias"][()]
    assert abs(bias).max() <= bound and (bias != 0).all(), bias
PY
say $? "training starts from the file; the head of 3 classes anew, as torch.nn.Linear"
grep -q "1000.pth: .*SHA-256 $(sha256sum 1000.pth | cut -c1-16)" log
say $? "the log names the file and its checksum"

# Going on with a network of this program whose input had another mean: said, and not of one with the same. still.h5 was
# written with three classes and the published mean.
for mean in "0.5 0.5 0.5" clip; do
    train other.h5 3 --set train.weights="$PWD/still.h5" --set image.mean="$mean"
    warned=$(grep -c "still.h5 was made with image.mean .*; it is trained further with image.mean " log)
    if [ "$mean" = clip ]; then test "$warned" = 0; else test "$warned" -gt 0; fi # repeated when the job ends
    say $? "weights of the published mean, image.mean $mean: warnings $warned"
done
train still3.h5 1 --set train.lr=1e-30 --set train.weight_decay=0 --set train.weights=3.pth
$python - still3.h5 3.pth <<'PY'
import sys
import h5py, torch
state = torch.load(sys.argv[2])
with h5py.File(sys.argv[1]) as f:
    for name in "fc.weight", "fc.bias":
        assert abs(f["parameters/" + name][()] - state[name].numpy()).max() < 1e-25, name
PY
say $? "a head of the same number of classes is taken too"

train zip.h5 1 --set train.weights=1000.pth
train old.h5 1 --set train.weights=old.pth
same "the older stream of pickles: the same bits as the zip" zip.h5 old.h5
train new.h5 3 --set train.weights=new.safetensors
same "safetensors, at 3 ranks: the same bits" zip.h5 new.h5
"$CFN" import 1000.pth --backbone resnet18 --out 1000.h5 > log 2>&1 || cat log
train imported.h5 1 --set train.weights=1000.h5
same "the imported file: the same bits" zip.h5 imported.h5

refused() { # what, ranks, code, text, settings...
    local what=$1 ranks=$2 code=$3 text=$4 run=("$CFN")
    shift 4
    [ "$ranks" = 1 ] || run=(mpirun -n "$ranks" "$CFN")
    timeout 60 "${run[@]}" train "${flags[@]}" "$@" > log 2>&1
    local found=$?
    [ $found = "$code" ] && grep -qF -- "$text" log
    local ok=$?
    say $ok "$what, $ranks ranks"
    [ $ok = 0 ] || { echo "# exit $found, expected $code and '$text'"; sed 's/^/# /' log; }
}
# Stopped in time, then told to go on from elsewhere.
cp 1000.pth start.pth
more=(--set train.epochs=3 --set train.weights=start.pth)
"$CFN" train "${flags[@]}" "${more[@]}" --max-hours 0.0000001 > log 2>&1
[ $? = 75 ]
say $? "stopped with a checkpoint"
for ranks in 1 3; do
    refused "going on from another file is refused" $ranks 78 "train.weights: checkpoint start.pth, this run 3.pth" \
        --resume --set train.epochs=3 --set train.weights=3.pth
done
cp 3.pth start.pth
refused "going on from a file that changed is refused" 1 78 "checksum of train.weights: checkpoint" --resume "${more[@]}"
cp 1000.pth start.pth
"$CFN" train "${flags[@]}" "${more[@]}" --resume > log 2>&1
say $? "with the file as it was it goes on"
rm -r out/tiny/resnet18/1

for ranks in 1 3; do
    refused "a file without a parameter" $ranks 65 "layer3.0.conv1.weight" --set train.weights=short.pth
    refused "a parameter of another shape" $ranks 65 "conv1.weight" --set train.weights=wide.pth
    refused "no such file" $ranks 66 "nothing.pth" --set train.weights=nothing.pth
done
refused "the file of another network" 1 65 "1000.pth" --backbone densenet121 --set train.weights=1000.pth
[ ! -e out/tiny/resnet18/1/backbone.h5 ]
say $? "nothing was written"
