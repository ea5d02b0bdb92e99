/* weft-bench: what this machine can do, what the kernels make of it, whole training steps.
 * bench/README.md says what each figure means. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/conv2d.h"
#include "bench/costs.h"
#include "bench/engine.h"
#include "bench/errors.h"
#include "bench/gbench.h"
#include "bench/images.h"
#include "bench/layers.h"
#include "bench/linear.h"
#include "bench/load.h"
#include "bench/machine.h"
#include "bench/ops.h"
#include "bench/options.h"
#include "bench/peak.h"
#include "bench/pictures.h"
#include "bench/step.h"
#include "engine/base/error.h"
#include "engine/files/atomic_file.h"
#include "kernels/machine.h"

enum { FAILED = 1, BAD_USE = 2 };

static int complain(int status, const char *text)
{
    fprintf(stderr, "weft-bench: %s\n", text);
    return status;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* Writes `object` (taken over) as one line to stdout ("-") or a file. */
static int write_json(json_t *object, const char *path)
{
    const size_t flags = JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9);
    char *text = object ? json_dumps(object, flags) : NULL;
    json_decref(object);
    if (!text)
        return complain(FAILED, "out of memory");
    int status = 0;
    if (strcmp(path, "-") == 0) {
        if (puts(text) < 0 || fflush(stdout))
            status = complain(FAILED, "cannot write to stdout");
    } else {
        weft_error err = {0};
        wf_atomic_file *file;
        if (wf_atomic_create(path, &file, &err))
            status = complain(FAILED, err.text);
        else {
            fprintf(wf_atomic_stream(file), "%s\n", text);
            if (wf_atomic_commit(file, &err))
                status = complain(FAILED, err.text);
        }
    }
    free(text);
    return status;
}

/* ---- --machine ------------------------------------------------------------------------------- */

static json_t *machine_json(const bench_machine *m, const bench_peaks *p)
{
    return json_pack("{s:f, s:o, s:f, s:o, s:i, s:s, s:s, s:i}", "peak_gflops", p->gflops,
                     "peak_bf16_gflops",
                     p->bf16_gflops > 0 ? json_real(p->bf16_gflops) : json_null(), "triad_gb_per_s",
                     p->triad_gb_per_s, "round_trip_ns",
                     p->round_trip_ns > 0 ? json_real(p->round_trip_ns) : json_null(), "threads",
                     m->threads, "isa", weft_isa_name(m->isa), "class",
                     wf_machine_class_now()->name, "cores", wf_topology_cores(m->topology));
}

/* "2 threads on 2 cores, avx512: FMA peak 230.1 GFLOP/s, bf16 458.2 GFLOP/s by VDPBF16PS, STREAM triad 29.3 GB/s,
 * a cache line between two threads and back 66 ns" */
static void print_machine(const bench_machine *m, const bench_peaks *p, FILE *out)
{
    fprintf(out, "%d threads on %d cores, %s: FMA peak %.1f GFLOP/s", m->threads,
            wf_topology_cores(m->topology), weft_isa_name(m->isa), p->gflops);
    if (p->bf16_gflops > 0)
        fprintf(out, ", bf16 %.1f GFLOP/s by %s", p->bf16_gflops,
                bench_peak_bf16_name(wf_cpu_bf16()));
    fprintf(out, ", STREAM triad %.1f GB/s", p->triad_gb_per_s);
    if (p->round_trip_ns > 0)
        fprintf(out, ", a cache line between two threads and back %.0f ns", p->round_trip_ns);
    fputc('\n', out);
}

static int run_machine(const bench_machine *m, const bench_options *options)
{
    bench_peaks peaks;
    weft_error err = {0};
    if (bench_machine_measure(m, &peaks, &err))
        return complain(FAILED, err.text);
    if (options->json)
        return write_json(machine_json(m, &peaks), options->json);
    print_machine(m, &peaks, stdout);
    return 0;
}

/* ---- --step ---------------------------------------------------------------------------------- */

/* An unknown model, a size it cannot take. */
static bool asked_wrong(weft_status status)
{
    return status == WEFT_ERR_INVALID || status == WEFT_ERR_SHAPE || status == WEFT_ERR_NOT_FOUND;
}

static int run_branches(const bench_step_spec *spec, const bench_options *options)
{
    bench_step_branches_result r;
    weft_error err = {0};
    const double seconds = options->seconds > 0 ? options->seconds : 5;
    if (options->json || options->trace || options->sequence)
        return complain(BAD_USE, "--branches does not go with --json, --trace or --sequence");
    const weft_status status = bench_step_branches(spec, seconds, &r, &err);
    if (status != WEFT_OK)
        return complain(asked_wrong(status) ? BAD_USE : FAILED, err.text);
    printf("%s, batch %d, %d threads: %.3f ms side by side, %.3f ms in sequence, %.3fx, medians of "
           "%lld\n",
           spec->model, spec->batch, r.threads, 1e3 * r.side_by_side_s, 1e3 * r.sequence_s,
           r.sequence_s / r.side_by_side_s, (long long)r.steps);
    return 0;
}

static int run_step(const bench_options *options)
{
    const bench_step_spec spec = {.model = options->model,
                                  .recompute = options->recompute,
                                  .memory_limit = options->memory_bytes,
                                  .batch = options->batch ? (int)options->batch : 64,
                                  .size = (int)options->size,
                                  .threads = (int)options->threads,
                                  .bytes = options->bytes,
                                  .trace = options->trace,
                                  .sequence = options->sequence,
                                  .bf16 = bench_is_bf16(options),
                                  .args = options->args,
                                  .n_args = options->n_args};
    bench_step_result r;
    weft_error err = {0};
    if (options->branches)
        return run_branches(&spec, options);
    weft_status status =
        bench_step_measure(&spec, options->seconds > 0 ? options->seconds : 5, &r, &err);
    if (status != WEFT_OK)
        return complain(asked_wrong(status) ? BAD_USE : FAILED, err.text);
    const double img_per_s = spec.batch / r.median_step_s;
    const char *dtype = spec.bf16 ? "bf16" : "f32";
    if (!options->json) {
        printf("%s, batch %d, %dx%d, %s, %d threads, %s: %.1f img/s, median step %.3f ms of %lld, "
               "peak RSS %.0f MB\n",
               spec.model, spec.batch, r.size, r.size,
               spec.bytes ? spec.bf16 ? "u8 to bf16" : "u8 to f32" : dtype, r.threads,
               weft_isa_name(r.isa), img_per_s, 1e3 * r.median_step_s, (long long)r.steps,
               r.rss_mb);
        return 0;
    }
    json_t *object =
        json_pack("{s:s, s:i, s:i, s:s, s:f, s:f, s:I, s:f, s:i, s:s}", "model", spec.model,
                  "batch", spec.batch, "size", r.size, "dtype", dtype, "img_per_s", img_per_s,
                  "median_step_s", r.median_step_s, "steps", (json_int_t)r.steps, "rss_mb",
                  r.rss_mb, "threads", r.threads, "isa", weft_isa_name(r.isa));
    return write_json(object, options->json);
}

/* ---- --load ---------------------------------------------------------------------------------- */

static int run_load(const bench_options *options)
{
    const bench_load_spec spec = {.path = options->load,
                                  .batch = options->batch ? (int)options->batch : 32,
                                  .size = options->size ? (int)options->size : 224,
                                  .workers = (int)options->workers,
                                  .fast = options->fast_decode,
                                  .seconds = options->seconds > 0 ? options->seconds : 5};
    bench_load_result r;
    weft_error err = {0};
    weft_status status = bench_load_measure(&spec, &r, &err);
    if (status != WEFT_OK)
        return complain(status == WEFT_ERR_INVALID ? BAD_USE : FAILED, err.text);
    if (options->json)
        return write_json(json_pack("{s:s, s:i, s:i, s:i, s:f, s:I, s:f}", "path", spec.path,
                                    "batch", spec.batch, "size", spec.size, "workers", spec.workers,
                                    "img_per_s", r.images_per_s, "images", (json_int_t)r.images,
                                    "rss_mb", r.rss_mb),
                          options->json);
    printf("%s, batch %d, %dx%d, %d loader threads: %.0f img/s, median of %d pieces, peak RSS "
           "%.0f MB\n",
           spec.path, spec.batch, spec.size, spec.size, spec.workers, r.images_per_s, r.samples,
           r.rss_mb);
    return 0;
}

static int run_engine(const bench_machine *m, const bench_options *options)
{
    weft_error err = {0};
    const weft_status status = bench_engine_measure(options->engine, m->threads, stdout, &err);
    return status == WEFT_OK ? 0 : complain(asked_wrong(status) ? BAD_USE : FAILED, err.text);
}

/* ---- --layers -------------------------------------------------------------------------------- */

static int write_layers(const bench_layers *l, const bench_machine *m, const bench_peaks *peaks,
                        const bench_layers_spec *spec, const bench_options *options)
{
    enum { MOST = 256 };
    bench_summary *s = calloc(MOST, sizeof *s);
    weft_error err = {0};
    int status = 0;
    if (!s)
        return complain(FAILED, "out of memory");
    int n = bench_layers_summarise(l, m->threads, s, MOST);
    bool to_stdout = (options->csv && strcmp(options->csv, "-") == 0) ||
                     (options->json && strcmp(options->json, "-") == 0);
    FILE *text = to_stdout ? stderr : stdout;
    bench_layers_print_shares(l, text);
    bench_layers_print_summary(s, n, spec, text);
    if (options->csv && bench_layers_write_csv(l, options->csv, &err))
        status = complain(FAILED, err.text);
    if (options->json && !status) {
        json_t *object = bench_layers_json(l, s, n);
        json_object_set_new(object, "machine", machine_json(m, peaks));
        json_object_set_new(object, "against",
                            json_string(bench_layers_against(spec->no_winograd)));
        status = write_json(object, options->json);
    }
    free(s);
    return status;
}

/* What the machine itself gains by its threads: a layer gains no more. */
static weft_status tell_machine_scaling(const bench_machine *m, const bench_peaks *all,
                                        weft_error *err)
{
    bench_machine alone = *m;
    bench_peaks one;
    alone.threads = 1;
    WF_TRY(bench_machine_measure(&alone, &one, err));
    fprintf(stderr,
            "one thread: FMA peak %.1f GFLOP/s, STREAM triad %.1f GB/s; all threads have %.2fx and "
            "%.2fx of these\n",
            one.gflops, one.triad_gb_per_s, all->gflops / one.gflops,
            all->triad_gb_per_s / one.triad_gb_per_s);
    return WEFT_OK;
}

static int run_layers(const bench_machine *m, const bench_options *options)
{
    const bench_layers_spec spec = {.networks = options->layers,
                                    .only = options->only,
                                    .batch = (int)options->batch,
                                    .seconds = options->seconds > 0 ? options->seconds : 0.3,
                                    .images = bench_is_bf16(options) ? WEFT_BF16 : WEFT_F32,
                                    .cold = options->cold,
                                    .scaling = options->scaling,
                                    .no_winograd = strcmp(options->against, "oneDNN") != 0};
    const bool quiet = options->csv || options->json;
    bench_peaks before, after;
    bench_layers l;
    weft_error err = {0};
    char why[160];
    if (bench_machine_measure(m, &before, &err))
        return complain(FAILED, err.text);
    print_machine(m, &before, stderr);
    if (spec.scaling && tell_machine_scaling(m, &before, &err))
        return complain(FAILED, err.text);
    weft_status status =
        bench_layers_measure(&spec, m, &before, &l, quiet ? NULL : bench_layers_print, &err);
    int exit_status = 0;
    if (status != WEFT_OK)
        exit_status = complain(status == WEFT_ERR_INVALID ? BAD_USE : FAILED, err.text);
    else if (l.n == 0)
        exit_status = complain(BAD_USE, "no layer of that name");
    else if (bench_machine_measure(m, &after, &err))
        exit_status = complain(FAILED, err.text);
    else {
        bench_layers_share(&l);
        exit_status = write_layers(&l, m, &before, &spec, options);
    }
    if (exit_status == 0 && !bench_machine_was_quiet(&before, &after, why, sizeof why))
        fprintf(stderr, "warning: %s\n", why);
    bench_layers_done(&l);
    return exit_status;
}

/* ---- --costs --------------------------------------------------------------------------------- */

static int run_costs(const bench_machine *m, const bench_options *options)
{
    weft_error err = {0};
    weft_status status =
        bench_costs_serve(options->costs, (int)options->batch, m->isa, stdin, stdout, &err);
    return status == WEFT_OK ? 0
                             : complain(status == WEFT_ERR_INVALID ? BAD_USE : FAILED, err.text);
}

/* ---- --ops ----------------------------------------------------------------------------------- */

static int run_ops(const bench_machine *m, const bench_options *options)
{
    const bench_ops_spec spec = {.only = options->ops,
                                 .seconds = options->seconds > 0 ? options->seconds : 0.5};
    bench_peaks before, after;
    weft_error err = {0};
    char why[160];
    if (bench_machine_measure(m, &before, &err))
        return complain(FAILED, err.text);
    print_machine(m, &before, stderr);
    if (bench_ops_measure(&spec, m, stdout, &err))
        return complain(err.status == WEFT_ERR_INVALID ? BAD_USE : FAILED, err.text);
    if (bench_machine_measure(m, &after, &err))
        return complain(FAILED, err.text);
    if (!bench_machine_was_quiet(&before, &after, why, sizeof why))
        fprintf(stderr, "warning: %s\n", why);
    return 0;
}

/* ---- the suite ------------------------------------------------------------------------------- */

static void add_context(const bench_machine *m, const bench_peaks *p)
{
    char text[32];
    bench_context("weft_isa", weft_isa_name(m->isa));
    snprintf(text, sizeof text, "%d", m->threads);
    bench_context("weft_threads", text);
    snprintf(text, sizeof text, "%.1f", p->gflops);
    bench_context("peak_gflops", text);
    snprintf(text, sizeof text, "%.1f", p->triad_gb_per_s);
    bench_context("triad_gb_per_s", text);
}

/* Between the machine's peaks before and after, which go to stderr: stdout is the report's. */
static int run_suite(const bench_machine *m, const bench_options *options)
{
    char why[WEFT_ERROR_TEXT];
    weft_error err = {0};
    bench_peaks before = {0}, after;
    bench_conv2d *conv2d =
        bench_conv2d_register(options->shapes, options->cold, m, &before, why, sizeof why);
    if (!conv2d)
        return complain(BAD_USE, why);
    bench_linear *linear = bench_linear_register(m, &before, bench_is_bf16(options));
    bench_images *images = bench_images_register(m);
    bench_pictures *pictures = bench_pictures_register();
    if (!linear || !images || !pictures) {
        bench_conv2d_destroy(conv2d);
        bench_linear_destroy(linear);
        bench_images_destroy(images);
        bench_pictures_destroy(pictures);
        return complain(FAILED, "out of memory");
    }
    bench_step_spec *steps = bench_step_register(m->threads);
    int status = FAILED;
    if (!options->list) {
        if (bench_machine_measure(m, &before, &err))
            goto done;
        fputs("before: ", stderr);
        print_machine(m, &before, stderr);
        add_context(m, &before);
    }
    bool failed;
    size_t n = bench_run(&failed);
    if (!options->list && n > 0) {
        if (bench_machine_measure(m, &after, &err))
            goto done;
        fputs("after: ", stderr);
        print_machine(m, &after, stderr);
        if (!bench_machine_was_quiet(&before, &after, why, sizeof why))
            fprintf(stderr, "warning: %s\n", why);
    }
    status = failed  ? FAILED
             : n > 0 ? 0
                     : BAD_USE; /* the report says what failed, or that none is there */
done:
    if (err.status)
        complain(FAILED, err.text);
    bench_conv2d_destroy(conv2d);
    bench_linear_destroy(linear);
    bench_images_destroy(images);
    bench_pictures_destroy(pictures);
    free(steps);
    return status;
}

int main(int argc, char **argv)
{
    bench_options options;
    char why[WEFT_ERROR_TEXT];
    weft_error err = {0};
    bench_machine machine;
    if (!bench_parse(&argc, argv, &options, why, sizeof why))
        return complain(BAD_USE, why);
    if (options.help) {
        bench_usage(stdout);
        return 0;
    }
    if (options.mode == BENCH_STEP)
        return run_step(&options);
    if (options.mode == BENCH_LOAD)
        return run_load(&options);
    if (options.mode == BENCH_ERRORS)
        return bench_errors(wf_cpu_isa(), stdout, why, sizeof why) ? 0 : complain(FAILED, why);
    if (!bench_library_init(&argc, argv))
        return BAD_USE;
    if (bench_machine_init(&machine, (int)options.threads, &err))
        return complain(FAILED, err.text);
    int status = options.mode == BENCH_MACHINE  ? run_machine(&machine, &options)
                 : options.mode == BENCH_LAYERS ? run_layers(&machine, &options)
                 : options.mode == BENCH_COSTS  ? run_costs(&machine, &options)
                 : options.mode == BENCH_ENGINE ? run_engine(&machine, &options)
                 : options.mode == BENCH_OPS    ? run_ops(&machine, &options)
                                                : run_suite(&machine, &options);
    bench_machine_done(&machine);
    return status;
}
