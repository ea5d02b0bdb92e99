/* A kernel that fails while it runs: the step fails, commits nothing, and names the module, the op
 * and the kernel. One of an op made for it, and oneDNN's, whose run function is replaced here. */
#include "engine/step/execute.h"
#include "engine/step/plan_cache.h"
#include "tests/engine/values.h"

#include <dlfcn.h>
#include <stdatomic.h>

#include "engine/plan/plan.h"
#include "engine/tune/wisdom.h"
#include "kernels/conv2d/conv2d.h"

/* ---- an op whose kernel fails from its tile `bad` on ---- */

enum { TILES = 6, NOBODY = -1 };
static int bad_tile;
static bool says_why;

static weft_status tile(const wf_tile *t, const void *args, int64_t i)
{
    if (i != bad_tile)
        return WEFT_OK;
    return says_why ? wf_tile_fail(t, WEFT_ERR_NUMERIC, "tile %d is bad", bad_tile)
                    : WEFT_ERR_UNSUPPORTED;
}

static weft_status infer(wf_infer *f)
{
    f->out[0] = f->in[0];
    return WEFT_OK;
}

static weft_status grad(wf_grad *g)
{
    g->din[0] = g->dout[0];
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    char nothing = 0;
    wf_task *task = wf_lower_task(l, "broken:1", tile, &nothing, sizeof nothing, TILES);
    wf_reads(task, wf_lower_in(l, 0).buf, WF_WHOLE);
    wf_writes(task, wf_lower_out(l, 0).buf, WF_WHOLE);
    return task ? WEFT_OK : WEFT_ERR_NOMEM;
}

static const wf_op broken = {.name = "broken",
                             .n_out = 1,
                             .layout_rule = WF_LAYOUT_PLAIN,
                             .infer = infer,
                             .grad = grad,
                             .lower = lower};

static void a_failing_kernel_commits_nothing_and_is_named(void **state)
{
    static const double ones[4] = {1, 1, 1, 1};
    for (int c = 0; c < 12; c++) {
        weft_context *ctx = context((weft_executor)(c % 3));
        weft_tensor *w = stored(ctx, WEFT_F32, WEFT_SHAPE(4), ones);
        weft_set_requires_grad(w, true);
        says_why = c / 3 % 2;
        bad_tile = c / 6 ? TILES - 1 : 0;
        wf_path_push(ctx, "layer1");
        weft_tensor *y = wf_record(&broken, NULL, NULL, 1, &w, NULL);
        wf_path_pop(ctx);
        weft_tensor *loss = weft_sum(y, WEFT_ALL_DIMS, false), *kept = weft_keep(loss);
        assert_int_equal(weft_backward(loss), WEFT_OK);
        assert_int_equal(wf_assign_all(1, &w, (weft_tensor *[]){weft_scale(w, 2)}), WEFT_OK);
        assert_int_equal(weft_sync(ctx), says_why ? WEFT_ERR_NUMERIC : WEFT_ERR_UNSUPPORTED);
        assert_string_equal(weft_error_text(ctx),
                            says_why && bad_tile ? "layer1: broken: tile 5 is bad"
                            : says_why           ? "layer1: broken: tile 0 is bad"
                                       : "layer1: broken: kernel broken:1 failed: not supported");
        weft_discard(ctx);
        weft_error_clear(ctx);
        double now[4];
        read_all(ctx, w, now);
        assert_memory_equal(now, ones, sizeof(now));
        assert_null(weft_grad(w));

        bad_tile = NOBODY; /* and the next step runs */
        assert_int_equal(wf_assign_all(1, &w, (weft_tensor *[]){weft_scale(w, 2)}), WEFT_OK);
        assert_int_equal(weft_sync(ctx), WEFT_OK);
        read_all(ctx, w, now);
        assert_true(now[0] == 2);
        weft_tensor_unref(kept);
        weft_tensor_unref(w);
        weft_context_destroy(ctx);
    }
}

/* ---- oneDNN ---- */

enum { DNNL_RUNTIME_ERROR = 5 };
static atomic_int fail_after = -1; /* so many executions succeed; -1: all */

/* In place of the library's, which it calls. */
int dnnl_primitive_execute(const void *primitive, void *stream, int n, const void *args);
int dnnl_primitive_execute(const void *primitive, void *stream, int n, const void *args)
{
    union {
        void *pointer;
        int (*call)(const void *, void *, int, const void *);
    } real = {.pointer = dlsym(RTLD_NEXT, "dnnl_primitive_execute")};
    if (atomic_load(&fail_after) >= 0 && atomic_fetch_sub(&fail_after, 1) <= 0) {
        atomic_store(&fail_after, 0);
        return DNNL_RUNTIME_ERROR;
    }
    return real.call(primitive, stream, n, args);
}

static int n_onednn(const wf_plan *plan)
{
    int n = 0;
    for (int i = 0; i < plan->n_tasks; i++)
        n += strncmp(plan->tasks[i]->kernel, "onednn", 6) == 0;
    return n;
}

/* One step of a convolution whose weights w follow their gradient. */
static void record(weft_context *ctx, weft_tensor *x, weft_tensor *w)
{
    weft_conv2d_opts same = {.padding = {1, 1}};
    weft_zero_grad(w);
    wf_path_push(ctx, "features.0");
    weft_tensor *y = weft_conv2d(x, w, NULL, &same);
    wf_path_pop(ctx);
    assert_int_equal(weft_backward(weft_sum(weft_mul(y, y), WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_int_equal(wf_assign_all(1, &w, (weft_tensor *[]){weft_add(w, weft_grad(w))}), WEFT_OK);
}

/* Wisdom that asks for oneDNN wherever it fits; how many tasks run it. */
static int prefer_onednn(weft_context *ctx)
{
    wf_plan *plan = NULL;
    char text[WF_PROBLEM_TEXT];
    assert_int_equal(wf_plan_of_recorded(ctx, &plan), WEFT_OK);
    for (int i = 0; i < plan->n_problems; i++)
        assert_true(wf_wisdom_put(
            ctx->wisdom, wf_problem_text(&plan->problems[i], text, sizeof text), "onednn", 1e-3));
    wf_plan_destroy(plan);
    wf_plan_cache_clear(ctx->plans);
    assert_int_equal(wf_plan_of_recorded(ctx, &plan), WEFT_OK);
    int n = n_onednn(plan);
    wf_plan_destroy(plan);
    return n;
}

static void onednns_failure_fails_the_step(void **state)
{
    enum { N = 3, C = 32, SIDE = 14 };
    static double x[N * C * SIDE * SIDE], w[C * C * 9], now[C * C * 9], was[C * C * 9];
    weft_options options = {.threads = 2, .wisdom = "none"};
    weft_context *ctx = NULL;
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    make_input(0, WEFT_SHAPE(N, C, SIDE, SIDE), x);
    make_input(1, WEFT_SHAPE(C, C, 3, 3), w);
    weft_tensor *images = stored(ctx, WEFT_F32, WEFT_SHAPE(N, C, SIDE, SIDE), x);
    weft_tensor *weights = stored(ctx, WEFT_F32, WEFT_SHAPE(C, C, 3, 3), w);
    weft_set_requires_grad(images, true);
    weft_set_requires_grad(weights, true);
    record(ctx, images, weights);
    if (prefer_onednn(ctx) == 0) { /* as where the instruction set is scalar */
        weft_discard(ctx);
    } else {
        assert_int_equal(weft_sync(ctx), WEFT_OK);
        read_all(ctx, weights, was);
        for (int good = 0, failed = 1; failed; good++) { /* the first one fails, the second, ... */
            record(ctx, images, weights);
            atomic_store(&fail_after, good);
            weft_status status = weft_sync(ctx);
            failed = atomic_exchange(&fail_after, -1) == 0 && status != WEFT_OK;
            if (!failed) {
                assert_int_equal(status, WEFT_OK);
                assert_true(good >= N);
                break;
            }
            assert_int_equal(status, WEFT_ERR_INTERNAL);
            assert_non_null(strstr(weft_error_text(ctx), "features.0: conv2d"));
            assert_non_null(strstr(weft_error_text(ctx), ": kernel onednn"));
            weft_discard(ctx);
            weft_error_clear(ctx);
            read_all(ctx, weights, now);
            assert_memory_equal(now, was, sizeof(now));
        }
    }
    weft_tensor_unref(images);
    weft_tensor_unref(weights);
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failing_kernel_commits_nothing_and_is_named),
        cmocka_unit_test(onednns_failure_fails_the_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
