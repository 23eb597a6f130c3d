# cfn import: the weights of one network as different programs leave them: the same values from all forms that hold them,
# a sentence for those that do not; nothing in a file is executed.
. tests/support/say.sh
. scripts/mpi-env
work=$CFN_TEST_TMP/checkpoints
mkdir -p "$work"
python=/usr/bin/python3
if ! $python -c "import torchvision, h5py" 2>/dev/null; then
    echo "ok - checkpoints of torch # SKIP python3-torch, python3-torchvision or python3-h5py is missing"
    exit 0
fi
tool() { $python tests/support/checkpoints.py "$@"; }
tool make "$work" > "$work/log" 2>&1
code=$?
say $code "torch makes the files"
[ $code = 0 ] || { sed 's/^/# /' "$work/log"; exit 0; }

taken() { # form, text of the output
    local file
    for file in "$work/$1".pth "$work/$1".safetensors; do [ -e "$file" ] && break; done
    "$CFN" import "$file" --backbone resnet18 --out "$work/out.h5" --force "${@:3}" > "$work/log" 2>&1 &&
        tool values "$work" "$1" "$work/out.h5" >> "$work/log" 2>&1 && grep -qF -- "$2" "$work/log"
    local code=$?
    say $code "$1: the values of the network, \"$2\""
    [ $code = 0 ] || sed 's/^/# /' "$work/log"
}
for form in plain legacy parameters double views without_counters channels_last half bf16 deflated rooted folder torch26 nested \
    tied expanded; do
    taken $form "3 classes"
done
taken module 'taken: 102 tensors under "module."'
taken orig_mod 'taken: 102 tensors under "_orig_mod."'
taken model 'taken: 102 tensors under "model."'
taken several 'taken: 102 tensors under "module._orig_mod.net."'
taken average 'left: n_averaged (1 tensor)'
taken net 'taken: 102 tensors under "net."'
taken model_weights 'taken: 102 tensors under "model_weights."'
taken deepspeed 'taken: 102 tensors under "module."'
taken deep 'taken: 102 tensors under "a.1.b.c.model."'
taken lightning 'left: state_dict.criterion (1 tensor)'
taken optimiser 'left: optimizer ('
taken moments 'taken: 102 tensors under "model."'
taken loss 'left: criterion (1 tensor)'
taken extras 'left: args (argparse.Namespace), settings (__main__.Settings), device (torch.device) and'
taken ema 'sets of weights: "state_dict_ema." is taken (an average over steps), not "state_dict."'
taken twice '"ema." is taken'
taken second 'taken: 102 tensors under "student."' --prefix student
taken head_behind_dropout 'head: fc.1.weight'
taken head_renamed 'head: classifier.weight'
taken without_bias 'head: it has no bias: zeros'
taken headless 'no head'
taken head_mlp 'left: fc (4 tensors)'
taken one_channel 'conv1.weight: of one channel: spread over red, green and blue'
taken st 'left: scale (F8_E4M3), rng (U32)'

"$CFN" import "$work/extras.pth" --backbone resnet18 --out "$work/out.h5" --force > "$work/log" 2>&1 &&
    "$BUILD/tests/tools/logits" "$work/out.h5" "$work/out.bin" 4 >> "$work/log" 2>&1 && tool logits "$work" "$work/out.bin"
say $? "logits as torch's"
mpirun -n 3 "$CFN" import "$work/lightning.pth" --backbone resnet18 --out "$work/three.h5" > "$work/log" 2>&1 &&
    tool values "$work" lightning "$work/three.h5" && [ "$(grep -c 'left:' "$work/log")" = 1 ]
say $? "at 3 ranks the same, said once"

rm -f "$work/out.h5"
refused() { # file, text
    timeout 60 "$CFN" import "$work/$1" --backbone resnet18 --out "$work/out.h5" "${@:3}" > "$work/log" 2>&1
    local found=$?
    [ $found = 65 ] && grep -qF -- "$2" "$work/log"
    local ok=$?
    say $ok "$1: \"$2\""
    [ $ok = 0 ] || { echo "# exit $found"; sed 's/^/# /' "$work/log"; }
}
refused whole.pth "torchvision.models.resnet.ResNet"
refused whole_inside.pth "an object of class torchvision.models.resnet.ResNet under model"
refused script.pth "TorchScript"
refused deeper.pth "80 tensors are too many (layer1.2.conv1.weight"
refused deeper_nested.pth "80 tensors are too many (layer1.2.conv1.weight"
refused stranger.pth "conv1.weight is of __main__.textless"
refused runs.pth "names 'posix.system'"
refused imports.pth ".__import__'"
refused layer.pth "1 tensors are too many (attention.weight)"
refused nan.pth "fc.bias: a value that is not finite"
refused numbers.pth "it holds no tensor"
refused bomb.pth "weights do not shrink so much"
refused cut.pth "cut off"
refused empty.pth "it is empty"
refused lfs.pth "Git LFS pointer"
refused page.pth "a web page"
refused index.safetensors "weights that lie in several files"
refused second.pth 'no parameter of resnet18 under "nothing"' --prefix nothing
[ ! -e "$work/out.h5" ] && [ ! -e "$work/executed" ]
say $? "nothing was written, nothing executed"
rm -rf "$work"
