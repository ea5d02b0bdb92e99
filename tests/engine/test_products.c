/* Convolutions that the backward pass runs again because that costs little (plan/products.c): which they
 * are, where they run, what it saves, and that the bits stay. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "engine/graph/ops/common.h"
#include "engine/run/run.h"
#include "engine/step/execute.h"
#include "weft/weft.h"

/* A residual block as ResNet's: two 1x1 convolutions from few channels to many, BatchNorm, their sum, ReLU,
 * and costly convolutions after it. WIDE x SIDE x SIDE floats of N images are just large enough. */
enum { N = 4, NARROW = 16, WIDE = 128, SIDE = 32, WEIGHTS = 5 };

typedef struct step {
    weft_context *ctx;
    weft_tensor *x, *w[WEIGHTS], *gamma[2], *beta[2];
    weft_tensor *kept; /* the block's first output, where it is asked for */
} step;

static weft_tensor *norm(weft_tensor *x, weft_tensor *gamma, weft_tensor *beta)
{
    const weft_batch_norm_opts opts = {.training = true, .eps = 1e-5, .momentum = 0.1};
    return weft_batch_norm(x, gamma, beta, NULL, NULL, NULL, &opts);
}

/* Records forward and backward pass. */
static step begin(const weft_options *options, bool keep)
{
    static const int shapes[WEIGHTS][3] = {
        {NARROW, 3, 3}, {WIDE, NARROW, 1}, {WIDE, NARROW, 1}, {WIDE, WIDE, 3}, {WIDE, WIDE, 3}};
    step s = {0};
    assert_int_equal(weft_context_create(&s.ctx, options, NULL), WEFT_OK);
    s.x = weft_randn(s.ctx, WEFT_SHAPE(N, 3, SIDE, SIDE));
    for (int i = 0; i < WEIGHTS; i++) {
        s.w[i] =
            weft_randn(s.ctx, WEFT_SHAPE(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][2]));
        assert_int_equal(weft_set_requires_grad(s.w[i], true), WEFT_OK);
    }
    for (int i = 0; i < 2; i++) {
        const int channels = i ? WIDE : NARROW;
        s.gamma[i] = weft_tensor_full(s.ctx, WEFT_F32, WEFT_SHAPE(channels), 1.5);
        s.beta[i] = weft_tensor_full(s.ctx, WEFT_F32, WEFT_SHAPE(channels), -0.1);
    }
    const weft_conv2d_opts same = {.padding = {1, 1}};
    weft_tensor *stem =
        weft_relu(norm(weft_conv2d(s.x, s.w[0], NULL, &same), s.gamma[0], s.beta[0]));
    weft_tensor *a = weft_conv2d(stem, s.w[1], NULL, NULL);
    if (keep)
        s.kept = weft_keep(a);
    weft_tensor *b = weft_conv2d(stem, s.w[2], NULL, NULL);
    weft_tensor *y =
        weft_relu(weft_add(norm(a, s.gamma[1], s.beta[1]), norm(b, s.gamma[1], s.beta[1])));
    for (int i = 3; i < WEIGHTS; i++)
        y = weft_relu(norm(weft_conv2d(y, s.w[i], NULL, &same), s.gamma[1], s.beta[1]));
    weft_tensor *loss = weft_mean(weft_mul(y, y), WEFT_ALL_DIMS, false);
    if (!loss || weft_backward(loss) != WEFT_OK)
        fail_msg("%s", weft_error_text(s.ctx));
    return s;
}

static void end(step *s)
{
    weft_discard(s->ctx);
    weft_tensor_unref(s->kept);
    weft_tensor_unref(s->x);
    for (int i = 0; i < WEIGHTS; i++)
        weft_tensor_unref(s->w[i]);
    for (int i = 0; i < 2; i++) {
        weft_tensor_unref(s->gamma[i]);
        weft_tensor_unref(s->beta[i]);
    }
    weft_context_destroy(s->ctx);
}

static wf_plan *plan_of(const step *s)
{
    wf_plan *plan = NULL;
    if (wf_plan_of_recorded(s->ctx, &plan) != WEFT_OK)
        fail_msg("%s", weft_error_text(s->ctx));
    return plan;
}

static int count_again(const wf_plan *plan)
{
    int again = 0;
    for (int n = 0; n < plan->n_nodes; n++)
        again += !plan->nodes[n].dead && plan->nodes[n].again;
    return again;
}

static const weft_options two = {.threads = 2};

/* Both of the block, and neither the first one nor the costly ones. */
static void cheap_convolutions_run_again(void **state)
{
    step s = begin(&two, false);
    wf_plan *plan = plan_of(&s);
    assert_int_equal(count_again(plan), 2);
    for (int n = 0; n < plan->n_nodes; n++) {
        const wf_ir_node *node = &plan->nodes[n];
        if (!node->again)
            continue;
        assert_ptr_equal(node->op, &wf_op_conv2d);
        assert_int_equal(plan->values[node->in[1]].type.shape.dim[1], NARROW);
        assert_int_equal(plan->values[node->out[0]].type.shape.dim[1], WIDE);
    }
    wf_plan_destroy(plan);
    end(&s);
}

/* What the forward pass made ends with it. Both run again before the block's ReLU is made again for the weight
 * gradient that reads it, which is long before BatchNorm's gradients. */
static void their_outputs_end_with_the_forward_pass(void **state)
{
    step s = begin(&two, false);
    wf_plan *plan = plan_of(&s);
    int forward = 0, copies = 0;
    for (int n = 0; n < plan->n_nodes; n++) {
        const wf_ir_node *node = &plan->nodes[n];
        for (int i = 0; i < node->n_in && !node->dead; i++) {
            const wf_ir_value *v = &plan->values[node->in[i]];
            const wf_ir_node *made_by = v->node >= 0 ? &plan->nodes[v->node] : NULL;
            if (!made_by || !made_by->product)
                continue;
            assert_int_equal(made_by->again, node->backward);
            forward += !node->backward;
            copies += node->copy;
        }
    }
    assert_true(forward >= 4); /* statistics and activation of each */
    assert_true(copies >= 2);
    wf_plan_destroy(plan);
    end(&s);
}

/* They run in task groups with others, and wait for a gradient there image by image. */
static void they_join_the_group_of_a_gradient(void **state)
{
    step s = begin(&two, false);
    wf_plan *plan = plan_of(&s);
    int joined = 0;
    for (int t = 0; t < plan->n_tasks; t++) {
        const wf_task *task = plan->tasks[t];
        const wf_ir_node *node = task->node >= 0 ? &plan->nodes[task->node] : NULL;
        if (node && node->again && task->flops > 0 && task->tiles == N)
            joined += plan->groups[task->group].n_tasks > 1;
    }
    assert_true(joined > 0);
    wf_plan_destroy(plan);
    end(&s);
}

static void they_take_less_memory(void **state)
{
    const weft_options off = {.threads = 2, .passes_off = WEFT_PASS_RECOMPUTE};
    step with = begin(&two, false), without = begin(&off, false);
    wf_plan *less = plan_of(&with), *more = plan_of(&without);
    /* Three values of the block are not kept, but there are gradients at the peak. */
    const size_t value = (size_t)N * WIDE * SIDE * SIDE * sizeof(float);
    assert_int_equal(count_again(more), 0);
    if (less->arena_bytes + value > more->arena_bytes)
        fail_msg("%zu bytes, %zu without", less->arena_bytes, more->arena_bytes);
    wf_plan_destroy(less);
    wf_plan_destroy(more);
    end(&with);
    end(&without);
}

/* What the user wants after the step is there anyway. */
static void what_is_kept_is_not_made_again(void **state)
{
    step s = begin(&two, true);
    wf_plan *plan = plan_of(&s);
    assert_int_equal(count_again(plan), 1);
    wf_plan_destroy(plan);
    end(&s);
}

/* ---- bits ---- */

enum { GRADIENT = WIDE * NARROW };

/* The gradients of the block's first weight and of the stem's. */
static void gradients(const weft_options *options, float *out)
{
    step s = begin(options, false);
    if (weft_sync(s.ctx) || weft_read(weft_grad(s.w[1]), out, GRADIENT * sizeof *out) ||
        weft_read(weft_grad(s.w[0]), out + GRADIENT, NARROW * 27 * sizeof *out))
        fail_msg("%s", weft_error_text(s.ctx));
    end(&s);
}

static void the_bits_stay(void **state)
{
    static float want[GRADIENT + NARROW * 27], got[GRADIENT + NARROW * 27];
    if (wf_cpu_isa() == WEFT_ISA_SCALAR)
        skip(); /* a minute; the plan is the same */
    for (int amp = WEFT_AMP_OFF; amp <= WEFT_AMP_BF16; amp++) {
        const weft_amp type = (weft_amp)amp;
        const weft_options oracle = {.seed = 5,
                                     .threads = 1,
                                     .amp = type,
                                     .executor = WEFT_EXECUTOR_INTERPRETER,
                                     .passes_off = WEFT_PASS_RECOMPUTE};
        gradients(&oracle, want);
        const weft_options others[] = {
            {.seed = 5, .amp = type, .threads = 1, .executor = WEFT_EXECUTOR_INTERPRETER},
            {.seed = 5, .amp = type, .threads = 1},
            {.seed = 5, .amp = type, .threads = 2},
            {.seed = 5, .amp = type, .threads = 3},
            {.seed = 5, .amp = type, .threads = 7},
            {.seed = 5, .amp = type, .threads = 16},
            {.seed = 5, .amp = type, .threads = 2, .passes_off = WEFT_PASS_RECOMPUTE},
            {.seed = 5, .amp = type, .threads = 2, .passes_off = WEFT_PASS_FUSE},
            {.seed = 5, .amp = type, .threads = 2, .passes_off = WEFT_PASS_MEMORY},
            {.seed = 5,
             .amp = type,
             .threads = 3,
             .executor = WEFT_EXECUTOR_RANDOM,
             .schedule_seed = 9}};
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
            memset(got, 0, sizeof got);
            gradients(&others[i], got);
            if (memcmp(want, got, sizeof want) != 0)
                fail_msg("amp %d, options %zu: other bits than the interpreter's", amp, i);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cheap_convolutions_run_again),
        cmocka_unit_test(their_outputs_end_with_the_forward_pass),
        cmocka_unit_test(they_join_the_group_of_a_gradient),
        cmocka_unit_test(they_take_less_memory),
        cmocka_unit_test(what_is_kept_is_not_made_again),
        cmocka_unit_test(the_bits_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
