/* Between the files that call oneDNN (src/nn/onednn*.c); nobody else includes this. */
#ifndef NN_ONEDNN_CALLS_H
#define NN_ONEDNN_CALLS_H

#include <dnnl.h>
#include <stddef.h>

#include "nn/onednn.h"

enum { ARGS_MAX = 6 };

struct dn_layout {
    dnnl_memory_desc_t md;
};

/* A primitive with the memory objects its arguments pass through. */
struct call {
    dnnl_primitive_t primitive;
    dnnl_primitive_desc_t pd;
    dnnl_exec_arg_t args[ARGS_MAX + 1];
    int count;
    struct call *next;
};

struct dn {
    struct arena *arena;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct call *calls;
    const struct dn_layout *house; /* layout of the first wide convolution: the others follow it */
    bool rows;                     /* the house is channel-last */
    bool blocked;                  /* the house is not */
    size_t scratch_bytes, staging_bytes, weights_bytes, gradient_bytes;
    void *scratch;   /* of the running primitive */
    void *staging;   /* an activation between two layouts */
    void *prepared;  /* weights in the layout and type of a primitive */
    float *gradient; /* their gradient */
    int reorders;
};

struct dn_reorder {
    struct dn *dn;
    struct call *call;
};

/* Ends the job unless `status` is success. */
void dn_check(dnnl_status_t status, const char *what, const char *name);
size_t dn_largest(size_t a, size_t b);

dnnl_memory_desc_t dn_describe(int rank, const int64_t *dims, enum value_type type, dnnl_format_tag_t tag);
const struct dn_layout *dn_layout_of(struct dn *dn, const dnnl_memory_desc_t *md);
dnnl_data_type_t dn_type_of(enum value_type type);
/* Whether `md` is [images][groups][pixels][lanes] without padding, and the numbers. */
bool dn_view_of(struct view *view, const dnnl_memory_desc_t *md);
/* The layout of `house` for other extents; plain when the channels do not fill its lanes. */
dnnl_memory_desc_t dn_house_layout(const struct dn *dn, const int64_t dims[4], enum value_type type);

/* A primitive for an operation descriptor, with the shared scratchpad; afterwards it adds to what its output holds
 * (sum) and applies an elementwise function (dnnl_alg_kind_undef: none). */
struct call *dn_make(struct dn *dn, const_dnnl_op_desc_t op, const struct call *hint, bool sum,
                     dnnl_alg_kind_t function, const char *name);
/* The same, or NULL where the library has none with at most `scratch` bytes of scratch memory. */
struct call *dn_make_small(struct dn *dn, const_dnnl_op_desc_t op, const struct call *hint, bool sum,
                           dnnl_alg_kind_t function, size_t scratch, const char *name);
/* The next argument of the primitive. */
void dn_call_arg(struct dn *dn, struct call *call, int arg, const dnnl_memory_desc_t *md);
/* Runs with the given data, one pointer for each dn_call_arg in its order. */
void dn_call_run(struct dn *dn, struct call *call, const void *const *data);
const dnnl_memory_desc_t *dn_query(const struct call *call, dnnl_query_t what);

/* A counted reorder through the staging buffer, or NULL where the layouts agree. */
struct dn_reorder *dn_staged(struct dn *dn, const struct dn_layout *to, const struct dn_layout *from);
/* A reorder of a parameter into the shared buffer for them, or NULL where the layouts agree; and its result. */
struct dn_reorder *dn_prepares(struct dn *dn, const struct dn_layout *to, const struct dn_layout *from);
const void *dn_prepare(struct dn *dn, struct dn_reorder *reorder, const void *master);

#endif
