/* Optimizer updates over contiguous ranges of a parameter.
 *
 * Threading: pure functions, any thread. Every implementation of a type gives the same bits: each
 * element sees the same rounded operations in the same order, so ranges may be cut anywhere. An
 * output may be its own input (p_out == p), never overlap it otherwise. */
#ifndef WF_KERNELS_OPTIM_H
#define WF_KERNELS_OPTIM_H

#include "kernels/types.h"

/* As torch.optim.SGD: d = g + weight_decay p; buf = momentum buf + (1 - dampening) d, or d at the
 * first step; d = buf, or d + momentum buf with Nesterov's; p -= lr d.
 * Source: Sutskever et al. 2013. */
typedef struct wf_sgd {
    double lr, momentum, dampening, weight_decay;
    bool nesterov, first;
} wf_sgd;

/* As torch.optim.AdamW: p *= 1 - lr weight_decay; m += (1 - beta1)(g - m);
 * v = beta2 v + (1 - beta2) g^2; p -= lr/(1 - beta1^step) m / (sqrt(v)/sqrt(1 - beta2^step) + eps).
 * `step` counts from 1. Source: Loshchilov and Hutter 2019. */
typedef struct wf_adamw {
    double lr, beta1, beta2, eps, weight_decay;
    int64_t step;
} wf_adamw;

/* The kernels of one element type. */
typedef struct wf_optim {
    const char *name;
    /* buf and buf_out are NULL when momentum is 0. */
    void (*sgd)(size_t n, const wf_sgd *s, const void *p, const void *g, const void *buf,
                void *p_out, void *buf_out);
    void (*adamw)(size_t n, const wf_adamw *s, const void *p, const void *g, const void *m,
                  const void *v, void *p_out, void *m_out, void *v_out);
} wf_optim;

typedef struct wf_optim_impl {
    const wf_optim *kernels;
    weft_isa isa;
    weft_dtype dtype;
} wf_optim_impl;
extern const wf_optim_impl wf_optim_impls[]; /* kernels.def's order */
extern const int wf_n_optim_impls;

/* The best implementation for dtype on isa; NULL for types other than f32 and f64. */
const wf_optim *wf_optim_get(weft_dtype dtype, weft_isa isa);

#endif
