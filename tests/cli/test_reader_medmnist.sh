# Readers of collections that are arrays in files: MedMNIST's .npz, and IDX; labels, splits, and the pixels themselves.
name=medmnist
. tests/support/collections.sh
/usr/bin/python3 tests/tools/chest_trees.py "$work" idx || echo "not ok - chest_trees.py"

for ranks in 1 4; do
    holds "DermaMNIST" $ranks medmnist medmnist "pack: reader medmnist: dermamnist.npz"
    holds "ChestMNIST, 14 labels, deflated" $ranks medmnist_chest medmnist_chest "14 labels"
    holds "IDX, compressed" $ranks idx idx "pack: reader idx"
done
holds "files stored as PNG" 3 medmnist medmnist_encoded "images as files" --set image.store=encoded
holds "a set of another name" 1 medmnist_own medmnist_own "the names of its classes are not known: they are numbers"
holds "one of two files" 1 medmnist_two medmnist_two "dermamnist_64.npz" --set pack.reader=medmnist \
    --set pack.labels=dermamnist_64.npz
holds "IDX, plain, names with a dot" 2 idx_plain idx "there is no val split: it is made of the training images"

refused "two files" 4 65 "several collections: dermamnist.npz, dermamnist_64.npz" medmnist_two
refused "volumes" 1 65 "volumes are not read" medmnist_3d
refused "a label without a class" 1 65 "label 7 of image 2 (train) is none of 0 to 6" medmnist_bad
refused "labels missing" 1 66 "its labels are missing: train-labels-idx1-ubyte" idx_nolabels
refused "a label too few" 4 65 "expected a whole number for each of the 50 images" idx_short
head -c $(($(stat -c %s "$work/idx/train-images-idx3-ubyte.gz") / 2)) "$work/idx/train-images-idx3-ubyte.gz" > "$work/cut"
cp "$work/cut" "$work/idx/train-images-idx3-ubyte.gz"
refused "images cut off" 1 65 "cut off" idx
