/* See binary.h. */
#include "engine/graph/ops/binary.h"

#include "engine/graph/ops/spread.h"

typedef struct binary_args {
    wf_cut cut;
    wf_buf a, b, y;
    size_t size;
    wf_binary_fn fn;
} binary_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const binary_args *g = vargs;
    g->fn(wf_cut_count(&g->cut, tile), wf_cut_ptr(&g->cut, t, g->a, g->size, tile),
          wf_cut_ptr(&g->cut, t, g->b, g->size, tile), wf_cut_ptr(&g->cut, t, g->y, g->size, tile));
    return WEFT_OK;
}

weft_status wf_binary_lower(wf_lower *l, const char *kernel, wf_binary_fn fn)
{
    wf_operand y = wf_lower_out(l, 0);
    if (wf_lower_is_spread(l))
        return wf_spread_lower(l, kernel, fn, NULL);
    binary_args g = {
        .cut = wf_cut_images(&y),
        .a = wf_lower_in(l, 0).buf,
        .b = wf_lower_in(l, 1).buf,
        .y = y.buf,
        .size = weft_dtype_size(y.dtype),
        .fn = fn,
    };
    return wf_lowered(l, wf_lower_cut(l, kernel, run, &g, sizeof(g), &g.cut, 1.0));
}

bool wf_binary_sample(weft_context *ctx, int index, wf_sample *s,
                      weft_tensor *(*apply)(void *user, weft_tensor *const *in, int n))
{
    const wf_sample_case cases[] = {
        {"same shape", 2, {{2, {2, 3}}, {2, {2, 3}}}, apply, NULL},
        {"with itself", 1, {{4, {2, 3, 2, 2}}}, apply, NULL},
        {"broadcast both ways", 2, {{3, {2, 1, 3}}, {2, {4, 1}}}, apply, NULL},
        {"scalar", 2, {{0, {0}}, {2, {2, 3}}}, apply, NULL},
    };
    return wf_sample_from(ctx, cases, sizeof(cases) / sizeof(*cases), index, s);
}
