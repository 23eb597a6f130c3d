# Sourced by tests of cfn audit. work: a folder with corpora; python.
# audit RANKS DATA RESULT_DIR FLAG_OF_PACK...: packs and audits the images of $work/DATA.
audit() {
    timeout 300 mpirun -n "$1" "$CFN" pack --root "$work/$2" --data t --result_dir "$3" "${@:4}" > "$work/log" 2>&1 &&
        timeout 300 mpirun -n "$1" "$CFN" audit --data t --result_dir "$3" --set threads=1 > "$work/text" 2>&1
    local code=$?
    [ $code = 0 ] || sed 's/^/# /' "$work/log" "$work/text"
    return $code
}
