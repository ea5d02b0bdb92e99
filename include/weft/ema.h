/* Exponential moving averages of a model's parameters and buffers, as torchvision's
 * ExponentialMovingAverage (torch's AveragedModel with use_buffers).
 *
 *     weft_ema *ema;
 *     weft_ema_create(net, 0.999, &ema);
 *     weft_optimizer_step(opt);
 *     weft_ema_update(ema);               between two steps
 *     weft_ema_swap(ema);                 the model now has the averages: evaluate or save it
 *     weft_ema_swap(ema);                 and its own weights again
 *
 * Errors are the context's. Threading rule: the context's. */
#ifndef WEFT_EMA_H
#define WEFT_EMA_H

#include "weft/module.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_ema weft_ema; /* the averages of one model */

/* When a training updates its averages. torchvision's training script makes its decay from
 * --model-ema-decay d so: 1 - min(1, (1 - d) * images a step * steps / epochs). */
typedef struct weft_ema_opts {
    double decay;          /* in [0, 1] */
    int64_t steps;         /* after every so many steps of an epoch, from the first; 0 reads as 1 */
    int64_t warmup_epochs; /* in so many epochs, each update is a copy */
} weft_ema_opts;
#define WEFT_EMA_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */

/* New averages in *ema, which the caller owns; they hold a reference to the model. Its parameters
 * and buffers must stay the same tensors. decay is in [0, 1]. On failure *ema is untouched. */
weft_status weft_ema_create(weft_module *model, double decay, weft_ema **ema);
void weft_ema_destroy(weft_ema *ema); /* NULL: no effect */

/* average = decay * average + (1 - decay) * value, of every parameter and buffer; the first time,
 * and after weft_ema_restart, a copy. Integers (BatchNorm's count of batches) are averaged in float
 * and cut off, as torch does. Runs what is recorded. On failure nothing has changed. */
weft_status weft_ema_update(weft_ema *ema);
/* Makes the next update a copy, as torchvision does while the learning rate warms up. */
void weft_ema_restart(weft_ema *ema);
int64_t weft_ema_updates(const weft_ema *ema); /* since the last copy, this one included */
/* Exchanges the model's values and the averages, which begin as copies. While the averages are in
 * the model, weft_ema_update is refused. */
weft_status weft_ema_swap(weft_ema *ema);

/* Appends the averages to *list under the names of the model's state, and "n_averaged" (i64).
 * Tensors are the averages themselves; the count is a copy. */
weft_status weft_ema_state(weft_ema *ema, weft_tensor_list *list);
/* Loads such a state: all of it, or on failure nothing. */
weft_status weft_ema_load_state(weft_ema *ema, const weft_tensor_list *list);

#ifdef __cplusplus
}
#endif
#endif
