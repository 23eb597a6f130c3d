#!/bin/bash
# A program on a processor without its instructions, for which qemu stands in: one line and 64. The launcher of an
# installation with variants takes the best one that runs. Ranks that run different code are refused.
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
. tests/support/place.sh
launcher=$(realpath "$(dirname "$CFN")/launcher")
place isa_guard
if [ "$(uname -m)" != x86_64 ] || ! command -v qemu-x86_64-static > /dev/null; then
    echo "ok - older processors # SKIP needs x86-64 and qemu-x86_64-static"
    exit 0
fi
on() { # processor, command...: as that processor runs it; qemu's remarks on itself are left out
    qemu-x86_64-static -cpu "$@" 2> err > out
    local code=$?
    grep -v '^qemu-x86_64-static: warning' err > said
    return $code
}

# Sanitizers need address space that qemu does not give; the check itself is in unit/test_cpu.
if [ -z "${SAN:-}" ]; then
    on qemu64 "$CFN" --version
    code=$?
    test $code = 64 && test ! -s out && test "$(wc -l < said)" = 1 &&
        grep -q '^cfn: built for .*, with instructions that .* does not have (.*popcnt.*): build with ARCH=' said
    say $? "64 and one line on a processor of 2003"
    [ $code = 64 ] || cat said
    cat > wrapped <<END
#!/bin/sh
exec qemu-x86_64-static -cpu qemu64 "$CFN" "\$@"
END
    chmod +x wrapped
    mpirun -n 4 ./wrapped selftest > out 2> err
    code=$?
    test $code = 64 && test "$(grep -c '^cfn: built for' err)" = 1
    say $? "64 and one line at 4 ranks of a node"
    [ $code = 64 ] || cat err
fi
"$CFN" --version | grep -qE '^for .*(this processor runs|that this processor runs)'
say $? "--version says what the program was built for"

# ---- the launcher: variants that say their name and what they were given ----
mkdir -p prefix/bin
cp "$launcher" prefix/bin/cfn
variants() { # levels...: these and no others
    rm -rf prefix/libexec
    for level in "$@"; do
        mkdir -p "prefix/libexec/cfn/$level"
        printf '#!/bin/sh\necho "%s $# $2"\nexit 7\n' "$level" > "prefix/libexec/cfn/$level/cfn"
        chmod +x "prefix/libexec/cfn/$level/cfn"
    done
}
takes() { # processor, level
    [ -z "${SAN:-}" ] || return 0 # no qemu
    on "$1" prefix/bin/cfn one 'two words' three
    test $? = 7 && test "$(cat out)" = "$2 3 two words"
    say $? "$1 runs $2, with its arguments and exit code"
}
refuses() { # what, expected, processor: 64 and the sentence
    [ -z "${SAN:-}" ] || return 0
    on "$3" prefix/bin/cfn --version
    test $? = 64 && test ! -s out && test "$(wc -l < said)" = 1 && grep -qF -- "$2" said
    code=$?
    say $code "$1"
    [ $code = 0 ] || cat said
}
variants x86-64-v2 x86-64-v3 x86-64-v4
takes Nehalem x86-64-v2
takes Haswell x86-64-v3
refuses "no variant for the processor of 2003" "no variant in $tmp/prefix/libexec/cfn for this processor" qemu64
export CFN_ISA=x86-64-v2
takes Haswell x86-64-v2
CFN_ISA=x86-64-v4 refuses "CFN_ISA beyond the processor" "runs x86-64-v3 at most" Haswell
CFN_ISA=avx2 refuses "CFN_ISA that is no level" "CFN_ISA=avx2: expected x86-64-v2, x86-64-v3 or x86-64-v4" Haswell
variants x86-64-v3
refuses "a variant that is not installed" "no such variant in $tmp/prefix/libexec/cfn; there: x86-64-v3" Haswell
unset CFN_ISA
variants x86-64-v2 x86-64-v4
takes Haswell x86-64-v2
variants
refuses "no variants at all" "there: none" Haswell
# The launcher is found by a link, by PATH, and after its folder was moved.
variants x86-64-v2
ln -s "$tmp/prefix/bin/cfn" link
test "$(./link a b)" = "x86-64-v2 2 b"; say $? "a link to the launcher"
test "$(PATH=$tmp/prefix/bin:$PATH; cfn a b)" = "x86-64-v2 2 b"; say $? "the launcher from PATH"
mv prefix moved
test "$(moved/bin/cfn a b)" = "x86-64-v2 2 b"; say $? "an installation that was moved"
printf '#!/bin/sh\necho $$\n' > moved/libexec/cfn/x86-64-v2/cfn
moved/bin/cfn > pid & wait $!
test "$(cat pid)" = $!; say $? "the process stays the same: signals of a launcher reach the program"

# ---- one rank held to other kernels ----
unset BLIS_ARCH_TYPE ONEDNN_MAX_CPU_ISA DNNL_MAX_CPU_ISA
# One command for all: Open MPI 5.0.7's mpirun crashes when it is given two.
mpirun -n 3 sh -c '[ $OMPI_COMM_WORLD_RANK != 0 ] || export CFN_ISA=x86-64-v2; exec "$CFN" selftest' > out 2> err
code=$?
test $code = 64 && test "$(grep -c 'ranks of one job run different code' err)" = 1 && grep -q 'set CFN_ISA=x86-64-v' err
say $? "ranks with different kernels are refused, once"
[ $code = 64 ] || cat out err
mpirun -n 2 env CFN_ISA=x86-64-v2 "$CFN" selftest > out 2> err
say $? "ranks with the same CFN_ISA work"
grep -qE 'penryn.*sse41|sse41.*penryn' <(CFN_ISA=x86-64-v2 "$CFN" --version | tr '\n' ' ')
say $? "CFN_ISA holds BLIS and oneDNN to its level"
