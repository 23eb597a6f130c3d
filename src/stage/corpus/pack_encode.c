/* Between the passes of cfn pack, for an encoded corpus with image.short_side or of images in arrays: every picture
 * becomes PNG once, into a nameless file beside the corpus, for how large the corpus will be is known only then. The
 * second pass copies from it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stage/corpus/pack.h"

static int open_nameless(struct pack *pack);
static const char *encode_row(struct pack *pack, int worker, int64_t i);

void pack_encode(struct pack *pack)
{
    struct job *job = pack->job;
    int64_t count = pack->mine.count, rows = pack->manifest.rows, failed = -1;
    const char *why = "";
    pack->png_file = open_nameless(pack);
    pack->png_at = arena_array(job->run, int64_t, count + 1);
    enum phase before = phase_enter(PHASE_DECODE);
    for (int64_t begin = 0; begin < count; begin += PACK_CHUNK) {
        int64_t end = begin + PACK_CHUNK < count ? begin + PACK_CHUNK : count;
#pragma omp parallel for schedule(static, 1)
        for (int w = 0; w < pack->workers; w++)
            for (int64_t i = begin + w; i < end; i += pack->workers) {
                struct arena_mark mark = arena_mark(pack->scratch[w]);
                const char *problem = pack->facts[pack->mine.first + i].ok ? encode_row(pack, w, i) : NULL;
#pragma omp critical
                if (problem && (failed < 0 || i < failed)) {
                    failed = i;
                    why = arena_strdup(job->run, problem);
                }
                arena_release(pack->scratch[w], mark);
            }
        progress("pack", "encoding", (double)end * (double)rows / (double)count, (double)rows, "img");
    }
    progress_end();
    phase_enter(before);
    agree(job->world, failed < 0, EXIT_IO, "pack: %s: %s",
          failed < 0 ? "" : manifest_place(job->run, &pack->manifest, pack->mine.first + failed), why);
    world_allgather_rows(job->world, pack->facts, pack->facts + pack->mine.first, count, sizeof *pack->facts);
}

static int open_nameless(struct pack *pack)
{
    struct job *job = pack->job;
    char *path = arena_printf(job->run, "%s.png-XXXXXX", job_path(job, "corpus.h5"));
    int file = mkstemp(path);
    bool fine = file >= 0 && unlink(path) == 0;
    agree(job->world, fine, EXIT_CANNOT_CREATE, "%s: %s", path, strerror(errno));
    return file;
}

/* NULL or the reason. The picture is the one of the first pass, or read again. */
static const char *encode_row(struct pack *pack, int worker, int64_t i)
{
    struct arena *scratch = pack->scratch[worker];
    struct image picture;
    const char *why = "the file has changed between two readings; pack again";
    struct intake_facts *facts = &pack->facts[pack->mine.first + i];
    size_t size = 0;
    if (!pack_picture(pack, worker, &picture, pack->mine.first + i, &why))
        return why;
    const uint8_t *bytes = image_encode_png(scratch, &picture, &size, &why);
    if (!bytes)
        return why;
    facts->bytes = (int64_t)size;
#pragma omp atomic capture
    {
        pack->png_at[i] = pack->png_end;
        pack->png_end += (int64_t)size;
    }
    for (size_t done = 0; done < size;) {
        ssize_t n = pwrite(pack->png_file, bytes + done, size - done, (off_t)(pack->png_at[i] + (int64_t)done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return arena_printf(scratch, "cannot write beside corpus.h5: %s", strerror(errno));
        done += (size_t)n;
    }
    return NULL;
}

bool pack_encoded(struct pack *pack, uint8_t *to, int64_t source)
{
    int64_t size = pack->facts[source].bytes, at = pack->png_at[source - pack->mine.first];
    for (int64_t done = 0; done < size;) {
        ssize_t n = pread(pack->png_file, to + done, (size_t)(size - done), (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += n;
    }
    return true;
}
