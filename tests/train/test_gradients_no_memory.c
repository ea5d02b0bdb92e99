/* A step with everything gradients can have (hooks of tensors and modules, a custom op, clipping,
 * messages), with every allocation failing in turn: a clean error, and the next step is whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "engine/base/alloc.h"
#include "weft/weft.h"

static weft_status copy(const weft_custom_call *c)
{
    const weft_array *from = c->din ? c->dout : c->in, *to = c->din ? c->din : c->out;
    memcpy(to->data, from->data,
           (size_t)weft_shape_count(from->shape) * weft_dtype_size(from->dtype));
    return WEFT_OK;
}
static const weft_custom_op copy_op = {
    .name = "copied", .n_in = 1, .n_out = 1, .forward = copy, .backward = copy};

static weft_status halve(void *user, weft_tensor *t, weft_tensor **grad)
{
    *grad = weft_scale(*grad, 0.5);
    return *grad ? WEFT_OK : weft_error_status(user);
}

static weft_status see(void *user, weft_module *m, int *n_in, weft_tensor **grad_in, int n_out,
                       weft_tensor *const *grad_out)
{
    ++*(int *)user;
    return WEFT_OK;
}

static void ignore(void *user, const char *text)
{
}

typedef struct world {
    weft_context *ctx;
    weft_module *net;
    weft_optimizer *sgd;
    weft_tensor *x, *loose;
    weft_tensor_list params;
    int seen;
} world;

static weft_status step(world *w)
{
    weft_optimizer_zero_grad(w->sgd);
    uint64_t hook = weft_register_backward_hook(w->net, see, &w->seen, 0);
    weft_tensor *y = hook ? weft_call(w->net, w->x) : NULL;
    if (y && !weft_register_grad_hook(y, halve, w->ctx))
        y = NULL;
    y = weft_mul(weft_custom(&copy_op, NULL, &y, NULL), w->loose);
    y = weft_sum(y, WEFT_ALL_DIMS, false);
    weft_status status = y ? weft_backward(y) : weft_error_status(w->ctx);
    if (status == WEFT_OK && !weft_clip_grad_norm(&w->params, 0.5, true))
        status = weft_error_status(w->ctx);
    if (status == WEFT_OK)
        status = weft_optimizer_step(w->sgd);
    weft_hook_remove(w->net, hook);
    return status == WEFT_OK ? weft_error_status(w->ctx) : status;
}

static void open_world(world *w)
{
    *w = (world){0};
    assert_int_equal(weft_context_create(&w->ctx, &(weft_options){.threads = 1, .seed = 4}, NULL),
                     WEFT_OK);
    weft_set_message_handler(w->ctx, ignore, NULL);
    w->net =
        WEFT_SEQUENTIAL(w->ctx, weft_linear_create(w->ctx, 4, 3, NULL), weft_relu_create(w->ctx));
    w->sgd = weft_sgd_create(w->ctx, w->net, &(weft_sgd_opts){.lr = 0.1});
    w->x = weft_tensor_full(w->ctx, WEFT_F32, WEFT_SHAPE(2, 4), 0.5);
    w->loose = weft_tensor_full(w->ctx, WEFT_F32, WEFT_SHAPE(3), 2);
    assert_int_equal(weft_set_requires_grad(w->loose, true), WEFT_OK);
    assert_int_equal(weft_parameters(w->net, 0, &w->params), WEFT_OK);
}

static void close_world(world *w)
{
    weft_tensor_list_done(&w->params);
    weft_tensor_unref(w->x);
    weft_tensor_unref(w->loose);
    weft_optimizer_destroy(w->sgd);
    weft_module_unref(w->net);
    weft_context_destroy(w->ctx);
}

static void read_weight(world *w, float out[12])
{
    weft_tensor *t = weft_get_parameter(w->net, "0.weight");
    assert_int_equal(weft_read(t, out, 12 * sizeof(float)), WEFT_OK);
}

static void a_step_with_hooks_clipping_and_custom_ops_survives_failed_allocations(void **state)
{
    float start[12], want[12], got[12];
    world w;
    open_world(&w);
    read_weight(&w, start);
    assert_int_equal(step(&w), WEFT_OK);
    assert_int_equal(w.seen, 1);
    read_weight(&w, want);
    assert_memory_not_equal(start, want, sizeof(want));
    close_world(&w);
    int failures = 0;
    for (long n = 1;; n++) {
        open_world(&w);
        wf_alloc_fail_at(n);
        weft_status status = step(&w);
        bool through = wf_alloc_fail_at(0) > 0;
        if (status != WEFT_OK) {
            failures++;
            if (strstr(weft_error_text(w.ctx), "memory") == NULL)
                fail_msg("allocation %ld: %s", n, weft_error_text(w.ctx));
            read_weight(&w, got); /* nothing was committed */
            assert_memory_equal(got, start, sizeof(got));
            weft_discard(w.ctx);
            weft_error_clear(w.ctx);
            if (step(&w) != WEFT_OK)
                fail_msg("the step after allocation %ld: %s", n, weft_error_text(w.ctx));
        }
        read_weight(&w, got);
        assert_memory_equal(got, want, sizeof(got));
        close_world(&w);
        if (through)
            break;
    }
    assert_true(failures > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_with_hooks_clipping_and_custom_ops_survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
