#!/bin/bash
# The report page in a real browser: it is drawn, says nothing on the console, asks for nothing outside, and shows the
# numbers of the files. Looks at $CFN_RUN, else at the run of test_demo.sh, else at a synthetic one.
# run-tests: alone
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
tmp=$CFN_TEST_TMP/page
mkdir -p "$tmp"
run=${CFN_RUN:-$(cat "$CFN_TEST_TMP/e2e-run" 2>/dev/null)}
if [ ! -e "$run/report/index.html" ]; then
    run=$tmp/out/toy/resnet18/1
    /usr/bin/python3 tests/support/toy_run.py "$tmp/out"
    for stage in name explain; do
        timeout 60 "$CFN" $stage --set data=toy --set image.size=48 --set "result_dir=$tmp/out" > "$tmp/log" 2>&1
        say $? "cfn $stage makes a page to look at"
    done
fi
page=$(realpath "$run")/report/index.html
test -s "$page"
say $? "the page is there"
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
if [ -z "$browser" ]; then
    echo "ok - the page in a browser # SKIP no chromium"
    exit 0
fi
headless() { # page, then more flags: the DOM goes to stdout, the console and network log to files
    local address=$1
    shift
    timeout 100 "$browser" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars \
        --disable-background-networking --disable-component-update --disable-sync --user-data-dir="$tmp/profile" \
        --host-resolver-rules="MAP * ~NOTFOUND" --enable-logging=stderr --log-net-log="$tmp/net.json" \
        --window-size=1280,2400 "$@" "file://$address" 2> "$tmp/console"
}
headless "$page" --dump-dom > "$tmp/dom"
say $? "a browser reads the page"
! grep -E 'CONSOLE' "$tmp/console"
say $? "nothing on the console"
/usr/bin/python3 - "$tmp/net.json" <<'PY'
import re, sys
# Requests of the page itself; the browser's own services ask for theirs.
asked = set(re.findall(r'"url":"((?:https?|wss?)://[^"]*)"', open(sys.argv[1]).read()))
own = re.compile(r"https?://([a-z0-9-]+\.)*(google|googleapis|gstatic|gvt1|chromium|debian)\.(com|org)[:/]")
left = sorted(u for u in asked if not own.match(u))
sys.exit("\n".join(left) if left else 0)
PY
say $? "nothing is asked for outside the page"
! grep -qE '(src|href|url)[=(]["'"'"']?(https?:)?//' "$page"
say $? "no address outside the page in its source"
headless "$page" --screenshot="$tmp/page.png" > /dev/null
/usr/bin/python3 - "$tmp/page.png" <<'PY'
import struct, sys, zlib
# Drawn: a 1280 x 2400 picture with many colours, not a blank one.
data = open(sys.argv[1], "rb").read()
width, height = struct.unpack(">II", data[16:24])
at, packed = 8, b""
while at < len(data):
    size, kind = struct.unpack(">I4s", data[at:at + 8])
    packed += data[at + 8:at + 8 + size] if kind == b"IDAT" else b""
    at += size + 12
raw = zlib.decompress(packed)
sys.exit(0 if (width, height) == (1280, 2400) and len(set(raw[::7])) > 60 and len(data) > 100000 else f"{width}x{height}, {len(data)} bytes")
PY
say $? "the page is drawn"
/usr/bin/python3 - "$run" "$tmp/dom" <<'PY'
import json, os, re, sys
import h5py
run, dom = sys.argv[1], open(sys.argv[2], encoding="utf-8").read()
text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", dom))
bad = []
def wanted(part, what):
    if part not in text:
        bad.append(f"{what}: {part} is not on the page")
logits = h5py.File(run + "/cbm.h5")["logits"][()]
rows = [int(r) for r in re.findall(r'id="row(\d+)"', dom)]
if len(rows) < 5:
    bad.append(f"only {len(rows)} explained images")
for r in rows:
    top = float(logits[r].max())
    wanted(f"{'−' if top < 0 else ''}{abs(top):.2f}", f"logit of row {r}")
if os.path.exists(run + "/metrics.json"):
    metrics = json.load(open(run + "/metrics.json"))
    for model in ("backbone", "cbm"):
        wanted(f"{metrics[model]['test']['accuracy']:.3f}", f"accuracy of {model}")
names = json.load(open(run + "/names.json"))
for name, region in names["regions"].items():
    wanted(name, "attribute")
    if region["r_test"] is not None:
        wanted(f"{abs(region['r_test']):.2f}", f"correlation of {name}")
sys.exit("\n".join(bad) if bad else 0)
PY
say $? "the numbers of the files are on the page"
