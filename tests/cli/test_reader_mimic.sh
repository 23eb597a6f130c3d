# The reader of MIMIC-CXR-JPG: labels in four states, splits, groups, reports; what is missing is named.
name=mimic
. tests/support/collections.sh

for ranks in 1 4; do
    holds "files as downloaded" $ranks mimic_official mimic_official "reports of 24 studies from mimic-cxr-reports.zip"
    holds "the published pickles, reports of annotation.json" $ranks mimic_published mimic_published \
        "are kept; the published loader drops them"
    refused "annotation.json alone holds no labels" $ranks 66 "annotation.json holds none" mimic_bare
done
holds ".csv and images/" 1 mimic_plain mimic_official "pack: reader mimic"
holds "images at the root" 1 mimic_root mimic_official "1 studies have no row in the table of labels"
holds "studies blank in all 14 are counted" 1 mimic_official mimic_official "2 studies are blank in all observations"
holds "images that are not there, reports as files" 3 mimic_some mimic_some "15 of the 36 images of"
holds "R2Gen's annotation.json with the labels of the download" 1 mimic_r2gen mimic_r2gen "24 images in annotation.json"
holds "frontal views" 1 mimic_official mimic_frontal "12 images of other views are left out" --set pack.views=frontal
holds "lateral views" 1 mimic_official mimic_lateral "20 images of other views" --set pack.views=lateral
holds "recorded views alone" 1 mimic_official mimic_known "4 images without a recorded view are left out" \
    --set pack.blank_views=drop
holds "the other labeler" 1 mimic_official mimic_negbio "labels: mimic-cxr-2.0.0-negbio.csv.gz" --set pack.labeler=negbio
holds "a table of labels by name" 1 mimic_official mimic_negbio "labels: mimic-cxr-2.0.0-negbio.csv.gz" \
    --set pack.reader=mimic --set pack.labels=mimic-cxr-2.0.0-negbio.csv.gz
holds "No Finding too" 1 mimic_official mimic_none "14 labels" --set pack.no_finding=true
holds "radiologists' labels of the test split" 1 mimic_radiologist mimic_radiologist \
    "'Airspace Opacity' is taken for 'Lung Opacity'" --set pack.labeler=radiologist
holds "keys of 13 digits, whatever the data is called" 1 mimic_pickles mimic_pickles "keys of 13 digits are 13 labels"
holds "keys of 5 digits are labels without names" 1 mimic_short mimic_short "keys of 5 digits are 5 labels"
holds "keys of one digit are classes" 1 two_classes two_classes "2 classes"

refused "labels missing" 1 66 "mimic-cxr-2.0.0-chexpert.csv.gz is missing; mimic-cxr-2.0.0-negbio.csv.gz is there" mimic_nolabels
refused "splits missing" 4 66 "mimic-cxr-2.0.0-split.csv.gz is missing" mimic_nosplit
refused "images missing" 1 66 "none of the 36 images" mimic_nofiles
refused "views wanted, but no metadata" 1 66 "mimic-cxr-2.0.0-metadata.csv.gz is missing" mimic_nometa --set pack.views=frontal
refused "radiologists' table missing" 1 66 "mimic-cxr-2.1.0-test-set-labeled.csv is missing" mimic_official \
    --set pack.labeler=radiologist
refused "one key of 12 digits" 1 65 "expected 13 digits 0 or 1" mimic_odd

refused "a labeler with the published pickles" 4 78 "class2images_*.p fix the images and their labels" mimic_pickles \
    --set pack.labeler=negbio
refused "views of what has none" 1 78 "pack.views: reader class2images has no use for it" two_classes --set pack.views=frontal

# Faults in a table: file, line, value found and expected.
spoil() { # folder, table, Python expression of the rows
    /usr/bin/python3 - "$work/$1" "$2" "$3" <<'PY'
import csv, gzip, io, sys
path = f"{sys.argv[1]}/mimic-cxr-2.0.0-{sys.argv[2]}.csv.gz"
rows = list(csv.reader(io.StringIO(gzip.open(path, "rt").read())))
exec(sys.argv[3])
out = io.StringIO()
csv.writer(out, lineterminator="\n").writerows(rows)
gzip.open(path, "wt").write(out.getvalue())
PY
}
for fault in "chexpert|rows[4][3] = '2.0'|chexpert.csv.gz:5: Cardiomegaly is '2.0'; expected 1.0, 0.0, -1.0 or nothing" \
    "chexpert|rows.append(rows[2])|the study of an earlier row" \
    "chexpert|rows[0][3] = 'Heart'|no column 'Cardiomegaly'" \
    "chexpert|rows[3][1] = 's50'|study_id is 's50'; expected a number" \
    "split|rows[2][3] = 'holdout'|split.csv.gz:3: split is 'holdout'; expected train, validate or test" \
    "split|rows[0][0] = 'dicom'|no column 'dicom_id'; found dicom, study_id"; do
    IFS='|' read -r table change line <<< "$fault"
    rm -rf "$work/spoiled"
    cp -r "$work/mimic_official" "$work/spoiled"
    spoil spoiled "$table" "$change"
    refused "$line" 1 65 "$line" spoiled
done
head -c 900 "$work/mimic_official/mimic-cxr-reports.zip" > "$work/cut"
rm -rf "$work/spoiled"
cp -r "$work/mimic_official" "$work/spoiled"
cp "$work/cut" "$work/spoiled/mimic-cxr-reports.zip"
refused "reports cut off" 1 65 "mimic-cxr-reports.zip: not a whole zip archive" spoiled
refused "lesions, of a collection of patients" 1 78 "groups its images by patient" mimic_official --set pack.split=lesion
