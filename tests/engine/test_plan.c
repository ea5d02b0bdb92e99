/* A planned run equals the interpreter's bit for bit: any passes, any threads, any schedule, read
 * mid-step or not. */
#include "engine/graph/ops/common.h"
#include "engine/step/execute.h"
#include "engine/step/plan_cache.h"
#include "small_net.h"

#include "engine/graph/ops/reorder.h"

enum { STEPS = 4 };

static char *oracle(size_t *size)
{
    weft_options o = {.seed = 11, .executor = WEFT_EXECUTOR_INTERPRETER, .threads = 1};
    return net_train(&o, STEPS, size, NULL);
}

static void expect_oracle(const weft_options *o, void (*probe)(small_net *, weft_tensor *))
{
    size_t want_size, size;
    char *want = oracle(&want_size), *got = net_train(o, STEPS, &size, probe);
    assert_int_equal(size, want_size);
    for (size_t i = 0; i < size; i += sizeof(float))
        if (memcmp(want + i, got + i, sizeof(float)) != 0)
            fail_msg("state differs at float %zu", i / sizeof(float));
    free(want);
    free(got);
}

static void equals_the_interpreter_with_1_2_3_7_and_16_threads(void **state)
{
    const int threads[] = {1, 2, 3, 7, 16};
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        weft_options o = {.seed = 11, .threads = threads[i]};
        expect_oracle(&o, NULL);
    }
}

static void equals_the_interpreter_with_any_pass_off(void **state)
{
    for (unsigned off = 0; off <= WEFT_PASS_ALL; off++) {
        weft_options o = {.seed = 11, .threads = 2, .passes_off = off};
        expect_oracle(&o, NULL);
    }
}

static void equals_the_interpreter_in_random_order_over_poisoned_memory(void **state)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        weft_options o = {
            .seed = 11, .threads = 3, .executor = WEFT_EXECUTOR_RANDOM, .schedule_seed = seed};
        expect_oracle(&o, NULL);
    }
}

static void read_it(small_net *net, weft_tensor *t)
{
    size_t bytes = wf_type_bytes(t->type);
    char *data = malloc(bytes);
    if (weft_read(t, data, bytes) != WEFT_OK)
        fail_msg("%s", weft_error_text(net->ctx));
    free(data);
}

static void reading_after_every_op_gives_the_same_bits(void **state)
{
    weft_options o = {.seed = 11, .threads = 2};
    expect_oracle(&o, read_it);
}

static void a_read_value_is_the_value_of_the_whole_run(void **state)
{
    weft_options o = {.seed = 5, .threads = 2};
    small_net net;
    net_init(&net, &o);
    float once[NET_N * 5], twice[NET_N * 5];
    weft_tensor *kept = weft_keep(net_logits(&net, false));
    assert_int_equal(weft_sync(net.ctx), WEFT_OK);
    assert_int_equal(weft_read(kept, once, sizeof once), WEFT_OK);
    weft_tensor_unref(kept);
    assert_int_equal(weft_read(net_logits(&net, false), twice, sizeof twice), WEFT_OK);
    assert_memory_equal(once, twice, sizeof once);
    net_done(&net);
}

static void a_schedule_does_not_recompile(void **state)
{
    weft_options o = {.seed = 11, .threads = 1};
    small_net net;
    net_init(&net, &o);
    net_step(&net);
    net_step(&net); /* momentum's first step has ended */
    int compiled = wf_plan_cache_compiled(net.ctx->plans);
    for (int i = 0; i < 3; i++)
        net_step(&net);
    assert_int_equal(wf_plan_cache_compiled(net.ctx->plans), compiled);
    net_done(&net);
}

static void explain_shows_groups_kernels_and_memory(void **state)
{
    weft_options o = {.threads = 2};
    small_net net;
    net_init(&net, &o);
    assert_int_equal(weft_backward(net_loss(&net)), WEFT_OK);
    net_update(&net);
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    assert_int_equal(weft_explain(net.ctx, f), WEFT_OK);
    fclose(f);
    const char *expected[] = {"conv2d", "bn_act", "commit", "arena", "tiles", "nchw", "priority"};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        if (!strstr(text, expected[i]))
            fail_msg("no '%s' in:\n%s", expected[i], text);
    free(text);
    net_done(&net);
}

/* A ShuffleNet unit's moves on (2, 12, 3, 3), its value and gradient; the plan's text. */
enum { UNIT = 2 * 12 * 9 };
static void shuffled_unit(unsigned passes_off, bool block, float out[2 * UNIT], char *text,
                          size_t size)
{
    weft_options o = {.threads = 2, .passes_off = passes_off};
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, &o, NULL), WEFT_OK);
    float values[UNIT];
    for (int i = 0; i < UNIT; i++)
        values[i] = (float)(i % 37) - 18;
    weft_tensor *x = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(2, 12, 3, 3), values);
    weft_set_requires_grad(x, true);
    wf_reorder_attrs blocks = {wf_isa_block(weft_context_isa(ctx))};
    weft_tensor *in = block ? wf_record(&wf_op_reorder, &blocks, NULL, 1, &x, NULL) : x;
    weft_tensor *half[2] = {NULL, NULL};
    assert_int_equal(weft_chunk(in, 2, 1, half), WEFT_OK);
    half[1] = weft_relu(half[1]);
    weft_tensor *y = weft_channel_shuffle(weft_concat(half, 2, 1), 2);
    weft_tensor *kept = weft_keep(y);
    assert_int_equal(weft_backward(weft_sum(weft_mul(y, y), WEFT_ALL_DIMS, false)), WEFT_OK);
    FILE *f = fmemopen(text, size, "w");
    assert_int_equal(weft_explain(ctx, f), WEFT_OK);
    fclose(f);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    assert_int_equal(weft_read(kept, out, UNIT * sizeof *out), WEFT_OK);
    assert_int_equal(weft_read(weft_grad(x), out + UNIT, UNIT * sizeof *out), WEFT_OK);
    weft_tensor_unref(kept);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

static void a_shuffle_joins_the_copies_beside_it(void **state)
{
    float apart[2 * UNIT], joined[2 * UNIT];
    static char text[2][20000];
    for (int block = 0; block < 2; block++) {
        shuffled_unit(WEFT_PASS_FUSE, block, apart, text[0], sizeof text[0]);
        shuffled_unit(0, block, joined, text[1], sizeof text[1]);
        assert_memory_equal(apart, joined, sizeof apart);
        assert_non_null(strstr(text[0], "channel_shuffle"));
        assert_null(strstr(text[1], "channel_shuffle"));
    }
}

/* A dense block: each layer's input is the block's and all layers' outputs, joined; the last layer
 * adds channels that do not fill a block, and a slice in the middle is read, too. Results: the
 * joined value and the gradients of the weights. */
enum { DENSE_N = 3, DENSE_LAYERS = 3, DENSE_PIXELS = 36, DENSE_OUT = DENSE_N * 53 * DENSE_PIXELS };
typedef struct dense {
    float y[DENSE_OUT], dw[DENSE_LAYERS + 1][16 * 48 * 9];
    char text[60000];
} dense;

static weft_tensor *dense_tensor(weft_context *ctx, weft_shape shape, int step)
{
    static float x[16 * 48 * 9];
    for (int64_t i = 0; i < weft_shape_count(shape); i++)
        x[i] = (float)(i * step % 41 - 20) / 64;
    return weft_tensor_from(ctx, WEFT_F32, shape, x);
}

static void dense_block(unsigned passes_off, weft_executor executor, int threads, dense *d)
{
    weft_options o = {
        .threads = threads, .executor = executor, .passes_off = passes_off, .schedule_seed = 9};
    weft_context *ctx;
    memset(d, 0, sizeof *d);
    assert_int_equal(weft_context_create(&ctx, &o, NULL), WEFT_OK);
    weft_conv2d_opts same = {.padding = {1, 1}};
    weft_batch_norm_opts training = WEFT_BATCH_NORM_OPTS_INIT;
    training.training = true;
    weft_tensor *w[DENSE_LAYERS + 1], *x = dense_tensor(ctx, WEFT_SHAPE(DENSE_N, 5, 6, 6), 7);
    for (int i = 0; i <= DENSE_LAYERS; i++) {
        w[i] = dense_tensor(ctx, WEFT_SHAPE(i < DENSE_LAYERS ? 16 : 5, i ? 16 * i : 5, 3, 3),
                            5 + 2 * i);
        weft_set_requires_grad(w[i], true);
    }
    weft_tensor *y = weft_conv2d(x, w[0], NULL, &same);
    for (int i = 1; i <= DENSE_LAYERS; i++) {
        weft_tensor *in = weft_relu(weft_batch_norm(y, NULL, NULL, NULL, NULL, NULL, &training));
        y = weft_concat((weft_tensor *[]){y, weft_conv2d(in, w[i], NULL, &same)}, 2, 1);
    }
    weft_tensor *middle = weft_relu(weft_narrow(y, 1, 16, 16)), *out = weft_relu(y);
    weft_tensor *kept = weft_keep(out);
    weft_tensor *loss = weft_add(weft_sum(weft_mul(out, out), WEFT_ALL_DIMS, false),
                                 weft_sum(weft_mul(middle, middle), WEFT_ALL_DIMS, false));
    assert_int_equal(weft_backward(loss), WEFT_OK);
    FILE *f = fmemopen(d->text, sizeof d->text, "w");
    assert_int_equal(weft_explain(ctx, f), WEFT_OK);
    fclose(f);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    assert_int_equal(weft_read(kept, d->y, sizeof d->y), WEFT_OK);
    for (int i = 0; i <= DENSE_LAYERS; i++) {
        weft_tensor *g = weft_grad(w[i]);
        assert_int_equal(weft_read(g, d->dw[i], (size_t)weft_shape_count(weft_tensor_shape(g)) * 4),
                         WEFT_OK);
        weft_tensor_unref(w[i]);
    }
    weft_tensor_unref(kept);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

/* How often the text has a task of the op. */
static int tasks_of(const char *text, const char *op)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, op)) != NULL; at++)
        n++;
    return n;
}

static void a_dense_block_is_joined_without_copies(void **state)
{
    dense *want = malloc(sizeof *want), *got = malloc(sizeof *got);
    assert_true(want && got);
    dense_block(WEFT_PASS_ALL, WEFT_EXECUTOR_INTERPRETER, 1, want);
    assert_int_equal(tasks_of(want->text, " concat "), DENSE_LAYERS);
    for (int e = 0; e < 3; e++)
        for (int k = 0; k < 2; k++) {
            dense_block(k ? WEFT_PASS_MEMORY : 0, (weft_executor)e, 1 + 2 * k, got);
            if (memcmp(want->y, got->y, sizeof want->y) != 0 ||
                memcmp(want->dw, got->dw, sizeof want->dw) != 0)
                fail_msg("executor %d, variant %d", e, k);
            assert_int_equal(tasks_of(got->text, " concat "), 0);
            assert_int_equal(tasks_of(got->text, " narrow "), 0);
        }
    free(want);
    free(got);
}

static void sharing_memory_makes_the_arena_smaller(void **state)
{
    /* Bytes in use by arenas, with and without sharing. */
    size_t used[2];
    for (int i = 0; i < 2; i++) {
        weft_options o = {.seed = 11, .threads = 1, .passes_off = i ? WEFT_PASS_MEMORY : 0};
        small_net net;
        net_init(&net, &o);
        net_step(&net);
        used[i] = wf_memory_used(net.ctx->memory).in_use[WF_MEM_ARENA];
        net_done(&net);
    }
    assert_true(used[0] < used[1]);
}

/* The gradient of the second of two convolutions with ReLU, recorded; images of more than a
 * thousand pixels, so that each has a slot of its own. */
enum { TALL = 36 };
static weft_tensor *two_convolutions(weft_context *ctx, weft_tensor *x, weft_tensor *const w[2])
{
    weft_conv2d_opts pad = {.padding = {1, 1}};
    weft_tensor *y = weft_relu(weft_conv2d(x, w[0], NULL, &pad));
    y = weft_relu(weft_conv2d(y, w[1], NULL, &pad));
    assert_int_equal(weft_backward(weft_sum(weft_mul(y, y), WEFT_DIMS(0, 1, 2, 3), false)),
                     WEFT_OK);
    return weft_grad(w[1]);
}

/* Runs it into grad; returns how many of the two weight gradients' tasks share a task group with the
 * task that made what they read. */
static int joined_weight_gradients(const weft_options *o, float *grad, size_t bytes)
{
    weft_error err = WEFT_ERROR_INIT;
    weft_context *ctx;
    int joined = 0;
    assert_int_equal(weft_context_create(&ctx, o, &err), WEFT_OK);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(4, 3, TALL, TALL));
    weft_tensor *w[2] = {weft_randn(ctx, WEFT_SHAPE(8, 3, 3, 3)),
                         weft_randn(ctx, WEFT_SHAPE(16, 8, 3, 3))};
    for (int i = 0; i < 2; i++)
        assert_int_equal(weft_set_requires_grad(w[i], true), WEFT_OK);
    weft_tensor *g = two_convolutions(ctx, x, w);
    wf_plan *plan = NULL;
    assert_int_equal(wf_plan_of_recorded(ctx, &plan), WEFT_OK);
    for (int i = 0; i < plan->n_tasks; i++) {
        bool with = false;
        for (int j = 0; j < plan->n_tasks; j++)
            with |= plan->tasks[j]->op == &wf_op_relu_backward &&
                    plan->tasks[j]->group == plan->tasks[i]->group;
        joined += with && plan->tasks[i]->op == &wf_op_conv2d_backward_weights;
    }
    wf_plan_destroy(plan);
    assert_int_equal(weft_read(g, grad, bytes), WEFT_OK);
    weft_tensor_unref(x);
    weft_tensor_unref(w[0]);
    weft_tensor_unref(w[1]);
    weft_context_destroy(ctx);
    return joined;
}

static void a_weight_gradient_joins_what_made_its_input_where_images_abound(void **state)
{
    enum { COUNT = 16 * 8 * 9 };
    static float want[COUNT], got[COUNT];
    weft_options o = {.seed = 11, .executor = WEFT_EXECUTOR_INTERPRETER, .threads = 1};
    joined_weight_gradients(&o, want, sizeof want);
    o.executor = WEFT_EXECUTOR_PARALLEL;
    for (o.threads = 1; o.threads <= 4; o.threads++) {
        assert_int_equal(joined_weight_gradients(&o, got, sizeof got), o.threads <= 2 ? 2 : 0);
        assert_memory_equal(got, want, sizeof want);
    }
}

/* What follows a convolution: an epilogue. */
typedef struct epilogue {
    const char *name;
    bool bias, norm, training, add;
    const wf_op *ops[4]; /* in the convolution's task group */
} epilogue;

/* The task group of the convolution's images, its weights being packed in another; -1: none. */
static int group_of(const wf_plan *p, const wf_op *op, int64_t tiles)
{
    for (int i = 0; i < p->n_tasks; i++)
        if (p->tasks[i]->op == op && p->tasks[i]->tiles == tiles)
            return p->tasks[i]->group;
    return -1;
}

/* With a kernel that takes an image at a time, which the reference does on every instruction set, and
 * channels that fill the blocks of each. */
static void what_follows_a_convolution_runs_on_each_image_while_it_is_in_cache(void **state)
{
    enum { IMAGES = 6, CHANNELS = 16 };
    static const epilogue cases[] = {
        {"statistics", .norm = true, .training = true, .ops = {&wf_op_bn_stats}},
        {"bias, residual, ReLU", .bias = true, .add = true, .ops = {&wf_op_add, &wf_op_relu}},
        {"fixed statistics", .norm = true, .ops = {&wf_op_bn_act}},
        {"fixed statistics, residual", .norm = true, .add = true, .ops = {&wf_op_bn_act}},
    };
    setenv("WEFT_AVOID", "winograd,gemm,depthwise,onednn", 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const epilogue *c = &cases[i];
        weft_context *ctx;
        weft_options o = {.threads = 2};
        assert_int_equal(weft_context_create(&ctx, &o, NULL), WEFT_OK);
        weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(IMAGES, CHANNELS, 10, 10));
        weft_tensor *w = weft_randn(ctx, WEFT_SHAPE(CHANNELS, CHANNELS, 3, 3));
        weft_tensor *b = weft_randn(ctx, WEFT_SHAPE(CHANNELS));
        weft_tensor *var = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(CHANNELS), 1);
        const weft_conv2d_opts same = {.padding = {1, 1}};
        weft_batch_norm_opts norm = WEFT_BATCH_NORM_OPTS_INIT;
        norm.training = c->training;
        weft_tensor *y = weft_conv2d(x, w, c->bias ? b : NULL, &same);
        if (c->norm)
            y = weft_batch_norm(y, NULL, NULL, b, var, NULL, &norm);
        if (c->add)
            y = weft_add(y, x);
        weft_tensor *kept = weft_keep(weft_relu(y));
        wf_plan *plan = NULL;
        assert_int_equal(wf_plan_of_recorded(ctx, &plan), WEFT_OK);
        const int group = group_of(plan, &wf_op_conv2d, IMAGES);
        assert_true(group >= 0);
        for (int k = 0; c->ops[k]; k++)
            if (group_of(plan, c->ops[k], IMAGES) != group)
                fail_msg("%s: %s is not in the convolution's task group", c->name, c->ops[k]->name);
        wf_plan_destroy(plan);
        weft_discard(ctx);
        weft_tensor *const all[] = {x, w, b, var, kept};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            weft_tensor_unref(all[k]);
        weft_context_destroy(ctx);
    }
    unsetenv("WEFT_AVOID");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_interpreter_with_1_2_3_7_and_16_threads),
        cmocka_unit_test(equals_the_interpreter_with_any_pass_off),
        cmocka_unit_test(equals_the_interpreter_in_random_order_over_poisoned_memory),
        cmocka_unit_test(reading_after_every_op_gives_the_same_bits),
        cmocka_unit_test(a_read_value_is_the_value_of_the_whole_run),
        cmocka_unit_test(a_schedule_does_not_recompile),
        cmocka_unit_test(a_shuffle_joins_the_copies_beside_it),
        cmocka_unit_test(a_dense_block_is_joined_without_copies),
        cmocka_unit_test(explain_shows_groups_kernels_and_memory),
        cmocka_unit_test(sharing_memory_makes_the_arena_smaller),
        cmocka_unit_test(what_follows_a_convolution_runs_on_each_image_while_it_is_in_cache),
        cmocka_unit_test(a_weight_gradient_joins_what_made_its_input_where_images_abound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
