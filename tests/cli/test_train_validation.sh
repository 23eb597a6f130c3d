# cfn train where validation cannot choose an epoch: no images of it, or none of a class.
. tests/support/say.sh
. scripts/mpi-env
. tests/support/place.sh
here=$PWD
place train_validation
/usr/bin/python3 - "$here/tests/support" <<'PY'
import sys
sys.path.insert(0, sys.argv[1])
from trees import png, put
for i in range(20):
    put(f"none/{'train' if i < 16 else 'test'}/{'ab'[i % 2]}/{i}.png", png(i, 32, 32))
    put(f"lacks/{'train' if i < 16 else 'val'}/{'a' if i >= 16 else 'ab'[i % 2]}/{i}.png", png(i, 32, 32))
    put(f"fit/{'train' if i < 16 else 'val'}/{'ab'[i % 2]}/{i}.png", png(i, 32, 32))
PY
flags=(--result_dir out --backbone resnet18 --set threads=1 --set image.size=32 --set train.batch=8 --set train.shards=4
    --set train.augment=none --set train.epochs=2)
for data in none lacks fit; do "$CFN" pack "${flags[@]}" --data $data --root $data > log 2>&1 || cat log; done
train() { # data, ranks, settings...
    local data=$1 ranks=$2 launch=()
    shift 2
    [ "$ranks" = 1 ] || launch=(mpirun -n "$ranks")
    "${launch[@]}" "$CFN" train "${flags[@]}" --data "$data" "$@" > log 2>&1
}
kept() { # data, best epoch, validation accuracy known?
    /usr/bin/python3 - "out/$1/resnet18/1/backbone.h5" "$2" "$3" <<'PY'
import sys
import h5py, numpy
with h5py.File(sys.argv[1]) as f:
    known = not numpy.isnan(f["history/val_accuracy"][:]).any()
    assert len(f["history/val_accuracy"]) == 2 and known == (sys.argv[3] == "yes"), f["history/val_accuracy"][:]
    assert sys.argv[2] == "any" or f.attrs["best_epoch"] == int(sys.argv[2]), f.attrs["best_epoch"]
PY
}
for ranks in 1 4; do
    train none $ranks --set train.validation=require
    [ $? = 65 ] && grep -q "there is no validation image" log && [ ! -e out/none/resnet18/1/backbone.h5 ]
    say $? "train.validation: require refuses a corpus without validation images (at $ranks ranks)"
done
train lacks 1 --set train.validation=require
[ $? = 65 ] && grep -q "the validation split has no image of class 'b'" log
say $? "train.validation: require refuses a validation split that lacks a class"
train none 2 && grep -q "warning: train: there is no validation image: the last epoch is kept" log && grep -q "epoch 2 is kept" log &&
    kept none 2 no
say $? "without validation images the last epoch is kept, with a warning"
train lacks 1 && grep -q "has no image of class 'b': the last epoch is kept" log && kept lacks 2 yes
say $? "with a class missing the last epoch is kept, with a warning"
train fit 1 --set train.validation=require && grep -q "best validation accuracy" log && ! grep -q "is kept" log && kept fit any yes
say $? "with every class the best epoch is kept"
