/* Activation functions and their gradients, element by element. Every row of
 * kernels/eltwise/activation.def becomes an op and its backward op here.
 *
 * The gradient reads the op's input or its output, as the row says. */
#include <math.h>

#include "engine/graph/ops/common.h"
#include "kernels/eltwise/activation.h"

typedef struct activation_attrs {
    int64_t f;   /* wf_activation */
    double a, b; /* its parameters, 0 where it has none */
} activation_attrs;

typedef struct activation_args {
    wf_cut cut;
    wf_buf in[2], out; /* x; or backward: what was saved, dy */
    size_t size;
    double a, b;
    wf_act clear; /* the image, where f(0) is not 0 and padding must be cleared; else C = 0 */
    wf_activation_fn forward;
    wf_activation_backward_fn backward;
} activation_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const activation_args *g = vargs;
    size_t n = wf_cut_count(&g->cut, tile);
    void *out = wf_cut_ptr(&g->cut, t, g->out, g->size, tile);
    g->forward(n, g->a, g->b, wf_cut_ptr(&g->cut, t, g->in[0], g->size, tile), out);
    if (g->clear.C)
        wf_clear_padding(g->clear, g->size, out);
    return WEFT_OK;
}

static weft_status run_backward(const wf_tile *t, const void *vargs, int64_t tile)
{
    const activation_args *g = vargs;
    void *dx = wf_cut_ptr(&g->cut, t, g->out, g->size, tile);
    g->backward(wf_cut_count(&g->cut, tile), g->a, g->b,
                wf_cut_ptr(&g->cut, t, g->in[0], g->size, tile),
                wf_cut_ptr(&g->cut, t, g->in[1], g->size, tile), dx);
    if (g->clear.C)
        wf_clear_padding(g->clear, g->size, dx);
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    const activation_attrs *attrs = l->attrs;
    wf_operand out = wf_lower_out(l, 0);
    const wf_activations *kernels = wf_activation_get(out.dtype, l->isa);
    const wf_activation f = (wf_activation)attrs->f;
    const bool backward = l->n_in == 2;
    activation_args g = {
        .cut = wf_cut_images(&out),
        .in = {wf_lower_in(l, 0).buf, backward ? wf_lower_in(l, 1).buf : -1},
        .out = out.buf,
        .size = weft_dtype_size(out.dtype),
        .a = attrs->a,
        .b = attrs->b,
        .forward = kernels->fn[f].forward,
        .backward = kernels->fn[f].backward,
    };
    const bool keeps =
        backward ? wf_activation_backward_keeps_zero(f) : wf_activation_keeps_zero(f);
    if (!keeps && out.shape.rank == 4)
        g.clear = out.act;
    return wf_lowered(l, wf_lower_cut(l, kernels->name, backward ? run_backward : run, &g,
                                      sizeof(g), &g.cut, 20.0));
}

static const wf_op *const backward_op[WF_N_ACTIVATIONS];

static weft_status grad(wf_grad *g)
{
    const activation_attrs *a = g->attrs;
    bool output = wf_activation_saves_output((wf_activation)a->f);
    if (g->needs[0])
        g->din[0] = wf_record(backward_op[a->f], a, NULL, 2,
                              (weft_tensor *[]){output ? g->out[0] : g->in[0], g->dout[0]}, NULL);
    return WEFT_OK;
}

static weft_tensor *record_with(const wf_op *op, weft_tensor *x, wf_activation f, double a,
                                double b)
{
    activation_attrs attrs = {f, a, b};
    return wf_record(op, &attrs, NULL, 1, &x, NULL);
}

static weft_tensor *record(const wf_op *op, weft_tensor *x, wf_activation f, double a)
{
    return record_with(op, x, f, a, 0);
}

/* The sample inputs carry their function as `user`. Their values, -1.9 to 1.9, are stretched so
 * that they lie on both sides of the kinks at 3 and 6; none lies on a kink. */
typedef weft_tensor *(*unary)(weft_tensor *x);
typedef struct sample_user {
    unary f;
} sample_user;

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return ((const sample_user *)user)->f(in[0]);
}

static weft_tensor *apply_wide(void *user, weft_tensor *const *in, int n)
{
    return ((const sample_user *)user)->f(weft_scale(in[0], 4.0));
}

static bool sample_of(weft_context *ctx, const sample_user *user, int index, wf_sample *s)
{
    const wf_sample_case cases[] = {
        {"rank 4", 1, {{4, {2, 3, 3, 2}}}, apply, user},
        {"rank 1, wide", 1, {{1, {17}}}, apply_wide, user},
    };
    return wf_sample_from(ctx, cases, 2, index, s);
}

static weft_tensor *leaky_relu_of_a_tenth(weft_tensor *x)
{
    return weft_leaky_relu(x, 0.1);
}
static weft_tensor *elu_of_two(weft_tensor *x)
{
    return weft_elu(x, 2);
}
static weft_tensor *softplus_of_two(weft_tensor *x)
{
    return weft_softplus(x, 2, 9);
}
static weft_tensor *clamp_around_one(weft_tensor *x)
{
    return weft_clamp(x, -0.5, 1.05);
}
/* x^2, for functions of positive numbers. */
static weft_tensor *log_of_square(weft_tensor *x)
{
    return weft_log(weft_mul(x, x));
}
static weft_tensor *sqrt_of_square(weft_tensor *x)
{
    return weft_sqrt(weft_mul(x, x));
}
static weft_tensor *rsqrt_of_square(weft_tensor *x)
{
    return weft_rsqrt(weft_mul(x, x));
}
static weft_tensor *power_of_square(weft_tensor *x)
{
    return weft_pow(weft_mul(x, x), 1.3);
}
#define APPLY_leaky_relu leaky_relu_of_a_tenth
#define APPLY_elu elu_of_two
#define APPLY_mish weft_mish
#define APPLY_clamp clamp_around_one
#define APPLY_exp weft_exp
#define APPLY_log log_of_square
#define APPLY_sqrt sqrt_of_square
#define APPLY_rsqrt rsqrt_of_square
#define APPLY_reciprocal weft_reciprocal
#define APPLY_pow power_of_square
#define APPLY_sigmoid weft_sigmoid
#define APPLY_tanh weft_tanh
#define APPLY_silu weft_silu
#define APPLY_gelu weft_gelu
#define APPLY_gelu_tanh weft_gelu_tanh
#define APPLY_hardsigmoid weft_hardsigmoid
#define APPLY_hardswish weft_hardswish
#define APPLY_relu6 weft_relu6
#define APPLY_abs weft_abs
#define APPLY_softplus softplus_of_two

/* Two ops for each row: wf_op_<name> and wf_op_<name>_backward. A backward op gives zero where dy
 * is zero, so padding stays zero, unless the slope at zero is infinite. */
#define WF_ACTIVATION(f, from, zero, flat)                                                         \
    static bool sample_##f(weft_context *ctx, int index, wf_sample *s)                             \
    {                                                                                              \
        static const sample_user user = {APPLY_##f};                                               \
        return sample_of(ctx, &user, index, s);                                                    \
    }                                                                                              \
    const wf_op wf_op_##f = {                                                                      \
        .name = #f,                                                                                \
        .of_nothing = WF_EMPTY_ZERO,                                                               \
        .n_out = 1,                                                                                \
        .attr_size = sizeof(activation_attrs),                                                     \
        .flags = (zero ? WF_OP_KEEPS_ZERO : 0) | WF_OP_BY_IMAGE | WF_OP_BF16 | WF_OP_CHEAP,        \
        .layout_rule = WF_LAYOUT_SAME,                                                             \
        .precision = WF_PRECISION_FOLLOW,                                                          \
        .inplace = {1},                                                                            \
        .infer = wf_infer_same,                                                                    \
        .grad = grad,                                                                              \
        .lower = lower,                                                                            \
        .sample = sample_##f,                                                                      \
    };                                                                                             \
    const wf_op wf_op_##f##_backward = {                                                           \
        .name = #f "_backward",                                                                    \
        .of_nothing = WF_EMPTY_ZERO,                                                               \
        .n_out = 1,                                                                                \
        .attr_size = sizeof(activation_attrs),                                                     \
        .flags = (flat ? WF_OP_KEEPS_ZERO : 0) | WF_OP_BY_IMAGE | WF_OP_BF16,                      \
        .layout_rule = WF_LAYOUT_SAME,                                                             \
        .precision = WF_PRECISION_FOLLOW,                                                          \
        .inplace = {2},                                                                            \
        .infer = wf_infer_same,                                                                    \
        .no_grad_reason = "second derivatives are not built",                                      \
        .lower = lower,                                                                            \
        .no_sample_reason = #f "'s samples run it",                                                \
    };
#include "kernels/eltwise/activation.def"
#undef WF_ACTIVATION

static const wf_op *const backward_op[WF_N_ACTIVATIONS] = {
#define WF_ACTIVATION(f, from, zero, flat) &wf_op_##f##_backward,
#include "kernels/eltwise/activation.def"
#undef WF_ACTIVATION
};

weft_tensor *weft_sigmoid(weft_tensor *x)
{
    return record(&wf_op_sigmoid, x, WF_ACT_sigmoid, 0);
}
weft_tensor *weft_tanh(weft_tensor *x)
{
    return record(&wf_op_tanh, x, WF_ACT_tanh, 0);
}
weft_tensor *weft_silu(weft_tensor *x)
{
    return record(&wf_op_silu, x, WF_ACT_silu, 0);
}
weft_tensor *weft_gelu(weft_tensor *x)
{
    return record(&wf_op_gelu, x, WF_ACT_gelu, 0);
}
weft_tensor *weft_gelu_tanh(weft_tensor *x)
{
    return record(&wf_op_gelu_tanh, x, WF_ACT_gelu_tanh, 0);
}
weft_tensor *weft_hardsigmoid(weft_tensor *x)
{
    return record(&wf_op_hardsigmoid, x, WF_ACT_hardsigmoid, 0);
}
weft_tensor *weft_hardswish(weft_tensor *x)
{
    return record(&wf_op_hardswish, x, WF_ACT_hardswish, 0);
}
weft_tensor *weft_relu6(weft_tensor *x)
{
    return record(&wf_op_relu6, x, WF_ACT_relu6, 0);
}
/* Fails the step where a number that the user gave is not finite. */
static bool refuse_number(weft_tensor *x, const char *op, const char *what, double value)
{
    weft_context *ctx = wf_record_context(op, 1, 1, &x);
    if (ctx && !isfinite(value))
        wf_fail_step(ctx, WEFT_ERR_INVALID, "%s: %s must be finite, is %g", op, what, value);
    return !ctx || !isfinite(value);
}
weft_tensor *weft_leaky_relu(weft_tensor *x, double negative_slope)
{
    if (refuse_number(x, "leaky_relu", "the slope", negative_slope))
        return NULL;
    return record(&wf_op_leaky_relu, x, WF_ACT_leaky_relu, negative_slope);
}
weft_tensor *weft_abs(weft_tensor *x)
{
    return record(&wf_op_abs, x, WF_ACT_abs, 0);
}
weft_tensor *weft_elu(weft_tensor *x, double alpha)
{
    if (refuse_number(x, "elu", "alpha", alpha))
        return NULL;
    return record(&wf_op_elu, x, WF_ACT_elu, alpha);
}
weft_tensor *weft_mish(weft_tensor *x)
{
    return record(&wf_op_mish, x, WF_ACT_mish, 0);
}
weft_tensor *weft_exp(weft_tensor *x)
{
    return record(&wf_op_exp, x, WF_ACT_exp, 0);
}
weft_tensor *weft_log(weft_tensor *x)
{
    return record(&wf_op_log, x, WF_ACT_log, 0);
}
weft_tensor *weft_sqrt(weft_tensor *x)
{
    return record(&wf_op_sqrt, x, WF_ACT_sqrt, 0);
}
weft_tensor *weft_rsqrt(weft_tensor *x)
{
    return record(&wf_op_rsqrt, x, WF_ACT_rsqrt, 0);
}
weft_tensor *weft_reciprocal(weft_tensor *x)
{
    return record(&wf_op_reciprocal, x, WF_ACT_reciprocal, 0);
}

/* These three functions check their parameters; shape inference does not check parameters. */
weft_tensor *weft_pow(weft_tensor *x, double exponent)
{
    weft_context *ctx = wf_record_context("pow", 1, 1, &x);
    if (!ctx)
        return NULL;
    if (!isfinite(exponent)) {
        wf_fail_step(ctx, WEFT_ERR_INVALID, "pow: exponent %g is not finite", exponent);
        return NULL;
    }
    return record_with(&wf_op_pow, x, WF_ACT_pow, exponent, exponent - 1);
}
weft_tensor *weft_clamp(weft_tensor *x, double min, double max)
{
    weft_context *ctx = wf_record_context("clamp", 1, 1, &x);
    if (!ctx)
        return NULL;
    if (isnan(min) || isnan(max)) {
        wf_fail_step(ctx, WEFT_ERR_INVALID, "clamp: bounds %g and %g, neither may be NaN", min,
                     max);
        return NULL;
    }
    return record_with(&wf_op_clamp, x, WF_ACT_clamp, min, max);
}
weft_tensor *weft_softplus(weft_tensor *x, double beta, double threshold)
{
    weft_context *ctx = wf_record_context("softplus", 1, 1, &x);
    if (!ctx)
        return NULL;
    if (!(beta > 0 && isfinite(beta)) || isnan(threshold)) {
        wf_fail_step(ctx, WEFT_ERR_INVALID,
                     "softplus: beta %g, threshold %g: beta must be above 0 and finite", beta,
                     threshold);
        return NULL;
    }
    return record_with(&wf_op_softplus, x, WF_ACT_softplus, beta, threshold);
}
weft_tensor *weft_neg(weft_tensor *x)
{
    WF_SAY("neg", 1, x);
    return weft_scale(x, -1);
}
