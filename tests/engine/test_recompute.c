/* Memory that the plan saves: values made again in the backward pass (plan/recompute.c), an order that
 * frees memory before too much waits (plan/order.c), ReLU's gradient before max pooling's
 * (plan/fuse_pool.c). That the bits stay is also what test_plan.c and test_amp.c show, which switch
 * every pass off and on. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "engine/graph/ops/common.h"
#include "engine/run/run.h"
#include "engine/step/execute.h"
#include "weft/weft.h"

enum { N = 3, C = 16, SIDE = 24, DEPTH = 4 };

typedef struct problem {
    weft_context *ctx;
    weft_module *net;
    weft_tensor *x, *labels;
} problem;

static problem begin(const char *model, int size, int batch, weft_options options)
{
    problem p = {0};
    assert_int_equal(weft_context_create(&p.ctx, &options, NULL), WEFT_OK);
    weft_model_opts opts = weft_model_find(model)->defaults;
    opts.height = opts.width = size;
    opts.num_classes = 10;
    p.net = weft_model_create(p.ctx, model, &opts);
    p.x = weft_randn(p.ctx, WEFT_SHAPE(batch, opts.in_channels, size, size));
    p.labels = weft_tensor_full(p.ctx, WEFT_I64, WEFT_SHAPE(batch), 3);
    if (!p.net || !p.x || !p.labels)
        fail_msg("%s", weft_error_text(p.ctx));
    return p;
}

static void end(problem *p)
{
    weft_tensor_unref(p->x);
    weft_tensor_unref(p->labels);
    weft_module_unref(p->net);
    weft_context_destroy(p->ctx);
}

/* Forward and backward pass are recorded. */
static void record(problem *p)
{
    weft_tensor *loss = weft_training_loss(p->net, p->x, p->labels, NULL, NULL);
    if (!loss || weft_backward(loss) != WEFT_OK)
        fail_msg("%s", weft_error_text(p->ctx));
}

static size_t arena_of(const char *model, int size, int batch, unsigned off, int *copies)
{
    problem p = begin(model, size, batch, (weft_options){.threads = 2, .passes_off = off});
    record(&p);
    wf_plan *plan = NULL;
    assert_int_equal(wf_plan_of_recorded(p.ctx, &plan), WEFT_OK);
    const size_t bytes = plan->arena_bytes;
    *copies = 0;
    for (int n = 0; n < plan->n_nodes; n++)
        *copies += plan->nodes[n].copy;
    wf_plan_destroy(plan);
    weft_discard(p.ctx);
    end(&p);
    return bytes;
}

/* Bounds above what was seen, since layouts and partial sums differ between instruction sets. */
static void values_made_again_are_not_kept(void **state)
{
    static const struct {
        const char *model;
        int size, batch;
        double most;
    } nets[] = {{"resnet18", 64, 8, 0.95},
                {"densenet121", 64, 4, 0.6},
                {"mobilenet_v2", 64, 8, 0.8},
                {"efficientnet_b0", 64, 8, 0.75}};
    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++) {
        int copies, none;
        const size_t on = arena_of(nets[i].model, nets[i].size, nets[i].batch, 0, &copies);
        const size_t off =
            arena_of(nets[i].model, nets[i].size, nets[i].batch, WEFT_PASS_RECOMPUTE, &none);
        assert_int_equal(none, 0);
        assert_true(copies > 0);
        if ((double)on > nets[i].most * (double)off)
            fail_msg("%s: %zu bytes, %zu without recompute", nets[i].model, on, off);
    }
}

/* No buffer of the plan holds a forward value that is made again until the backward pass: the last user
 * of the original is a node of the forward pass. */
static void originals_end_with_the_forward_pass(void **state)
{
    problem p = begin("resnet50", 64, 4, (weft_options){.threads = 2});
    record(&p);
    wf_plan *plan = NULL;
    assert_int_equal(wf_plan_of_recorded(p.ctx, &plan), WEFT_OK);
    int checked = 0;
    for (int n = 0; n < plan->n_nodes; n++) {
        const wf_ir_node *copy = &plan->nodes[n];
        if (!copy->copy)
            continue;
        for (int o = 0; o < plan->n_nodes; o++) {
            const wf_ir_node *node = &plan->nodes[o];
            if (node->copy || node->source != copy->source || node->source < 0)
                continue;
            for (int r = 0; r < plan->n_nodes; r++)
                for (int i = 0; i < plan->nodes[r].n_in; i++)
                    if (plan->nodes[r].in[i] == node->out[0] && plan->nodes[r].backward)
                        fail_msg("node %d of the backward pass reads the original of %s", r,
                                 node->op->name);
            checked++;
        }
    }
    assert_true(checked > 20);
    wf_plan_destroy(plan);
    weft_discard(p.ctx);
    end(&p);
}

/* By priority alone the weight gradients come last, and hold what they read. Here some have run when more
 * than half of the backward-data passes have. */
static void the_order_frees_memory(void **state)
{
    problem p = begin("vgg11", 32, 8, (weft_options){.threads = 2});
    record(&p);
    wf_plan *plan = NULL;
    assert_int_equal(wf_plan_of_recorded(p.ctx, &plan), WEFT_OK);
    int all = 0, data = 0, weights = 0;
    for (int t = 0; t < plan->n_tasks; t++)
        all += plan->tasks[t]->op == &wf_op_conv2d_backward_data;
    for (int i = 0; i < plan->n_groups && data <= all / 2; i++) {
        const wf_task_group *g = &plan->groups[plan->order[i]];
        for (int k = 0; k < g->n_tasks; k++) {
            const wf_op *op = plan->tasks[g->tasks[k]]->op;
            data += op == &wf_op_conv2d_backward_data;
            weights += op == &wf_op_conv2d_backward_weights;
        }
    }
    assert_true(weights > 0);
    wf_plan_destroy(plan);
    weft_discard(p.ctx);
    end(&p);
}

/* conv, relu, max_pool: in the backward pass nobody reads ReLU's output. Where windows overlap the order of a
 * sum would change, so it is read. */
static void a_pooled_relu_is_not_kept(void **state)
{
    for (int overlap = 0; overlap < 2; overlap++) {
        weft_context *ctx;
        const weft_options o = {.threads = 2};
        assert_int_equal(weft_context_create(&ctx, &o, NULL), WEFT_OK);
        weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(N, 3, SIDE, SIDE));
        weft_tensor *w = weft_randn(ctx, WEFT_SHAPE(C, 3, 3, 3));
        assert_int_equal(weft_set_requires_grad(w, true), WEFT_OK);
        const weft_pool2d_opts pool = {.kernel = {2 + overlap, 2 + overlap}, .stride = {2, 2}};
        weft_tensor *z = weft_relu(weft_conv2d(x, w, NULL, NULL));
        weft_tensor *loss = weft_mean(weft_max_pool2d(z, &pool), WEFT_ALL_DIMS, false);
        assert_int_equal(weft_backward(loss), WEFT_OK);
        wf_plan *plan = NULL;
        assert_int_equal(wf_plan_of_recorded(ctx, &plan), WEFT_OK);
        int relus = 0;
        for (int n = 0; n < plan->n_nodes; n++) {
            const wf_ir_node *node = &plan->nodes[n];
            if (node->dead || node->op != &wf_op_relu_backward)
                continue;
            relus++;
            assert_int_equal(plan->values[node->in[0]].type.shape.dim[2] < SIDE / 2, !overlap);
        }
        assert_int_equal(relus, 1);
        wf_plan_destroy(plan);
        weft_discard(ctx);
        weft_tensor_unref(x);
        weft_tensor_unref(w);
        weft_context_destroy(ctx);
    }
}

/* ---- bits ---- */

/* Gradient of w of a small network of the given kind under `options`. */
static void gradient(int kind, const weft_options *options, float *out, size_t bytes)
{
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, options, NULL), WEFT_OK);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(N, C, SIDE, SIDE));
    weft_tensor *w[DEPTH], *gamma = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(C), 1.5);
    weft_tensor *beta = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(C), -0.1);
    const weft_conv2d_opts same = {.padding = {1, 1}};
    const weft_batch_norm_opts norm = {.training = true, .eps = 1e-5, .momentum = 0.1};
    weft_tensor *y = x, *kept = NULL;
    for (int i = 0; i < DEPTH; i++) {
        w[i] = weft_randn(ctx, WEFT_SHAPE(C, C, 3, 3));
        assert_int_equal(weft_set_requires_grad(w[i], true), WEFT_OK);
        weft_tensor *z = weft_batch_norm(weft_conv2d(y, w[i], NULL, &same), gamma, beta, NULL, NULL,
                                         NULL, &norm);
        switch (kind) {
        case 0: y = weft_relu(i % 2 ? weft_add(z, y) : z); break; /* residual blocks */
        case 1: y = weft_silu(z); break;
        case 2: y = weft_mul(weft_relu6(z), weft_sigmoid(z)); break;
        case 3: /* a value that the user keeps, and one read twice */
            y = weft_hardswish(z);
            if (i == 2)
                kept = weft_keep(y);
            y = weft_add(y, weft_scale(y, 0.5));
            break;
        case 4: /* slices and a concatenation */
            z = weft_relu(z);
            y = weft_concat(
                (weft_tensor *[]){weft_slice(z, 1, 8, 16, 1), weft_slice(z, 1, 0, 8, 1)}, 2, 1);
            break;
        }
    }
    weft_tensor *loss = weft_mean(weft_mul(y, y), WEFT_ALL_DIMS, false);
    if (!loss || weft_backward(loss) || weft_sync(ctx) ||
        weft_read(weft_grad(w[0]), out, bytes) != WEFT_OK)
        fail_msg("kind %d: %s", kind, weft_error_text(ctx));
    for (int i = 0; i < DEPTH; i++)
        weft_tensor_unref(w[i]);
    weft_tensor_unref(kept);
    weft_tensor_unref(x);
    weft_tensor_unref(gamma);
    weft_tensor_unref(beta);
    weft_context_destroy(ctx);
}

static void made_again_has_the_same_bits(void **state)
{
    static float want[C * C * 9], got[C * C * 9];
    for (int kind = 0; kind < 5; kind++)
        for (int amp = WEFT_AMP_OFF; amp <= WEFT_AMP_BF16; amp++) {
            const weft_options oracle = {.seed = 5,
                                         .threads = 1,
                                         .amp = (weft_amp)amp,
                                         .executor = WEFT_EXECUTOR_INTERPRETER};
            gradient(kind, &oracle, want, sizeof want);
            const weft_options others[] = {
                {.seed = 5, .threads = 1, .amp = (weft_amp)amp},
                {.seed = 5, .threads = 7, .amp = (weft_amp)amp},
                {.seed = 5, .threads = 2, .amp = (weft_amp)amp, .passes_off = WEFT_PASS_RECOMPUTE},
                {.seed = 5, .threads = 2, .amp = (weft_amp)amp, .passes_off = WEFT_PASS_FUSE},
                {.seed = 5,
                 .threads = 3,
                 .amp = (weft_amp)amp,
                 .executor = WEFT_EXECUTOR_RANDOM,
                 .schedule_seed = 9}};
            for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
                gradient(kind, &others[i], got, sizeof got);
                if (memcmp(want, got, sizeof want) != 0)
                    fail_msg("kind %d, amp %d, options %zu: other bits than the interpreter's",
                             kind, amp, i);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_made_again_are_not_kept),
        cmocka_unit_test(originals_end_with_the_forward_pass),
        cmocka_unit_test(the_order_frees_memory),
        cmocka_unit_test(a_pooled_relu_is_not_kept),
        cmocka_unit_test(made_again_has_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
