/* split: cuts a tensor into up to four parts along one dimension, in any layout; each part is an
 * output. Its gradient joins the parts' gradients in one pass.
 *
 * weft_split_with_sizes and weft_chunk with more parts split the parts again. So n parts cost
 * log4(n) passes over the gradient; n narrows would cost n passes. */
#include "engine/graph/ops/gather.h"
#include "engine/base/alloc.h"
#include "engine/graph/ops/internal.h"

enum { PARTS = WF_MAX_OUT };

typedef struct split_attrs {
    int64_t dim, n, size[PARTS];
} split_attrs;

/* Checks nothing: the functions below, which record this op, have checked everything. */
static weft_status infer(wf_infer *f)
{
    const split_attrs *a = f->attrs;
    f->n_out = (int)a->n;
    for (int o = 0; o < f->n_out; o++) {
        f->out[o] = f->in[0];
        f->out[o].shape.dim[a->dim] = a->size[o];
    }
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    const split_attrs *a = l->attrs;
    wf_narrow_attrs part = {.dim = a->dim, .groups = 1};
    for (int o = 0; o < l->n_out; o++, part.start += part.length) {
        part.length = a->size[o];
        WF_TRY(wf_lower_narrow(l, o, &part));
    }
    return WEFT_OK;
}

static weft_status grad(wf_grad *g)
{
    weft_tensor *parts[PARTS];
    for (int o = 0; o < g->n_out; o++) {
        parts[o] = g->dout[o];
        if (!parts[o])
            parts[o] = wf_record_fill(g->ctx, wf_operand_dtype(g->out[o]),
                                      weft_tensor_shape(g->out[o]), 0);
    }
    if (g->needs[0])
        g->din[0] = weft_concat(parts, g->n_out, (int)((const split_attrs *)g->attrs)->dim);
    return WEFT_OK;
}

/* The weighted sum of the parts' sums; one part may be left out. */
typedef struct split_case {
    int n, dim, unused; /* unused: -1 for none */
    int64_t size[6];    /* size[0] = 0: weft_chunk */
} split_case;

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    const split_case *c = user;
    weft_tensor *parts[6], *sum = NULL;
    const weft_status status = c->size[0] > 0
                                   ? weft_split_with_sizes(in[0], c->n, c->size, c->dim, parts)
                                   : weft_chunk(in[0], c->n, c->dim, parts);
    for (int i = 0; status == WEFT_OK && i < c->n; i++) {
        if (i == c->unused || !parts[i])
            continue;
        weft_tensor *term = weft_sum(weft_mul(parts[i], parts[i]), WEFT_DIMS(c->dim), false);
        term = weft_scale(term, 1.0 + i);
        sum = sum ? weft_add(sum, term) : term;
    }
    return sum;
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const split_case halves = {2, 1, -1, {0}}, three = {3, 1, 1, {0}},
                            rows = {3, -2, -1, {0}}, six = {6, 1, 4, {1, 3, 2, 1, 2, 2}},
                            images = {2, 0, -1, {1, 2}};
    static const wf_sample_case cases[] = {
        {"halves", 1, {{4, {2, 10, 2, 2}}}, apply, &halves},
        {"three parts, one of them unused", 1, {{4, {2, 8, 1, 3}}}, apply, &three},
        {"rank 2", 1, {{2, {3, 4}}}, apply, &halves},
        {"another dimension", 1, {{4, {2, 3, 4, 2}}}, apply, &rows},
        {"six parts, one of them unused", 1, {{4, {2, 11, 2, 1}}}, apply, &six},
        {"images", 1, {{4, {3, 5, 2, 1}}}, apply, &images},
    };
    return wf_sample_from(ctx, cases, 6, index, s);
}

const wf_op wf_op_split = {
    .name = "split",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = PARTS,
    .attr_size = sizeof(split_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_ALL_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

/* Records the split of x into n parts of these sizes, which add up to the dimension's. False on
 * failure. */
static bool record(weft_tensor *x, int n, const int64_t *size, int dim, weft_tensor **parts)
{
    if (n == 1) {
        parts[0] = x;
        return true;
    }
    split_attrs a = {.dim = dim, .n = n < PARTS ? n : PARTS};
    weft_tensor *out[PARTS];
    int first[PARTS + 1] = {0}; /* first[o]: the first of the parts into which output o is split */
    for (int o = 0; o < (int)a.n; o++) {
        first[o + 1] = (int)((int64_t)n * (o + 1) / a.n);
        for (int i = first[o]; i < first[o + 1]; i++)
            a.size[o] += size[i];
    }
    bool done = wf_record(&wf_op_split, &a, NULL, 1, &x, out) != NULL;
    for (int o = 0; done && o < (int)a.n; o++)
        done = record(out[o], first[o + 1] - first[o], size + first[o], dim, parts + first[o]);
    return done;
}

/* The same for the public function `op`, with any sizes. Sets `parts` when all are recorded. Empty
 * parts are made separately: no kernel makes them. */
static weft_status record_all(weft_context *ctx, const char *op, weft_tensor *x, int n,
                              const int64_t *sizes, int dim, weft_tensor **parts)
{
    weft_tensor **out = wf_alloc_array((size_t)n * 2, sizeof(*out));
    int64_t *size = wf_alloc_array((size_t)n, sizeof(*size));
    if (!out || !size) {
        wf_free(out);
        wf_free(size);
        return wf_fail_step(ctx, WEFT_ERR_NOMEM, "%s: no memory for %d parts", op, n);
    }
    weft_tensor **full = out + n;
    int there = 0, next = 0;
    for (int i = 0; i < n; i++)
        if (sizes[i] > 0)
            size[there++] = sizes[i];
    bool done = there == 0 || record(x, there, size, dim, full);
    for (int i = 0; done && i < n; i++)
        done = (out[i] = sizes[i] > 0 ? full[next++] : weft_narrow(x, dim, 0, 0)) != NULL;
    for (int i = 0; done && i < n; i++)
        parts[i] = out[i];
    wf_free(out);
    wf_free(size);
    return done ? WEFT_OK : wf_step_status(ctx);
}

/* The dimension, counted from the front; -1 on failure. */
static int dimension(weft_context *ctx, const char *op, const weft_shape *x, int dim)
{
    if (dim >= -x->rank && dim < x->rank)
        return dim < 0 ? dim + x->rank : dim;
    wf_fail_step(ctx, WEFT_ERR_SHAPE, "%s: dimension %d is out of range for a tensor of rank %d",
                 op, dim, x->rank);
    return -1;
}

weft_status weft_split_with_sizes(weft_tensor *x, int n, const int64_t *sizes, int dim,
                                  weft_tensor **parts)
{
    WF_SAY("split_with_sizes", 1, x);
    char text[WF_SHAPE_TEXT];
    if (!x)
        return WEFT_ERR_STATE; /* the context has the error */
    weft_context *ctx = wf_record_context("split_with_sizes", 1, 1, &x);
    if (!ctx)
        return WEFT_ERR_STATE;
    if (!parts || !sizes || n < 1)
        return wf_fail_step(ctx, WEFT_ERR_INVALID, "split_with_sizes: %d parts%s%s", n,
                            sizes ? "" : ", without sizes",
                            parts ? "" : ", and there is no place for them");
    const weft_shape shape = weft_tensor_shape(x);
    const int d = dimension(ctx, "split_with_sizes", &shape, dim);
    if (d < 0)
        return WEFT_ERR_SHAPE;
    int64_t left = shape.dim[d];
    for (int i = 0; i < n; left -= sizes[i++])
        if (sizes[i] < 0 || sizes[i] > left)
            return wf_fail_step(
                ctx, WEFT_ERR_SHAPE,
                "split_with_sizes: part %d has %lld elements, where dimension %d of %s has "
                "%lld left",
                i, (long long)sizes[i], d, weft_shape_format(shape, text, sizeof(text)),
                (long long)left);
    if (left > 0)
        return wf_fail_step(ctx, WEFT_ERR_SHAPE,
                            "split_with_sizes: %d parts leave %lld elements of dimension %d of %s",
                            n, (long long)left, d, weft_shape_format(shape, text, sizeof(text)));
    return record_all(ctx, "split_with_sizes", x, n, sizes, d, parts);
}

weft_status weft_chunk(weft_tensor *x, int n, int dim, weft_tensor **parts)
{
    WF_SAY("chunk", 1, x);
    char text[WF_SHAPE_TEXT];
    if (!x)
        return WEFT_ERR_STATE; /* the context has the error */
    weft_context *ctx = wf_record_context("chunk", 1, 1, &x);
    if (!ctx)
        return WEFT_ERR_STATE;
    if (!parts)
        return wf_fail_step(ctx, WEFT_ERR_INVALID, "chunk: there is no place for the parts");
    const weft_shape shape = weft_tensor_shape(x);
    const int d = dimension(ctx, "chunk", &shape, dim);
    if (d < 0)
        return WEFT_ERR_SHAPE;
    if (n < 1)
        return wf_fail_step(ctx, WEFT_ERR_SHAPE,
                            "chunk: %s in %d parts along dimension %d, at least 1 is needed",
                            weft_shape_format(shape, text, sizeof(text)), n, d);
    const int64_t size = (shape.dim[d] + n - 1) / n;
    const int there = size > 0 ? (int)((shape.dim[d] + size - 1) / size) : n;
    int64_t *sizes = wf_alloc_array((size_t)there, sizeof(*sizes));
    if (!sizes)
        return wf_fail_step(ctx, WEFT_ERR_NOMEM, "chunk: no memory for %d sizes", there);
    for (int i = 0; i < there; i++)
        sizes[i] = i < there - 1 ? size : shape.dim[d] - size * i;
    const weft_status status = record_all(ctx, "chunk", x, there, sizes, d, parts);
    for (int i = there; status == WEFT_OK && i < n; i++)
        parts[i] = NULL;
    wf_free(sizes);
    return status;
}
