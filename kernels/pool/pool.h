/* Pooling, one image per call. Semantics are torch's.
 *
 * Max: a window's maximum; the first one wins, NaN wins over numbers and the last NaN over earlier
 * ones (torch's order of comparison). Its index is the position r*S + s in the window, stored by
 * groups of eight channels (Note [Groups of eight], norm.h): u8 where a window has at most 256
 * positions, i32 otherwise. Average: the sum in the image's type (f32 for bf16), row by row, then over
 * rows (the whole image in one go where it is one window). Gradients of windows that meet are added up
 * in the order of the outputs. Each value of a bf16 image is computed in f32 and rounded once.
 * Inputs' padding channels are zero and those of outputs become zero.
 *
 * Threading: functions touch their arguments only. Letters: C channels, H W input, P Q output, R S
 * window. */
#ifndef WF_KERNELS_POOL_H
#define WF_KERNELS_POOL_H

#include "kernels/types.h"

typedef struct wf_pool {
    wf_act in; /* the input; the output has the same C and block */
    int P, Q;
    bool average;  /* for wf_pool_find: no index, so any window */
    bool adaptive; /* windows floor(p*H/P) .. ceil((p+1)*H/P); nothing below is read */
    int kernel[2]; /* R, S */
    int stride[2];
    int padding[2];       /* at most half the kernel */
    int dilation[2];      /* max pooling only; 1 for average */
    bool exclude_padding; /* average: divide by the positions inside the image */
} wf_pool;

static inline wf_act wf_pool_out(const wf_pool *g)
{
    return (wf_act){g->in.C, g->P, g->Q, g->in.block};
}

/* Output size along one dimension, as torch: with ceil, windows may end outside, but the last must
 * start inside the image or its left padding. 0: no output. */
static inline int64_t wf_pool_size(int64_t in, int kernel, int stride, int padding, int dilation,
                                   bool ceil)
{
    int64_t span = in + 2 * (int64_t)padding - (int64_t)dilation * (kernel - 1) - 1;
    span += ceil ? stride - 1 : 0;
    if (span < 0)
        return 0;
    int64_t out = span / stride + 1;
    return ceil && (out - 1) * stride >= in + padding ? out - 1 : out;
}

/* Max pooling: positions [k0, k1) of the window of output o lie inside; position k is input
 * element first + k*dilation. */
typedef struct wf_pool_span {
    int first, k0, k1;
} wf_pool_span;
static inline wf_pool_span wf_pool_max_span(const wf_pool *g, int dim, int o)
{
    const int size = dim ? g->in.W : g->in.H, d = g->dilation[dim];
    wf_pool_span s = {o * g->stride[dim] - g->padding[dim], 0, g->kernel[dim]};
    if (s.first < 0)
        s.k0 = (-s.first + d - 1) / d;
    if (s.first + (s.k1 - 1) * d >= size)
        s.k1 = (size - 1 - s.first) / d + 1;
    return s;
}

/* Average pooling: elements [begin, end) of the input, and how many the divisor counts. */
typedef struct wf_pool_range {
    int begin, end, count;
} wf_pool_range;
static inline wf_pool_range wf_pool_avg_range(const wf_pool *g, int dim, int o)
{
    const int size = dim ? g->in.W : g->in.H;
    if (g->adaptive) {
        const int64_t out = dim ? g->Q : g->P;
        int begin = (int)((int64_t)o * size / out);
        int end = (int)((((int64_t)o + 1) * size + out - 1) / out);
        return (wf_pool_range){begin, end, end - begin};
    }
    int begin = o * g->stride[dim] - g->padding[dim];
    int end = begin + g->kernel[dim], limit = size + g->padding[dim];
    end = end < limit ? end : limit;
    int padded = end - begin;
    begin = begin > 0 ? begin : 0;
    end = end < size ? end : size;
    return (wf_pool_range){begin, end, g->exclude_padding ? end - begin : padded};
}

/* The outputs [begin, end) along one dimension whose windows meet input element i; under dilation, whose
 * windows reach over it. count is not set. */
static inline wf_pool_range wf_pool_outputs_over(const wf_pool *g, int dim, int i)
{
    const int64_t size = dim ? g->in.W : g->in.H, out = dim ? g->Q : g->P;
    if (g->adaptive) {
        int64_t end = (((int64_t)i + 1) * out - 1) / size + 1;
        return (wf_pool_range){.begin = (int)(i * out / size), .end = (int)(end < out ? end : out)};
    }
    const int64_t reach = (int64_t)(g->kernel[dim] - 1) * (g->average ? 1 : g->dilation[dim]);
    const int64_t last = (int64_t)i + g->padding[dim], first = last - reach;
    const int64_t end = last / g->stride[dim] + 1;
    const int64_t begin = first <= 0 ? 0 : (first + g->stride[dim] - 1) / g->stride[dim];
    return (wf_pool_range){.begin = (int)begin, .end = (int)(end < out ? end : out)};
}

static inline weft_dtype wf_pool_index_dtype(int R, int S)
{
    return (int64_t)R * S <= 256 ? WEFT_U8 : WEFT_I32;
}
/* Elements of one image's index. */
static inline size_t wf_pool_index_count(int C, int64_t P, int64_t Q)
{
    return (size_t)wf_round_up(C, 8) * (size_t)P * (size_t)Q;
}

/* One implementation. Images x, dx are `in`, y, dy are wf_pool_out. */
typedef struct wf_pool_fns {
    const char *name;
    weft_isa isa;
    weft_dtype dtype;
    int lanes; /* 0: any layout and window; else that block, and u8 indices */
    /* index may be NULL: not wanted */
    void (*max_forward)(const wf_pool *g, const void *x, void *y, void *index);
    void (*max_backward)(const wf_pool *g, const void *dy, const void *index, void *dx);
    void (*avg_forward)(const wf_pool *g, const void *x, void *y);
    void (*avg_backward)(const wf_pool *g, const void *dy, void *dx);
} wf_pool_fns;

/* The best implementation for the geometry on a CPU with `isa`; NULL for a type without one. */
const wf_pool_fns *wf_pool_find(weft_isa isa, weft_dtype dtype, const wf_pool *g);
/* All of them, ordered best first, ending in NULL. */
extern const wf_pool_fns *const wf_pool_list[];
#endif
