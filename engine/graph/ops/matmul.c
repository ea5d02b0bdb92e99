/* matmul: y = op(a) op(b) + bias, all of rank 2 but the bias (N); and linear, which records it.
 *
 * infer, grad and lower run on the recording thread, tile functions on any worker. y is M x N,
 * op(a) M x K, op(b) K x N. */
#include <string.h>

#include "engine/graph/ops/common.h"
#include "engine/tune/problem.h"
#include "kernels/matmul/matmul.h"

typedef struct attrs {
    int32_t transpose_a, transpose_b;
} attrs;

static weft_status infer(wf_infer *f)
{
    const attrs *t = f->attrs;
    const weft_shape *a = &f->in[0].shape, *b = &f->in[1].shape;
    char a_text[WF_SHAPE_TEXT], b_text[WF_SHAPE_TEXT];
    for (int i = 0; i < f->n_in; i++) {
        WF_TRY(wf_infer_float(f, i));
        if (f->in[i].dtype != f->in[0].dtype)
            return wf_infer_fail(f, WEFT_ERR_DTYPE, "%s is %s, the first factor is %s",
                                 i == 1 ? "the second factor" : "the bias",
                                 weft_dtype_name(f->in[i].dtype), weft_dtype_name(f->in[0].dtype));
    }
    weft_shape_format(*a, a_text, sizeof a_text);
    weft_shape_format(*b, b_text, sizeof b_text);
    if (a->rank != 2 || b->rank != 2)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "factors must be matrices, have shapes %s and %s",
                             a_text, b_text);
    int64_t M = a->dim[t->transpose_a], K = a->dim[!t->transpose_a];
    int64_t N = b->dim[!t->transpose_b];
    if (K != b->dim[t->transpose_b])
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "cannot multiply %s%s by %s%s: %lld is not %lld",
                             a_text, t->transpose_a ? " transposed" : "", b_text,
                             t->transpose_b ? " transposed" : "", (long long)K,
                             (long long)b->dim[t->transpose_b]);
    if (f->n_in > 2 && !weft_shape_equal(f->in[2].shape, WEFT_SHAPE(N)))
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "bias has shape %s, the output %lld columns",
                             weft_shape_format(f->in[2].shape, a_text, sizeof a_text),
                             (long long)N);
    weft_shape out = WEFT_SHAPE(M, N);
    int64_t bytes;
    if (weft_shape_count(out) < 1 || __builtin_mul_overflow(weft_shape_count(out), 8, &bytes))
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "output [%lld, %lld] is empty or too large",
                             (long long)M, (long long)N);
    f->out[0] = (wf_type){f->in[0].dtype, out};
    return WEFT_OK;
}

static weft_status grad(wf_grad *g)
{
    const attrs *t = g->attrs;
    weft_tensor *a = g->in[0], *b = g->in[1], *dy = g->dout[0];
    if (g->needs[0])
        g->din[0] = t->transpose_a ? weft_matmul(b, dy, t->transpose_b, true)
                                   : weft_matmul(dy, b, false, !t->transpose_b);
    if (g->needs[1])
        g->din[1] = t->transpose_b ? weft_matmul(dy, a, true, t->transpose_a)
                                   : weft_matmul(a, dy, !t->transpose_a, false);
    if (g->n_in > 2 && g->needs[2])
        g->din[2] = weft_sum(dy, WEFT_DIMS(0), false);
    return wf_step_status(g->ctx);
}

typedef struct run_args {
    const wf_matmul_impl *kernel;
    wf_matmul_desc desc;
    wf_buf a, b, bias, y;
    int has_bias;
} run_args;

static weft_status run(const wf_tile *t, const void *args, int64_t tile)
{
    const run_args *g = args;
    return wf_matmul_run(g->kernel, &g->desc, tile, wf_data(t, g->a), wf_data(t, g->b),
                         g->has_bias ? wf_data(t, g->bias) : NULL, wf_data(t, g->y), t->scratch);
}

static weft_status lower(wf_lower *l)
{
    const attrs *t = l->attrs;
    wf_operand a = wf_lower_in(l, 0), b = wf_lower_in(l, 1), y = wf_lower_out(l, 0);
    run_args g = {.a = a.buf, .b = b.buf, .y = y.buf, .has_bias = l->n_in > 2};
    g.desc = (wf_matmul_desc){.M = y.shape.dim[0],
                              .N = y.shape.dim[1],
                              .K = a.shape.dim[!t->transpose_a],
                              .transpose_a = t->transpose_a,
                              .transpose_b = t->transpose_b,
                              .type = y.dtype};
    const char *prefer;
    wf_problem problem = wf_problem_matmul(&g.desc);
    WF_TRY(wf_lower_prefer(l, &problem, &prefer));
    g.kernel = wf_matmul_select(&g.desc, l->isa, prefer);
    if (g.has_bias)
        g.bias = wf_lower_in(l, 2).buf;
    wf_task *task =
        wf_lower_task(l, g.kernel->name, run, &g, sizeof g, wf_matmul_tiles(g.kernel, &g.desc));
    wf_reads(task, a.buf, WF_WHOLE);
    wf_reads(task, b.buf, WF_WHOLE);
    if (g.has_bias)
        wf_reads(task, g.bias, WF_WHOLE);
    wf_writes(task, y.buf, WF_WHOLE);
    wf_scratch(task, g.kernel->scratch_bytes);
    double M = (double)g.desc.M, N = (double)g.desc.N, K = (double)g.desc.K;
    wf_cost(task, 2 * M * N * K, (M * K + K * N + M * N) * (double)weft_dtype_size(y.dtype));
    wf_expect(task, wf_matmul_cycles(g.kernel, &g.desc, l->isa),
              prefer && strcmp(prefer, g.kernel->name) == 0);
    return wf_lowered(l, task);
}

weft_tensor *weft_matmul(weft_tensor *a, weft_tensor *b, bool transpose_a, bool transpose_b)
{
    attrs t = {transpose_a, transpose_b};
    return wf_record(&wf_op_matmul, &t, NULL, 2, (weft_tensor *[]){a, b}, NULL);
}

weft_tensor *weft_linear(weft_tensor *x, weft_tensor *w, weft_tensor *bias)
{
    const attrs t = {0, 1};
    weft_context *ctx = wf_record_context("linear", 2, 3, (weft_tensor *[]){x, w, bias});
    if (!ctx)
        return NULL;
    weft_shape s = weft_tensor_shape(x), ws = weft_tensor_shape(w);
    if (s.rank < 1 || ws.rank != 2) {
        wf_fail_step(ctx, WEFT_ERR_SHAPE,
                     "linear: input needs at least 1 dimension and has %d, weight "
                     "2 and has %d",
                     s.rank, ws.rank);
        return NULL;
    }
    if (s.dim[s.rank - 1] != ws.dim[1]) {
        wf_fail_step(ctx, WEFT_ERR_SHAPE, "linear: input has %lld features, weight expects %lld",
                     (long long)s.dim[s.rank - 1], (long long)ws.dim[1]);
        return NULL;
    }
    if (s.rank != 2)
        x = weft_reshape(x, WEFT_SHAPE(-1, ws.dim[1]));
    x = wf_record(&wf_op_matmul, &t, NULL, bias ? 3 : 2, (weft_tensor *[]){x, w, bias}, NULL);
    s.dim[s.rank - 1] = ws.dim[0];
    return s.rank == 2 ? x : weft_reshape(x, s);
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    const attrs *t = user;
    return weft_matmul(in[0], in[1], t->transpose_a, t->transpose_b);
}

static weft_tensor *apply_linear(void *user, weft_tensor *const *in, int n)
{
    return weft_linear(in[0], in[1], n > 2 ? in[2] : NULL);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const attrs nn = {0, 0}, nt = {0, 1}, tn = {1, 0}, tt = {1, 1};
    static const wf_sample_case cases[] = {
        {"a b", 2, {{2, {3, 4}}, {2, {4, 2}}}, apply, &nn},
        {"a bT", 2, {{2, {3, 4}}, {2, {2, 4}}}, apply, &nt},
        {"aT b", 2, {{2, {4, 3}}, {2, {4, 2}}}, apply, &tn},
        {"aT bT", 2, {{2, {4, 3}}, {2, {2, 4}}}, apply, &tt},
        {"linear", 3, {{2, {3, 4}}, {2, {5, 4}}, {1, {5}}}, apply_linear, NULL},
        {"linear of rank 3", 3, {{3, {2, 2, 4}}, {2, {3, 4}}, {1, {3}}}, apply_linear, NULL},
        {"linear of rank 1", 2, {{1, {4}}, {2, {3, 4}}}, apply_linear, NULL},
    };
    return wf_sample_from(ctx, cases, sizeof cases / sizeof *cases, index, s);
}

const wf_op wf_op_matmul = {
    .name = "matmul",
    .n_out = 1,
    .attr_size = sizeof(attrs),
    .layout_rule = WF_LAYOUT_PLAIN,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};
