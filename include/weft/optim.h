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

#include "weft/module.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_optimizer weft_optimizer;

/* As torch.optim.SGD: g += weight_decay*p; v = momentum*v + (1-dampening)*g, the first time v = g;
 * p -= lr*v, or with nesterov p -= lr*(g + momentum*v). */
typedef struct weft_sgd_opts {
    double lr;       /* in [0, inf); 0 trains nothing until weft_optimizer_set_lr sets another */
    double momentum; /* in [0, 1) */
    double dampening;
    double weight_decay; /* in [0, inf) */
    bool nesterov;       /* needs momentum > 0 and dampening 0 */
} weft_sgd_opts;
/* torch's defaults. Only the learning rate is not 0, so options that give it need no more:
 * (weft_sgd_opts){.lr = 0.1, .momentum = 0.9}. */
#define WEFT_SGD_OPTS_INIT                                                                         \
    {                                                                                              \
        .lr = 1e-3                                                                                 \
    }

/* As torch.optim.AdamW (Loshchilov and Hutter 2019): weight decay apart from the gradient. */
typedef struct weft_adamw_opts {
    double lr;           /* in [0, inf), as SGD's */
    double beta1, beta2; /* in [0, 1) */
    double eps;          /* in [0, inf); not 0 together with beta2 */
    double weight_decay; /* in [0, inf) */
} weft_adamw_opts;
/* torch's defaults. Every value is taken as it stands, 0 too, so begin with these:
 *     weft_adamw_opts opts = WEFT_ADAMW_OPTS_INIT;
 *     opts.weight_decay = 0;
 * beta2 and eps both 0, as in options begun without it, are refused: the update would be the
 * gradient's sign, and 0/0 where there is no gradient. */
#define WEFT_ADAMW_OPTS_INIT                                                                       \
    {                                                                                              \
        .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01                \
    }

/* `m` gives all its parameters to group 0; or NULL, then add groups. opts may be NULL: the
 * defaults. The optimizer holds references to the parameters. NULL on failure; a value out of range
 * is told with the range. */
weft_optimizer *weft_sgd_create(weft_context *ctx, weft_module *m, const weft_sgd_opts *opts);
weft_optimizer *weft_adamw_create(weft_context *ctx, weft_module *m, const weft_adamw_opts *opts);
void weft_optimizer_destroy(weft_optimizer *o); /* NULL: no effect */

/* A further group of parameters with a learning rate and weight decay of its own (NAN: as the
 * optimizer was created with). Names are those of the saved state; in a
 * group that is not the first to use a name, as lists of two submodules' parameters may, it is the
 * name behind the group's number, "1:weight". A parameter can be in one group only, once. */
weft_status weft_optimizer_add_group(weft_optimizer *o, const weft_tensor_list *params, double lr,
                                     double weight_decay);
int weft_optimizer_groups(const weft_optimizer *o);
/* group -1: all of them (the getters: the first). */
weft_status weft_optimizer_set_lr(weft_optimizer *o, int group, double lr);
double weft_optimizer_lr(const weft_optimizer *o, int group); /* NAN: no such group */
weft_status weft_optimizer_set_weight_decay(weft_optimizer *o, int group, double weight_decay);
double weft_optimizer_weight_decay(const weft_optimizer *o, int group);
/* SGD's momentum or AdamW's beta1 (what a one-cycle schedule moves). */
weft_status weft_optimizer_set_momentum(weft_optimizer *o, double momentum);
double weft_optimizer_momentum(const weft_optimizer *o);

/* Records the update of every parameter that has a gradient, runs the whole recorded step and ends
 * it (weft_sync). On failure neither parameters nor state have changed; a step of which a recording
 * failed stays so until weft_discard. */
weft_status weft_optimizer_step(weft_optimizer *o);
/* As weft_optimizer_step but only records: for work that shall join the same step. */
weft_status weft_optimizer_record(weft_optimizer *o);
void weft_optimizer_zero_grad(weft_optimizer *o);      /* gradients become absent */
int64_t weft_optimizer_steps(const weft_optimizer *o); /* taken so far */

/* Gradient clipping, as torch.nn.utils: call between weft_backward and the optimizer's step. The
 * ops are recorded and run with the step, before anything is committed. Tensors without a gradient
 * are left out; each should be listed once.
 * By norm: all gradients are multiplied by min(1, max_norm / (norm + 1e-6)), where norm is the
 * Euclidean norm of all of them together. Returns it, an f64 scalar, readable as a loss is until
 * the next step ends. error_if_nonfinite: a norm that is NaN or infinite fails the step. NULL on
 * failure, and then what was recorded is gone and the step has failed; NULL too for an empty list. */
weft_tensor *weft_clip_grad_norm(const weft_tensor_list *params, double max_norm,
                                 bool error_if_nonfinite);
/* By value: every element is limited to [-limit, limit]. */
weft_status weft_clip_grad_value(const weft_tensor_list *params, double limit);

/* State under names: "<parameter>.momentum_buffer", "<parameter>.exp_avg", ".exp_avg_sq",
 * "<parameter>.step" (i64) and "steps" (i64). The tensors are copies for the counters and the
 * optimizer's own for the rest. Learning rates and the like are not part of it. */
weft_status weft_optimizer_state(weft_optimizer *o, weft_tensor_list *list);
/* All missing and unexpected names and wrong shapes in one message; nothing changes on error. */
weft_status weft_optimizer_load_state(weft_optimizer *o, const weft_tensor_list *list);

#ifdef __cplusplus
}
#endif
#endif
