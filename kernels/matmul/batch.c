/* See batch.h. Thread-safe. */
#include "kernels/matmul/batch.h"

enum {
    ENOUGH_TILES = 64,
    TILE_FLOPS = 1 << 19,      /* of a tile of several small products: some 5 microseconds */
    MIN_SPLIT_FLOPS = 1 << 20, /* of a split, so that adding it up costs little beside it */
};

/* One product with a step along each of its dimensions, in elements. */
typedef struct form {
    int64_t M, N, K;
    int64_t a_m, a_k, b_k, b_n, c_m, c_n;
} form;

enum { PLAIN, TRANSPOSED, NEITHER };

/* How a matrix lies whose rows are row_step elements apart and whose columns are column_step apart. */
static int lies(int64_t rows, int64_t columns, int64_t row_step, int64_t column_step)
{
    if ((columns == 1 || column_step == 1) && (rows == 1 || row_step == columns))
        return PLAIN;
    if ((rows == 1 || row_step == 1) && (columns == 1 || column_step == rows))
        return TRANSPOSED;
    return NEITHER;
}

/* Whether the kernels can run it; if so, *d gets sizes and transpositions. */
static bool runs(const form *f, wf_matmul_desc *d)
{
    int a = lies(f->M, f->K, f->a_m, f->a_k), b = lies(f->K, f->N, f->b_k, f->b_n);
    if (a == NEITHER || b == NEITHER || lies(f->M, f->N, f->c_m, f->c_n) != PLAIN)
        return false;
    d->M = f->M;
    d->N = f->N;
    d->K = f->K;
    d->transpose_a = a == TRANSPOSED;
    d->transpose_b =
        b == TRANSPOSED || f->N == 1; /* a column is a row: two rows make a dot product */
    return true;
}

/* Whether a step of `outer` behind `size` elements, `inner` apart, leads to where the next element would be. */
static bool goes_on(int64_t size, int64_t inner, int64_t outer)
{
    return size == 1 || outer == size * inner;
}

/* Joins two dimensions of two operands into one, if both go on; the outer steps count if size is 1. */
static bool join(int64_t *size, int64_t by, int64_t *x, int64_t outer_x, int64_t *y,
                 int64_t outer_y)
{
    if (outer_x == 0 || outer_y == 0 || !goes_on(*size, *x, outer_x) ||
        !goes_on(*size, *y, outer_y))
        return false;
    if (*size == 1) {
        *x = outer_x;
        *y = outer_y;
    }
    *size *= by;
    return true;
}

/* Makes dimension `by` part of the product itself (its M, N or K), if that gives one product. */
static bool fold(form *f, const wf_matmul_dim *by, wf_matmul_desc *d)
{
    for (int way = 0; way < 3; way++) {
        form g = *f;
        bool joined = false;
        if (way == 0 && by->b == 0)
            joined = join(&g.M, by->size, &g.a_m, by->a, &g.c_m, by->c);
        if (way == 1 && by->a == 0)
            joined = join(&g.N, by->size, &g.b_n, by->b, &g.c_n, by->c);
        if (way == 2 && by->c == 0)
            joined = join(&g.K, by->size, &g.a_k, by->a, &g.b_k, by->b);
        if (joined && runs(&g, d)) {
            *f = g;
            return true;
        }
    }
    return false;
}

static void exchange(int64_t *x, int64_t *y)
{
    int64_t z = *x;
    *x = *y;
    *y = z;
}

/* Transposes C and exchanges its factors, so that a column becomes a row, for which there are kernels. */
static void swap(form *f, int n, wf_matmul_dim *dim)
{
    exchange(&f->M, &f->N);
    exchange(&f->c_m, &f->c_n);
    exchange(&f->a_m, &f->b_n);
    exchange(&f->a_k, &f->b_k);
    for (int i = 0; i < n; i++)
        exchange(&dim[i].a, &dim[i].b);
}

/* Puts a dimension in front of n others, or makes it part of the first one if their steps allow. Returns the
 * new number. */
static int put_in_front(int n, wf_matmul_dim *dim, const wf_matmul_dim *by)
{
    if (n > 0 && by->a == dim->size * dim->a && by->b == dim->size * dim->b &&
        by->c == dim->size * dim->c) {
        dim->size *= by->size;
        return n;
    }
    for (int i = n; i > 0; i--)
        dim[i] = dim[i - 1];
    dim[0] = *by;
    return n + 1;
}

void wf_matmul_batch_init(wf_matmul_batch *p, const wf_matmul_desc *d, int n,
                          const wf_matmul_dim *dims, bool with_bias)
{
    const int ta = d->transpose_a, tb = d->transpose_b;
    wf_matmul_dim dim[WF_MATMUL_DIMS];
    form f = {.M = d->M,
              .N = d->N,
              .K = d->K,
              .a_m = ta ? 1 : d->K,
              .a_k = ta ? d->M : 1,
              .b_k = tb ? 1 : d->N,
              .b_n = tb ? d->K : 1,
              .c_m = d->N,
              .c_n = 1};
    *p = (wf_matmul_batch){.desc = *d, .items = 1, .terms = 1, .swapped = d->N == 1 && !with_bias};
    p->desc.add = 0;
    bool empty = d->M == 0 || d->N == 0 || d->K == 0;
    for (int i = 0; i < n; i++) {
        dim[i] = dims[i];
        empty |= dim[i].size == 0;
    }
    if (p->swapped)
        swap(&f, n, dim);
    if (empty) { /* nothing to run, or zeros to write */
        for (int i = 0; i < n; i++)
            *(dim[i].c ? &p->items : &p->terms) *= dim[i].size;
        p->desc.M = f.M * p->items;
        p->desc.N = f.N;
        p->desc.K = f.K * p->terms;
        p->items = p->terms = p->desc.batch = 1;
        return;
    }
    runs(&f, &p->desc);
    for (int i = n - 1; i >= 0; i--) {
        if (dim[i].size == 1 || fold(&f, &dim[i], &p->desc))
            continue;
        if (dim[i].c) {
            p->n_item = put_in_front(p->n_item, p->item, &dim[i]);
            p->items *= dim[i].size;
        } else {
            p->n_term = put_in_front(p->n_term, p->term, &dim[i]);
            p->terms *= dim[i].size;
        }
    }
    p->desc.batch = p->items * p->terms;
}

static int64_t at_least_1(int64_t x)
{
    return x < 1 ? 1 : x;
}

static double flops(const wf_matmul_batch *p) /* of one item */
{
    const wf_matmul_desc *d = &p->desc;
    return 2.0 * (double)d->M * (double)d->N * (double)d->K * (double)p->terms;
}

int64_t wf_matmul_batch_splits(const wf_matmul_impl *k, const wf_matmul_batch *p)
{
    int64_t tiles = p->items * wf_matmul_tiles(k, &p->desc),
            splits = ENOUGH_TILES / at_least_1(tiles);
    double pay = flops(p) * (double)p->items / MIN_SPLIT_FLOPS;
    splits = splits > p->terms ? p->terms : splits;
    return at_least_1((double)splits > pay ? (int64_t)pay : splits);
}

/* How the work is cut. A part is one tile of C of one item and split; a tile of the batch is `group` parts. */
typedef struct cut {
    int64_t tiles, splits, parts, group;
} cut;

static cut cut_up(const wf_matmul_impl *k, const wf_matmul_batch *p)
{
    cut c = {
        .tiles = wf_matmul_tiles(k, &p->desc), .splits = wf_matmul_batch_splits(k, p), .group = 1};
    c.parts = c.tiles * p->items * c.splits;
    double part = flops(p) / (double)at_least_1(c.tiles * c.splits);
    int64_t most = at_least_1(c.parts / ENOUGH_TILES);
    if (part < TILE_FLOPS)
        c.group = part * (double)most > TILE_FLOPS ? (int64_t)(TILE_FLOPS / part) : most;
    return c;
}

int64_t wf_matmul_batch_tiles(const wf_matmul_impl *k, const wf_matmul_batch *p)
{
    cut c = cut_up(k, p);
    return (c.parts + c.group - 1) / c.group;
}

/* Adds to `at` where A, B and C have element i of the dimensions. */
static void place(int n, const wf_matmul_dim *dim, int64_t i, int64_t at[3])
{
    for (int j = n - 1; j >= 0; j--) {
        int64_t k = i % dim[j].size;
        i /= dim[j].size;
        at[0] += k * dim[j].a;
        at[1] += k * dim[j].b;
        at[2] += k * dim[j].c;
    }
}

static weft_status run_part(const wf_matmul_impl *k, const wf_matmul_batch *p, const cut *c,
                            int64_t part, const char *a, const char *b, const void *bias, char *y,
                            void *scratch)
{
    const int64_t size = (int64_t)weft_dtype_size(p->desc.type);
    const int64_t tile = part % c->tiles, split = part / c->tiles % c->splits;
    const int64_t first = p->terms * split / c->splits, end = p->terms * (split + 1) / c->splits;
    wf_matmul_desc d = p->desc;
    int64_t item[3] = {0, 0, split * p->items * d.M * d.N};
    place(p->n_item, p->item, part / c->tiles / c->splits, item);
    weft_status status = WEFT_OK;
    for (int64_t j = first; j < end && status == WEFT_OK; j++) {
        int64_t at[3] = {item[0], item[1], item[2]};
        place(p->n_term, p->term, j, at);
        d.add = j > first;
        status = wf_matmul_run(k, &d, tile, a + at[0] * size, b + at[1] * size, bias,
                               y + at[2] * size, scratch);
    }
    return status;
}

weft_status wf_matmul_batch_run(const wf_matmul_impl *k, const wf_matmul_batch *p, int64_t tile,
                                const void *a, const void *b, const void *bias, void *c,
                                void *scratch)
{
    const cut all = cut_up(k, p);
    const int64_t first = tile * all.group, left = all.parts - first;
    weft_status status = WEFT_OK;
    for (int64_t i = 0; i < all.group && i < left && status == WEFT_OK; i++)
        status = run_part(k, p, &all, first + i, p->swapped ? b : a, p->swapped ? a : b, bias, c,
                          scratch);
    return status;
}
