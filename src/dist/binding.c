/* Cores and threads: what this rank is allowed, how it is shared with the other
 * ranks of its node, and one line per node that says so. */
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/text.h"
#include "dist/internal.h"

/* What one rank tells its node. */
struct binding {
    cpu_set_t cores; /* allowed; of hyperthreads the first */
    int cpus;        /* allowed, hyperthreads counted */
    int threads;
};

/* What one node tells rank 0. */
struct node_report {
    char host[256];
    int ranks, cores, online, threads;
    int cpus_least;     /* CPUs of the rank that has the fewest, hyperthreads counted */
    double share_least; /* cores of the rank that has the fewest, shared cores counted in parts */
    int over;           /* ranks with more threads than cores */
    double memory_bytes;
};

static struct binding own;

/* The first hyperthread of the core that `cpu` belongs to. */
static size_t first_sibling(size_t cpu)
{
    char path[128];
    size_t first = cpu;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%zu/topology/thread_siblings_list", cpu);
    FILE *file = fopen(path, "re");
    if (file) {
        if (fscanf(file, "%zu", &first) != 1)
            first = cpu;
        fclose(file);
    }
    return first < CPU_SETSIZE ? first : cpu;
}

/* Adds the processors of OpenMP's places: with OMP_PROC_BIND its library has bound this thread to the first of them
 * before main, so that the thread's own mask is not what the process was given. */
static void add_places(cpu_set_t *cpus)
{
    static int ids[CPU_SETSIZE];
    for (int place = 0; place < omp_get_num_places(); place++) {
        int count = omp_get_place_num_procs(place);
        if (count > CPU_SETSIZE)
            continue;
        omp_get_place_proc_ids(place, ids);
        for (int i = 0; i < count; i++)
            if (ids[i] >= 0 && ids[i] < CPU_SETSIZE)
                CPU_SET((size_t)ids[i], cpus);
    }
}

static void find_cores(struct binding *binding)
{
    cpu_set_t cpus;
    CPU_ZERO(&binding->cores);
    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0) {
        CPU_ZERO(&cpus);
        CPU_SET(0, &cpus);
    }
    add_places(&cpus);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &cpus))
            CPU_SET(first_sibling(cpu), &binding->cores);
    binding->cpus = CPU_COUNT(&cpus);
}

/* Cores a container may use of those it sees; a large number without a limit. */
static double quota_cores(void)
{
    double quota = 0.0, period = 0.0;
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (!file)
        return 1e9;
    int got = fscanf(file, "%lf %lf", &quota, &period);
    fclose(file);
    return got == 2 && quota > 0.0 && period > 0.0 ? quota / period : 1e9;
}

/* Cores of rank `me`: those it shares with k ranks count 1/k. ranks [node_size] */
static double share_of(const struct binding *ranks, int node_size, int me)
{
    double share = 0.0;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &ranks[me].cores))
            continue;
        int users = 0;
        for (int r = 0; r < node_size; r++)
            users += CPU_ISSET(cpu, &ranks[r].cores) != 0;
        share += 1.0 / users;
    }
    double quota = quota_cores() / node_size;
    return share < quota ? share : quota;
}

static MPI_Comm split_node(const struct world *world)
{
    MPI_Comm node;
    dist_check(MPI_Comm_split_type(world_handle(world), MPI_COMM_TYPE_SHARED, world->rank, MPI_INFO_NULL, &node),
               "MPI_Comm_split_type");
    return node;
}

/* ranks [node_size], the same on every rank of the node */
static void gather_node(MPI_Comm node, struct binding *ranks)
{
    dist_check(MPI_Allgather(&own, (int)sizeof own, MPI_BYTE, ranks, (int)sizeof own, MPI_BYTE, node), "MPI_Allgather");
}

int world_threads(struct world *world, int threads)
{
    struct arena_mark mark = arena_mark(dist_scratch());
    enum phase before = comm_begin();
    MPI_Comm node = split_node(world);
    struct binding *ranks = arena_array(dist_scratch(), struct binding, world->node_size);
    find_cores(&own);
    gather_node(node, ranks);
    const char *asked = getenv("OMP_NUM_THREADS");
    if (threads <= 0 && asked)
        threads = (int)strtol(asked, NULL, 10);
    if (threads <= 0)
        threads = (int)(share_of(ranks, world->node_size, world->node_rank) + 1e-6);
    own.threads = world->threads = threads > 0 ? threads : 1;
    MPI_Comm_free(&node);
    comm_end(before, (int64_t)sizeof own);
    arena_release(dist_scratch(), mark);
    omp_set_dynamic(0);
    omp_set_num_threads(world->threads);
    return world->threads;
}

/* Collective on the node; filled on every rank of it. */
static struct node_report report_node(const struct world *world)
{
    struct arena_mark mark = arena_mark(dist_scratch());
    MPI_Comm node = split_node(world);
    struct binding *ranks = arena_array(dist_scratch(), struct binding, world->node_size);
    gather_node(node, ranks);
    MPI_Comm_free(&node);

    struct node_report report = { .ranks = world->node_size, .share_least = 1e9, .cpus_least = ranks[0].cpus };
    snprintf(report.host, sizeof report.host, "%s", world->host);
    cpu_set_t all;
    CPU_ZERO(&all);
    for (int r = 0; r < world->node_size; r++) {
        double share = share_of(ranks, world->node_size, r);
        CPU_OR(&all, &all, &ranks[r].cores);
        report.threads += ranks[r].threads;
        report.share_least = share < report.share_least ? share : report.share_least;
        report.over += ranks[r].threads > share + 1e-6;
        report.cpus_least = ranks[r].cpus < report.cpus_least ? ranks[r].cpus : report.cpus_least;
    }
    report.cores = CPU_COUNT(&all);
    report.online = (int)sysconf(_SC_NPROCESSORS_ONLN);
    struct sysinfo info;
    if (sysinfo(&info) == 0)
        report.memory_bytes = (double)info.totalram * (double)info.mem_unit;
    arena_release(dist_scratch(), mark);
    return report;
}

/* What SLURM has set aside for the job and nobody uses. */
static void say_slurm(const struct node_report *node)
{
    const char *text = getenv("SLURM_CPUS_PER_TASK");
    int asked = text ? (int)strtol(text, NULL, 10) : 0;
    if (asked > node->cpus_least)
        log_warn("node %s: the job asks for %d CPUs per task, a rank may use %d; export SRUN_CPUS_PER_TASK=%d, or srun "
                 "--cpus-per-task=%d",
                 node->host, asked, node->cpus_least, asked, asked);
    else if (node->threads < node->cores)
        log_warn("node %s: %d threads on %d cores of the job, the others are idle; set threads: 0", node->host,
                 node->threads, node->cores);
}

static void say_node(const struct node_report *node)
{
    struct arena_mark mark = arena_mark(dist_scratch());
    log_info("node %s: %d rank%s, %d core%s allowed of %d CPUs, %d thread%s, %s memory", node->host, node->ranks,
             node->ranks == 1 ? "" : "s", node->cores, node->cores == 1 ? "" : "s", node->online, node->threads,
             node->threads == 1 ? "" : "s", text_bytes(dist_scratch(), node->memory_bytes));
    if (node->share_least < 1.0 - 1e-6)
        log_warn("node %s: ranks share a core: %d ranks on %d core%s; start fewer ranks per node, or bind one per core",
                 node->host, node->ranks, node->cores, node->cores == 1 ? "" : "s");
    else if (node->over > 0)
        log_warn("node %s: %d rank%s more threads than allowed cores: %d threads on %d cores; set threads: 0, or start"
                 " with more cores per rank (srun --cpus-per-task, mpirun --map-by slot:PE=n)",
                 node->host, node->over, node->over == 1 ? " has" : "s have", node->threads, node->cores);
    else if (getenv("SLURM_JOB_ID"))
        say_slurm(node);
    else if (node->cores * 2 <= node->online)
        log_warn("node %s: bound to %d of %d CPUs; use more ranks, or mpirun --bind-to none", node->host, node->cores,
                 node->online);
    arena_release(dist_scratch(), mark);
}

bool world_banner(const struct world *world)
{
    bool fits = true;
    struct node_report mine = report_node(world);
    struct arena_mark mark = arena_mark(dist_scratch());
    struct node_report *nodes = arena_array(dist_scratch(), struct node_report, world->nodes);
    world_allgather_rows(world, nodes, &mine, world->node_rank == 0, sizeof mine);
    for (int n = 0; n < world->nodes; n++) {
        say_node(&nodes[n]);
        fits = fits && nodes[n].over == 0;
    }
    arena_release(dist_scratch(), mark);
    return fits;
}
