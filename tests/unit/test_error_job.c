/* How a job of several ranks ends: this program starts itself under mpirun as a
 * small job, and looks at the exit code and at what was said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "dist/progress.h"
#include "dist/world.h"
#include "own_job.h"

static int times(const char *text)
{
    int count = 0;
    for (const char *at = said; (at = strstr(at, text)); at += strlen(text))
        count++;
    return count;
}

/* The small jobs. */
static int job(const char *name, int argc, char **argv)
{
    struct world *world = world_start(&argc, &argv);
    bool last = world->rank == world->size - 1;
    if (strcmp(name, "agree") == 0) {
        /* Two ranks fail, each with a reason of its own: the lowest is told. */
        agree(world, true, EXIT_INTERNAL, "never");
        agree(world, world->rank == 0 || world->size == 1, EXIT_BAD_DATA, "a.h5: found %d, expected 0\nmake it again",
              world->rank);
    } else if (strcmp(name, "fatal") == 0) {
        require(!last, EXIT_IO, "b.h5: rank %d cannot write", world->rank);
        world_barrier(world); /* the others wait for it: they must be ended, not hang */
        sleep(60);
    } else if (strcmp(name, "killed") == 0) {
        if (last)
            raise(9);
        world_barrier(world);
    } else if (strcmp(name, "banner") == 0) {
        world_threads(world, 0);
        bool fits = world_banner(world);
        log_info("each rank has its cores: %s", fits ? "yes" : "no");
    } else if (strcmp(name, "progress") == 0) {
        progress_set_interval(0.0);
        for (int i = 0; i <= 2; i++, usleep(250000))
            progress("train", "epoch 1/2", i, 2.0, "img");
        progress_end();
    } else if (strcmp(name, "stopped") == 0) {
        return world_end(world, EXIT_STOPPED);
    }
    log_info("done %d", world->size);
    return world_end(world, EXIT_DONE);
}

static void agreed_ends_are_said_once(void **unused)
{
    (void)unused;
    assert_int_equal(run_job("mpirun -n 3", "agree"), EXIT_BAD_DATA);
    assert_int_equal(times("a.h5: found 1, expected 0\n  make it again\n"), 1);
    assert_int_equal(times("cfn: rank 1 ("), 1);
    assert_int_equal(times("cfn: "), 1);
    assert_int_equal(times("done"), 0);
    assert_int_equal(run_job("mpirun -n 1", "agree"), EXIT_DONE);
    assert_int_equal(times("done 1"), 1);
}

static void one_rank_ends_all(void **unused)
{
    (void)unused;
    assert_int_equal(run_job("timeout 40 mpirun -n 3", "fatal"), EXIT_IO);
    assert_int_equal(times("cfn: rank 2 ("), 1);
    assert_int_equal(times("b.h5: rank 2 cannot write\n"), 1);
    assert_int_equal(run_job("timeout 40 mpirun -n 1", "fatal"), EXIT_IO);
    assert_int_equal(times("cfn: b.h5: rank 0 cannot write\n"), 1);
    assert_int_equal(run_job("", "fatal"), EXIT_IO); /* without mpirun */
    assert_string_equal(said, "cfn: b.h5: rank 0 cannot write\n");
}

static void a_killed_rank_ends_all(void **unused)
{
    (void)unused;
    int code = run_job("timeout 40 mpirun -n 3", "killed");
    assert_true(code != 0 && code != 124);
}

static void other_codes_come_through(void **unused)
{
    (void)unused;
    assert_int_equal(run_job("mpirun -n 2", "stopped"), EXIT_STOPPED);
    assert_int_equal(run_job("mpirun -n 2", "fine"), EXIT_DONE);
    assert_int_equal(times("done 2"), 1);
}

/* Copies that were meant to be one job: the first says how to launch, none goes on. */
static void lone_copies_do_not_run(void **unused)
{
    (void)unused;
    assert_int_equal(run_job("SLURM_NTASKS=4", "fine"), EXIT_USAGE);
    assert_int_equal(times("4 processes, but each copy started alone"), 1);
    assert_int_equal(times("srun --mpi=pmix"), 1);
    assert_int_equal(times("done"), 0);
    assert_int_equal(run_job("SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0", "fine"), EXIT_USAGE);
    assert_int_equal(times("each copy started alone"), 1);
    assert_int_equal(run_job("SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=3", "fine"), EXIT_USAGE);
    assert_string_equal(said, "");
    assert_int_equal(run_job("PMI_SIZE=2 PMI_RANK=0", "fine"), EXIT_USAGE); /* another MPI's mpirun */
    assert_int_equal(times("another MPI's mpirun"), 1);
    assert_int_equal(run_job("SLURM_NTASKS=1", "fine"), EXIT_DONE);
    assert_int_equal(run_job("SLURM_NTASKS=4 mpirun -n 1", "fine"), EXIT_DONE); /* one rank on purpose */
    assert_int_equal(run_job("SLURM_NTASKS=4 mpirun -n 2", "fine"), EXIT_DONE);
}

/* One line per node, and a word where cores are short. */
static void the_banner_says_what_is_shared(void **unused)
{
    (void)unused;
    assert_int_equal(run_job("OMP_NUM_THREADS=1 mpirun -n 1", "banner"), EXIT_DONE);
    assert_int_equal(times("1 rank, "), 1);
    assert_int_equal(times("has its cores: yes"), 1);
    assert_int_equal(times("warning"), 0);
    assert_int_equal(run_job("OMP_NUM_THREADS= taskset -c 0 mpirun -n 2", "banner"), EXIT_DONE);
    assert_int_equal(times("node "), 2);
    assert_int_equal(times("ranks share a core: 2 ranks on 1 core;"), 1);
    assert_int_equal(times("has its cores: no"), 1);
    assert_int_equal(run_job("OMP_NUM_THREADS=3 taskset -c 0 mpirun -n 1", "banner"), EXIT_DONE);
    assert_int_equal(times("1 rank has more threads than allowed cores: 3 threads on 1 cores"), 1);
    assert_int_equal(run_job("OMP_NUM_THREADS= taskset -c 0 mpirun -n 1", "banner"), EXIT_DONE);
    assert_int_equal(times("1 thread, "), 1); /* by itself: as many threads as cores */
}

/* Lines in a batch log; on a terminal a bar that is gone at the end. */
static void progress_suits_its_reader(void **unused)
{
    (void)unused;
    assert_int_equal(run_job("mpirun -n 2", "progress"), EXIT_DONE);
    assert_int_equal(times("train epoch 1/2 "), 3); /* of rank 0 alone */
    assert_int_equal(times(" img/s eta 00:00:0"), 2);
    assert_int_equal(times("eta --:--:--"), 1); /* nothing done yet */
    assert_int_equal(times("\033"), 0);
    const char *const launches[] = { "", "mpirun -n 2 " }; /* alone, and through mpirun's own terminal */
    for (int l = 0; l < 2 && system("command -v script >/dev/null") == 0 && !strpbrk(self, "' "); l++) {
        char command[4096];
        snprintf(command, sizeof command, "script -qec '%s%s progress' /dev/null </dev/null", launches[l], self);
        FILE *pipe = popen(command, "r");
        assert_non_null(pipe);
        said[fread(said, 1, sizeof said - 1, pipe)] = '\0';
        assert_int_equal(pclose(pipe), 0);
        assert_int_equal(times("train epoch 1/2 [########################] 100 %"), 1);
        assert_int_equal(times("\r\033[K"), 2); /* before the last bar, and at the end */
    }
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc > 1)
        return job(argv[1], argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agreed_ends_are_said_once), cmocka_unit_test(one_rank_ends_all),
        cmocka_unit_test(a_killed_rank_ends_all),    cmocka_unit_test(other_codes_come_through),
        cmocka_unit_test(lone_copies_do_not_run),    cmocka_unit_test(the_banner_says_what_is_shared),
        cmocka_unit_test(progress_suits_its_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
