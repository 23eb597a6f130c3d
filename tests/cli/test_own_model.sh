# A classifier that was trained elsewhere: kept by train.epochs: 0 and as an imported backbone.h5; what its network sees
# of images goes with it; EXIF; files from before a key existed stay valid. One rank and three.
. tests/support/say.sh
. scripts/mpi-env
. tests/support/place.sh
python=/usr/bin/python3
if ! $python -c "import torchvision, h5py" 2>/dev/null; then
    echo "ok - a classifier of torch # SKIP python3-torch, python3-torchvision or python3-h5py is missing"
    exit 0
fi
here=$PWD
place own_model
$python - <<'PY'
import os
import numpy, PIL.Image, torch, torchvision
from torchvision import transforms
os.makedirs("images")
rng = numpy.random.default_rng(7)
rows, pictures = [], []
for i in range(24):
    level = 60 + 70 * (i % 3)
    pixels = numpy.clip(level + rng.normal(0, 25, (50, 40, 3)), 0, 255).astype(numpy.uint8)
    tags = PIL.Image.Exif()
    tags[0x0112] = 6
    PIL.Image.fromarray(pixels).save(f"images/{i}.png", exif=tags)
    pictures.append(PIL.Image.fromarray(pixels))
    rows.append(f"{i}.png,{'abc'[i % 3]},{'train' if i < 9 else 'val' if i < 18 else 'test'}\n")
open("images/labels.csv", "w").write("path,label,split\n" + "".join(rows))
torch.manual_seed(3)
net = torchvision.models.resnet18(num_classes=3)
for m in net.modules():
    if isinstance(m, torch.nn.BatchNorm2d):
        m.running_mean.normal_(0, 0.1)
        m.running_var.uniform_(0.5, 2)
view = transforms.Compose([transforms.Resize(36), transforms.CenterCrop(32), transforms.ToTensor(),
                           transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
with torch.no_grad():
    numpy.save("logits.npy", net.eval()(torch.stack([view(p) for p in pictures])).numpy())
torch.save({"state_dict": net.state_dict()}, "mine.pth")
torch.save({k: v for k, v in net.state_dict().items() if not k.startswith("fc.")}, "headless.pth")
torch.save(torchvision.models.resnet18(num_classes=5).state_dict(), "five.pth")
PY
flags=(--data t --root images --result_dir out --backbone resnet18 --set threads=1 --set image.size=32 --set image.exif=false)
seen=(--set image.mean=imagenet --set image.std=imagenet --set image.resize=36 --set image.interpolation=bilinear)
ends() { # what, exit code, text, command...
    local what=$1 code=$2 text=$3
    shift 3
    timeout 120 "$@" > log 2>&1
    local found=$?
    [ $found = "$code" ] && grep -qF -- "$text" log
    local ok=$?
    say $ok "$what"
    [ $ok = 0 ] || { echo "# exit $found, expected $code and '$text'"; sed 's/^/# /' log; }
}
same_logits() { # what, embeddings.h5
    $python -c "
import h5py, numpy
want, have = numpy.load('logits.npy'), h5py.File('$2')['logits'][:]
assert abs(want - have).max() <= 1e-4 * abs(want).max(), abs(want - have).max()" > log 2>&1
    local ok=$?
    say $ok "$1"
    [ $ok = 0 ] || sed 's/^/# /' log
}
right() { # the accuracy on the validation split that torch finds
    $python -c "
import numpy
print('%.4f' % (numpy.load('logits.npy')[9:18].argmax(1) == numpy.arange(9, 18) % 3).mean())"
}
"$CFN" pack "${flags[@]}" > log 2>&1 || { cat log; exit 1; }
run=out/t/resnet18/1
keep=("${flags[@]}" --set train.epochs=0)
ends "nothing to keep" 78 "train.weights, which is empty" "$CFN" train "${keep[@]}"
ends "a missing head cannot be kept" 65 "it has no head" "$CFN" train "${keep[@]}" --set train.weights=headless.pth
ends "the same at 3 ranks" 65 "it has no head" mpirun -n 3 "$CFN" train "${keep[@]}" --set train.weights=headless.pth
ends "nor one of other classes" 65 "its head has 5 classes, the corpus has 3" "$CFN" train "${keep[@]}" --set train.weights=five.pth
[ ! -e $run/backbone.h5 ]
say $? "nothing was written"
ends "train.epochs 0 keeps the model, and tells its accuracy" 0 "the model of mine.pth is kept, validation accuracy $(right)" \
    "$CFN" train "${keep[@]}" "${seen[@]}" --set train.weights=mine.pth
ends "embed takes mean, deviation and resizing from the model" 0 "accuracy of the backbone on the validation split $(right)" \
    "$CFN" embed "${flags[@]}"
grep -q 'image.mean: 0.485 0.456 0.406 of ' log
say $? "and says so"
same_logits "logits as torchvision's, its transform included" $run/embeddings.h5
ends "a mean that was given is not replaced" 78 "image.mean: grey (flag --set), but" \
    mpirun -n 3 "$CFN" embed "${flags[@]}" --set image.mean=grey --force
$python -c "import h5py; h5py.File('$run/backbone.h5', 'r+').attrs['image_interpolation'] = 'cubic'"
for launch in "" "mpirun -n 3"; do
    # shellcheck disable=SC2086
    ends "an interpolation that this program has not is not taken for another${launch:+, $launch}" 65 \
        "image_interpolation is damaged" $launch "$CFN" embed "${flags[@]}" --force
done
rm -r out/t/resnet18

ends "the model is imported into the run" 0 "taken: 102 tensors" \
    "$CFN" import mine.pth --backbone resnet18 --set image.size=32 "${seen[@]}" --out $run/backbone.h5
before=$(sha256sum < $run/backbone.h5)
ends "a dry run at 3 ranks says that it is kept" 0 "run: train     backbone.h5 was imported: kept" \
    mpirun -n 3 "$CFN" run "${flags[@]}" --dry-run
timeout 100 "$CFN" run "${flags[@]}" --set sae.neurons=16 --set sae.epochs=1 --max-hours 0.02 > log 2>&1
grep -q 'run: train     backbone.h5 was imported: kept' log && grep -q 'run: embed     starts' log
say $? "cfn run keeps it and goes on with it"
[ "$before" = "$(sha256sum < $run/backbone.h5)" ]
say $? "bit for bit"
ends "embed at 3 ranks" 0 "validation split $(right)" mpirun -n 3 "$CFN" embed "${flags[@]}" --force
same_logits "logits as torchvision's" $run/embeddings.h5
ends "cfn train does not replace it" 73 "exists already" "$CFN" train "${flags[@]}" --set train.batch=4
ends "an imported model without a head" 0 "no head" \
    "$CFN" import headless.pth --backbone resnet18 --set image.size=32 --out $run/backbone.h5 --force
ends "cannot be embedded with" 65 "it has no head" "$CFN" embed "${flags[@]}" --force

rm -r out/t/resnet18

# A corpus from before image.exif: its record lacks the key.
ends "the corpus is valid" 0 "run: pack      done before" "$CFN" run "${flags[@]}" --set train.batch=4 --dry-run
"$CFN" pack "${flags[@]}" --set image.exif=true --force > log 2>&1
$python - <<'PY'
import h5py
with h5py.File("out/t/corpus.h5", "r+") as f:
    text = f["run"].attrs["settings"]
    text = text.decode() if isinstance(text, bytes) else text
    assert "image.exif=true\n" in text
    f["run"].attrs["settings"] = text.replace("image.exif=true\n", "")
PY
ends "a key that came later, at its default, is no change" 0 "run: pack      done before" \
    "$CFN" run "${flags[@]}" --set image.exif=true --set train.batch=4 --dry-run
ends "another value is" 0 "made with nothing, now image.exif=false" "$CFN" run "${flags[@]}" --set train.batch=4 --dry-run

for wrong in image.mean=0.1,0.2 image.mean=2 image.std=0 image.std=red image.resize=16; do
    ends "$wrong is refused" 78 "${wrong%%=*}: expected" "$CFN" pack "${flags[@]}" --set $wrong
done
