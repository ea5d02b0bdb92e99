/* Outputs in the place of inputs (plan/inplace.c): which buffers, and that the bits stay. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "engine/step/execute.h"
#include "weft/weft.h"

enum { N = 5, C = 19, SIDE = 12, ELEMENTS = N * C * SIDE * SIDE };

static weft_context *context(const weft_options *options)
{
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, options, NULL), WEFT_OK);
    return ctx;
}

static wf_plan *plan_of_resnet(weft_context *ctx, weft_module **net)
{
    weft_model_opts opts = weft_model_find("resnet18")->defaults;
    opts.height = opts.width = 64;
    *net = weft_model_create(ctx, "resnet18", &opts);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(8, 3, 64, 64));
    weft_tensor *labels = weft_tensor_full(ctx, WEFT_I64, WEFT_SHAPE(8), 3);
    weft_tensor *loss = weft_training_loss(*net, x, labels, NULL, NULL);
    wf_plan *plan = NULL;
    if (!loss || weft_backward(loss) || wf_plan_of_recorded(ctx, &plan) != WEFT_OK)
        fail_msg("%s", weft_error_text(ctx));
    weft_discard(ctx);
    weft_tensor_unref(x);
    weft_tensor_unref(labels);
    return plan;
}

/* Whether the task group at this place of the linear order uses the buffer. */
static bool uses(const wf_plan *p, int position, wf_buf b)
{
    const wf_task_group *g = &p->groups[p->order[position]];
    for (int k = 0; k < g->n_tasks; k++)
        for (const wf_use *u = p->tasks[g->tasks[k]]->uses; u; u = u->next)
            if (wf_buffer_whole(p, u->buf) == b)
                return true;
    return false;
}

static void an_output_takes_the_place_of_an_input_that_ends(void **state)
{
    const weft_options o = {.threads = 2};
    weft_context *ctx = context(&o);
    weft_module *net;
    wf_plan *p = plan_of_resnet(ctx, &net);
    int found = 0;
    for (int b = 0; b < p->n_buffers; b++) {
        const wf_buffer *to = &p->buffers[b];
        if (to->over < 0)
            continue;
        const wf_buffer *from = &p->buffers[to->over];
        assert_int_equal(from->last, to->first);
        assert_true(from->first < to->first);
        assert_int_equal(from->offset, to->offset);
        assert_int_equal(from->bytes, to->bytes);
        assert_true(from->until >= to->until);
        assert_true(uses(p, to->first, b) && uses(p, to->first, to->over));
        for (int other = 0; other < p->n_buffers; other++)
            assert_true(other == b || p->buffers[other].over != to->over);
        found++;
    }
    assert_true(found > 5);
    wf_plan_destroy(p);
    weft_module_unref(net);
    weft_context_destroy(ctx);
    const weft_options off = {.threads = 2, .passes_off = WEFT_PASS_MEMORY};
    ctx = context(&off);
    p = plan_of_resnet(ctx, &net);
    for (int b = 0; b < p->n_buffers; b++)
        assert_true(p->buffers[b].over < 0);
    wf_plan_destroy(p);
    weft_module_unref(net);
    weft_context_destroy(ctx);
}

/* Each value of the chain is read by the next op only, whose output may take its place. With FUSE off
 * each task is a group of its own, so that it does. */
static weft_tensor *chain(weft_tensor *x, weft_tensor *y, weft_tensor *slopes)
{
    x = weft_relu(weft_add(weft_mul(x, y), x));
    x = weft_sub(weft_sigmoid(x), weft_scale(y, 0.3));
    x = weft_silu(weft_dropout(x, 0.2, true));
    x = weft_div(x, weft_add(weft_mul(y, y), weft_relu(y)));
    x = weft_maximum(weft_clamp(x, -2, 2), weft_scale(y, 0.1));
    x = weft_prelu(weft_gelu(x), slopes);
    x = weft_hardswish(weft_leaky_relu(x, 0.1));
    return weft_softmax(x, WEFT_DIMS(1));
}

static void run_chain(const weft_options *options, float *out, float *grad)
{
    weft_context *ctx = context(options);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(N, C, SIDE, SIDE));
    weft_tensor *y = weft_randn(ctx, WEFT_SHAPE(N, C, SIDE, SIDE));
    weft_tensor *slopes = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(C), 0.2);
    assert_int_equal(weft_set_requires_grad(x, true), WEFT_OK);
    weft_tensor *z = weft_keep(chain(x, y, slopes));
    weft_tensor *loss = weft_mean(weft_mul(z, weft_scale(y, 2)), WEFT_ALL_DIMS, false);
    if (!loss || weft_backward(loss) || weft_sync(ctx) ||
        weft_read(z, out, ELEMENTS * sizeof *out) ||
        weft_read(weft_grad(x), grad, ELEMENTS * sizeof *grad))
        fail_msg("%s", weft_error_text(ctx));
    weft_tensor_unref(z);
    weft_tensor_unref(x);
    weft_tensor_unref(y);
    weft_tensor_unref(slopes);
    weft_context_destroy(ctx);
}

static void element_wise_ops_keep_their_bits(void **state)
{
    static float want[2][ELEMENTS], got[2][ELEMENTS];
    const weft_options oracle = {.seed = 4, .threads = 1, .executor = WEFT_EXECUTOR_INTERPRETER};
    run_chain(&oracle, want[0], want[1]);
    const weft_options others[] = {{.seed = 4, .threads = 2},
                                   {.seed = 4, .threads = 1, .passes_off = WEFT_PASS_FUSE},
                                   {.seed = 4, .threads = 3, .passes_off = WEFT_PASS_FUSE},
                                   {.seed = 4,
                                    .threads = 2,
                                    .passes_off = WEFT_PASS_FUSE,
                                    .executor = WEFT_EXECUTOR_RANDOM,
                                    .schedule_seed = 11}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        run_chain(&others[i], got[0], got[1]);
        if (memcmp(want, got, sizeof want) != 0)
            fail_msg("way %zu: other bits than the interpreter's", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_output_takes_the_place_of_an_input_that_ends),
        cmocka_unit_test(element_wise_ops_keep_their_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
