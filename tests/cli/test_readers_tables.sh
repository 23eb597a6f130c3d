# cfn pack on tables as people's tools write them (tests/support/table_cases.py).
. scripts/mpi-env
mkdir -p "$CFN_TEST_TMP/tables"
/usr/bin/python3 tests/support/table_cases.py "$(cd "$CFN_TEST_TMP/tables" && pwd)"
