#!/bin/bash
# cfn audit: the shortcut probe finds what gives a class away, and nothing where nothing does; its figures are those of
# scikit-learn, and the same at every rank count. Grey levels, rows left out, a class that is far from its share.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/support/say.sh
. scripts/mpi-env
. tests/support/audit.sh
work=$CFN_TEST_TMP/audit_shortcut
python=/usr/bin/python3
mkdir -p "$work"

check() { # what, audit.json, statements about `a`, `s` (shortcut) and `t` (its test split)
    $python - "$2" "$3" > "$work/check" 2>&1 <<'PY'
import json, sys
a = json.load(open(sys.argv[1]))
s = a["shortcut"]
t = s.get("test")
exec(sys.argv[2])
print("good")
PY
    grep -q good "$work/check"
    say $? "$1"
    grep -q good "$work/check" || sed 's/^/# /' "$work/check"
}
for kind in none border size blur colour marker labels; do
    $python tests/support/audit_corpora.py "$work/$kind" $kind
    group=$([ $kind = labels ] || echo patient)
    audit 1 $kind "$work/$kind-out" --set pack.group="$group"
done
check "nothing is found where nothing is planted" "$work/none-out/t/audit.json" '
for part in s["val"], t:
    assert not part["found"] and part["auroc_interval"][0] < 0.5 < part["auroc_interval"][1], part
    assert not any(c["found"] for c in part["per_class"].values())
assert s["by_group"] and t["resampled_units"] == t["images"] / 2
assert not any("shortcut" in n for n in a["notes"])'
found='
assert t["found"] and t["per_class"]["class1"]["found"] and t["per_class"]["class1"]["auroc"] > 0.9, t
assert wanted | without <= t["alone"].keys()
for name, one in t["alone"].items():  # the other two classes are alike: no more than 0.83 can be expected
    assert (one["auroc"] > 0.74) if name in wanted else (one["auroc"] < 0.74) if name in without else True, (name, one)
assert any(n.startswith("shortcut: ") for n in a["notes"]), a["notes"]'
check "a darker left side" "$work/border-out/t/audit.json" "wanted, without = {'borders'}, {'size'}$found"
check "a marker at the upper side" "$work/marker-out/t/audit.json" "wanted, without = {'borders'}, {'size'}$found"
check "another size" "$work/size-out/t/audit.json" "wanted, without = {'size'}, {'brightness and colour'}$found"
check "less sharp" "$work/blur-out/t/audit.json" "wanted, without = {'sharpness'}, {'size', 'borders'}$found"
check "a tint" "$work/colour-out/t/audit.json" "wanted, without = {'brightness and colour'}, {'size', 'borders'}$found"
check "of several labels the one that is given away" "$work/labels-out/t/audit.json" '
assert t["per_class"]["First"]["found"] and t["per_class"]["First"]["auroc"] > 0.9
assert not t["per_class"]["Second"]["found"] and t["per_class"]["Third"]["auroc"] is None
assert not s["by_group"] and t["resampled_units"] == t["images"]
assert any(n.startswith("shortcut: ") for n in a["notes"])'
for kind in border size; do
    $python tests/support/check_shortcut.py "$work/$kind" "$work/$kind-out/t/audit.json" > "$work/check" 2>&1
    say $? "the probe of '$kind' is scikit-learn's"
    grep -q good "$work/check" || sed 's/^/# /' "$work/check"
done
for ranks in 2 3 4; do
    audit $ranks border "$work/border$ranks" --set pack.group=patient &&
        cmp -s "$work/border-out/t/audit.json" "$work/border$ranks/t/audit.json"
    say $? "audit.json at $ranks ranks is that of 1 rank"
done

# Few grey levels, flat pictures, a row that pack left out, a class that test has too much of; no image to test on.
$python - "$work" <<'PY'
import os, sys
import numpy as np
from PIL import Image
work, rng = sys.argv[1], np.random.default_rng(5)
for name, test in ("levels", True), ("trainonly", False):
    os.makedirs(f"{work}/{name}")
    rows = ["path,label,split"]
    for i in range(120):
        a = rng.integers(0, 16, (40, 40)) * (16 if i != 3 else 0)
        Image.fromarray(a.astype(np.uint8)).save(f"{work}/{name}/{i}.png")
        split = "test" if test and (i % 6 == 0 or i in (1, 2, 4, 5, 7, 8, 10)) else "train"
        rows.append(f"{i}.png,{'rare' if i % 6 == 0 and i < 60 or i % 7 == 1 else 'common'},{split}")
    open(f"{work}/{name}/119.png", "w").write("no picture")
    open(f"{work}/{name}/labels.csv", "w").write("\n".join(rows))
PY
audit 3 levels "$work/levels-out" --set pack.on_bad=skip --set pack.max_bad_fraction=0.1
check "few grey levels, flat images, rows left out, a class far from its share" "$work/levels-out/t/audit.json" '
g = a["grey_levels"]
assert g["of_the_corpus"] == 16 and g["of_an_image_median"] == 16 and g["highest"] == 240 and g["flat_images"] == 1, g
assert a["dropped"] == {"known": True, "rows_left_out_by_pack": 1, "rows_without_known_label": 0}
assert any(n.startswith("few grey levels: 16 in the corpus") for n in a["notes"])
assert any("1 of 120 rows were left out by pack" in n for n in a["notes"])
assert a["balance"]["off"] == 2 and any("test has" in n and "\x27rare\x27" in n for n in a["notes"]), (a["balance"], a["notes"])
assert abs(sum(a["balance"]["share_of_class"]["rare"]) - 1) < 1e-12'
audit 2 trainonly "$work/trainonly-out" --set pack.on_bad=skip --set pack.max_bad_fraction=0.1
check "without an image in val and test there is no probe, and it says so" "$work/trainonly-out/t/audit.json" '
assert not s["known"] and s["why"] == "no image in val or test", s'
