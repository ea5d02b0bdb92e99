/* Steps of recorded work on many threads: a graph of independent branches that meet again gives the
 * interpreter's bits on any number of threads, however few OpenMP grants, wherever it is called
 * from, and leaves the caller's thread and the memory as they were. */
#include <malloc.h>
#include <omp.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <xmmintrin.h>
#include <cmocka.h>

#include "engine/tensor/context.h"
#include "engine/graph/ops/internal.h"
#include "weft/weft.h"

enum { N = 6, IN = 7, BRANCHES = 48, CLASSES = 4, PARAMS = BRANCHES + 1, FLOATS = 4096 };

typedef struct branches {
    weft_context *ctx;
    weft_tensor *x, *labels, *param[PARAMS];
} branches;

static int64_t width(int i)
{
    return i == BRANCHES ? CLASSES : 3 + i % 9;
}

static void set_labels(branches *b, int64_t first)
{
    int64_t labels[N] = {first, 1, 2, 3, 0, 1};
    weft_write(b->labels, labels, sizeof labels);
}

static bool branches_init(branches *b, const weft_options *options)
{
    weft_error err = WEFT_ERROR_INIT;
    *b = (branches){0};
    if (weft_context_create(&b->ctx, options, &err) != WEFT_OK)
        return false;
    b->x = weft_randn(b->ctx, WEFT_SHAPE(N, IN));
    b->labels = weft_tensor_create(b->ctx, WEFT_I64, WEFT_SHAPE(N));
    for (int i = 0; i < PARAMS; i++) {
        b->param[i] = weft_randn(b->ctx, WEFT_SHAPE(width(i), IN));
        weft_set_requires_grad(b->param[i], true);
    }
    set_labels(b, 0);
    return weft_error_status(b->ctx) == WEFT_OK;
}

static void branches_done(branches *b)
{
    for (int i = 0; i < PARAMS; i++)
        weft_tensor_unref(b->param[i]);
    weft_tensor_unref(b->x);
    weft_tensor_unref(b->labels);
    weft_context_destroy(b->ctx);
}

/* Each branch comes down to one number of its own; then they meet, in a concat and in a sum. */
static weft_tensor *loss_of(branches *b)
{
    weft_tensor *ends[BRANCHES], *sum = NULL;
    for (int i = 0; i < BRANCHES; i++) {
        weft_tensor *y = weft_relu(weft_linear(b->x, b->param[i], NULL));
        if (i % 3 == 0)
            y = weft_mul(weft_softmax(y, WEFT_DIMS(1)), y);
        ends[i] = weft_sum(y, WEFT_ALL_DIMS, true);
        if (i % 4 == 0)
            sum = sum ? weft_add(sum, weft_scale(ends[i], 0.01)) : ends[i];
    }
    weft_tensor *met = weft_mean(weft_concat(ends, BRANCHES, 1), WEFT_ALL_DIMS, false);
    weft_tensor *entropy =
        weft_cross_entropy(weft_linear(b->x, b->param[BRANCHES], NULL), b->labels, NULL);
    return weft_add(weft_add(entropy, met), weft_reshape(sum, WEFT_SCALAR));
}

static weft_status step(branches *b)
{
    for (int i = 0; i < PARAMS; i++)
        weft_zero_grad(b->param[i]);
    weft_status status = weft_backward(loss_of(b));
    wf_sgd_update_opts o = {.lr = 0.01};
    for (int i = 0; i < PARAMS && status == WEFT_OK; i++)
        status = wf_record_sgd_update(b->param[i], weft_grad(b->param[i]), NULL, &o);
    return status == WEFT_OK ? weft_sync(b->ctx) : status;
}

static bool weights(branches *b, float *w)
{
    memset(w, 0, FLOATS * sizeof *w);
    for (int i = 0; i < PARAMS; w += width(i++) * IN)
        if (weft_read(b->param[i], w, (size_t)(width(i) * IN) * sizeof *w) != WEFT_OK)
            return false;
    return true;
}

/* The weights after `steps` steps; false when something failed. */
static bool train(const weft_options *options, int steps, float *w)
{
    branches b;
    bool ok = branches_init(&b, options);
    for (int i = 0; i < steps && ok; i++)
        ok = step(&b) == WEFT_OK;
    ok = ok && weights(&b, w);
    branches_done(&b);
    return ok;
}

static bool interpret(int steps, float *w)
{
    weft_options o = {.seed = 3, .executor = WEFT_EXECUTOR_INTERPRETER, .threads = 1};
    return train(&o, steps, w);
}

static bool agrees(int threads, int steps)
{
    static float want[FLOATS];
    float got[FLOATS];
    weft_options o = {.seed = 3, .threads = threads};
    return interpret(steps, want) && train(&o, steps, got) && memcmp(want, got, sizeof got) == 0;
}

static void any_number_of_threads_gives_the_interpreters_bits(void **state)
{
    for (int threads = 1; threads <= 16; threads += threads < 4 ? 1 : 4)
        assert_true(agrees(threads, 60));
}

/* ---- how OpenMP may be set ---- */

extern char **environ;
static const char *program;

/* The limit is read when OpenMP starts, so another process has to do this one. */
static void fewer_threads_than_asked_for_are_enough(void **state)
{
    char *args[] = {(char *)program, "limited", NULL};
    pid_t child;
    int status;
    setenv("OMP_THREAD_LIMIT", "3", 1);
    assert_int_equal(posix_spawn(&child, program, NULL, NULL, args, environ), 0);
    unsetenv("OMP_THREAD_LIMIT");
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static int limited(void)
{
    int got = 0;
#pragma omp parallel num_threads(8)
#pragma omp single
    got = omp_get_num_threads();
    return got <= 3 && agrees(8, 20) ? 0 : 1;
}

static void works_inside_a_parallel_region(void **state)
{
    float want[FLOATS];
    assert_true(interpret(20, want));
    int was = omp_get_max_active_levels();
    for (int levels = 1; levels <= 2; levels++) {
        int right = 0;
        omp_set_max_active_levels(levels);
#pragma omp parallel num_threads(3) reduction(+ : right)
        {
            float got[FLOATS];
            weft_options o = {.seed = 3, .threads = 4};
            right += train(&o, 20, got) && memcmp(want, got, sizeof got) == 0;
            right += omp_get_num_threads() == 3 || omp_get_num_threads() == 1 ? 0 : -100;
        }
        assert_int_equal(right, 3);
    }
    omp_set_max_active_levels(was);
}

/* ---- what a run leaves behind ---- */

static void the_callers_thread_is_as_it_was(void **state)
{
    float want[FLOATS], got[FLOATS];
    assert_true(interpret(3, want));
    cpu_set_t before, after;
    unsigned csr = _mm_getcsr(), odd = 0x1f80 | 0x6000; /* rounds toward zero, keeps denormals */
    omp_set_num_threads(5);
    pthread_getaffinity_np(pthread_self(), sizeof before, &before);
    for (int executor = 0; executor <= WEFT_EXECUTOR_RANDOM; executor++) {
        weft_options o = {.seed = 3, .threads = 4, .executor = (weft_executor)executor};
        branches b;
        assert_true(branches_init(&b, &o));
        for (int i = 0; i < 3; i++) {
            _mm_setcsr(odd);
            weft_status status = step(&b);
            unsigned left = _mm_getcsr();
            _mm_setcsr(csr);
            assert_int_equal(status, WEFT_OK);
            assert_int_equal(left & 0xffc0, odd);
        }
        assert_int_equal(omp_get_max_threads(), 5);
        pthread_getaffinity_np(pthread_self(), sizeof after, &after);
        assert_true(CPU_EQUAL(&before, &after));
        assert_true(weights(&b, got)); /* nor did the rounding reach the tiles */
        assert_memory_equal(want, got, sizeof got);
        branches_done(&b);
    }
}

static void a_failed_step_leaves_the_weights_and_the_next_one_works(void **state)
{
    float want[FLOATS], before[FLOATS], got[FLOATS];
    weft_options o = {.seed = 3, .threads = 4};
    branches b;
    assert_true(interpret(20, want));
    assert_true(branches_init(&b, &o));
    for (int i = 0; i < 20; i++) {
        assert_true(weights(&b, before));
        set_labels(&b, CLASSES);
        assert_int_equal(step(&b), WEFT_ERR_INVALID);
        assert_non_null(strstr(weft_error_text(b.ctx), "label"));
        assert_null(weft_grad(b.param[0]));
        weft_error_clear(b.ctx);
        assert_true(weights(&b, got));
        assert_memory_equal(before, got, sizeof got);
        set_labels(&b, 0);
        assert_int_equal(step(&b), WEFT_OK);
    }
    assert_true(weights(&b, got));
    assert_memory_equal(want, got, sizeof got);
    branches_done(&b);
}

static void a_thousand_more_steps_take_no_more_memory(void **state)
{
    weft_options o = {.seed = 3, .threads = 3};
    branches b;
    assert_true(branches_init(&b, &o));
    size_t blocks = 0, heap = 0;
    for (int i = 0; i < 1600; i++) {
        assert_int_equal(step(&b), WEFT_OK);
        if (i == 599) { /* the C library's caches have filled by then; they count as used */
            blocks = wf_memory_used(b.ctx->memory).total_in_use;
            heap = mallinfo2().uordblks; /* 0 under sanitizers, which have their own heap */
        }
    }
    assert_int_equal(wf_memory_used(b.ctx->memory).total_in_use, blocks);
    assert_true(mallinfo2().uordblks < heap + 4 * 1000); /* less than four bytes a step */
    branches_done(&b);
}

int main(int argc, char **argv)
{
    program = argv[0];
    if (argc > 1 && strcmp(argv[1], "limited") == 0)
        return limited();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads_gives_the_interpreters_bits),
        cmocka_unit_test(fewer_threads_than_asked_for_are_enough),
        cmocka_unit_test(works_inside_a_parallel_region),
        cmocka_unit_test(the_callers_thread_is_as_it_was),
        cmocka_unit_test(a_failed_step_leaves_the_weights_and_the_next_one_works),
        cmocka_unit_test(a_thousand_more_steps_take_no_more_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
