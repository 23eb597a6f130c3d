#!/bin/bash
# make install, with and without variants, and make uninstall, which leaves nothing; the manual page; the tarball.
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
. tests/support/place.sh
top=$PWD
build=$(dirname "$CFN")
launcher=$(realpath "$build/launcher")
place install
# What is built stays as it is: other tests run it.
installing() { # target, variables...
    make -C "$top" BUILD="$build" -o all -o "$build/cfn" -o variants DESTDIR="$tmp/root" "$@" > log 2>&1
    local code=$?
    [ $code = 0 ] || tail -5 log
    return $code
}
files() { (cd root && find . -type f | sort); }
nothing_left() { # what: no file, and no folder of ours
    test -z "$(find root -type f)" && test -z "$(find root -name '*cfn*')"
    say $? "$1"
    find root -type f
}

installing install PREFIX=/opt/it
say $? "make install"
prefix=root/opt/it
cmp -s "$CFN" $prefix/bin/cfn
say $? "the program is installed"
for path in share/cfn/configs/demo.yml share/cfn/jobs/many_nodes.sbatch share/man/man1/cfn.1 share/doc/cfn/README.md \
    share/doc/cfn/LICENSE share/doc/cfn/docs/install.md share/doc/cfn/docs/reference/configuration.md; do
    test -s $prefix/$path; say $? "installs $path"
done
test "$(cd $prefix && find . -type f | grep -vE '^\./(bin/cfn|share/(cfn|doc/cfn|man/man1)/)')" = ""
say $? "and nothing elsewhere"
mkdir -p $prefix/bin $prefix/share/man/man1
files > before
installing install PREFIX=/opt/it && files | cmp -s - before
say $? "installing again changes nothing"
echo theirs > $prefix/share/man/man1/other.1
installing uninstall PREFIX=/opt/it
say $? "make uninstall"
test "$(files)" = ./opt/it/share/man/man1/other.1; say $? "files of others stay"
rm $prefix/share/man/man1/other.1
nothing_left "nothing is left"

# ---- with variants: here three copies of the program that is tested ----
mkdir -p tree/bin
cp "$launcher" tree/bin/cfn
for level in x86-64-v2 x86-64-v3 x86-64-v4; do
    mkdir -p tree/libexec/cfn/$level
    cp "$CFN" tree/libexec/cfn/$level/cfn
done
if [ "$(uname -m)" = x86_64 ]; then
    installing install PREFIX=/usr VARIANTS=1 VARIANT_ROOT="$tmp/tree"
    say $? "make install VARIANTS=1"
    test "$(cd root/usr && find bin libexec -type f | sort | tr '\n' ' ')" = \
        "bin/cfn libexec/cfn/x86-64-v2/cfn libexec/cfn/x86-64-v3/cfn libexec/cfn/x86-64-v4/cfn "
    say $? "launcher and three variants"
    root/usr/bin/cfn --version > out && "$CFN" --version | cmp -s - out
    say $? "the launcher runs the program"
    mpirun -n 2 root/usr/bin/cfn selftest > out 2> err && grep -q '^selftest: all checks passed' out
    code=$?
    say $code "and so it does under mpirun"
    [ $code = 0 ] || cat out err
    installing install PREFIX=/usr && test ! -e root/usr/libexec/cfn && cmp -s "$CFN" root/usr/bin/cfn
    say $? "an installation without variants replaces one with them"
    installing install PREFIX=/usr VARIANTS=1 VARIANT_ROOT="$tmp/tree" && installing uninstall PREFIX=/usr
    say $? "make uninstall, with variants"
    nothing_left "nothing is left of variants"
fi

# ---- the manual page ----
page=$build/cfn.1
for command in $("$CFN" --help | awk '/^  [a-z][a-z-]* +[a-z]/ && !/COMMAND/ { print $1 }'); do
    grep -qxF ".SS cfn ${command//-/\\-}" "$page" || echo "not ok - the page has no section of $command"
done
keys=$("$CFN" config --markdown | grep -cE '^\| `')
test "$keys" -gt 50 && test "$(awk '/^\.SH CONFIG/ { on = 1 } /^\.SH EXIT/ { on = 0 } on' "$page" | grep -c '^\.B ')" = "$keys"
say $? "the page has all $keys keys"
if command -v man > /dev/null; then
    LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=100 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2> err > /dev/null
    code=$?
    test $code = 0 && test ! -s err; say $? "the page has no errors of roff"
    head -5 err
else
    echo "ok - roff # SKIP no man"
fi

# ---- the tarball ----
if git -C "$top" rev-parse --git-dir > /dev/null 2>&1; then
    make -C "$top" dist > log 2>&1
    say $? "make dist"
    version=$(cat "$top/VERSION")
    tar -xzf "$top/build/cfn-$version.tar.gz"
    test -d "cfn-$version" && test "$(ls -d cfn-*)" = "cfn-$version"; say $? "everything is in cfn-$version"
    revision=$(git -C "$top" describe --always --abbrev=12)
    test "$(cat "cfn-$version/REVISION")" = "$revision"; say $? "it knows its revision"
    (cd "cfn-$version" && env -u MAKEFLAGS PATH="$PATH" GIT_DIR=/nonexistent make -n build/gcc/base/version.o 2> /dev/null) > log
    grep -qF "REVISION='\"$revision\"'" log && grep -qF "VERSION='\"$version\"'" log
    say $? "a build of it says so without git"
fi
