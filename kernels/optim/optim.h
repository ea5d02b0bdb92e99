/* Optimizer updates over contiguous ranges of a parameter.
 *
 * Threading: pure functions, any thread. Every implementation of a type gives the same bits: each
 * element sees the same rounded operations in the same order, so ranges may be cut anywhere. An
 * output may be its own input (out[0] == in[0]), never overlap it otherwise.
 *
 * The settings of an update are a struct of doubles, so that they can be the scalars of a recorded
 * node as they are. A truth is 0 or 1. Letters: p parameter, g gradient, s state tensors. */
#ifndef WF_KERNELS_OPTIM_H
#define WF_KERNELS_OPTIM_H

#include "kernels/types.h"

/* As torch.optim.SGD: d = scale (g + weight_decay p); buf = momentum buf + (1 - dampening) d, or d
 * at the first step; d = buf, or d + momentum buf with Nesterov's; p -= lr d. s[0]: buf, NULL where
 * momentum is 0. scale is 1 but for LARS (the trust ratio). Source: Sutskever et al. 2013. */
typedef struct wf_sgd {
    double lr, momentum, dampening, weight_decay, nesterov, first, scale;
} wf_sgd;

/* As torch.optim.AdamW: p *= 1 - lr weight_decay; m += (1 - beta1)(g - m);
 * v = beta2 v + (1 - beta2) g^2; p -= lr/(1 - beta1^step) m / (sqrt(v)/sqrt(1 - beta2^step) + eps).
 * With l2, as torch.optim.Adam: g += l2 p comes first. s: m, v, x (NULL: none). With x, which is
 * amsgrad: x = max(x, v), and sqrt(x) in place of sqrt(v). `step` counts from 1.
 * Sources: Kingma and Ba 2015, Loshchilov and Hutter 2019, Reddi et al. 2018. */
typedef struct wf_adam {
    double lr, beta1, beta2, eps, weight_decay, l2, step;
} wf_adam;

/* As torch.optim.RMSprop: g += weight_decay p; q = alpha q + (1 - alpha) g^2;
 * d = g / (sqrt(q) + eps); buf = momentum buf + d, p -= lr buf; without buf p -= lr d. Centered:
 * a += (1 - alpha)(g - a), and sqrt(q - a^2) in place of sqrt(q). With inside, as TensorFlow's:
 * q starts at 1, d = g / sqrt(q + eps), buf = momentum buf + lr d, p -= buf.
 * s: q, buf (NULL: none), a (NULL: not centered). Source: Tieleman and Hinton 2012. */
typedef struct wf_rmsprop {
    double lr, alpha, eps, weight_decay, momentum, inside, first;
} wf_rmsprop;

/* As torch.optim.Adagrad: g += weight_decay p; sum += g^2, the first time to `initial`;
 * p -= lr g / (sqrt(sum) + eps). s[0]: sum. Source: Duchi et al. 2011. */
typedef struct wf_adagrad {
    double lr, eps, weight_decay, initial, first;
} wf_adagrad;

/* LAMB: m and v as Adam's; u = m/(1 - beta1^step) / (sqrt(v)/sqrt(1 - beta2^step) + eps)
 * + weight_decay p; p -= rate u, rate being the learning rate times the trust ratio. s: m, v.
 * lamb_direction has the same settings and inputs; its one output is u. Source: You et al. 2020. */
typedef struct wf_lamb {
    double rate, beta1, beta2, eps, weight_decay, step;
} wf_lamb;

/* Lion: p *= 1 - lr weight_decay; p -= lr sign(beta1 m + (1 - beta1) g);
 * m = beta2 m + (1 - beta2) g. s[0]: m. Source: Chen et al. 2023. */
typedef struct wf_lion {
    double lr, beta1, beta2, weight_decay;
} wf_lion;

/* A moving average: p = decay p + (1 - decay) g; a copy of g where decay is 0. */
typedef struct wf_ema {
    double decay;
} wf_ema;

typedef enum wf_update {
#define WF_UPDATE(name) WF_UPDATE_##name,
#include "kernels/optim/updates.def"
#undef WF_UPDATE
    WF_UPDATES
} wf_update;

enum { WF_UPDATE_STATES = 3 /* state tensors of an update, at most */ };

/* One update of n elements. in: p, g, s[0], ...; out: p, s[0], ... A state tensor that the settings
 * do not use is NULL in both; at most WF_UPDATE_STATES of them are looked at. */
typedef void (*wf_update_fn)(size_t n, const void *settings, const void *const *in,
                             void *const *out);

/* The kernels of one element type. */
typedef struct wf_optim {
    const char *name;
    wf_update_fn update[WF_UPDATES];
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
