#!/bin/bash
# The job scripts' own part: threads, limits, signals and requeues, with stand-ins for srun, squeue, scontrol and cfn. And
# what cfn makes of a bound first thread, and of a signal that comes before it is ready.
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env
. tests/support/say.sh
top=$PWD
. tests/support/place.sh
place jobs

mkdir bin
export PATH=$PWD/bin:$PATH END=$((10 * 3600)) ENDS=75 LASTS=30
cat > bin/srun << 'E'
#!/bin/bash
while [ "$1" != cfn ]; do shift; done
exec "$@"
E
cat > bin/squeue << 'E'
#!/bin/bash
[ -n "$END" ] && date --date="now + $END seconds" +%FT%T || echo NONE
E
cat > bin/scontrol << 'E'
#!/bin/bash
echo "$@" > requeued
E
cat > bin/cfn << 'E'
#!/bin/bash
# Lasts LASTS seconds and ends with 0, or with ENDS when it is told to stop.
trap 'kill $!; echo told >> signals; exit $ENDS' USR1
echo "$@" > arguments
env | grep -E "^(OMP_|SRUN_)" | sort > environment
sleep "$LASTS" &
wait
exit "${FAILS:-0}"
E
chmod +x bin/*
export SLURM_JOB_ID=7 SLURM_ARRAY_JOB_ID=6 SLURM_ARRAY_TASK_ID=2 SLURM_CPUS_PER_TASK=8
unset SLURM_RESTART_COUNT

# Runs job script $1 with the other arguments; $after seconds later, when it is set, comes USR1, twice. Its exit code.
job() {
    rm -f requeued signals arguments
    timeout 60 bash "$top/jobs/$1.sbatch" "${@:2}" > log 2>&1 &
    local shell=$! code
    if [ -n "${after:-}" ]; then
        sleep "$after"
        pkill -USR1 -P $shell -f "jobs/$1" 2> /dev/null
        sleep 0.3
        pkill -USR1 -P $shell -f "jobs/$1" 2> /dev/null
    fi
    wait $shell
    code=$?
    return $code
}

for name in one_node many_nodes trials; do
    cmp -s <(sed -n '/^# ----/,$p' "$top/jobs/$name.sbatch") <(sed -n '/^# ----/,$p' "$top/jobs/one_node.sbatch")
    say $? "$name: the same as the others below its defaults"
done

LASTS=0
job one_node c.yml --root data
say $? "a job that ends"
read -r _ _ hours rest < arguments
test "$rest" = "c.yml --root data" && awk -v h="$hours" 'BEGIN { exit !(h > 9.8 && h < 9.91) }'
say $? "the limit is the job's own less six minutes: $hours h"
grep -q '^SRUN_CPUS_PER_TASK=8$' environment
say $? "the step gets the job's CPUs per task"
END='' job one_node c.yml && grep -q -- '--max-hours 0 c.yml' arguments
say $? "no limit"
job many_nodes c.yml --set train.shards=32 --max-hours 1
test "$(cat arguments | tr ' ' '\n' | grep -E 'train.shards|^[0-9.]+$' | tail -2 | tr '\n' ' ')" = "train.shards=32 1 "
say $? "the user's flags come last: $(cat arguments)"
job trials c.yml && grep -q -- '--trial 2 ' arguments
say $? "an array task is a trial"
FAILS=65 job one_node c.yml
test $? = 65 && test ! -e requeued
say $? "an error is the job's, once"
FAILS=137 job trials c.yml
test $? = 137 && grep -q 'requeue 6_2' requeued
say $? "killed: once more"
FAILS=137 SLURM_RESTART_COUNT=1 job trials c.yml
test $? = 137 && test ! -e requeued
say $? "killed again: no more"

LASTS=30
for after in 0.1 0.5 2; do
    job one_node c.yml
    code=$?
    test $code = 75 && grep -q 'requeue 7' requeued
    say $? "USR1 after $after s: exit $code, requeued"
done
SLURM_RESTART_COUNT=3 after=0.5 job one_node c.yml
test $? = 75 && test ! -e requeued && grep -q "time limit leaves nothing" log
say $? "a job that is always stopped at once is not requeued for ever"

# A first thread that OpenMP has bound to one core says nothing of how many there are.
cores=$(env -u OMP_NUM_THREADS nproc)
unset OMP_NUM_THREADS SLURM_CPUS_PER_TASK
for bind in false close; do
    OMP_PLACES=cores OMP_PROC_BIND=$bind "$CFN" embed --data none --set threads=0 > log 2>&1
    grep -oE '[0-9]+ cores? allowed of [0-9]+ CPUs, [0-9]+ thread' log > "said.$bind"
done
test -s said.false && cmp said.false said.close
say $? "threads with OMP_PROC_BIND as without: $(cat said.close), nproc $cores"
SLURM_JOB_ID=7 SLURM_CPUS_PER_TASK=$((4 * cores + 4)) "$CFN" embed --data none > log 2>&1
grep -q "the job asks for $((4 * cores + 4)) CPUs per task, a rank may use" log
say $? "a rank that is bound to less than the job has is warned about"
if [ "$cores" -gt 1 ]; then
    SLURM_JOB_ID=7 "$CFN" embed --data none --set threads=1 > log 2>&1
    grep -q "the others are idle" log
    say $? "idle cores of a job"
fi
