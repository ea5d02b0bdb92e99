/* Initial values of stored f32 and f64 tensors, as torch.nn.init. Random values come from Philox,
 * keyed by the context's seed and by how many tensors have been filled on it, so a run is
 * repeatable. */
#ifndef WEFT_INIT_H
#define WEFT_INIT_H

#include "weft/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which connections of a weight Kaiming's rule counts: into a unit, or out of it. */
typedef enum weft_fan { WEFT_FAN_IN, WEFT_FAN_OUT } weft_fan;
/* The activation behind a layer, which decides the gain in Kaiming's rule. */
typedef enum weft_gain { WEFT_GAIN_LEAKY_RELU, WEFT_GAIN_RELU, WEFT_GAIN_LINEAR } weft_gain;

/* A scope in which no random initial values are computed: weft_init_* functions that draw random
 * numbers leave their tensor as it is (a new one holds zeros), also inside weft_*_create(). For
 * modules whose values are loaded right afterwards. Each such call still counts as a draw, so that
 * later draws are what they would have been. Scopes nest: end takes what begin returned. */
bool weft_init_skip_begin(weft_context *ctx);
void weft_init_skip_end(weft_context *ctx, bool was);

/* Every element becomes `value`, which must fit the type: f32, f64, u8, i32 or i64. */
weft_status weft_init_constant(weft_tensor *t, double value);
/* Uniform in [low, high). */
weft_status weft_init_uniform(weft_tensor *t, double low, double high);
/* Normally distributed. */
weft_status weft_init_normal(weft_tensor *t, double mean, double std);
/* Normally distributed, but only values in [low, high] are taken. It is an error if (almost) none
 * would be. */
weft_status weft_init_trunc_normal(weft_tensor *t, double mean, double std, double low,
                                   double high);
/* Kaiming's rule (He et al. 2015): the standard deviation is gain/sqrt(fan); the uniform form
 * draws within +-sqrt(3) times that. t has at least two dimensions (out, in, R, S, ...). fan_in is
 * in*R*S, fan_out is out*R*S. `a` is the leaky ReLU's slope, whose gain is sqrt(2/(1+a*a)); other
 * gains ignore it. */
weft_status weft_init_kaiming_uniform(weft_tensor *t, double a, weft_fan fan, weft_gain gain);
weft_status weft_init_kaiming_normal(weft_tensor *t, double a, weft_fan fan, weft_gain gain);
/* Xavier's rule (Glorot and Bengio 2010): the standard deviation is
 * gain * sqrt(2/(fan_in + fan_out)). */
weft_status weft_init_xavier_uniform(weft_tensor *t, double gain);
weft_status weft_init_xavier_normal(weft_tensor *t, double gain);

#ifdef __cplusplus
}
#endif
#endif
