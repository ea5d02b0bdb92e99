/* Optimizers: parameter groups, their state, and the step that runs everything recorded.
 *
 *     const weft_sgd_opts opts = {.lr = 0.1, .momentum = 0.9};
 *     weft_optimizer *sgd = weft_sgd_create(ctx, net, &opts);
 *     weft_optimizer_zero_grad(sgd);
 *     weft_backward(weft_cross_entropy(weft_call(net, x), y, NULL));
 *     weft_optimizer_step(sgd);
 */
#ifndef WEFT_OPTIM_H
#define WEFT_OPTIM_H

#include <math.h> /* NAN: a number that is left to the optimizer */

#include "weft/module.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_optimizer
    weft_optimizer; /* parameters, their state, and a rule to update them */

/* As torch.optim.SGD: g += weight_decay*p; v = momentum*v + (1-dampening)*g, the first time v = g;
 * p -= lr*v, or with nesterov p -= lr*(g + momentum*v). */
typedef struct weft_sgd_opts {
    double lr;        /* in [0, inf); 0 trains nothing until weft_optimizer_set_lr sets another */
    double momentum;  /* in [0, 1) */
    double dampening; /* of the gradient that is added to v */
    double weight_decay; /* in [0, inf) */
    bool nesterov;       /* needs momentum > 0 and dampening 0 */
} weft_sgd_opts;
/* torch's defaults. Only the learning rate is not 0, so options that give it need no more:
 * (weft_sgd_opts){.lr = 0.1, .momentum = 0.9}. */
#define WEFT_SGD_OPTS_INIT WEFT_INIT(weft_sgd_opts, WEFT_SET(lr, 1e-3))

/* As torch.optim.AdamW (Loshchilov and Hutter 2019): weight decay apart from the gradient. */
typedef struct weft_adamw_opts {
    double lr;           /* in [0, inf), as SGD's */
    double beta1, beta2; /* in [0, 1) */
    double eps;          /* in [0, inf); not 0 together with beta2 */
    double weight_decay; /* in [0, inf) */
    /* As torch's: the step is divided by the root of the largest mean square so far (Reddi et al.
     * 2018). Not LAMB's */
    bool amsgrad;
} weft_adamw_opts;
/* torch's defaults. A 0 in these options, and in those of the optimizers below, means 0, so begin
 * with the defaults and change what you want:
 *     weft_adamw_opts opts = WEFT_ADAMW_OPTS_INIT;
 *     opts.weight_decay = 0;
 * Options that were not begun so have beta2 and eps 0, which is refused: the update would be the
 * gradient's sign, and 0/0 where the gradient is 0. */
#define WEFT_ADAMW_OPTS_INIT                                                                       \
    WEFT_INIT(weft_adamw_opts, WEFT_SET(lr, 1e-3), WEFT_SET(beta1, 0.9), WEFT_SET(beta2, 0.999),   \
              WEFT_SET(eps, 1e-8), WEFT_SET(weight_decay, 0.01))

/* As torch.optim.Adam (Kingma and Ba 2015): weight decay is added to the gradient. */
typedef weft_adamw_opts weft_adam_opts;
/* torch's defaults. */
#define WEFT_ADAM_OPTS_INIT                                                                        \
    WEFT_INIT(weft_adam_opts, WEFT_SET(lr, 1e-3), WEFT_SET(beta1, 0.9), WEFT_SET(beta2, 0.999),    \
              WEFT_SET(eps, 1e-8))

/* LAMB (You et al. 2020), as timm's Lamb: AdamW's direction u with the decay in it, times the
 * norm of the parameter by the norm of u, for each tensor; this factor is 1 where a norm or the
 * group's weight decay is 0. timm's max_grad_norm is weft_clip_grad_norm here. */
typedef weft_adamw_opts weft_lamb_opts;
/* timm's defaults. */
#define WEFT_LAMB_OPTS_INIT                                                                        \
    WEFT_INIT(weft_lamb_opts, WEFT_SET(lr, 1e-3), WEFT_SET(beta1, 0.9), WEFT_SET(beta2, 0.999),    \
              WEFT_SET(eps, 1e-6), WEFT_SET(weight_decay, 0.01))

/* As torch.optim.RMSprop: q = alpha*q + (1-alpha)*g*g; d = g / (sqrt(q) + eps); with momentum
 * b = momentum*b + d and p -= lr*b, else p -= lr*d. Weight decay is added to the gradient. */
typedef struct weft_rmsprop_opts {
    double lr;           /* in [0, inf), as SGD's */
    double alpha;        /* in [0, 1); not 0 together with eps */
    double eps;          /* in [0, inf) */
    double weight_decay; /* in [0, inf) */
    double momentum;     /* in [0, 1) */
    bool centered;       /* q less the square of a mean of g, of the same alpha */
    /* As TensorFlow's RMSprop, and timm's RMSpropTF: q begins at 1, d = lr * g / sqrt(q + eps), and
     * p -= b. */
    bool tensorflow;
} weft_rmsprop_opts;
/* torch's defaults. torchvision trains with alpha 0.9 and eps 0.0316, the square root of
 * TensorFlow's 0.001. */
#define WEFT_RMSPROP_OPTS_INIT                                                                     \
    WEFT_INIT(weft_rmsprop_opts, WEFT_SET(lr, 1e-2), WEFT_SET(alpha, 0.99), WEFT_SET(eps, 1e-8))

/* As torch.optim.Adagrad (Duchi et al. 2011): sum += g*g; p -= lr / (1 + (step-1)*lr_decay) * g /
 * (sqrt(sum) + eps), step being 1 at first. Weight decay is added to the gradient. */
typedef struct weft_adagrad_opts {
    double lr;                        /* in [0, inf), as SGD's */
    double lr_decay;                  /* in [0, inf) */
    double eps;                       /* in [0, inf) */
    double weight_decay;              /* in [0, inf) */
    double initial_accumulator_value; /* of sum, in [0, inf) */
} weft_adagrad_opts;
/* torch's defaults. */
#define WEFT_ADAGRAD_OPTS_INIT                                                                     \
    WEFT_INIT(weft_adagrad_opts, WEFT_SET(lr, 1e-2), WEFT_SET(eps, 1e-10))

/* LARS (You et al. 2017), as timm's Lars: SGD whose gradient, decay included, is multiplied for
 * each tensor by trust_coefficient * |p| / (|g| + weight_decay * |p| + eps). This factor is 1 where
 * a norm or the group's weight decay is 0. */
typedef struct weft_lars_opts {
    double lr;                /* in [0, inf), as SGD's */
    double momentum;          /* in [0, 1) */
    double dampening;         /* as SGD's */
    double weight_decay;      /* in [0, inf) */
    bool nesterov;            /* as SGD's */
    double trust_coefficient; /* in (0, inf) */
    double eps;               /* in [0, inf) */
} weft_lars_opts;
/* timm's defaults. */
#define WEFT_LARS_OPTS_INIT                                                                        \
    WEFT_INIT(weft_lars_opts, WEFT_SET(lr, 1.0), WEFT_SET(trust_coefficient, 0.001),               \
              WEFT_SET(eps, 1e-8))

/* Lion (Chen et al. 2023), as timm's Lion: p *= 1 - lr*weight_decay;
 * p -= lr * sign(beta1*m + (1-beta1)*g); m = beta2*m + (1-beta2)*g. */
typedef struct weft_lion_opts {
    double lr;           /* in [0, inf), as SGD's */
    double beta1, beta2; /* in [0, 1) */
    double weight_decay; /* in [0, inf) */
} weft_lion_opts;
/* timm's defaults. */
#define WEFT_LION_OPTS_INIT                                                                        \
    WEFT_INIT(weft_lion_opts, WEFT_SET(lr, 1e-4), WEFT_SET(beta1, 0.9), WEFT_SET(beta2, 0.99))

/* An optimizer owned by the caller. All parameters of `m` become group 0; with m NULL there are
 * none until weft_optimizer_add_group. opts may be NULL: the defaults. The optimizer holds
 * references to its parameters. NULL on failure; if a value is out of range, the message says what
 * the range is. */
weft_optimizer *weft_sgd_create(weft_context *ctx, weft_module *m, const weft_sgd_opts *opts);
weft_optimizer *weft_adam_create(weft_context *ctx, weft_module *m, const weft_adam_opts *opts);
weft_optimizer *weft_adamw_create(weft_context *ctx, weft_module *m, const weft_adamw_opts *opts);
weft_optimizer *weft_rmsprop_create(weft_context *ctx, weft_module *m,
                                    const weft_rmsprop_opts *opts);
weft_optimizer *weft_adagrad_create(weft_context *ctx, weft_module *m,
                                    const weft_adagrad_opts *opts);
weft_optimizer *weft_lamb_create(weft_context *ctx, weft_module *m, const weft_lamb_opts *opts);
weft_optimizer *weft_lars_create(weft_context *ctx, weft_module *m, const weft_lars_opts *opts);
weft_optimizer *weft_lion_create(weft_context *ctx, weft_module *m, const weft_lion_opts *opts);
void weft_optimizer_destroy(weft_optimizer *o); /* NULL: no effect */

/* Adds a group of parameters with a learning rate and weight decay of its own; NAN stands for what
 * the optimizer was created with. A parameter can be in one group only, once. The names in
 * `params` are used in the saved state. Where an earlier group has the same name, as can happen
 * with the parameters of two submodules, the group's number is put in front: "1:weight". */
weft_status weft_optimizer_add_group(weft_optimizer *o, const weft_tensor_list *params, double lr,
                                     double weight_decay);
/* Adds all of m's parameters that require a gradient, in up to three groups, as torchvision's
 * set_weight_decay: parameters named "bias" with bias_weight_decay, then those of norm layers
 * (BatchNorm, LayerNorm, GroupNorm) with norm_weight_decay, the others with what the optimizer was
 * created with. NAN: no group of its own. On failure no group was added. */
weft_status weft_optimizer_add_by_kind(weft_optimizer *o, weft_module *m, double norm_weight_decay,
                                       double bias_weight_decay);
int weft_optimizer_groups(const weft_optimizer *o); /* how many groups there are */
/* Sets the learning rate of a group; -1: of all. */
weft_status weft_optimizer_set_lr(weft_optimizer *o, int group, double lr);
double weft_optimizer_lr(const weft_optimizer *o,
                         int group); /* -1: group 0's; NAN: no such group */
/* Sets the weight decay of a group; -1: of all. */
weft_status weft_optimizer_set_weight_decay(weft_optimizer *o, int group, double weight_decay);
double weft_optimizer_weight_decay(const weft_optimizer *o, int group); /* as weft_optimizer_lr */
/* The momentum of SGD, LARS and RMSprop, the beta1 of the others (what a one-cycle schedule moves).
 * Adagrad has none: WEFT_ERR_INVALID, and NAN. */
weft_status weft_optimizer_set_momentum(weft_optimizer *o, double momentum);
double weft_optimizer_momentum(const weft_optimizer *o);

/* Records the update of every parameter that has a gradient, then runs the whole recorded step and
 * ends it (weft_sync). On failure no parameter and no state has changed. A step that has failed
 * while it was recorded stays failed until weft_discard. */
weft_status weft_optimizer_step(weft_optimizer *o);
/* Only records the updates, so that more can be recorded in the same step. */
weft_status weft_optimizer_record(weft_optimizer *o);
void weft_optimizer_zero_grad(weft_optimizer *o);      /* gradients become absent */
int64_t weft_optimizer_steps(const weft_optimizer *o); /* taken so far */

/* Clips gradients by their norm, as torch.nn.utils.clip_grad_norm_: multiplies all of them by
 * min(1, max_norm / (norm + 1e-6)), norm being the Euclidean norm of all of them together. Call it
 * between weft_backward and the optimizer's step: it is recorded, and runs with the step before
 * any stored tensor changes. Tensors without a gradient are left out. List each tensor once: one that is
 * listed twice counts twice in the norm.
 * Returns the norm, an f64 scalar that can be read until the next step ends, as a loss can.
 * error_if_nonfinite: a norm that is NaN or infinite fails the step. NULL on failure; the step has
 * then failed. An empty list gives NULL, too. */
weft_tensor *weft_clip_grad_norm(const weft_tensor_list *params, double max_norm,
                                 bool error_if_nonfinite);
/* Clips gradients by value, at the same place: every element is limited to [-limit, limit]. */
weft_status weft_clip_grad_value(const weft_tensor_list *params, double limit);

/* Appends the state to *list, under torch's names: "<parameter>.momentum_buffer" (SGD, LARS),
 * "<parameter>.exp_avg" and "<parameter>.exp_avg_sq" (Adam, AdamW, LAMB; Lion has the first),
 * "<parameter>.max_exp_avg_sq" (amsgrad),
 * "<parameter>.square_avg", ".momentum_buffer" and ".grad_avg" (RMSprop), "<parameter>.sum"
 * (Adagrad); for all "<parameter>.step" (i64) and "steps" (i64). Counters are copies; the other
 * tensors are the optimizer's own. Learning rates and other settings are not part of the state. */
weft_status weft_optimizer_state(weft_optimizer *o, weft_tensor_list *list);
/* Loads such a state. One message lists all missing and unexpected names and wrong shapes; then
 * nothing has changed. */
weft_status weft_optimizer_load_state(weft_optimizer *o, const weft_tensor_list *list);

#ifdef __cplusplus
}
#endif
#endif
