/* Lowering of matmul to the batched products of kernels/matmul.
 *
 * wf_matmul_lower runs on the recording thread, tile functions on any worker. y is M x N, op(a)
 * M x K, op(b) K x N, for each of the batch. */
#include "engine/graph/ops/matmul_lower.h"

#include <string.h>

#include "engine/graph/ops/common.h"
#include "engine/tune/problem.h"
#include "kernels/eltwise/eltwise.h"
#include "kernels/matmul/batch.h"

_Static_assert(WEFT_MAX_RANK <= WF_MATMUL_DIMS, "the kernel takes every rank");

wf_matmul_view wf_matmul_view_of(const weft_shape *s, int64_t dims, bool transposed)
{
    int64_t rows = dims == 2 ? s->dim[s->rank - 2] : 1;
    int64_t columns = dims >= 1 ? s->dim[s->rank - 1] : 1;
    return (wf_matmul_view){transposed ? columns : rows, transposed ? rows : columns,
                            s->rank - (int)dims};
}

/* The step of the operand along the next batch dimension, counted from the last one: 0 where it
 * has one of several. *step is that of the dimension, and becomes the one before it. */
static int64_t next_step(int64_t size, int64_t all, int64_t *step)
{
    int64_t this = size == 1 && all != 1 ? 0 : *step;
    *step *= size;
    return this;
}

/* The products, as kernels take them. */
static void make_work(const wf_lower *l, wf_matmul_batch *work)
{
    const wf_matmul_attrs *t = l->attrs;
    const weft_shape a = wf_lower_in(l, 0).shape, b = wf_lower_in(l, 1).shape,
                     y = wf_lower_out(l, 0).shape;
    const wf_matmul_view va = wf_matmul_view_of(&a, t->dims[WF_MATMUL_A], t->transpose[0]),
                         vb = wf_matmul_view_of(&b, t->dims[WF_MATMUL_B], t->transpose[1]);
    wf_matmul_desc d = {.M = va.rows,
                        .N = vb.columns,
                        .K = va.columns,
                        .transpose_a = (int)t->transpose[0],
                        .transpose_b = (int)t->transpose[1],
                        .type = wf_lower_out(l, 0).dtype};
    d.bf16 = l->ctx->options.amp == WEFT_AMP_BF16 && d.type == WEFT_F32;
    wf_matmul_dim dim[WEFT_MAX_RANK];
    int64_t step_a = d.M * d.K, step_b = d.K * d.N, step_y = d.M * d.N;
    int n = va.batch_rank > vb.batch_rank ? va.batch_rank : vb.batch_rank;
    for (int i = 0; i < n; i++) {
        int64_t size_a = wf_matmul_batch_dim(a.dim, va.batch_rank, i),
                size_b = wf_matmul_batch_dim(b.dim, vb.batch_rank, i),
                size_y = wf_matmul_batch_dim(y.dim, t->batch_rank, i);
        wf_matmul_dim *to = &dim[n - 1 - i];
        to->size = size_a == 1 ? size_b : size_a;
        to->a = next_step(size_a, to->size, &step_a);
        to->b = next_step(size_b, to->size, &step_b);
        to->c = next_step(size_y, to->size, &step_y);
    }
    wf_matmul_batch_init(work, &d, n, dim, l->n_in > 2);
}

bool wf_matmul_takes_stored(const void *attrs, const weft_shape *in, int i)
{
    const wf_matmul_attrs *t = attrs;
    return i == WF_MATMUL_B && !t->transpose[WF_MATMUL_A] && t->transpose[WF_MATMUL_B] &&
           in[WF_MATMUL_A].rank == 2 && in[i].rank == 2 && in[i].dim[0] > 1;
}

typedef struct run_args {
    const wf_matmul_impl *kernel;
    wf_matmul_batch work;
    wf_buf a, b, bias, y;
    int has_bias;
    size_t wide_at; /* bytes into scratch, of the rows of a stored bf16 b; 0: b is not bf16 */
} run_args;

/* b is stored as bf16 and transposed: widens its rows that a tile reads, the tile's columns of y, in
 * scratch. So a layer's weights never are in memory as f32, all of them. */
static weft_status run_stored(const wf_tile *t, const void *args, int64_t tile)
{
    const run_args *g = args;
    const wf_matmul_desc *d = &g->work.desc;
    int m, n;
    g->kernel->tile(d, &m, &n);
    const int64_t first = tile % ((d->N + n - 1) / n) * n, left = d->N - first;
    const int64_t rows = left < n ? left : n;
    float *wide = (float *)((char *)t->scratch + g->wide_at);
    wf_cast_get(WEFT_BF16, WEFT_F32)((size_t)(rows * d->K),
                                     (const uint16_t *)wf_data(t, g->b) + first * d->K, wide);
    /* the kernel counts rows from b's first one */
    const float *b = (const float *)((uintptr_t)wide - (uintptr_t)(first * d->K) * sizeof *wide);
    return wf_matmul_run(g->kernel, d, tile, wf_data(t, g->a), b,
                         g->has_bias ? wf_data(t, g->bias) : NULL, wf_data(t, g->y), t->scratch);
}

static weft_status run(const wf_tile *t, const void *args, int64_t tile)
{
    const run_args *g = args;
    return wf_matmul_batch_run(g->kernel, &g->work, tile, wf_data(t, g->a), wf_data(t, g->b),
                               g->has_bias ? wf_data(t, g->bias) : NULL, wf_data(t, g->y),
                               t->scratch);
}

/* ---- adding up partial sums: Note [Splits of terms] in kernels/matmul/batch.h ---- */

typedef struct sum_args {
    const wf_eltwise *kernels;
    wf_cut cut;
    wf_buf partial_sums, y;
    int64_t n;
    size_t size; /* of an element */
} sum_args;

static weft_status run_sum(const wf_tile *t, const void *args, int64_t tile)
{
    const sum_args *g = args;
    const size_t n = wf_cut_count(&g->cut, tile), begin = (size_t)(tile * g->cut.chunk) * g->size;
    const char *partial_sums = (const char *)wf_data(t, g->partial_sums) + begin;
    const size_t partial_sum_bytes = (size_t)g->cut.total * g->size;
    char *y = (char *)wf_data(t, g->y) + begin;
    g->kernels->add(n, partial_sums, partial_sums + partial_sum_bytes, y);
    for (int64_t i = 2; i < g->n; i++)
        g->kernels->add(n, y, partial_sums + (size_t)i * partial_sum_bytes, y);
    return WEFT_OK;
}

static weft_status lower_sum(wf_lower *l, wf_buf partial_sums, int64_t n)
{
    const wf_operand y = wf_lower_out(l, 0);
    const sum_args g = {
        wf_eltwise_get(y.dtype, l->isa), wf_cut_elements(&y), partial_sums, y.buf, n,
        weft_dtype_size(y.dtype)};
    wf_task *task = wf_lower_task(l, g.kernels->name, run_sum, &g, sizeof g, g.cut.tiles);
    wf_reads(task, partial_sums, WF_WHOLE);
    wf_writes(task, y.buf, WF_WHOLE);
    const double count = (double)n * (double)g.cut.total;
    wf_cost(task, count, count * (double)g.size);
    return wf_lowered(l, task);
}

weft_status wf_matmul_lower(wf_lower *l)
{
    wf_operand a = wf_lower_in(l, 0), b = wf_lower_in(l, 1), y = wf_lower_out(l, 0);
    const size_t size = weft_dtype_size(y.dtype);
    const int64_t count = wf_operand_count(&y);
    run_args g;
    memset(&g, 0, sizeof g);
    g.a = a.buf;
    g.b = b.buf;
    g.y = y.buf;
    g.has_bias = l->n_in > 2;
    make_work(l, &g.work);
    const wf_matmul_desc *d = &g.work.desc;
    const char *prefer = NULL;
    wf_problem problem = wf_problem_matmul(d);
    if (wf_problem_flops(&problem) > 0)
        WF_TRY(wf_lower_prefer(l, &problem, &prefer));
    g.kernel = wf_matmul_select(d, l->isa, prefer);
    const int64_t splits = wf_matmul_batch_splits(g.kernel, &g.work);
    if (splits > 1)
        g.y = wf_lower_temp(l, 1, (size_t)splits * (size_t)count * size);
    if (g.y < 0)
        return WEFT_ERR_NOMEM;
    if (g.has_bias)
        g.bias = wf_lower_in(l, 2).buf;
    const bool stored = b.dtype == WEFT_BF16;
    const int64_t tiles =
        stored ? wf_matmul_tiles(g.kernel, d) : wf_matmul_batch_tiles(g.kernel, &g.work);
    size_t scratch = g.kernel->scratch_bytes;
    if (stored) {
        int m, n;
        g.kernel->tile(d, &m, &n);
        g.wide_at = (scratch + WF_ALIGN) / WF_ALIGN * WF_ALIGN;
        scratch = g.wide_at + (size_t)(n < d->N ? n : d->N) * (size_t)d->K * sizeof(float);
    }
    wf_task *task = wf_lower_task(l, g.kernel->name, stored ? run_stored : run, &g, sizeof g,
                                  tiles > 0 ? tiles : 1 /* empty */);
    wf_reads(task, a.buf, WF_WHOLE);
    wf_reads(task, b.buf, WF_WHOLE);
    if (g.has_bias)
        wf_reads(task, g.bias, WF_WHOLE);
    wf_writes(task, g.y, WF_WHOLE);
    wf_scratch(task, scratch);
    wf_cost(task, wf_problem_flops(&problem),
            (double)(wf_operand_count(&a) + wf_operand_count(&b) + splits * count) * (double)size);
    wf_expect(task, wf_matmul_cycles(g.kernel, d, l->isa),
              prefer && strcmp(prefer, g.kernel->name) == 0);
    return splits > 1 ? lower_sum(l, g.y, splits) : wf_lowered(l, task);
}
