/* One training step: zero_grad, forward, cross-entropy, backward, SGD; see step.h. */
#include "bench/step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/gbench.h"
#include "bench/machine.h"
#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/tune/measure.h"
#include "weft/weft.h"

/* As in torch_step.py. */
enum { WARMUP_STEPS = 5, MIN_STEPS = 5 };

void bench_step_done(bench_step *s)
{
    weft_optimizer_destroy(s->optimizer);
    weft_module_unref(s->net);
    weft_tensor_unref(s->images);
    weft_tensor_unref(s->mean);
    weft_tensor_unref(s->std);
    weft_tensor_unref(s->labels);
    weft_context_destroy(s->ctx);
    *s = (bench_step){0};
}

static weft_tensor *some_labels(weft_context *ctx, int n, int classes)
{
    weft_tensor *t = weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(n));
    int64_t *label = t ? weft_tensor_data(t) : NULL;
    for (int i = 0; label && i < n; i++)
        label[i] = (int64_t)((uint32_t)i * 2654435761u >> 8) % classes;
    return t;
}

static weft_tensor *some_bytes(weft_context *ctx, weft_shape shape)
{
    weft_tensor *t = weft_tensor_create(ctx, WEFT_U8, shape);
    uint8_t *pixel = t ? weft_tensor_data(t) : NULL;
    for (int64_t i = 0; pixel && i < weft_shape_count(shape); i++)
        pixel[i] = (uint8_t)((uint32_t)i * 2654435761u >> 13);
    return t;
}

/* Deviates that a loader hands out as they are, or bytes with mean and deviation of even ones. */
static bool make_images(bench_step *s, weft_shape shape, bool bytes)
{
    if (bytes) {
        s->mean = weft_tensor_full(s->ctx, WEFT_F32, WEFT_SHAPE(shape.dim[1]), 0.5);
        s->std = weft_tensor_full(s->ctx, WEFT_F32, WEFT_SHAPE(shape.dim[1]), 0.29);
    }
    s->images = bytes ? some_bytes(s->ctx, shape) : weft_randn(s->ctx, shape);
    return s->images && (!bytes || (s->mean && s->std));
}

weft_status bench_step_init(bench_step *s, const bench_step_spec *spec, weft_error *err)
{
    *s = (bench_step){0};
    weft_options options = {.threads = spec->threads,
                            .trace_path = spec->trace,
                            .executor =
                                spec->sequence ? WEFT_EXECUTOR_SEQUENCE : WEFT_EXECUTOR_PARALLEL,
                            .memory_limit = spec->memory_limit,
                            .amp = spec->bf16 ? WEFT_AMP_BF16 : WEFT_AMP_OFF};
    const bool off = spec->recompute && strcmp(spec->recompute, "off") == 0;
    if (off)
        options.passes_off |= WEFT_PASS_RECOMPUTE;
    WF_TRY(weft_context_create(&s->ctx, &options, err));
    const weft_model_info *info = weft_model_find(spec->model);
    weft_model_opts opts = info ? info->defaults : (weft_model_opts){0};
    if (spec->size)
        opts.height = opts.width = spec->size;
    opts.args = spec->args;
    opts.n_args = spec->n_args;
    s->net = weft_model_create(s->ctx, spec->model, &opts); /* knows what is wrong with them */
    if (!s->net)
        goto fail;
    int modules = 0;
    if (spec->recompute && !off && strcmp(spec->recompute, "auto") != 0) {
        if (weft_module_recompute(s->net, spec->recompute, &modules))
            goto fail;
        if (modules == 0) {
            wf_error_set(err, WEFT_ERR_INVALID, "--recompute: no module of %s matches '%s'",
                         spec->model, spec->recompute);
            bench_step_done(s);
            return WEFT_ERR_INVALID;
        }
    }
    weft_shape images = WEFT_SHAPE(spec->batch, opts.in_channels, opts.height, opts.width);
    const weft_sgd_opts sgd = {.lr = 0.01, .momentum = 0.9, .weight_decay = 1e-4};
    const bool made = make_images(s, images, spec->bytes);
    s->labels = some_labels(s->ctx, spec->batch, opts.num_classes);
    s->optimizer = weft_sgd_create(s->ctx, s->net, &sgd);
    if (made && s->labels && s->optimizer)
        return WEFT_OK;
fail:;
    weft_status status = weft_error_status(s->ctx);
    wf_error_set(err, status, "%s", weft_error_text(s->ctx));
    bench_step_done(s);
    return status;
}

weft_tensor *bench_step_loss(bench_step *s)
{
    weft_tensor *images = s->mean ? weft_normalize_images(s->images, s->mean, s->std) : s->images;
    return weft_training_loss(s->net, images, s->labels, NULL, NULL);
}

bool bench_step_run(bench_step *s)
{
    weft_optimizer_zero_grad(s->optimizer);
    weft_tensor *loss = bench_step_loss(s);
    if (!loss || weft_backward(loss) || weft_optimizer_step(s->optimizer))
        return false;
    weft_item(loss);
    return weft_error_status(s->ctx) == WEFT_OK;
}

bool bench_step_warm_up(bench_step *s)
{
    for (int i = 0; i < WARMUP_STEPS; i++)
        if (!bench_step_run(s))
            return false;
    return true;
}

/* ---- one measurement ------------------------------------------------------------------------- */

/* The duration of each step, for free(); NULL on failure. */
static double *time_steps(bench_step *s, double seconds, int64_t *n)
{
    double *times = NULL;
    int64_t capacity = 0;
    *n = 0;
    for (double end = wf_seconds() + seconds; *n < MIN_STEPS || wf_seconds() < end; ++*n) {
        if (*n == capacity) {
            capacity = capacity ? 2 * capacity : 1024;
            double *more = realloc(times, (size_t)capacity * sizeof *more);
            if (!more)
                goto fail;
            times = more;
        }
        double start = wf_seconds();
        if (!bench_step_run(s))
            goto fail;
        times[*n] = wf_seconds() - start;
    }
    return times;
fail:
    free(times);
    return NULL;
}

weft_status bench_step_measure(const bench_step_spec *spec, double seconds,
                               bench_step_result *result, weft_error *err)
{
    bench_step s;
    WF_TRY(bench_step_init(&s, spec, err));
    weft_status status = WEFT_OK;
    int64_t n;
    double *times = bench_step_warm_up(&s) ? time_steps(&s, seconds, &n) : NULL;
    if (!times) {
        status = weft_error_status(s.ctx) ? weft_error_status(s.ctx) : WEFT_ERR_NOMEM;
        wf_error_set(err, status, "%s", weft_error_text(s.ctx));
        goto done;
    }
    weft_shape shape = weft_tensor_shape(s.images);
    *result = (bench_step_result){.size = (int)shape.dim[2],
                                  .threads = weft_threads(s.ctx),
                                  .isa = weft_context_isa(s.ctx),
                                  .median_step_s = wf_median(times, n),
                                  .steps = n,
                                  .rss_mb = bench_peak_rss_mb()};
done:
    free(times);
    bench_step_done(&s);
    return status;
}

static weft_status failure(const bench_step *s, weft_error *err)
{
    const weft_status status = weft_error_status(s->ctx);
    return wf_error_set(err, status ? status : WEFT_ERR_NOMEM, "%s", weft_error_text(s->ctx));
}

weft_status bench_step_branches(const bench_step_spec *spec, double seconds,
                                bench_step_branches_result *result, weft_error *err)
{
    enum { MOST = 4096 };
    bench_step side = {0}, one = {0};
    bench_step_spec in_sequence = *spec;
    in_sequence.sequence = true;
    double *a = malloc(MOST * sizeof *a), *b = malloc(MOST * sizeof *b);
    weft_status status = a && b ? WEFT_OK : wf_error_set(err, WEFT_ERR_NOMEM, "out of memory");
    if (status == WEFT_OK)
        status = bench_step_init(&side, spec, err);
    if (status == WEFT_OK)
        status = bench_step_init(&one, &in_sequence, err);
    if (status == WEFT_OK && !bench_step_warm_up(&side))
        status = failure(&side, err);
    if (status == WEFT_OK && !bench_step_warm_up(&one))
        status = failure(&one, err);
    int64_t n = 0;
    for (double end = wf_seconds() + seconds;
         status == WEFT_OK && n < MOST && (n < MIN_STEPS || wf_seconds() < end); n++) {
        double start = wf_seconds();
        if (!bench_step_run(n % 2 ? &one : &side)) /* ABBA: neither always comes second */
            status = failure(n % 2 ? &one : &side, err);
        const double middle = wf_seconds();
        if (!bench_step_run(n % 2 ? &side : &one))
            status = failure(n % 2 ? &side : &one, err);
        const double stop = wf_seconds();
        a[n] = n % 2 ? stop - middle : middle - start;
        b[n] = n % 2 ? middle - start : stop - middle;
    }
    if (status == WEFT_OK)
        *result = (bench_step_branches_result){.threads = weft_threads(side.ctx),
                                               .steps = n,
                                               .side_by_side_s = wf_median(a, n),
                                               .sequence_s = wf_median(b, n)};
    free(a);
    free(b);
    bench_step_done(&side);
    bench_step_done(&one);
    return status;
}

/* ---- in the suite ---------------------------------------------------------------------------- */

static const bench_step_spec in_suite[] = {
    {.model = "fmnist_cnn", .batch = 64},
    {.model = "resnet18", .batch = 16},
    {.model = "resnet50", .batch = 16},
};

static void run(bench_state *state, void *user)
{
    const bench_step_spec *spec = user;
    weft_error err = {0};
    bench_step s;
    if (bench_step_init(&s, spec, &err)) {
        bench_fail(state, err.text);
        return;
    }
    bool good = bench_step_warm_up(&s);
    while (good && bench_next(state))
        good = bench_step_run(&s);
    if (good)
        bench_counter(state, "img/s", spec->batch / bench_seconds(state));
    else
        bench_fail(state, weft_error_text(s.ctx));
    bench_step_done(&s);
}

bench_step_spec *bench_step_register(int threads)
{
    enum { N = sizeof in_suite / sizeof *in_suite };
    bench_step_spec *specs = malloc(sizeof in_suite);
    for (int i = 0; specs && i < N; i++) {
        char name[64];
        specs[i] = in_suite[i];
        specs[i].threads = threads;
        snprintf(name, sizeof name, "step/%s/b%d", specs[i].model, specs[i].batch);
        if (weft_model_find(specs[i].model))
            bench_register(name, run, &specs[i]);
    }
    return specs;
}
