/* A kernel that fails while it runs, of an op made for it: the step fails, commits nothing, and names
 * the module, the op and the kernel. */
#include "tests/engine/values.h"

#include "engine/context/context.h"

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
        weft_tensor *loss = weft_sum(y, 0, false), *kept = weft_keep(loss);
        assert_int_equal(weft_backward(loss), WEFT_OK);
        assert_int_equal(wf_assign(w, weft_scale(w, 2)), WEFT_OK);
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
        assert_int_equal(wf_assign(w, weft_scale(w, 2)), WEFT_OK);
        assert_int_equal(weft_sync(ctx), WEFT_OK);
        read_all(ctx, w, now);
        assert_true(now[0] == 2);
        weft_tensor_unref(kept);
        weft_tensor_unref(w);
        weft_context_destroy(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failing_kernel_commits_nothing_and_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
