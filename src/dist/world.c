/* Start and end of a job, and decisions all ranks take together. The guards
 * for Open MPI's file layer and the check for lone copies are here; the
 * collectives are in collective.c, cores and threads in binding.c. */
#include "dist/world.h"

#include <limits.h>
#include <mpi.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"
#include "dist/internal.h"

static struct world the_world;

MPI_Comm world_handle(const struct world *world)
{
    (void)world;
    return MPI_COMM_WORLD;
}

/* A number from the environment, or `fallback`. */
static long env_number(const char *name, long fallback)
{
    const char *text = getenv(name);
    char *end = NULL;
    long value = text && *text ? strtol(text, &end, 10) : 0;
    return end && *end == '\0' ? value : fallback;
}

/* How many processes the launcher started, by what it left in the environment; 1 if there is none. */
static long launched_ranks(const char **launcher)
{
    static const struct {
        const char *variable, *launcher;
    } signs[] = {
        { "OMPI_COMM_WORLD_SIZE", "mpirun" },
        { "PMI_SIZE", "another MPI's mpirun" },
        { "MPI_LOCALNRANKS", "another MPI's mpirun" },
        { "SLURM_STEP_NUM_TASKS", "srun" },
        { "SLURM_NTASKS", "SLURM" },
    };
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        long ranks = env_number(signs[i].variable, 0);
        if (ranks > 0) {
            *launcher = signs[i].launcher;
            return ranks;
        }
    }
    *launcher = "";
    return 1;
}

/* Several copies that know nothing of each other would write the same files. One of them says so. */
static _Noreturn void lone_copy(long ranks, const char *launcher)
{
    long me = env_number("SLURM_PROCID", env_number("OMPI_COMM_WORLD_RANK", env_number("PMI_RANK", 0)));
    if (me == 0)
        fatal(EXIT_USAGE,
              "%s says that this job has %ld processes, but each copy started alone\n"
              "under SLURM:  srun --mpi=pmix cfn ...   or, inside sbatch or salloc:  mpirun cfn ...\n"
              "elsewhere:    mpirun -n %ld cfn ... with the mpirun of Open MPI\n"
              "one process:  mpirun -n 1 cfn ...",
              launcher, ranks, ranks);
    fflush(NULL);
    _exit(EXIT_USAGE);
}

/* Under srun without PMIx Open MPI would end us in MPI_Init, in words of its own. */
static void check_before_init(void)
{
    bool by_srun = getenv("SLURM_STEP_NUM_TASKS") && !getenv("OMPI_COMM_WORLD_SIZE");
    bool pmi = getenv("PMIX_RANK") || getenv("PMI_FD") || getenv("PMI_RANK") || getenv("PMI2_FD");
    long ranks = env_number("SLURM_STEP_NUM_TASKS", 1);
    if (by_srun && !pmi && ranks > 1)
        lone_copy(ranks, "srun");
}

static void abort_job(int code)
{
    fflush(NULL);
    if (the_world.size == 1 && !getenv("OMPI_COMM_WORLD_SIZE"))
        _exit(code); /* no launcher to tell */
    MPI_Abort(MPI_COMM_WORLD, code);
    _exit(code);
}

static void find_node(void)
{
    MPI_Comm node;
    dist_check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, the_world.rank, MPI_INFO_NULL, &node),
               "MPI_Comm_split_type");
    MPI_Comm_rank(node, &the_world.node_rank);
    MPI_Comm_size(node, &the_world.node_size);
    MPI_Comm_free(&node);
    int first = the_world.node_rank == 0;
    dist_check(MPI_Allreduce(&first, &the_world.nodes, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD), "MPI_Allreduce");
}

/* Open MPI sieved data without locks when it wrote files (open-mpi/ompi#12718). */
static void guard_files(void)
{
    const char *library = world_library();
    const char *mended = strverscmp(library, "Open MPI v5") < 0 ? "Open MPI v4.1.7" : "Open MPI v5.0.6";
    if (strverscmp(library, mended) >= 0)
        return;
    setenv("OMPI_MCA_fbtl_posix_write_datasieving", "0", 0);
    setenv("OMPI_MCA_fs_ufs_lock_algorithm", "3", 0);
}

struct world *world_start(int *argc, char ***argv)
{
    check_before_init();
    guard_files();
    int provided = MPI_THREAD_SINGLE;
    if (MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
        fatal(EXIT_INTERNAL, "MPI did not start");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &the_world.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &the_world.size);
    if (gethostname(the_world.host, sizeof the_world.host - 1) != 0)
        snprintf(the_world.host, sizeof the_world.host, "unknown");
    error_set_rank(the_world.rank, the_world.size, the_world.host);
    error_set_abort(abort_job);
    log_setup(the_world.rank, log_level());
    const char *launcher;
    long ranks = launched_ranks(&launcher);
    if (the_world.size == 1 && ranks > 1) {
        MPI_Finalize();
        error_set_abort(NULL);
        lone_copy(ranks, launcher);
    }
    require(provided >= MPI_THREAD_FUNNELED, EXIT_INTERNAL, "MPI was built without threads: expected FUNNELED");
    find_node();
    the_world.threads = 1;
    return &the_world;
}

int world_end(struct world *world, int code)
{
    (void)world;
    log_bar(NULL);
    log_file(NULL);
    fflush(NULL);
    error_set_abort(NULL);
    MPI_Finalize();
    return code;
}

void dist_check(int status, const char *call)
{
    if (status == MPI_SUCCESS)
        return;
    char text[MPI_MAX_ERROR_STRING + 1] = "unknown error";
    int length = 0;
    MPI_Error_string(status, text, &length);
    fatal(EXIT_INTERNAL, "%s: %s", call, text);
}

void agree(struct world *world, bool ok, enum exit_code code, const char *fmt, ...)
{
    struct {
        int code;
        char host[sizeof world->host];
        char message[4096];
    } why = { .code = (int)code };
    int failing = ok ? INT_MAX : world->rank, first = INT_MAX;
    enum phase before = comm_begin();
    dist_check(MPI_Allreduce(&failing, &first, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD), "MPI_Allreduce");
    comm_end(before, (int64_t)sizeof failing);
    if (first == INT_MAX)
        return;

    /* Rank `first` knows the reason; rank 0 says it. */
    if (world->rank == first) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(why.message, sizeof why.message, fmt, args);
        va_end(args);
        memcpy(why.host, world->host, sizeof why.host);
    }
    world_broadcast(world, &why, sizeof why, first);
    if (world->rank == 0)
        error_print(first, why.host, why.message);
    world_end(world, why.code);
    fflush(NULL);
    _exit(why.code);
}
