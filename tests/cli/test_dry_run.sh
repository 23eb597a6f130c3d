# --dry-run says what a rank will need: within 15 % of what the run then takes, for training and embedding, at one rank
# and at several, in single precision and bf16, with outputs kept and made again; and it writes nothing.
. tests/support/say.sh
. scripts/mpi-env
. tests/support/place.sh
place dry_run
python=/usr/bin/python3
$python - <<'PY'
import struct, zlib, os
def png(path, seed, size=96):
    rows = b"".join(b"\0" + bytes((x * y + seed * (x + 3)) & 255 for x in range(size)) for y in range(size))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    open(path, "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0))
                           + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
os.makedirs("images")
table = open("images/labels.csv", "w")
table.write("path,label,split\n")
for i in range(26):
    png(f"images/{i}.png", i)
    table.write(f"{i}.png,{'ab'[i % 2]},{'train' if i < 16 else 'val' if i < 20 else 'test'}\n")
PY
quiet=(--set log_level=normal --set threads=1)
"$CFN" pack --data tiny --root images --result_dir out > log 2>&1 || { cat log; exit 1; }

# Bytes that the line `STAGE: ... X per rank` names.
predicted() {
    sed -n "s/^$1:.*[^0-9.]\([0-9.]\+ [kMGT]\?B\) per rank.*/\1/p" out.dry |
        awk '{ split("B kB MB GB TB", u, " "); for (i in u) if (u[i] == $2) print $1 * 1000 ^ (i - 1) }'
}
measured() { # DIR STAGE
    $python -c "
import json, sys
print(json.load(open('$1/perf.json'))['$2']['peak_memory_bytes'])"
}
compare() { # what, STAGE, DIR
    local said=$(predicted "$2") found=$(measured "$3" "$2")
    # A sanitizer has memory of its own.
    awk -v p="${said:-0}" -v m="${found:-0}" -v san="${SAN:-}" 'BEGIN { exit !(m > 0 && p > 0 && (san != "" || (p > 0.85 * m && p < 1.15 * m))) }'
    say $? "$1"
    echo "# $1: said ${said:-nothing}, took ${found:-nothing}" | awk '{ print }'
}
tree_sum() { find out -type f -exec md5sum {} + | sort; }
trial=0
both() { # what, ranks, settings...: a dry run of training, a run, a dry run of embedding, a run
    local what=$1 ranks=$2 before
    shift 2
    trial=$((trial + 1))
    local run=("$CFN") dir
    [ "$ranks" = 1 ] || run=(mpirun -n "$ranks" "$CFN")
    set -- --data tiny --result_dir out --trial $trial "${quiet[@]}" --set train.epochs=1 --set train.batch=16 "$@"
    before=$(tree_sum)
    "${run[@]}" train "$@" --dry-run > out.dry 2>&1 || cat out.dry
    [ "$before" = "$(tree_sum)" ]
    say $? "$what: a dry run writes nothing"
    "${run[@]}" train "$@" > log 2>&1 || cat log
    dir=$(dirname "$(ls -t out/tiny/*/$trial/perf.json | head -1)")
    compare "$what: memory of training within 15 %" train "$dir"
    "${run[@]}" embed "$@" --dry-run > out.dry 2>&1 || cat out.dry
    "${run[@]}" embed "$@" > log 2>&1 || cat log
    compare "$what: memory of embedding within 15 %" embed "$dir"
}
both "resnet18" 1 --backbone resnet18 --set image.size=64
both "resnet18 in bf16 at 4 ranks" 4 --backbone resnet18 --set image.size=64 --set train.precision=bf16
both "densenet121 made again" 1 --backbone densenet121 --set image.size=64 --set train.checkpoint_activations=yes
both "resnet50 at 160 pixels, 2 ranks" 2 --backbone resnet50 --set image.size=160 --set train.shards=2
both "convnext_tiny at 96 pixels" 1 --backbone convnext_tiny --set image.size=96 --set train.batch=8
both "vit_b_16 in bf16, 2 ranks" 2 --backbone vit_b_16 --set image.size=96 --set train.batch=4 --set train.shards=2 \
    --set train.precision=bf16
