/* The arithmetic loops among which peak.c chooses. Each has the type bench_peak_fn (peak.h) and
 * runs only on CPUs that have its ISA. */
#ifndef BENCH_PEAK_LOOPS_H
#define BENCH_PEAK_LOOPS_H

#include <stdint.h>

double bench_peak_f32_scalar(int64_t rounds, float seed, float *result);
double bench_peak_f32_avx2(int64_t rounds, float seed, float *result);
double bench_peak_f32_avx512(int64_t rounds, float seed, float *result);
double bench_peak_bf16_avx512(int64_t rounds, float seed, float *result);
double bench_peak_bf16_amx(int64_t rounds, float seed, float *result);

#endif
