# The reader of ChestX-ray14: findings joined by '|', lists of the test split, val by patient, both releases of the table.
name=nih
. tests/support/collections.sh

for ranks in 1 4; do
    holds "images_0NN/images, the revised table" $ranks nih nih "Data_Entry_2017_v2020.csv is taken, the revised labels"
done
holds "boxes are not used" 1 nih nih "BBox_List_2017.csv is not used"
holds "one folder, the first release with its empty column and ages in years" 1 nih_flat nih_flat "pack: reader nih"
holds "images_0NN without a folder below, no lists" 1 nih_nolist nih_nolist "train, val and test are made by patient"
holds "the first release, when asked for" 1 nih nih_flat "images in Data_Entry_2017.csv" \
    --set pack.labels=Data_Entry_2017.csv

cp -r "$work/nih_flat" "$work/spoiled"
sed -i '3s/Hernia/Hernia|Lesion/' "$work/spoiled/Data_Entry_2017.csv"
refused "an unknown finding" 4 65 "Data_Entry_2017.csv:3: finding 'Lesion'; expected some of the 14 findings" spoiled
rm -r "$work/spoiled"
cp -r "$work/nih_flat" "$work/spoiled"
head -1 "$work/nih_flat/train_val_list.txt" >> "$work/spoiled/test_list.txt"
tail -c 30 "$work/spoiled/test_list.txt" | grep -q 00000001_000 || echo 00000001_000.png >> "$work/spoiled/test_list.txt"
sed -i 's/png0/png\n0/' "$work/spoiled/test_list.txt"
refused "an image in both lists" 1 65 "in train_val_list.txt and in test_list.txt" spoiled
rm -r "$work/spoiled"
cp -r "$work/nih_flat" "$work/spoiled"
sed -i 1d "$work/spoiled/train_val_list.txt"
pack 1 spoiled && grep -q "1 images are left out: neither" "$work/log"
say $? "nih: an image that no list names is left out, and said"
