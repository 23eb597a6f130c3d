#!/bin/bash
# cfn audit: planted copies of pictures - compressed, rescaled, brightened, in another form - are found and nothing else,
# the same at every rank count; patients are read from paths.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/support/say.sh
. scripts/mpi-env
. tests/support/audit.sh
work=$CFN_TEST_TMP/audit_copies
python=/usr/bin/python3
mkdir -p "$work"

$python tests/support/audit_corpora.py "$work/copies" copies
for ranks in 1 2 3 4 8; do
    audit $ranks copies "$work/out$ranks"
    say $? "audit of a corpus with copies at $ranks ranks"
done
for ranks in 2 3 4 8; do
    for name in audit.json audit.html near_duplicates.csv; do
        cmp -s "$work/out1/t/$name" "$work/out$ranks/t/$name"
        say $? "$name at $ranks ranks is that of 1 rank"
    done
done
audit 4 copies "$work/pixels" --set image.short_side=64 --set image.store=encoded
say $? "audit of the same pictures, packed smaller"

$python - "$work" out1 pixels > "$work/check" 2>&1 <<'PY'
import csv, json, sys
work = sys.argv[1]
planted = json.load(open(f"{work}/copies/copies.json"))
for out in sys.argv[2:]:
    rows = list(csv.DictReader(open(f"{work}/{out}/t/near_duplicates.csv")))
    found = {frozenset((r["first_id"], r["second_id"])) for r in rows}
    wanted = {frozenset(pair) for pair in planted.items()}
    assert found == wanted, (out, sorted(map(sorted, wanted - found)), sorted(map(sorted, found - wanted)))
    audit = json.load(open(f"{work}/{out}/t/audit.json"))
    near = audit["near_duplicates"]
    # Three copies of each kind: in val, in test, in train.
    assert near["pictures"] == len(wanted) == 36 and near["images"] == 72 and near["in_several_splits"] == 24
    assert near["val_images_also_in_train"] == near["test_images_also_in_train"] == 12
    assert near["with_different_labels"] == 0 and near["pairs_found"] == 36 and len(near["pairs"]) == 36
    assert all(p["correlation"] > 0.8 and p["same_label"] for p in near["pairs"]), near["pairs"]
    assert near["pairs"][0]["first_split"] != near["pairs"][0]["second_split"]
    assert any("have near-identical copies in several splits: 12 val and 12 test images" in n for n in audit["notes"])
    assert any("have near-identical copies within a split" in n for n in audit["notes"])
out1 = json.load(open(f"{work}/out1/t/audit.json"))
assert out1["duplicates"]["pictures"] == 6 and out1["near_duplicates"]["pairs_not_identical"] == 30 # as PNG, and grey in RGB
page = open(f"{work}/out1/t/audit.html").read()
assert page.count("<figure>") == 24 and page.count("data:image/png;base64,") == 24 and "http" not in page.replace("http-equiv", "")
print("good")
PY
grep -q good "$work/check"
say $? "every planted copy is found, and no pair of different pictures"
grep -q good "$work/check" || sed 's/^/# /' "$work/check"

# An earlier list does not stay when there is nothing to list.
$python tests/support/audit_corpora.py "$work/paths" paths
mkdir -p "$work/mimic/t" && cp "$work/out1/t/near_duplicates.csv" "$work/mimic/t/"
audit 2 paths "$work/mimic" && [ ! -e "$work/mimic/t/near_duplicates.csv" ] &&
    grep -q "with near-identical copies: 0 (0 images)" "$work/text" &&
    grep -q "groups: 37 from paths (pNNNNNNNN), in several splits: 2" "$work/text" &&
    grep -q "2 groups are in several splits: 0 val and 2 test images have a relative in train" "$work/text"
say $? "patients are read from paths like MIMIC's; no copies, no list"
$python tests/support/audit_corpora.py "$work/chexpert" chexpert
audit 1 chexpert "$work/chex" && grep -q "groups: 37 from paths (patientN), in several splits: 2" "$work/text"
say $? "and from paths like CheXpert's"
