# cfn import and cfn export: files of torchvision's models as torch 1.13 saves them, the names of timm and Hugging Face,
# scores beside torchvision's, exported files in torch; hostile and mistaken files.
# run-tests: first
. tests/support/say.sh
. scripts/mpi-env
work=$CFN_TEST_TMP/weights
mkdir -p "$work"
python=/usr/bin/python3
check() { # what, command...
    local what=$1
    shift
    "$@" > "$work/log" 2>&1
    local code=$?
    grep '^# ' "$work/log"
    say $code "$what"
    [ $code = 0 ] || sed 's/^/# /' "$work/log"
}
expect() { # what, exit code, text, command...
    local what=$1 code=$2 text=$3
    shift 3
    timeout 60 "$@" > "$work/log" 2>&1
    local found=$?
    [ $found = "$code" ] && grep -qF -- "$text" "$work/log"
    local ok=$?
    say $ok "$what"
    [ $ok = 0 ] || { echo "# exit $found, expected $code and '$text'"; sed 's/^/# /' "$work/log"; }
}

# Without torch: arrays, and what is said of wrong files.
$python - "$work" <<'PY'
import sys, numpy as np
work = sys.argv[1]
np.save(work + "/f.npy", np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)))
np.save(work + "/h.npy", np.arange(5, dtype=np.float16))
np.save(work + "/i.npy", np.arange(5, dtype=np.int32))
np.save(work + "/o.npy", np.array([{}], dtype=object), allow_pickle=True)
open(work + "/resnet18-f37072fd.pth", "wb").write(b"not what it says")
open(work + "/text.pth", "w").write("<html>404</html>")
PY
there_and_back() {
    "$CFN" import "$work/$1.npy" --out "$work/$1.h5" && "$CFN" export "$work/$1.h5" /array "$work/$1.back.npy" &&
        $python -c "
import numpy as np, sys
a, b = np.load('$work/$1.npy'), np.load('$work/$1.back.npy')
assert a.shape == b.shape and b.dtype == '$2' and (a == b).all(), (a, b)"
}
check "a column-major array of doubles comes back" there_and_back f "<f8"
check "an array of half precision comes back as single" there_and_back h "<f4"
check "an array of integers comes back" there_and_back i "<i4"
expect "an array of objects is refused" 65 "type '|O' is not read" "$CFN" import "$work/o.npy" --out "$work/o.h5"
expect "an output is not overwritten" 73 "--force" "$CFN" import "$work/f.npy" --out "$work/f.h5"
expect "a published name with another checksum is refused" 65 "begins with f37072fd" \
    "$CFN" import "$work/resnet18-f37072fd.pth" --out "$work/x.h5"
expect "a web page is no weight file" 65 "another kind of file" \
    "$CFN" import "$work/text.pth" --backbone resnet18 --out "$work/x.h5"
expect "a missing file" 66 "nothing.pth" "$CFN" import "$work/nothing.pth" --backbone resnet18 --out "$work/x.h5"
expect "a missing backbone" 64 "--backbone" "$CFN" import "$work/text.pth" --out "$work/x.h5"
expect "a dataset that is not there" 66 'no dataset "/nothing"' "$CFN" export "$work/f.h5" /nothing "$work/x.npy"
expect "an array is no weights" 65 "expected weights" "$CFN" export "$work/f.h5" "$work/x.pth"
expect "an export without a target" 64 "usage" "$CFN" export "$work/f.h5"

if ! $python -c "import torchvision, h5py" 2>/dev/null; then
    echo "ok - files of torch and torchvision # SKIP python3-torch, python3-torchvision or python3-h5py is missing"
    exit 0
fi
tool() { $python tests/support/weights.py "$@"; }
import_file() { # backbone, file
    rm -f "$2.h5"
    "$CFN" import "$2" --backbone "$1" --out "$2.h5" && tool check "$work" "$1" "$2.h5"
}
scores() { "$BUILD/tests/tools/logits" "$2.h5" "$2.bin" $images && tool logits "$work" "$1" "$2.bin"; }
export_file() { # backbone, from, to
    "$CFN" export "$2" "$3" --force && tool loads "$work" "$1" "$3"
}
other_size() { # stem: weights of 224 pixels for images of 96
    "$CFN" import "$1.zip.pth" --backbone vit_b_16 --set image.size=96 --out "$1.96.h5" && $python - "$1" <<'PY'
import sys
import h5py, torch
from torchvision.models.vision_transformer import interpolate_embeddings
expected = interpolate_embeddings(96, 16, torch.load(sys.argv[1] + ".zip.pth"))["encoder.pos_embedding"].numpy()
with h5py.File(sys.argv[1] + ".96.h5") as f:
    found = f["parameters/encoder.pos_embedding"][:]
assert found.shape == expected.shape == (1, 37, 768), found.shape
assert abs(found - expected).max() <= 1e-5 * abs(expected).max()
PY
}
# Large networks with few images; convnext_base, which has the names and layers of convnext_tiny, with its main file alone
# unless CFN_TEST_LONG is set (make check-all).
classes=1000
for backbone in resnet18 resnet50 densenet121 convnext_tiny convnext_base vit_b_16; do
    if "$CFN" model $backbone --json 2>&1 | grep -q "not built yet"; then
        echo "ok - $backbone # SKIP not built in this version"
        continue
    fi
    stem=$work/$backbone images=20 twin=
    case $backbone in convnext_* | vit_*) images=4 ;; esac
    [ $backbone = convnext_base ] && [ -z "${CFN_TEST_LONG:-}" ] && twin=yes
    check "$backbone: torch makes files" tool make "$work" $backbone $classes $images
    [ -z "$twin" ] || rm -f "$stem".old.pth "$stem".safetensors
    for file in "$stem".*.pth "$stem".safetensors "$stem".*.safetensors; do
        [ -e "$file" ] && check "${file##*/} is imported" import_file $backbone "$file"
    done
    check "$backbone: logits as torchvision's" scores $backbone "$stem.zip.pth"
    [ -z "$twin" ] || { echo "ok - $backbone: its other files and exports # SKIP CFN_TEST_LONG is not set"; rm -f "$stem".*; continue; }
    check "$backbone: torch loads the exported .pth" export_file $backbone "$stem.zip.pth.h5" "$stem.out.pth"
    check "$backbone: torch loads the exported .safetensors" export_file $backbone "$stem.zip.pth.h5" "$stem.out.safetensors"
    [ $backbone = vit_b_16 ] && check "$backbone: position embeddings for 96 pixels as torchvision's" other_size "$stem"
    classes=7
    [ $backbone = resnet18 ] || rm -f "$stem".*
done
stem=$work/resnet18
expect "weights of another backbone" 65 "not the weights of resnet50: 165 of 267 parameters are missing (layer1.0.conv3" \
    "$CFN" import "$stem.zip.pth" --backbone resnet50 --out "$work/x.h5"
expect "at 3 ranks" 0 "102 parameters of resnet18" \
    mpirun -n 3 "$CFN" import "$stem.zip.pth" --backbone resnet18 --out "$work/three.h5"
check "at 3 ranks: the same values" tool check "$work" resnet18 "$work/three.h5"
expect "damage at 3 ranks" 65 "cut off" mpirun -n 3 sh -c "head -c 1000000 '$stem.old.pth' > '$work/cut.'\$OMPI_COMM_WORLD_RANK.pth
    mv '$work/cut.'\$OMPI_COMM_WORLD_RANK.pth '$work/cut.pth'; exec '$CFN' import '$work/cut.pth' --backbone resnet18 --out '$work/x.h5'"

# Files that attack or mislead.
$python - "$work" <<'PY'
import os, sys, torch, zipfile
work = sys.argv[1]
state = torch.load(work + "/resnet18.zip.pth")
class Evil:
    def __reduce__(self):
        return os.system, ("touch " + work + "/executed",)
torch.save({"conv1.weight": Evil()}, work + "/evil.pth")
torch.save({"conv1.weight": Evil()}, work + "/evil_old.pth", _use_new_zipfile_serialization=False)
torch.save(dict(list(state.items())[1:]), work + "/missing.pth")
torch.save({**state, "extra.weight": torch.ones(3)}, work + "/surplus.pth")
torch.save({**state, "bn1.bias": torch.ones(65)}, work + "/shape.pth")
torch.save({**state, "bn1.bias": torch.full((64,), float("nan"))}, work + "/nan.pth")
torch.save(torch.nn.Linear(2, 2), work + "/model.pth")
with zipfile.ZipFile(work + "/resnet18.zip.pth") as a, zipfile.ZipFile(work + "/bomb.pth", "w", zipfile.ZIP_DEFLATED) as b:
    for i in a.infolist():
        b.writestr(i.filename, bytes(len(a.read(i))) if "/data/" in i.filename else a.read(i))
PY
refused() { expect "$1" 65 "$3" "$CFN" import "$work/$2.pth" --backbone resnet18 --out "$work/x.h5"; }
refused "a pickle that would run a command" evil "posix.system"
refused "the same in the older format" evil_old "posix.system"
[ ! -e "$work/executed" ]; say $? "nothing was executed"
refused "a missing parameter" missing "1 of 102 parameters are missing (conv1.weight)"
refused "a surplus tensor" surplus "1 tensors are too many (extra.weight)"
refused "a misshapen tensor" shape "bn1.bias: shape [65], expected [64]"
refused "a value that is no number" nan "bn1.bias: a value that is not finite"
refused "a whole model" model "torch.nn.modules.linear.Linear"
refused "a compressed archive that grows" bomb "weights do not shrink so much"
[ ! -e "$work/x.h5" ]; say $? "no output is left by any of them"
