/* Google Benchmark for C: gbench.cc is the only C++ of the project.
 *
 * One thread: registration, then one run; benchmarks that use several threads start them
 * themselves. Time is wall-clock time. */
#ifndef BENCH_GBENCH_H
#define BENCH_GBENCH_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bench_state bench_state;

/* A benchmark: prepares, then repeats what is timed while bench_next(state), then reports.
 *
 *     while (bench_next(state))
 *         work();
 *     bench_counter(state, "GFLOP/s", flops / bench_seconds(state) * 1e-9);
 *
 * It must call bench_next until that returns false, or bench_fail and return. */
typedef void (*bench_fn)(bench_state *state, void *user);

/* Takes the library's own flags out of argv; false, after a message, when others are left. */
bool bench_library_init(int *argc, char **argv);
/* A line of what the report says about the machine. */
void bench_context(const char *key, const char *value);
/* `user` must live until bench_run returns. */
void bench_register(const char *name, bench_fn fn, void *user);
/* Runs (or lists) what the flags select; returns how many benchmarks that were. *failed: whether
 * one of them called bench_fail. */
size_t bench_run(bool *failed);

bool bench_next(bench_state *state);
double bench_seconds(const bench_state *state); /* of one iteration, after the loop */
void bench_counter(bench_state *state, const char *name, double value);
void bench_label(bench_state *state, const char *text);
void bench_fail(bench_state *state, const char *why);

#ifdef __cplusplus
}
#endif
#endif
