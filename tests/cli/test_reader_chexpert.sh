# The reader of CheXpert: the archive's folder as root and above it, uncertain labels, patients, what valid.csv is.
name=chexpert
. tests/support/collections.sh

for ranks in 1 4; do
    holds "above the archive's folder" $ranks chexpert chexpert "there is no test split"
done
holds "the archive's folder" 1 chexpert/CheXpert-v1.0-small chexpert "train_visualCheXbert.csv is not used"
holds "a folder of another name" 3 chexpert_moved chexpert "pack: reader chexpert: data/train.csv"
holds "frontal views" 1 chexpert chexpert_frontal "8 images of other views are left out" --set pack.views=frontal
holds "valid.csv as test, val by patient" 1 chexpert chexpert_test "valid.csv is the test split" --set pack.chexpert_valid=test \
    --set pack.val_fraction=0.3
holds "labels of another labeler, when asked for" 1 chexpert/CheXpert-v1.0-small chexpert_visual \
    "images in train_visualCheXbert.csv" --set pack.reader=chexpert --set pack.labels=train_visualCheXbert.csv

cp -r "$work/chexpert_moved" "$work/spoiled"
sed -i '3s/,AP,[^,]*,/,AP,maybe,/' "$work/spoiled/data/train.csv"
refused "a label that is none" 4 65 "expected 1.0, 0.0, -1.0 or nothing" spoiled --set pack.no_finding=true
rm -r "$work/spoiled"
cp -r "$work/chexpert_moved" "$work/spoiled"
rm "$work/spoiled/data/train/patient00002/study1/view1_frontal.jpg"
refused "an image that is missing" 1 65 "the file is missing" spoiled

# A train.csv.gz is CheXpert's only when it has its columns.
mkdir -p "$work/other"
cp -r "$work/chexpert_moved/data/valid" "$work/other/a"
cp -r "$work/chexpert_moved/data/valid" "$work/other/b"
printf 'file,answer\na/x.jpg,1\n' | gzip > "$work/other/train.csv.gz"
refused "a table of another kind in train.csv.gz" 1 65 "there is train.csv.gz, which no reader knows" other
gzip < "$work/chexpert_moved/data/train.csv" > "$work/chexpert_moved/data/train.csv.gz"
rm "$work/chexpert_moved/data/train.csv"
holds "CheXpert's own table, compressed" 1 chexpert_moved chexpert "reader chexpert: data/train.csv.gz"
