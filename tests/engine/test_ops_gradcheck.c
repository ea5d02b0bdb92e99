/* Every op of ops.def: its samples' recorded gradients against central differences, in double. An
 * op has samples or says why not, and a gradient or says why not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/graph/op.h"
#include "engine/graph/ops/ops.h"
#include "weft/weft.h"

static void every_op_has_samples_or_a_reason(void **state)
{
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, NULL, NULL), WEFT_OK);
    for (int i = 0; i < wf_n_ops; i++) {
        const wf_op *op = wf_ops[i];
        if (!op->grad && !op->no_grad_reason)
            fail_msg("%s has neither a gradient nor a reason for having none", op->name);
        if (!op->sample && !op->no_sample_reason)
            fail_msg("%s has neither samples nor a reason for having none", op->name);
        wf_sample s = {0};
        if (op->sample && !op->sample(ctx, 0, &s))
            fail_msg("%s: no first sample", op->name);
        for (int j = 0; j < s.n_in; j++)
            weft_tensor_unref(s.in[j]);
    }
    weft_context_destroy(ctx);
}

static void check_op(const wf_op *op, weft_executor executor)
{
    weft_options options = {.threads = 2, .executor = executor};
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    wf_sample s = {0};
    for (int index = 0; op->sample(ctx, index, &s); index++) {
        for (int j = 0; j < s.n_in; j++)
            if (!s.in[j])
                fail_msg("%s, %s: input %d: %s", op->name, s.name, j, weft_error_text(ctx));
        weft_status status = weft_gradcheck(ctx, s.apply, s.user, s.in, s.n_in, NULL);
        if (status != WEFT_OK)
            fail_msg("%s, %s: %s", op->name, s.name, weft_error_text(ctx));
        for (int j = 0; j < s.n_in; j++)
            weft_tensor_unref(s.in[j]);
        s = (wf_sample){0};
    }
    weft_context_destroy(ctx);
}

static void gradients_match_finite_differences(void **state)
{
    for (int i = 0; i < wf_n_ops; i++)
        if (wf_ops[i]->sample)
            check_op(wf_ops[i], WEFT_EXECUTOR_PARALLEL);
}

static void so_do_the_interpreters(void **state)
{
    for (int i = 0; i < wf_n_ops; i++)
        if (wf_ops[i]->sample)
            check_op(wf_ops[i], WEFT_EXECUTOR_INTERPRETER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_has_samples_or_a_reason),
        cmocka_unit_test(gradients_match_finite_differences),
        cmocka_unit_test(so_do_the_interpreters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
