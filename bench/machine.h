/* What this machine can do at most, measured: the figures that every other one is compared with.
 *
 * One thread at a time; measuring uses as many as the library would. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <stdbool.h>

#include "engine/machine/memory.h"
#include "engine/machine/topology.h"
#include "kernels/types.h"

/* Where and how measurements run. */
typedef struct bench_machine {
    wf_topology *topology;
    wf_memory *memory;
    weft_isa isa;
    int threads;
    size_t last_level_bytes; /* of all last-level caches that our cores have */
} bench_machine;

/* threads 0: as the library chooses. Done takes a zeroed machine. */
weft_status bench_machine_init(bench_machine *m, int threads, weft_error *err);
void bench_machine_done(bench_machine *m);

typedef struct bench_peaks {
    double gflops;      /* f32 multiply-adds */
    double bf16_gflops; /* bf16 products, wf_cpu_bf16(); 0: there is no arithmetic on bf16 */
    double triad_gb_per_s;
    /* Nanoseconds in which a cache line goes from thread 0 to thread 1 and back, each of which writes it; 0: one
     * thread. Cores that share a last-level cache take well below 150, others several times as long. In a virtual
     * machine that may change from one second to the next. */
    double round_trip_ns;
} bench_peaks;

/* Medians over about half a second. */
weft_status bench_machine_measure(const bench_machine *m, bench_peaks *peaks, weft_error *err);

/* Whether the machine kept within 10 % of what it was, and the round trip within a factor of two; if not, a
 * sentence in why. */
bool bench_machine_was_quiet(const bench_peaks *before, const bench_peaks *after, char *why,
                             size_t size);

/* The process's peak of resident memory. The kernel's own figure: that of getrusage includes the
 * parent's, from before exec. */
double bench_peak_rss_mb(void);

#endif
