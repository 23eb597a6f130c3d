/* Matrices of other programs by rows. A tensor file is described by the reader of weights (store/tensors.h), which is
 * given the file as mapped memory and looks at its header alone; values are then read where it says they lie. HDF5 is
 * in matrix_h5.c. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/phase.h"
#include "base/text.h"
#include "dist/world.h"
#include "store/matrix_parts.h"

static const unsigned char HDF5_MAGIC[8] = "\x89HDF\r\n\x1a\n", NUMPY_MAGIC[6] = "\x93NUMPY";

/* ---- what is in the file ---- */

/* Is it one of the kinds that can be read by rows? By its first bytes. */
static bool is_tensor_file(const uint8_t *bytes, size_t size)
{
    return (size >= sizeof NUMPY_MAGIC && memcmp(bytes, NUMPY_MAGIC, sizeof NUMPY_MAGIC) == 0) ||
           (size >= 9 && bytes[8] == '{');
}

static const char *shape_text(struct arena *arena, const struct tensor *t)
{
    struct text text = text_new(arena);
    for (int d = 0; d < t->rank; d++)
        text_add(&text, "%s%lld", d ? " x " : "", (long long)t->dims[d]);
    return t->rank ? text.data : "a single number";
}

/* The tensor that is meant: the one of this name, or the only matrix of real numbers. */
static const char *choose(const struct tensor **out, struct arena *arena, const struct matrix *m,
                          const struct tensors *all, const char *name)
{
    const struct tensor *found = NULL;
    int matrices = 0;
    for (int i = 0; i < all->count; i++) {
        const struct tensor *t = &all->list[i];
        bool is_matrix = t->rank == 2 && tensor_is_real(t->type);
        if (name ? strcmp(t->name, name) == 0 : is_matrix || all->count == 1)
            found = t;
        matrices += is_matrix;
    }
    if (!name && matrices > 1)
        return arena_printf(arena, "%s: %d matrices of real numbers\n--dataset NAME says which one is meant", m->path,
                            matrices);
    if (!found)
        return arena_printf(arena, "%s: no tensor \"%s\" among its %d\n%s", m->path, name ? name : "features",
                            all->count, "expected one matrix of real numbers, a row an image");
    const char *what = *found->name ? arena_printf(arena, "%s: \"%s\"", m->path, found->name) : m->path;
    if (!tensor_is_real(found->type))
        return arena_printf(arena, "%s: values of type %s, expected real numbers (f16, bf16, f32, f64)", what,
                            tensor_type_name(found->type));
    if (found->rank != 2 || found->count == 0)
        return arena_printf(arena, "%s: shape %s, expected two extents, a row an image", what,
                            shape_text(arena, found));
    *out = found;
    return NULL;
}

/* From the mapped file. */
static const char *describe(struct matrix *m, struct arena *arena, const char *name, const uint8_t *bytes, size_t size)
{
    const char *why = NULL;
    const struct tensor *t = NULL;
    if (!is_tensor_file(bytes, size))
        return arena_printf(arena, "%s: expected .npy, .safetensors or HDF5, found another kind of file", m->path);
    const struct tensors *all = tensors_read(arena, m->path, bytes, size, &why);
    if (!all || (why = choose(&t, arena, m, all, name)))
        return why;
    m->format = all->format;
    m->name = t->name;
    m->type = tensor_type_name(t->type);
    m->rows = t->dims[0];
    m->dim = t->dims[1];
    m->source->offset = t->data - bytes;
    m->source->tensor = *t;
    return NULL;
}

static const char *find(struct matrix *m, struct arena *arena, const char *name, enum exit_code *code)
{
    struct stat st;
    uint8_t magic[sizeof HDF5_MAGIC] = { 0 };
    *code = EXIT_NO_INPUT;
    int file = open(m->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 || fstat(file, &st) != 0 || !S_ISREG(st.st_mode)) {
        const char *why = file < 0 ? strerror(errno) : "not a regular file";
        if (file >= 0)
            close(file);
        return arena_printf(arena, "%s: %s", m->path, why);
    }
    *code = EXIT_BAD_DATA;
    m->source->is_hdf5 =
        pread(file, magic, sizeof magic, 0) == (ssize_t)sizeof magic && memcmp(magic, HDF5_MAGIC, sizeof magic) == 0;
    const char *problem = st.st_size == 0 ? arena_printf(arena, "%s: the file is empty", m->path) : NULL;
    if (!problem && m->source->is_hdf5)
        problem = matrix_h5_find(m, arena, name, code);
    else if (!problem) {
        void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, file, 0);
        problem = bytes == MAP_FAILED ? arena_printf(arena, "%s: %s", m->path, strerror(errno))
                                      : describe(m, arena, name, bytes, (size_t)st.st_size);
        if (bytes != MAP_FAILED)
            munmap(bytes, (size_t)st.st_size);
    }
    close(file);
    return problem ? text_printable(arena_strdup(arena, problem), "\n") : NULL;
}

/* ---- the same on every rank ---- */

static void share(struct world *world, struct arena *arena, struct matrix *m)
{
    const char *const texts[] = { m->format, m->name, m->type };
    const char **to[] = { &m->format, &m->name, &m->type };
    for (int i = 0; i < 3; i++)
        *to[i] = world_broadcast_text(world, arena, texts[i], 0);
    world_broadcast(world, m->source, sizeof *m->source, 0);
    world_broadcast(world, &m->rows, sizeof m->rows, 0);
    world_broadcast(world, &m->dim, sizeof m->dim, 0);
}

struct matrix *matrix_open(struct world *world, struct arena *arena, const char *path, const char *name)
{
    struct matrix *m = arena_array(arena, struct matrix, 1);
    m->path = arena_strdup(arena, path);
    m->source = arena_array(arena, struct matrix_source, 1);
    enum exit_code code = EXIT_BAD_DATA;
    enum phase before = phase_enter(PHASE_READ);
    const char *problem = world->rank == 0 ? find(m, arena, name, &code) : NULL;
    agree(world, !problem, code, "%s", problem ? problem : "");
    share(world, arena, m);
    if (!m->source->is_hdf5)
        m->source->file = open(path, O_RDONLY | O_CLOEXEC);
    bool fine = m->source->is_hdf5 ? matrix_h5_open(m) : m->source->file >= 0;
    agree(world, fine, EXIT_NO_INPUT, "%s: this rank cannot open it\nAll nodes must see the file.", path);
    phase_enter(before);
    return m;
}

/* ---- rows ---- */

static void read_bytes(const struct matrix *m, uint8_t *out, size_t bytes, int64_t offset)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t got = pread(m->source->file, out + done, bytes - done, offset + (int64_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        require(got > 0, EXIT_IO, "%s: cannot be read at byte %lld: %s", m->path, (long long)(offset + (int64_t)done),
                got < 0 ? strerror(errno) : "the file became shorter");
        done += (size_t)got;
    }
}

/* Neighbouring rows of a tensor file. Row-major: one piece; column-major: one of every column. */
static void read_run(const struct matrix *m, struct arena *scratch, int64_t first, int64_t count, float *out)
{
    const struct tensor *whole = &m->source->tensor;
    const int64_t width = (int64_t)tensor_bytes(whole->type);
    const bool by_columns = whole->dims[1] > 1 && whole->strides[1] != 1;
    const int64_t pieces = by_columns ? m->dim : 1, values = by_columns ? count : count * m->dim;
    const int64_t step = by_columns ? whole->strides[1] : 0, row = by_columns ? 1 : m->dim;
    struct arena_mark mark = arena_mark(scratch);
    uint8_t *bytes = arena_take_raw(scratch, (size_t)(count * m->dim), (size_t)width);
    for (int64_t p = 0; p < pieces; p++)
        read_bytes(m, bytes + p * values * width, (size_t)(values * width),
                   m->source->offset + (first * row + p * step) * width);
    struct tensor part = { .type = whole->type, .rank = 2, .count = count * m->dim, .data = bytes };
    part.dims[0] = count, part.dims[1] = m->dim;
    part.strides[0] = by_columns ? 1 : m->dim, part.strides[1] = by_columns ? count : 1;
    tensor_floats(out, &part);
    arena_release(scratch, mark);
}

void matrix_read(struct matrix *m, struct arena *scratch, const int64_t *rows, int64_t count, float *out)
{
    enum phase before = phase_enter(PHASE_READ);
    for (int64_t i = 0, run; i < count; i += run) {
        for (run = 1; i + run < count && rows[i + run] == rows[i] + run;)
            run++;
        if (!m->source->is_hdf5)
            read_run(m, scratch, rows[i], run, out + i * m->dim);
        else
            require(matrix_h5_read(m, rows[i], run, out + i * m->dim), EXIT_IO,
                    "%s: %s: rows %lld to %lld cannot be read", m->path, m->name, (long long)rows[i],
                    (long long)(rows[i] + run - 1));
    }
    phase_enter(before);
}

void matrix_close(struct matrix *m)
{
    if (m->source->is_hdf5)
        matrix_h5_close(m);
    else
        close(m->source->file);
}
