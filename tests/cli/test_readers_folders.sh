# cfn pack on folders of classes, and on what only looks like them (tests/support/folder_cases.py).
. scripts/mpi-env
mkdir -p "$CFN_TEST_TMP/folders"
/usr/bin/python3 tests/support/folder_cases.py "$(cd "$CFN_TEST_TMP/folders" && pwd)"
