/* Directories of a run: paths, lock, log. Two jobs never write one directory:
 * rank 0 holds an flock on <dir>/.lock for as long as the job lives. */
#include "job/home.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "base/timer.h"
#include "config/key.h"
#include "nn/graph.h"
#include "nn/network.h"

enum { LOCKS = 4 };
/* Locks this process holds (rank 0); freed by the system when it ends, in whatever way. */
static struct {
    int fd;
    char dir[1024];
} locks[LOCKS];
static int lock_count;

void home_paths_of(struct job *job, struct arena *arena)
{
    const struct run_config *run = &job->config->run;
    const char *backbone = zoo_canonical(run->backbone, run->data);
    job->data_dir = path_join(arena, run->result_dir, run->data);
    job->dir = path_join(arena, path_join(arena, job->data_dir, backbone ? backbone : run->backbone),
                         arena_printf(arena, "%d", run->trial));
}

void home_paths(struct job *job, const struct command *command, struct arena *arena)
{
    const struct run_config *run = &job->config->run;
    const char *encoder;
    home_paths_of(job, arena);
    bool known = zoo_canonical(run->backbone, run->data) ||
                 (!(command->flags & COMMAND_NETWORK) &&
                  home_imported(job, path_join(arena, job->dir, "embeddings.h5"), &encoder));
    agree(job->world, known, EXIT_BAD_CONFIG,
          "backbone: expected a network of this program, found \"%s\" (%s)\n"
          "There are %s; representations of another encoder come in by `cfn import FILE --as embeddings`.",
          run->backbone, job->config->values[key_find("backbone")].origin, zoo_built(arena));
}

bool home_imported(struct job *job, const char *path, const char **encoder)
{
    if (!home_has(job, path))
        return false;
    struct store *store = store_open(job->world, job->run, path);
    bool imported = home_is_import(job, store, encoder);
    store_close(store);
    return imported;
}

bool home_is_import(struct job *job, struct store *store, const char **encoder)
{
    const char *stage = "";
    bool imported = store_get_text(store, "/run", "stage", &stage) && strcmp(stage, "import") == 0;
    if (imported && !store_get_text(store, "/", "encoder", encoder))
        *encoder = job->config->run.backbone;
    return imported;
}

void home_set(struct job *job, const struct command *command)
{
    static char started[32];
    timer_utc(started, sizeof started);
    job->started = started;
    job->command = command;
    job->inputs.count = job->absent.count = 0;
    job->home = command->flags & COMMAND_DATA ? job->data_dir : job->dir;
}

bool home_has(struct job *job, const char *path)
{
    char there = job->world->rank == 0 && file_exists(path);
    world_broadcast(job->world, &there, 1, 0);
    return there;
}

static void describe_holder(int fd, const char *stage)
{
    char host[256] = "", now[32], line[400];
    gethostname(host, sizeof host - 1);
    timer_utc(now, sizeof now);
    int length = snprintf(line, sizeof line, "host %s, process %d, cfn %s since %s\n", host, (int)getpid(), stage, now);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, line, (size_t)length, 0) != length)
        log_warn("lock: %s", strerror(errno));
}

/* Takes the lock of `dir`: 1 taken, 0 held by another job (described in holder), -1 with errno. */
static int try_lock(const char *dir, const char *stage, struct arena *arena, char holder[400])
{
    int fd = open(path_join(arena, dir, ".lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) {
        if (errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP)
            log_warn("%s: this file system has no locks: take care that no other job writes there", dir);
        describe_holder(fd, stage);
        locks[lock_count].fd = fd;
        snprintf(locks[lock_count].dir, sizeof locks->dir, "%s", dir);
        lock_count++;
        return 1;
    }
    ssize_t length = pread(fd, holder, 399, 0);
    holder[length > 0 ? length : 0] = '\0';
    holder[strcspn(holder, "\n")] = '\0';
    close(fd);
    return 0;
}

static bool holds(const char *dir)
{
    for (int l = 0; l < lock_count; l++)
        if (strcmp(locks[l].dir, dir) == 0)
            return true;
    return false;
}

/* On rank 0: the directory, then its lock. Returns what is wrong, or NULL. */
static const char *make_and_lock(struct job *job, bool wait)
{
    const char *why = "cannot be made";
    if (!path_make_dirs(job->run, job->home, &why))
        return arena_printf(job->run, "%s: %s", job->home, why);
    if (holds(job->home))
        return NULL;
    require(lock_count < LOCKS, EXIT_INTERNAL, "%s: more than %d locks", job->home, LOCKS);
    char holder[400] = "";
    for (int tries = 0;; tries++) {
        int got = try_lock(job->home, job->command->name, job->run, holder);
        if (got < 0)
            return arena_printf(job->run, "%s: cannot write here: %s", job->home, strerror(errno));
        if (got)
            return NULL;
        if (!wait)
            return arena_printf(job->run,
                                "%s: another job is writing here (%s)\nWait for it, or choose another --trial "
                                "or --result_dir.",
                                job->home, holder);
        if (tries == 0)
            log_info("%s: waiting for another job (%s)", job->home, holder);
        sleep(2);
    }
}

void home_lock(struct job *job, bool wait)
{
    if (job->dry_run)
        return;
    const char *problem = job->world->rank == 0 ? make_and_lock(job, wait) : NULL;
    agree(job->world, !problem, EXIT_CANNOT_CREATE, "%s", problem ? problem : "");
}

void home_unlock(struct job *job)
{
    for (int l = 0; l < lock_count; l++)
        if (strcmp(locks[l].dir, job->home) == 0) {
            close(locks[l].fd);
            locks[l] = locks[--lock_count];
            return;
        }
}

void home_describe(struct job *job)
{
    if (job->dry_run)
        return;
    const char *why = "";
    bool ok = true;
    const char *used = path_join(job->run, job->home, "used.yml");
    if (job->world->rank == 0) {
        char *text = config_used(job->run, job->config);
        ok = file_write(job->run, used, text, strlen(text), &why);
    }
    agree(job->world, ok, EXIT_CANNOT_CREATE, "%s: %s", used, why);
    log_file(path_join(job->run, job->home, "log.txt"));
    log_verbose("%s", job->command_line);
}
