/* Measures the peaks: arithmetic in registers, a cache line's way between two cores, and STREAM's triad over
 * arrays that no cache holds (McCalpin, "STREAM: Sustainable Memory Bandwidth in High Performance Computers",
 * 1991-2007). */
#include "bench/machine.h"

#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/peak.h"
#include "engine/base/clock.h"
#include "engine/step/environment.h"
#include "engine/base/error.h"
#include "engine/tune/measure.h"
#include "engine/tune/trial.h"

enum { SAMPLES = 9, TRIPS = 2000 };

weft_status bench_machine_init(bench_machine *m, int threads, weft_error *err)
{
    *m = (bench_machine){.isa = wf_cpu_isa()};
    WF_TRY(wf_environment_check(err));
    WF_TRY(wf_topology_create(&m->topology, &(wf_topology_config){.threads = threads}, err));
    wf_topology_tell(m->topology);
    weft_status status = wf_memory_create(&m->memory, m->topology, NULL, err);
    if (status != WEFT_OK) {
        bench_machine_done(m);
        return status;
    }
    m->threads = wf_topology_threads(m->topology);
    m->last_level_bytes = wf_trial_cache_bytes(m->topology);
    return WEFT_OK;
}

void bench_machine_done(bench_machine *m)
{
    wf_memory_destroy(m->memory);
    wf_topology_unref(m->topology);
    *m = (bench_machine){0};
}

/* ---- arithmetic ------------------------------------------------------------------------------ */

/* GFLOP/s of all threads together; a sample lasts some 20 ms, so that starting and waiting cost
 * nothing that shows. */
static double measure_arithmetic(const bench_machine *m, bench_peak_fn fn)
{
    const float seed = 0x1p-10f;
    float result;
    double samples[SAMPLES];
    /* The clock of a core that comes out of idleness rises within some milliseconds. */
    int64_t rounds = 1 << 16;
    double start = wf_seconds(), shortest = 1;
    for (double warm_until = start + 0.05; start < warm_until; start = wf_seconds()) {
        fn(rounds, seed, &result);
        shortest = fmin(shortest, wf_seconds() - start);
    }
    rounds = (int64_t)((double)rounds * 0.02 / fmax(shortest, 1e-6)) + 1;
#pragma omp parallel num_threads(m->threads)
    {
        float mine;
        wf_saved_binding binding;
        wf_topology_bind(m->topology, omp_get_thread_num(), &binding);
        for (int i = -1; i < SAMPLES; i++) { /* -1: warms the other cores */
#pragma omp barrier
            double begin = wf_seconds(), work = fn(rounds, seed, &mine);
#pragma omp barrier
#pragma omp master
            if (i >= 0)
                samples[i] = work * omp_get_num_threads() / (wf_seconds() - begin) * 1e-9;
        }
        wf_topology_unbind(&binding);
    }
    return wf_median(samples, SAMPLES);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Elements of each of the three arrays: together at least twelve times the caches, as STREAM asks,
 * but no more than a quarter of what memory is free. */
static size_t triad_elements(const bench_machine *m)
{
    size_t bytes = 4 * m->last_level_bytes;
    if (bytes < (size_t)32 << 20)
        bytes = (size_t)32 << 20;
    wf_memory_limit limit;
    if (wf_memory_get_limit(NULL, &limit, NULL) == WEFT_OK && bytes > limit.available / 12)
        bytes = limit.available / 12;
    return bytes / sizeof(double);
}

static void triad(double *a, const double *b, const double *c, double factor, size_t n)
{
    for (size_t i = 0; i < n; i++)
        a[i] = b[i] + factor * c[i];
}

/* GB/s as STREAM counts them: two arrays read, one written; that a write may read the line first
 * is not counted. */
static weft_status measure_triad(const bench_machine *m, double *gb_per_s, weft_error *err)
{
    size_t n = triad_elements(m);
    double samples[SAMPLES];
    wf_block block = WF_BLOCK_INIT;
    wf_block_request request = {.size = 3 * n * sizeof(double),
                                .kind = WF_MEM_WORKSPACE,
                                .what = "the memory bandwidth's arrays"};
    WF_TRY(wf_memory_alloc(m->memory, &request, &block, err));
    double *a = block.data, *b = a + n, *c = b + n;
#pragma omp parallel num_threads(m->threads)
    {
        wf_saved_binding binding;
        size_t me = (size_t)omp_get_thread_num(), all = (size_t)omp_get_num_threads();
        size_t first = n * me / all, count = n * (me + 1) / all - first;
        wf_topology_bind(m->topology, (int)me, &binding);
        for (size_t i = first; i < first + count; i++) { /* placed where they are used */
            a[i] = 0;
            b[i] = 1;
            c[i] = 2;
        }
        for (int i = -1; i < SAMPLES; i++) {
#pragma omp barrier
            double begin = wf_seconds();
            triad(a + first, b + first, c + first, 0.5, count);
#pragma omp barrier
#pragma omp master
            if (i >= 0)
                samples[i] = 3e-9 * (double)(n * sizeof *a) / (wf_seconds() - begin);
        }
        wf_topology_unbind(&binding);
    }
    wf_memory_free(&block);
    *gb_per_s = wf_median(samples, SAMPLES);
    return WEFT_OK;
}

/* ---- between cores --------------------------------------------------------------------------- */

/* Threads 0 and 1 pass a counter to and fro: each adds one when it is odd or even. */
static double measure_round_trip(const bench_machine *m)
{
    static _Alignas(128) atomic_int counter;
    double samples[SAMPLES];
    if (m->threads < 2 || wf_topology_cores(m->topology) < 2)
        return 0;
#pragma omp parallel num_threads(2)
    {
        const int me = omp_get_thread_num();
        wf_saved_binding binding;
        wf_topology_bind(m->topology, me, &binding);
        for (int i = 0; i < SAMPLES && omp_get_num_threads() == 2; i++) {
#pragma omp barrier
            const double begin = wf_seconds();
            for (int j = 0; j < TRIPS; j++) {
                while (atomic_load_explicit(&counter, memory_order_acquire) % 2 != me)
                    ;
                atomic_fetch_add_explicit(&counter, 1, memory_order_release);
            }
#pragma omp barrier
            if (me == 0)
                samples[i] = (wf_seconds() - begin) / TRIPS * 1e9;
        }
        wf_topology_unbind(&binding);
#pragma omp single
        for (int i = 0; i < SAMPLES && omp_get_num_threads() < 2; i++)
            samples[i] = 0;
    }
    return wf_median(samples, SAMPLES);
}

weft_status bench_machine_measure(const bench_machine *m, bench_peaks *peaks, weft_error *err)
{
    bench_peak_fn bf16 = bench_peak_bf16(wf_cpu_bf16());
    bench_peaks p = {.gflops = measure_arithmetic(m, bench_peak_f32(m->isa)),
                     .bf16_gflops = bf16 ? measure_arithmetic(m, bf16) : 0};
    p.round_trip_ns = measure_round_trip(m);
    WF_TRY(measure_triad(m, &p.triad_gb_per_s, err));
    *peaks = p;
    return WEFT_OK;
}

bool bench_machine_was_quiet(const bench_peaks *before, const bench_peaks *after, char *why,
                             size_t size)
{
    double gflops = after->gflops / before->gflops - 1;
    double triad = after->triad_gb_per_s / before->triad_gb_per_s - 1;
    bool arithmetic = fabs(gflops) >= fabs(triad);
    double moved = arithmetic ? gflops : triad;
    double trip = before->round_trip_ns > 0 ? after->round_trip_ns / before->round_trip_ns : 1;
    if (trip > 2 || trip < 0.5) {
        snprintf(
            why, size,
            "a cache line's round trip between two threads went from %.0f to %.0f ns: their cores "
            "were not the same all the time",
            before->round_trip_ns, after->round_trip_ns);
        return false;
    }
    snprintf(why, size, "the %s moved by %+.0f %%: the machine was not quiet",
             arithmetic ? "FMA peak" : "STREAM triad", 100 * moved);
    return fabs(moved) <= 0.10;
}

double bench_peak_rss_mb(void)
{
    char line[128];
    double kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lf kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    struct rusage usage;
    if (kib == 0 && getrusage(RUSAGE_SELF, &usage) == 0)
        kib = (double)usage.ru_maxrss;
    return kib / 1024;
}
