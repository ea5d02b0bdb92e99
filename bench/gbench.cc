/* See gbench.h. Works with Google Benchmark 1.7 and later. */
#include "bench/gbench.h"

#include <chrono>
#include <cstdint>

#include <benchmark/benchmark.h>

struct bench_state {
    benchmark::State &state;
    std::chrono::steady_clock::time_point start{}, end{};
    std::int64_t iterations = 0;
};

/* As global as the library's own list of benchmarks is. */
static bool any_failed;

bool bench_library_init(int *argc, char **argv)
{
    benchmark::Initialize(argc, argv);
    return !benchmark::ReportUnrecognizedArguments(*argc, argv);
}

void bench_context(const char *key, const char *value)
{
    benchmark::AddCustomContext(key, value);
}

void bench_register(const char *name, bench_fn fn, void *user)
{
    benchmark::RegisterBenchmark(name,
                                 [fn, user](benchmark::State &state) {
                                     bench_state s{state};
                                     fn(&s, user);
                                 })
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
}

size_t bench_run(bool *failed)
{
    any_failed = false;
    size_t n = benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    *failed = any_failed;
    return n;
}

bool bench_next(bench_state *s)
{
    if (s->state.KeepRunning()) {
        if (s->iterations++ == 0)
            s->start = std::chrono::steady_clock::now();
        return true;
    }
    s->end = std::chrono::steady_clock::now();
    return false;
}

double bench_seconds(const bench_state *s)
{
    std::chrono::duration<double> all = s->end - s->start;
    return s->iterations ? all.count() / static_cast<double>(s->iterations) : 0;
}

void bench_counter(bench_state *s, const char *name, double value)
{
    s->state.counters[name] = benchmark::Counter(value);
}

void bench_label(bench_state *s, const char *text)
{
    s->state.SetLabel(text);
}

void bench_fail(bench_state *s, const char *why)
{
    any_failed = true;
    s->state.SkipWithError(why);
}
