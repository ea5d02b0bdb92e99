/* weft_gradcheck: compares recorded gradients with central differences, in double precision. */
#include <math.h>
#include <string.h>

#include "engine/graph/graph.h"
#include "engine/tensor/context.h"
#include "engine/base/alloc.h"
#include "weft/autograd.h"

typedef struct check {
    weft_context *ctx;
    weft_gradcheck_fn fn;
    void *user;
    weft_tensor *const *inputs;
    int n;
    weft_tensor *seed; /* fixed weights: the checked function is the weighted sum of fn's output */
    weft_shape out_shape;
    uint64_t draws; /* the count of draws before the first evaluation */
} check;

/* Calls fn. Each call draws the same random numbers, so that fn is one function. */
static weft_tensor *call(check *c)
{
    c->ctx->draws = c->draws;
    return c->fn(c->user, c->inputs, c->n);
}

/* The error where fn gave no output; fn may have left no error itself. */
static weft_status no_output(const check *c)
{
    return wf_fail_step(c->ctx, WEFT_ERR_INVALID, "gradcheck: the function gave no tensor");
}

/* Calls fn and sums its output in double, weighted by the seed. */
static weft_status evaluate(check *c, double *value)
{
    bool was = weft_no_grad_begin(c->ctx);
    weft_tensor *out = weft_keep(call(c));
    weft_no_grad_end(c->ctx, was);
    if (!out)
        return no_output(c);
    weft_status status = weft_sync(c->ctx);
    if (status == WEFT_OK) {
        const double *y = out->block.data, *s = c->seed->block.data;
        int64_t count = weft_shape_count(out->type.shape);
        double sum = 0;
        for (int64_t i = 0; i < count; i++)
            sum += y[i] * s[i];
        *value = sum;
    }
    weft_tensor_unref(out);
    return status;
}

/* Makes the seed. Each output element has another weight, so that errors cannot cancel. */
static weft_status make_seed(check *c)
{
    weft_tensor *out = call(c);
    if (!out || !wf_tensor_check(out, "gradcheck", false))
        return no_output(c);
    if (out->type.dtype != WEFT_F64)
        return wf_fail(c->ctx, WEFT_ERR_DTYPE, "gradcheck: the function's output is %s, not f64",
                       weft_dtype_name(out->type.dtype));
    c->out_shape = out->type.shape;
    c->seed = weft_tensor_create(c->ctx, WEFT_F64, c->out_shape);
    if (!c->seed)
        return weft_error_status(c->ctx);
    double *s = c->seed->block.data;
    for (int64_t i = 0; i < weft_shape_count(c->out_shape); i++)
        s[i] = 0.5 + fmod(0.754877666 * (double)(i + 1), 1.0);
    return weft_sync(c->ctx);
}

static weft_status gradients(check *c)
{
    for (int i = 0; i < c->n; i++)
        weft_zero_grad(c->inputs[i]);
    weft_tensor *out = call(c);
    if (!out)
        return no_output(c);
    WF_TRY(weft_backward_with(out, c->seed, false));
    return weft_sync(c->ctx);
}

static weft_status compare(check *c, int input, const weft_gradcheck_opts *o, const double *got)
{
    weft_tensor *t = c->inputs[input];
    int64_t count = weft_shape_count(t->type.shape), worst = -1;
    double worst_excess = 0, worst_numeric = 0;
    for (int64_t i = 0; i < count; i++) {
        double *x = (double *)t->block.data + i, was = *x, hi, lo;
        *x = was + o->eps;
        weft_status status = evaluate(c, &hi);
        *x = was - o->eps;
        if (status == WEFT_OK)
            status = evaluate(c, &lo);
        *x = was; /* also on failure */
        WF_TRY(status);
        double numeric = (hi - lo) / (2 * o->eps);
        double excess = fabs(got[i] - numeric) - (o->atol + o->rtol * fabs(numeric));
        if (!(excess <= 0) && (worst < 0 || !(excess <= worst_excess))) {
            worst = i;
            worst_excess = excess;
            worst_numeric = numeric;
        }
    }
    if (worst < 0)
        return WEFT_OK;
    char text[128];
    return wf_fail(c->ctx, WEFT_ERR_NUMERIC,
                   "gradcheck: input %d %s, element %lld: recorded gradient %.10g, central "
                   "difference %.10g",
                   input, weft_shape_format(t->type.shape, text, sizeof text), (long long)worst,
                   got[worst], worst_numeric);
}

static weft_status check_input(check *c, int input, const weft_gradcheck_opts *o)
{
    weft_tensor *t = c->inputs[input];
    size_t bytes = wf_type_bytes(t->type);
    double *first = wf_zalloc(bytes);
    if (!first)
        return wf_nomem(&c->ctx->error, bytes, "gradcheck");
    /* An absent gradient is zero. */
    weft_status status = gradients(c);
    if (status == WEFT_OK && weft_grad(t))
        memcpy(first, t->grad->block.data, bytes);
    if (status == WEFT_OK)
        status = gradients(c);
    if (status == WEFT_OK && weft_grad(t) && memcmp(first, t->grad->block.data, bytes) != 0)
        status = wf_fail(c->ctx, WEFT_ERR_NUMERIC,
                         "gradcheck: two runs give input %d different gradients", input);
    if (status == WEFT_OK)
        status = compare(c, input, o, first);
    wf_free(first);
    return status;
}

weft_status weft_gradcheck(weft_context *ctx, weft_gradcheck_fn fn, void *user,
                           weft_tensor *const *inputs, int n, const weft_gradcheck_opts *opts)
{
    if (!ctx)
        return wf_no_context("gradcheck");
    WF_TRY(wf_may_end_step(ctx, "gradcheck"));
    if (!fn || n < 0 || (n > 0 && !inputs))
        return wf_fail(ctx, WEFT_ERR_INVALID, "gradcheck: %s",
                       fn ? "there are no inputs" : "there is no function");
    const weft_gradcheck_opts usual = WEFT_GRADCHECK_OPTS_INIT, o = opts ? *opts : usual;
    if (!(o.eps > 0 && isfinite(o.eps)) || !(o.atol >= 0 && isfinite(o.atol)) ||
        !(o.rtol >= 0 && isfinite(o.rtol)))
        return wf_fail(ctx, WEFT_ERR_INVALID,
                       "gradcheck: eps %g must be above 0, atol %g and rtol %g not negative "
                       "(WEFT_GRADCHECK_OPTS_INIT has the defaults)",
                       o.eps, o.atol, o.rtol);
    for (int i = 0; i < n; i++)
        if (inputs[i] && !weft_tensor_is_stored(inputs[i]))
            return wf_fail(ctx, WEFT_ERR_INVALID, "gradcheck: input %d is not a stored tensor", i);
    check c = {.ctx = ctx, .fn = fn, .user = user, .inputs = inputs, .n = n, .draws = ctx->draws};
    WF_TRY(wf_step_status(ctx));
    weft_status status = make_seed(&c);
    int checked = 0;
    for (int i = 0; i < n && status == WEFT_OK; i++) {
        if (!inputs[i] || !weft_requires_grad(inputs[i]))
            continue;
        if (inputs[i]->type.dtype != WEFT_F64)
            status = wf_fail(ctx, WEFT_ERR_DTYPE, "gradcheck: input %d is %s, not f64", i,
                             weft_dtype_name(inputs[i]->type.dtype));
        else
            status = check_input(&c, i, &o);
        checked++;
    }
    if (status == WEFT_OK && !checked)
        status = wf_fail(ctx, WEFT_ERR_INVALID, "gradcheck: no input requires a gradient");
    weft_tensor_unref(c.seed);
    if (status != WEFT_OK)
        weft_discard(ctx); /* the work that fn recorded must not run later */
    return status;
}
