# Sourced by test scripts: one result line. say EXIT_CODE WHAT
say() {
    if [ "$1" = 0 ]; then echo "ok - $2"; else echo "not ok - $2"; fi
}
