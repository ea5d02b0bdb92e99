/* Initial values of stored f32 and f64 tensors, as torch.nn.init. Values come from Philox keyed by
 * the context's seed and a count of the draws made on it, so a run is repeatable. */
#ifndef WEFT_INIT_H
#define WEFT_INIT_H

#include "weft/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum weft_fan { WEFT_FAN_IN, WEFT_FAN_OUT } weft_fan;
typedef enum weft_gain { WEFT_GAIN_LEAKY_RELU, WEFT_GAIN_RELU, WEFT_GAIN_LINEAR } weft_gain;

/* Until weft_init_skip_end() every weft_init_* that draws random numbers leaves its tensor as it is
 * (a new one: zeros), also inside weft_*_create(), and only counts its draw, so that what is drawn
 * later stays the same. For modules whose values come from elsewhere at once, such as a file.
 * begin returns what end takes, so that these nest. */
bool weft_init_skip_begin(weft_context *ctx);
void weft_init_skip_end(weft_context *ctx, bool was);

/* f32, f64, u8, i32 or i64; values as for weft_tensor_full. */
weft_status weft_init_constant(weft_tensor *t, double value);
weft_status weft_init_uniform(weft_tensor *t, double low, double high);
weft_status weft_init_normal(weft_tensor *t, double mean, double std);
/* The normal distribution cut off outside [low, high], which must hold some of it. */
weft_status weft_init_trunc_normal(weft_tensor *t, double mean, double std, double low,
                                   double high);
/* He et al. 2015: standard deviation gain/sqrt(fan), uniform within +-sqrt(3) of that. t has at
 * least two dimensions (out, in, ...); fan_in is in * receptive field, fan_out out * that. `a` is
 * the leaky ReLU's slope (gain sqrt(2/(1+a*a))), unused otherwise. */
weft_status weft_init_kaiming_uniform(weft_tensor *t, double a, weft_fan fan, weft_gain gain);
weft_status weft_init_kaiming_normal(weft_tensor *t, double a, weft_fan fan, weft_gain gain);
/* Glorot and Bengio 2010: standard deviation gain * sqrt(2/(fan_in + fan_out)). */
weft_status weft_init_xavier_uniform(weft_tensor *t, double gain);
weft_status weft_init_xavier_normal(weft_tensor *t, double gain);

#ifdef __cplusplus
}
#endif
#endif
