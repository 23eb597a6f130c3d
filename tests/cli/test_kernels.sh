#!/bin/bash
# No backbone runs the library's reference code, at any size, at the instruction sets of older processors (which this
# one has too, or the library falls back to its own), training and inference. And bench-model names the kernels.
cd "$(dirname "$0")/../.." || exit 1
. tests/support/say.sh
tmp=${CFN_TEST_TMP:?run the tests by make check}/kernels
tool=$(dirname "$CFN")/tests/tools/kernels
mkdir -p "$tmp"

for isa in SSE41 AVX2 AVX512_CORE; do
    ONEDNN_MAX_CPU_ISA=$isa "$tool" > "$tmp/$isa" 2> "$tmp/err"
    say $? "$isa: every backbone at every size can be made"
    lines=$(grep -c ' primitives, ' "$tmp/$isa")
    [ "$lines" = 84 ]; say $? "$isa: 6 backbones at 7 sizes, trained and not ($lines)"
    bad=$(grep ' primitives, ' "$tmp/$isa" | grep -vE ': [1-9][0-9]* primitives, 0 references')
    [ -z "$bad" ]; say $? "$isa: no reference code"
    [ -z "$bad" ] || echo "$bad"
    cat "$tmp/err"
done
# The passes that the library has nothing but reference code for: convolutions of ours there.
grep -q '^resnet18 64 train: .* [1-9][0-9]* ours' "$tmp/SSE41"; say $? "SSE4.1: gradients of resnet18 are ours"
if grep -q 'oneDNN 2' "$tmp/AVX2"; then
    grep -q '^resnet18 64 train: .* [1-9] ours' "$tmp/AVX2"; say $? "AVX2: so are weight gradients on 2x2 maps"
fi

ONEDNN_MAX_CPU_ISA=SSE41 "$CFN" bench-model resnet18 --size 64 --batch 8 --kernels > "$tmp/named"
say $? "bench-model --kernels"
grep -qE '^  layer4.1.conv2 +convolution +[^,]+, [^,]+, gemm:blis$' "$tmp/named"; say $? "it names a kernel for each pass"
[ "$(grep -cE 'primitives of oneDNN .*, 0 of them reference code' "$tmp/named")" = 2 ]
say $? "and counts reference code"
