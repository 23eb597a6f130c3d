# The version is in the file VERSION. What the program, its manual page and a tarball say comes from there; files that
# others read as they are say the same, and the changelog knows it.
. tests/support/say.sh
version=$(cat VERSION)
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]]
say $? "VERSION holds three numbers"
[ "$("$CFN" --version | head -1 | cut -d ' ' -f 2)" = "$version" ]
say $? "cfn --version"
CFN=$CFN scripts/man | head -1 | grep -qF "\"cfn $version\""
say $? "the manual page"
[ "$(make -s -n dist 2> /dev/null | grep -o 'cfn-[0-9.]*\.tar\.gz' | sort -u)" = "cfn-$version.tar.gz" ]
say $? "the tarball of make dist"
[ "$(sed -n 's/^version: *//p' CITATION.cff)" = "$version" ]
say $? "CITATION.cff"
[ "$(grep -oE '[0-9]+\.[0-9]+\.[0-9]+' scripts/packaging/spack/package.py | sort -u)" = "$version" ]
say $? "the recipe of Spack"
grep -q "^## $version" CHANGELOG.md && ! sed '/^## Unreleased/,$!d' CHANGELOG.md | grep '^## ' | grep -vE '^## (Unreleased|[0-9]+\.[0-9]+\.[0-9]+)'
say $? "the changelog has a section of it, and sections of versions alone"
