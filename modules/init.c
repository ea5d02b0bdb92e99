/* Initial values. Element i of a tensor depends only on the context's seed, the number of the draw
 * and i (Philox4x32-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). So the
 * context's threads can draw parts of a tensor.
 *
 * Threading rule: the context's. */
#include <math.h>

#include <Random123/philox.h>

#include "engine/graph/lint.h"
#include "engine/machine/workers.h"
#include "engine/step/execute.h"
#include "modules/internal.h"
#include "weft/init.h"

#define TWO_PI 6.283185307179586476925

/* The `block`-th 128 random bits of a draw. */
static philox4x32_ctr_t random_block(uint64_t seed, uint64_t stream, uint64_t block)
{
    philox4x32_ctr_t counter = {
        {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)}};
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    return philox4x32(counter, key);
}

/* Turns a block into two numbers of 53 bits in [0, 1). */
static void two_uniforms(const philox4x32_ctr_t *r, double u[2])
{
    for (int i = 0; i < 2; i++) {
        uint64_t bits = (uint64_t)r->v[2 * i] << 32 | r->v[2 * i + 1];
        u[i] = (double)(bits >> 11) * 0x1p-53;
    }
}

typedef enum distribution { UNIFORM, NORMAL, TAIL } distribution;

/* The z below which a standard normal number lies with probability p, 0 < p < 1. Starts with
 * Winitzki's approximation (2008); each step of Halley's method then triples the correct digits. */
static double normal_quantile(double p)
{
    double x = 2 * p - 1, l = log1p(-x * x), k = 2 / (0.147 * TWO_PI / 2) + l / 2;
    double z = copysign(sqrt(2 * (sqrt(k * k - l / 0.147) - k)), x);
    for (int i = 0; i < 3; i++) {
        double density = exp(-0.5 * z * z) / sqrt(TWO_PI);
        double step = (0.5 * erfc(-z * sqrt(0.5)) - p) / density;
        z -= step / (1 + 0.5 * z * step);
    }
    return z;
}

bool weft_init_skip_begin(weft_context *ctx)
{
    bool was = ctx != NULL && ctx->skip_init;
    if (ctx != NULL)
        ctx->skip_init = true;
    return was;
}

void weft_init_skip_end(weft_context *ctx, bool was)
{
    if (ctx != NULL)
        ctx->skip_init = was;
}

/* Draws a + b * u, where u is uniform in [0, 1) or standard normal (Box and Muller 1958); TAIL: u
 * is the standard normal quantile of a uniform number. */
typedef struct draw {
    distribution d;
    double a, b;
    uint64_t seed, stream;
    int64_t n;
    weft_dtype dtype;
    void *data;
} draw;

/* Draws one worker's share of the pairs. */
static void draw_share(void *user, int worker, int workers)
{
    const draw *w = user;
    const int64_t pairs = (w->n + 1) / 2, end = pairs * (worker + 1) / workers;
    for (int64_t pair = pairs * worker / workers; pair < end; pair++) {
        philox4x32_ctr_t r = random_block(w->seed, w->stream, (uint64_t)pair);
        double u[2];
        two_uniforms(&r, u);
        if (w->d == NORMAL) {
            double radius = sqrt(-2.0 * log(1.0 - u[0])), angle = TWO_PI * u[1];
            u[0] = radius * cos(angle);
            u[1] = radius * sin(angle);
        }
        for (int k = 0; k < 2 && 2 * pair + k < w->n; k++) {
            double value = w->a + w->b * u[k];
            if (w->d == TAIL)
                value = normal_quantile(value);
            wf_float_set(w->dtype, w->data, 2 * pair + k, value);
        }
    }
}

enum {
    DRAWN_BY_ONE = 16384 /* up to so many elements, one thread is faster than waking the others */
};

/* Also in a scope that skips the numbers, where nothing would be written. */
static weft_status check(const weft_tensor *t, const char *what)
{
    weft_context *ctx = wf_tensor_check(t, what, false);
    if (ctx == NULL)
        return t != NULL ? WEFT_ERR_STATE : WEFT_ERR_INVALID;
    return weft_tensor_is_stored(t) ? WEFT_OK
                                    : wf_fail(ctx, WEFT_ERR_STATE,
                                              "%s: the tensor is the result of an op; only stored "
                                              "tensors take initial values",
                                              what);
}

static weft_status fill(weft_tensor *t, distribution d, double a, double b, const char *what)
{
    WF_TRY(check(t, what));
    weft_context *ctx = weft_tensor_context(t);
    weft_dtype dtype = weft_tensor_dtype(t);
    if (dtype != WEFT_F32 && dtype != WEFT_F64)
        return wf_fail(ctx, WEFT_ERR_DTYPE, "%s: the tensor is %s; it must be f32 or f64", what,
                       weft_dtype_name(dtype));
    uint64_t seed = wf_context_seed(ctx), stream = wf_context_next_stream(ctx);
    if (ctx->skip_init)
        return WEFT_OK;
    void *data = wf_tensor_writable(t);
    if (data == NULL)
        return weft_error_status(ctx);
    draw w = {d, a, b, seed, stream, weft_shape_count(weft_tensor_shape(t)), dtype, data};
    wf_on_workers(ctx->topology, w.n > DRAWN_BY_ONE ? ctx->threads : 1, draw_share, &w);
    return WEFT_OK;
}

weft_status weft_init_uniform(weft_tensor *t, double low, double high)
{
    if (t != NULL && !(low <= high && isfinite(high - low)))
        return wf_fail(weft_tensor_context(t), WEFT_ERR_INVALID,
                       "weft_init_uniform: from %g to %g there is no range", low, high);
    return fill(t, UNIFORM, low, high - low, "weft_init_uniform");
}

weft_status weft_init_normal(weft_tensor *t, double mean, double std)
{
    if (t != NULL && !(std >= 0 && isfinite(std) && isfinite(mean)))
        return wf_fail(weft_tensor_context(t), WEFT_ERR_INVALID,
                       "weft_init_normal: mean %g, deviation %g: both must be finite, the "
                       "deviation at least 0",
                       mean, std);
    return fill(t, NORMAL, mean, std, "weft_init_normal");
}

weft_status weft_init_trunc_normal(weft_tensor *t, double mean, double std, double low, double high)
{
    WF_TRY(check(t, "weft_init_trunc_normal"));
    double from = 0.5 * erfc((mean - low) / std * sqrt(0.5));
    double to = 0.5 * erfc((mean - high) / std * sqrt(0.5));
    if (!(std > 0 && low < high && from < 1 - 1e-12 && to > 1e-12 && from < to))
        return wf_fail(weft_tensor_context(t), WEFT_ERR_INVALID,
                       "weft_init_trunc_normal: [%g, %g] has no values of a normal distribution "
                       "with mean %g, deviation %g",
                       low, high, mean, std);
    /* Box and Muller's numbers from 53 bits end at sqrt(-2 log 2^-53) = 8.58 deviations. */
    if (mean - low > 8.6 * std && high - mean > 8.6 * std)
        return weft_init_normal(t, mean, std);
    /* Limits where the quantiles are still exact. */
    from = from > 1e-15 ? from : 1e-15;
    to = to < 1 - 1e-15 ? to : 1 - 1e-15;
    WF_TRY(fill(t, TAIL, from, to - from, "weft_init_trunc_normal"));
    if (weft_tensor_context(t)->skip_init)
        return WEFT_OK;
    void *data = wf_tensor_writable(t);
    const weft_dtype dtype = weft_tensor_dtype(t);
    for (int64_t i = 0, n = weft_shape_count(weft_tensor_shape(t)); i < n; i++) {
        double z = wf_float_get(dtype, data, i);
        wf_float_set(dtype, data, i, fmin(fmax(mean + std * z, low), high));
    }
    return WEFT_OK;
}

weft_status weft_init_constant(weft_tensor *t, double value)
{
    WF_TRY(check(t, "weft_init_constant"));
    if (wf_tensor_writable(t) == NULL) /* this first runs the work that reads the old content */
        return weft_error_status(weft_tensor_context(t));
    return wf_tensor_fill(t, "weft_init_constant", value);
}

/* The number of connections into and out of one output, as torch counts fan in and fan out. */
static weft_status fans(weft_tensor *t, const char *what, double *in, double *out)
{
    WF_TRY(check(t, what));
    weft_shape s = weft_tensor_shape(t);
    if (s.rank < 2)
        return wf_fail(weft_tensor_context(t), WEFT_ERR_SHAPE,
                       "%s: the tensor has %d dimensions; fans need at least 2", what, s.rank);
    double field = 1;
    for (int i = 2; i < s.rank; i++)
        field *= (double)s.dim[i];
    *in = (double)s.dim[1] * field;
    *out = (double)s.dim[0] * field;
    return WEFT_OK;
}

static weft_status kaiming(weft_tensor *t, double a, weft_fan fan, weft_gain gain, const char *what,
                           double *std)
{
    double in = 0, out = 0;
    WF_TRY(fans(t, what, &in, &out));
    if (gain == WEFT_GAIN_LEAKY_RELU && !isfinite(a))
        return wf_fail(weft_tensor_context(t), WEFT_ERR_INVALID,
                       "%s: the slope must be finite, is %g", what, a);
    if ((unsigned)fan > WEFT_FAN_OUT || (unsigned)gain > WEFT_GAIN_LINEAR)
        return wf_fail(weft_tensor_context(t), WEFT_ERR_INVALID,
                       "%s: fan %d, gain %d: no weft_fan or weft_gain has this number", what,
                       (int)fan, (int)gain);
    if (weft_shape_count(weft_tensor_shape(t)) == 0) {
        *std = 0;
        return wf_lint(weft_tensor_context(t), "%s: the tensor has no elements", what);
    }
    double g = gain == WEFT_GAIN_RELU         ? sqrt(2.0)
               : gain == WEFT_GAIN_LEAKY_RELU ? sqrt(2.0 / (1.0 + a * a))
                                              : 1.0;
    *std = g / sqrt(fan == WEFT_FAN_OUT ? out : in);
    return WEFT_OK;
}

weft_status weft_init_kaiming_uniform(weft_tensor *t, double a, weft_fan fan, weft_gain gain)
{
    double std = 0;
    WF_TRY(kaiming(t, a, fan, gain, "weft_init_kaiming_uniform", &std));
    return weft_init_uniform(t, -sqrt(3.0) * std, sqrt(3.0) * std);
}

weft_status weft_init_kaiming_normal(weft_tensor *t, double a, weft_fan fan, weft_gain gain)
{
    double std = 0;
    WF_TRY(kaiming(t, a, fan, gain, "weft_init_kaiming_normal", &std));
    return weft_init_normal(t, 0.0, std);
}

weft_status weft_init_xavier_uniform(weft_tensor *t, double gain)
{
    double in = 0, out = 0;
    WF_TRY(fans(t, "weft_init_xavier_uniform", &in, &out));
    double bound = gain * sqrt(6.0 / (in + out));
    return weft_init_uniform(t, -bound, bound);
}

weft_status weft_init_xavier_normal(weft_tensor *t, double gain)
{
    double in = 0, out = 0;
    WF_TRY(fans(t, "weft_init_xavier_normal", &in, &out));
    return weft_init_normal(t, 0.0, gain * sqrt(2.0 / (in + out)));
}
