/* Between the files that call oneDNN (src/nn/onednn*.c); nobody else includes this. */
#ifndef NN_ONEDNN_ONEDNN_CALLS_H
#define NN_ONEDNN_ONEDNN_CALLS_H

#include <stddef.h>

#include "math/onednn_api.h"
#include "nn/onednn.h"

enum { ARGS_MAX = 6 };

struct dn_layout {
    const onednn_desc *md;
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
    struct onednn_shelf shelf;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct call *calls;
    const struct dn_layout *common; /* layout of activations: that of the first wide convolution */
    bool rows;                      /* it is channel-last */
    bool blocked;                   /* it is not */
    size_t scratch_bytes, staging_bytes, weights_bytes, gradient_bytes;
    void *scratch;   /* of the running primitive */
    void *staging;   /* an activation between two layouts */
    void *prepared;  /* weights in the layout and type of a primitive */
    float *gradient; /* their gradient */
    int reorders;
};

struct dn_reorder {
    struct dn *dn;
    struct call *call;            /* NULL: the library would get it wrong */
    const onednn_desc *to, *from; /* without a call */
};

/* Ends the job unless `status` is success. */
void dn_check(dnnl_status_t status, const char *what, const char *name);
size_t dn_largest(size_t a, size_t b);

const onednn_desc *dn_describe(struct dn *dn, int rank, const int64_t *dims, enum value_type type,
                               dnnl_format_tag_t tag);
/* `md` is borrowed: it lives as long as `dn` or its primitive. */
const struct dn_layout *dn_layout_of(struct dn *dn, const onednn_desc *md);
dnnl_data_type_t dn_type_of(enum value_type type);
/* Whether `md` is [images][groups][pixels][lanes] without padding, and the numbers. */
bool dn_view_of(struct view *view, const onednn_desc *md);
/* The layout of `common` for other extents; plain when the channels do not fill its lanes. */
const onednn_desc *dn_common_desc(struct dn *dn, const int64_t dims[4], enum value_type type);

/* For this engine; `forward`: of a gradient, the call it belongs to. */
struct onednn_use dn_use(const struct dn *dn, const struct call *forward);
/* A primitive with the shared scratchpad; takes `pd`. Where the library has none (NULL), the job ends. */
struct call *dn_make(struct dn *dn, dnnl_primitive_desc_t pd, const char *name);
/* The same, or NULL where the library has none. */
struct call *dn_make_any(struct dn *dn, dnnl_primitive_desc_t pd, const char *name);
/* The next argument of the primitive. */
void dn_call_arg(struct dn *dn, struct call *call, int arg, const onednn_desc *md);
/* Runs with the given data, one pointer for each dn_call_arg in its order. */
void dn_call_run(struct dn *dn, struct call *call, const void *const *data);
/* Its implementation; NULL: there is no call. */
const char *dn_kernel(const struct call *call);
const onednn_desc *dn_query(const struct call *call, dnnl_query_t what);

/* A counted reorder through the staging buffer, or NULL where the layouts agree. */
struct dn_reorder *dn_staged(struct dn *dn, const struct dn_layout *to, const struct dn_layout *from);
/* A reorder of a parameter into the shared buffer for them, or NULL where the layouts agree; and its result. */
struct dn_reorder *dn_prepares(struct dn *dn, const struct dn_layout *to, const struct dn_layout *from);
const void *dn_prepare(struct dn *dn, struct dn_reorder *reorder, const void *master);

#endif
