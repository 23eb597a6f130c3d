# Readers of skin lesions, HAM10000 and ISIC 2018 Task 3: from what is downloaded to the right rows, or a sentence.
work=$CFN_TEST_TMP/reader_ham
mkdir -p "$work"
. tests/support/collection_trees.sh
classes="classes=actinic keratoses,basal cell carcinoma,benign keratosis-like lesions,dermatofibroma,melanocytic nevi,melanoma,vascular lesions"
names_hold() { # TREE: class names have blanks, so they are compared by themselves
    /usr/bin/python3 tests/tools/check_collection.py "$out/t/corpus.h5" "$work/$1.json" "$classes" > "$work/compare" 2>&1
    [ "$(cat "$work/compare")" = good ]
}

# HAM10000 in the forms it is handed out.
tree ham kaggle twins=1 extra=hmnist_28_28_RGB.csv,hmnist_8_8_L.csv
holds "ham: Kaggle's download, each folder twice" ham "49 images lie in a second folder" kaggle splits=lesion
names_hold kaggle
say $? "ham: the published names of the classes, sorted"
grep -q "2 other files are not read: hmnist_28_28_RGB.csv, hmnist_8_8_L.csv" "$work/log"
say $? "ham: hmnist tables are said to be left out"
same_at_ranks "ham: the same corpus at 1, 2, 3 and 4 ranks" kaggle
tree ham dataverse metadata=HAM10000_metadata.tab columns=8
holds "ham: the quoted .tab of Dataverse, 8 columns" ham "published: 10,015 of 7,470" dataverse splits=lesion
tree ham bare metadata=HAM10000_metadata columns=8 folders=images
holds "ham: no ending, 8 columns, all images in images/" ham "HAM10000_metadata" bare splits=lesion
tree ham below metadata=set/HAM10000_metadata.csv folders=set/HAM10000_images_part_1,set/HAM10000_images_part_2
holds "ham: one folder further down" ham "set/HAM10000_metadata.csv" below splits=lesion
tree ham authors folders=images published=1
holds "ham: the published split, with the lesions of the table" ham "HAM10000_metadata.csv with the published split files" authors ""
tree ham parted published=1 twins=1
holds "ham: the published split, images in Kaggle's folders" ham "class2images_train.p" parted ""
/usr/bin/python3 -c 'import h5py, sys; print(h5py.File(sys.argv[1]).attrs["class_names"][0])' "$out/t/corpus.h5" | grep -q vascular
say $? "ham: with split files the classes are in the order of their keys"
holds "ham: whole lesions although there are split files" ham "splits: whole lesions" authors splits=lesion --set pack.split=lesion
holds "ham: its own table, named, is read by it" ham "HAM10000_metadata.csv with the published split files" authors "" \
    --set pack.labels=HAM10000_metadata.csv --set pack.group=lesion_id
echo "path,label" > "$work/authors/mine.csv"
refused "ham: another table would not be read" 78 "pack.labels: mine.csv would not be read" authors \
    --set pack.reader=ham --set pack.labels=mine.csv
refused "ham: a column that it does not look for" 78 "NAME that reader ham looks for: lesion_id, image_id, dx" authors \
    --set pack.columns=label=dx
refused "ham: a key of tables" 78 "pack.label_kind: reader ham has no use for it" authors --set pack.label_kind=several
refused "ham: a table that is not there" 66 "pack.labels: yours.csv is not in" authors --set pack.labels=yours.csv
rm "$work/authors/mine.csv"
tree ham half missing=HAM10000_images_part_2
refused "ham: a folder that was not unpacked" 66 "expected a folder HAM10000_images_part_2" half
holds "ham: the rest of it when asked to" ham "images are left out" half \
    "images=$(cd "$work/half/HAM10000_images_part_1" && ls | sed 's/.jpg//' | paste -sd,)" \
    --set pack.on_bad=skip --set pack.max_bad_fraction=0.6
tree ham odd
sed -i '5s/,\(akiec\|bcc\|bkl\|df\|mel\|nv\|vasc\),/,scc,/' "$work/odd/HAM10000_metadata.csv"
refused "ham: an unknown diagnosis" 65 "HAM10000_metadata.csv:5: dx is 'scc'; expected akiec" odd
tree ham twice
mkdir "$work/twice/more" && cp "$work/twice/HAM10000_images_part_1/ISIC_0024307.jpg" "$work/twice/more/"
mkdir "$work/twice/other" && mv "$work/twice/HAM10000_images_part_1/ISIC_0024307.jpg" "$work/twice/other/"
refused "ham: an image in two folders of which neither is its own" 65 "more/ISIC_0024307.jpg and other/ISIC_0024307.jpg" twice
refused "ham: no split of its own when that is asked for" 65 "pack.split: published" kaggle --set pack.split=published
refused "ham: patients, which it does not name" 78 "pack.split: patient" kaggle --set pack.split=patient

# ISIC 2018.
tree isic isic
holds "isic: three parts with their splits, lesions of the training images" isic "42 training, 14 validation, 14 test" isic ""
names_hold isic
say $? "isic: the names of the classes"
same_at_ranks "isic: the same corpus at 1, 2, 3 and 4 ranks" isic
tree isic flat nested= lesions=
holds "isic: tables beside the folders, no lesions" isic "which images show one lesion is not known" flat ""
tree isic untested without=Test
holds "isic: no ground truth of the test images" isic "no ISIC2018_Task3_Test_GroundTruth.csv: no test split" untested ""
tree isic training without=Validation,Test
holds "isic: the training part alone is split by lesion" isic "splits: whole lesions" training splits=lesion --set pack.val_fraction=0.2 --set pack.test_fraction=0.2
tree isic two
sed -i '4s/0\.0,/1.0,/2;4s/0\.0,/1.0,/3' "$work/two/ISIC2018_Task3_Training_GroundTruth/ISIC2018_Task3_Training_GroundTruth.csv"
refused "isic: a row of several classes" 65 "ISIC2018_Task3_Training_GroundTruth.csv:4: 3 classes are 1.0; expected one" two
rm -r "$work/flat/ISIC2018_Task3_Validation_Input"
refused "isic: a folder that was not unpacked" 66 "expected a folder ISIC2018_Task3_Validation_Input" flat
rm "$work/untested/ISIC2018_Task3_Training_GroundTruth/ISIC2018_Task3_Training_GroundTruth.csv"
refused "isic: no ground truth at all" 66 "no ISIC2018_Task3_Training_GroundTruth.csv" untested
