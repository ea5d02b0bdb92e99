/* Arithmetic that touches no memory, per ISA: what one thread of this machine can do at most.
 *
 * Any number of threads at once. Functions of an ISA run only on CPUs that have it. */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

#include <stdint.h>

#include "kernels/types.h"

/* Runs `rounds` rounds of multiply-adds in registers; returns their number of operations (two
 * each). seed: some small number that the compiler does not know; *result: what keeps it from
 * leaving out the work. */
typedef double (*bench_peak_fn)(int64_t rounds, float seed, float *result);

bench_peak_fn bench_peak_f32(weft_isa isa);
/* bf16 products added to f32, by the instruction of this name; NULL for storage, which has none. */
bench_peak_fn bench_peak_bf16(wf_bf16 level);
const char *bench_peak_bf16_name(wf_bf16 level);

#endif
