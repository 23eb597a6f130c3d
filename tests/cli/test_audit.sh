# cfn audit: counts, floors, the same picture twice, groups in several splits, absent classes.
. tests/support/say.sh
. scripts/mpi-env
work=$CFN_TEST_TMP/audit
mkdir -p "$work"
/usr/bin/python3 - "$work" <<'PY'
import os, struct, sys, zlib
work = sys.argv[1]
def png(w, h, salt, level):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    rows = b"".join(b"\0" + bytes((x * 7 + y * 13 + salt * 31) % 256 for x in range(w)) for y in range(h))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows, level)) + chunk(b"IEND", b""))
rows, multi = ["path,label,split,lesion"], ["path,split,Edema,Fracture"]
os.makedirs(f"{work}/data")
for i in range(50):
    split = ["train", "train", "train", "val", "test"][i % 5]
    salt = {44: 0, 46: 1}.get(i, i)       # 44 (test) is 0 (train) in another compression; 46 is 1 within train
    open(f"{work}/data/{i}.png", "wb").write(png(40 if i != 7 else 30, 40, salt, 1 + i % 9))
    label = "rare" if i in (0, 5, 44, 46) else "common"
    lesion = 100 if i in (2, 9, 3) else i  # 2 train, 9 test, 3 val
    rows.append(f"{i}.png,{label},{split},{lesion}")
    multi.append(f"{i}.png,{split},{['1', '', '-1', '0', '0'][i % 5]},{'1' if i == 4 else '0'}")
open(f"{work}/data/labels.csv", "w").write("\n".join(rows))
open(f"{work}/data/multi.csv", "w").write("\n".join(multi))
PY
for ranks in 1 4; do
    out=$work/out$ranks
    mpirun -n $ranks "$CFN" pack --root "$work/data" --data t --result_dir "$out" --set pack.group=lesion > "$work/log" 2>&1 &&
        mpirun -n $ranks "$CFN" audit --data t --result_dir "$out" --set image.size=32 > "$work/text" 2>&1
    say $? "audit: runs at $ranks ranks"
    grep -q "class 'rare' does not occur in val" "$work/text" &&
        grep -q "1 pictures are in several splits: 0 val and 1 test images are also in train" "$work/text" &&
        grep -q "1 pictures occur more than once within a split" "$work/text" &&
        grep -q "1 groups are in several splits: 1 val and 1 test images" "$work/text" &&
        grep -q "1 images are smaller than image.size 32" "$work/text"
    ok=$?
    say $ok "audit: says what is wrong with the splits at $ranks ranks"
    [ $ok = 0 ] || sed 's/^/# /' "$work/text"
done
cmp -s "$work/out1/t/audit.json" "$work/out4/t/audit.json"
say $? "audit: audit.json is the same at 1 and 4 ranks"
/usr/bin/python3 - "$work/out1/t/audit.json" > "$work/check" 2>&1 <<'PY'
import json, sys
a = json.load(open(sys.argv[1]))
assert a["images"] == 50 and a["class_names"] == ["common", "rare"]
assert a["splits"]["train"]["per_class"] == [27, 3] and a["splits"]["test"]["per_class"] == [9, 1]
assert abs(a["floor"]["test"]["accuracy"] - 0.9) < 1e-12
assert a["duplicates"]["pictures"] == 2 and a["duplicates"]["test_images_also_in_train"] == 1
assert a["duplicates"]["with_different_labels"] == 1
assert a["groups"]["groups"] == 48 and a["groups"]["in_several_splits"] == 1
assert a["sizes"]["smaller_than_image_size"] == 1 and a["sizes"]["lowest_width"] == 30
assert len(a["notes"]) >= 5
print("good")
PY
grep -q good "$work/check"
say $? "audit: audit.json holds the counts"
grep -q good "$work/check" || sed 's/^/# /' "$work/check"

"$CFN" pack --root "$work/data" --data m --result_dir "$work/multi" --set pack.labels=multi.csv > "$work/log" 2>&1 &&
    "$CFN" audit --data m --result_dir "$work/multi" > "$work/text" 2>&1
say $? "audit: a multi-label corpus"
/usr/bin/python3 - "$work/multi/m/audit.json" > "$work/check" 2>&1 <<'PY'
import json, sys
a = json.load(open(sys.argv[1]))
assert a["multi_label"] and a["class_names"] == ["Edema", "Fracture"]
assert a["splits"]["train"]["positive"] == [10, 0] and a["splits"]["train"]["uncertain"] == [10, 0]
assert a["splits"]["train"]["blank"] == [10, 0] and a["splits"]["test"]["positive"] == [0, 1]
assert abs(a["floor"]["test"]["accuracy"] - 0.95) < 1e-12
assert abs(a["floor"]["test"]["rows_without_label"] - 0.9) < 1e-12
print("good")
PY
grep -q good "$work/check"
say $? "audit: positives, uncertain and blank labels are counted apart"
grep -q good "$work/check" || sed 's/^/# /' "$work/check"

"$CFN" audit --data none --result_dir "$work/none" > "$work/log" 2>&1
[ $? = 66 ] && grep -q "cfn pack" "$work/log"
say $? "audit: without a corpus it names the command that makes it"
