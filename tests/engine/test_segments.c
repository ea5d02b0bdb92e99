/* Segments of the forward pass that the backward pass runs again (plan/segments.c), named by modules
 * and scopes or chosen for a memory limit (plan/choose_segments.c): the same bits, less memory. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/graph/ops/common.h"
#include "engine/step/execute.h"
#include "weft/weft.h"

enum { BATCH = 2, CLASSES = 10 };

typedef struct problem {
    weft_context *ctx;
    weft_module *net;
    weft_optimizer *optimizer;
    weft_tensor *x, *labels;
} problem;

static problem begin(const char *model, int size, int batch, const weft_options *options)
{
    problem p = {0};
    assert_int_equal(weft_context_create(&p.ctx, options, NULL), WEFT_OK);
    weft_model_opts opts = weft_model_find(model)->defaults;
    opts.height = opts.width = size;
    opts.num_classes = CLASSES;
    p.net = weft_model_create(p.ctx, model, &opts);
    p.x = weft_randn(p.ctx, WEFT_SHAPE(batch, opts.in_channels, size, size));
    p.labels = weft_tensor_full(p.ctx, WEFT_I64, WEFT_SHAPE(batch), 3);
    const weft_sgd_opts sgd = {.lr = 0.01, .momentum = 0.9};
    p.optimizer = p.net ? weft_sgd_create(p.ctx, p.net, &sgd) : NULL;
    if (!p.net || !p.x || !p.labels || !p.optimizer)
        fail_msg("%s: %s", model, weft_error_text(p.ctx));
    return p;
}

static void end(problem *p)
{
    weft_optimizer_destroy(p->optimizer);
    weft_tensor_unref(p->x);
    weft_tensor_unref(p->labels);
    weft_module_unref(p->net);
    weft_context_destroy(p->ctx);
}

static void record(problem *p)
{
    weft_optimizer_zero_grad(p->optimizer);
    weft_tensor *loss = weft_training_loss(p->net, p->x, p->labels, NULL, NULL);
    if (!loss || weft_backward(loss) != WEFT_OK)
        fail_msg("%s", weft_error_text(p->ctx));
}

static wf_plan *plan_of(problem *p)
{
    wf_plan *plan = NULL;
    record(p);
    if (wf_plan_of_recorded(p->ctx, &plan) != WEFT_OK)
        fail_msg("%s", weft_error_text(p->ctx));
    weft_discard(p->ctx);
    return plan;
}

static int count_again(const wf_plan *plan)
{
    int again = 0;
    for (int n = 0; n < plan->n_nodes; n++)
        again += plan->nodes[n].again;
    return again;
}

/* ---- bits ---- */

/* A hash of weights and running statistics after a step. `pattern`: NULL: none. */
static uint64_t train(const char *model, int size, const weft_options *options, const char *pattern)
{
    problem p = begin(model, size, BATCH, options);
    int n = 1;
    if (pattern)
        assert_int_equal(weft_module_recompute(p.net, pattern, &n), WEFT_OK);
    assert_true(n > 0);
    record(&p);
    if (weft_optimizer_step(p.optimizer) != WEFT_OK)
        fail_msg("%s: %s", model, weft_error_text(p.ctx));
    weft_tensor_list state = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_state_dict(p.net, &state), WEFT_OK);
    uint64_t hash = 14695981039346656037u;
    for (int i = 0; i < state.n; i++) {
        const weft_tensor *t = state.item[i].tensor;
        const size_t bytes =
            (size_t)weft_shape_count(weft_tensor_shape(t)) * weft_dtype_size(weft_tensor_dtype(t));
        const unsigned char *b = weft_tensor_const_data(state.item[i].tensor);
        for (size_t k = 0; k < bytes; k++)
            hash = (hash ^ b[k]) * 1099511628211u;
    }
    weft_tensor_list_done(&state);
    end(&p);
    return hash;
}

/* The least that a step of the model can be brought to. */
static size_t least_of(const char *model, int size, const weft_options *options)
{
    weft_options o = *options;
    o.memory_limit = 1;
    problem p = begin(model, size, BATCH, &o);
    wf_plan *plan = NULL;
    record(&p);
    assert_int_equal(wf_plan_of_recorded(p.ctx, &plan), WEFT_ERR_NOMEM);
    const size_t least = weft_memory_least(p.ctx);
    assert_true(least > 1);
    weft_error_clear(p.ctx);
    weft_discard(p.ctx);
    end(&p);
    return least;
}

static const struct {
    const char *model, *pattern;
    int size;
} nets[] = {{"resnet18", "layer?.?", 32},
            {"googlenet", "inception*", 33}, /* branches, dropout, auxiliary losses */
            {"mobilenet_v2", "features.*", 32},
            {"densenet121", "*.denselayer*", 32}};

static void computed_again_has_the_same_bits(void **state)
{
    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++) {
        const char *model = nets[i].model;
        const int size = nets[i].size;
        const weft_options plain = {.seed = 7, .threads = 2};
        const uint64_t want = train(model, size, &plain, NULL);
        if (train(model, size, &plain, nets[i].pattern) != want)
            fail_msg("%s: other bits with %s", model, nets[i].pattern);
        static const weft_options ways[] = {
            {.seed = 7, .threads = 1},
            {.seed = 7, .threads = 3},
            {.seed = 7, .threads = 2, .executor = WEFT_EXECUTOR_RANDOM, .schedule_seed = 5}};
        const size_t w = i % (sizeof ways / sizeof ways[0]);
        weft_options limited = ways[w];
        if (strcmp(model, "densenet121") == 0)
            continue; /* its search takes seconds */
        limited.memory_limit = least_of(model, size, &limited);
        if (train(model, size, &limited, NULL) != want)
            fail_msg("%s: other bits with a memory limit, way %zu", model, w);
    }
}

/* One small network, in all ways of running. */
static void in_every_way_of_running(void **state)
{
    const weft_options oracle = {
        .seed = 3, .threads = 1, .executor = WEFT_EXECUTOR_INTERPRETER, .memory_limit = 1};
    const uint64_t want = train("cifar_resnet20", 32, &oracle, "layer*");
    static const int threads[] = {1, 2, 3, 7, 16};
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        weft_options o = {.seed = 3, .threads = threads[i]};
        assert_int_equal(train("cifar_resnet20", 32, &o, "layer*"), want);
        if (threads[i] != 2 && threads[i] != 7)
            continue;
        o.memory_limit = least_of("cifar_resnet20", 32, &o);
        assert_int_equal(train("cifar_resnet20", 32, &o, NULL), want);
    }
    for (unsigned off = 1; off < WEFT_PASS_ALL; off <<= 1) {
        weft_options o = {.seed = 3, .threads = 2, .passes_off = off};
        if (train("cifar_resnet20", 32, &o, "layer?.?") != want)
            fail_msg("other bits without pass %#x", off);
    }
    for (int seed = 0; seed < 1; seed++) {
        weft_options o = {.seed = 3,
                          .threads = 2,
                          .executor = WEFT_EXECUTOR_RANDOM,
                          .schedule_seed = (uint64_t)seed};
        assert_int_equal(train("cifar_resnet20", 32, &o, "layer?.?"), want);
        o.memory_limit = least_of("cifar_resnet20", 32, &o);
        assert_int_equal(train("cifar_resnet20", 32, &o, NULL), want);
    }
}

static void the_same_in_mixed_precision(void **state)
{
    weft_options o = {.seed = 3, .threads = 2, .amp = WEFT_AMP_BF16};
    const uint64_t want = train("cifar_resnet20", 32, &o, NULL);
    assert_int_equal(train("cifar_resnet20", 32, &o, "layer?.?"), want);
    o.memory_limit = least_of("cifar_resnet20", 32, &o);
    assert_int_equal(train("cifar_resnet20", 32, &o, NULL), want);
}

/* ---- memory ---- */

static void a_segment_takes_less_memory(void **state)
{
    const weft_options o = {.threads = 2};
    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++) {
        /* Not so small that packed weights are most of it. */
        problem p = begin(nets[i].model, 160, 8, &o);
        wf_plan *plain = plan_of(&p);
        assert_int_equal(weft_module_recompute(p.net, nets[i].pattern, NULL), WEFT_OK);
        wf_plan *plan = plan_of(&p);
        assert_true(count_again(plan) > 0);
        if (plan->arena_bytes >= plain->arena_bytes)
            fail_msg("%s: %zu bytes with %s, %zu without", nets[i].model, plan->arena_bytes,
                     nets[i].pattern, plain->arena_bytes);
        wf_plan_destroy(plan);
        wf_plan_destroy(plain);
        end(&p);
    }
}

static void a_limit_is_met(void **state)
{
    const weft_options o = {.threads = 2};
    problem p = begin("resnet50", 64, 16, &o);
    wf_plan *plain = plan_of(&p);
    const size_t all = wf_plan_bytes(plain);
    const int again = count_again(plain);
    wf_plan_destroy(plain);
    for (int percent = 95; percent >= 65; percent -= 5) {
        const size_t limit = all / 100 * (size_t)percent;
        assert_int_equal(weft_set_memory_limit(p.ctx, limit), WEFT_OK);
        wf_plan *plan = plan_of(&p);
        if (wf_plan_bytes(plan) > limit)
            fail_msg("%zu bytes, the limit is %zu", wf_plan_bytes(plan), limit);
        wf_plan_destroy(plan);
    }
    /* Without need nothing is computed again that was not before. */
    assert_int_equal(weft_set_memory_limit(p.ctx, all), WEFT_OK);
    wf_plan *plan = plan_of(&p);
    assert_int_equal(count_again(plan), again);
    wf_plan_destroy(plan);
    end(&p);
}

static void a_limit_that_cannot_be_met_names_the_least(void **state)
{
    const weft_options o = {.threads = 2, .memory_limit = 1000};
    problem p = begin("resnet18", 64, 8, &o);
    wf_plan *plan = NULL;
    char text[64];
    record(&p);
    assert_int_equal(weft_sync(p.ctx), WEFT_ERR_NOMEM);
    const size_t least = weft_memory_least(p.ctx);
    snprintf(text, sizeof text, "at least %zu", least);
    assert_non_null(strstr(weft_error_text(p.ctx), text));
    assert_null(strchr(weft_error_text(p.ctx), '\n'));
    weft_error_clear(p.ctx);
    assert_int_equal(weft_set_memory_limit(p.ctx, least), WEFT_OK);
    assert_int_equal(weft_memory_least(p.ctx), 0);
    record(&p);
    assert_int_equal(wf_plan_of_recorded(p.ctx, &plan), WEFT_OK);
    assert_true(wf_plan_bytes(plan) <= least);
    wf_plan_destroy(plan);
    weft_discard(p.ctx);
    /* With nothing computed again the plan itself is the least. */
    end(&p);
    weft_options off = o;
    off.passes_off = WEFT_PASS_RECOMPUTE;
    p = begin("resnet18", 64, 8, &off);
    record(&p);
    assert_int_equal(weft_sync(p.ctx), WEFT_ERR_NOMEM);
    assert_true(weft_memory_least(p.ctx) > least);
    end(&p);
    assert_int_equal(weft_set_memory_limit(NULL, 1), WEFT_ERR_INVALID);
    assert_int_equal(weft_memory_least(NULL), 0);
}

/* The copies of a segment run in the backward pass: behind everything that the forward pass runs. */
static void copies_wait_for_their_gradient(void **state)
{
    const weft_options o = {.threads = 2};
    problem p = begin("resnet18", 64, 8, &o);
    assert_int_equal(weft_module_recompute(p.net, "layer?.?", NULL), WEFT_OK);
    wf_plan *plan = plan_of(&p);
    int last_forward = -1, first_again = plan->n_groups;
    for (int i = 0; i < plan->n_groups; i++) {
        const wf_task_group *g = &plan->groups[plan->order[i]];
        for (int k = 0; k < g->n_tasks; k++) {
            const wf_task *t = plan->tasks[g->tasks[k]];
            const wf_ir_node *node = t->node >= 0 ? &plan->nodes[t->node] : NULL;
            if (!node || node->op != &wf_op_conv2d || t->flops == 0)
                continue; /* or it packs weights */
            if (!node->again && i > last_forward)
                last_forward = i;
            if (node->again && i < first_again)
                first_again = i;
            if (node->again) {
                bool waits = false;
                for (const wf_use *u = t->uses; u; u = u->next)
                    waits |= u->buf == plan->values[node->after].buf;
                assert_true(waits);
            }
        }
    }
    assert_true(first_again < plan->n_groups && first_again > last_forward);
    wf_plan_destroy(plan);
    end(&p);
}

/* ---- modules and scopes ---- */

static int warnings;

static void count_warning(void *user, const char *text)
{
    warnings += strstr(text, "matches no module") != NULL;
}

static void a_pattern_without_a_match_is_told(void **state)
{
    const weft_options o = {.threads = 1, .lint = WEFT_LINT_WARN};
    problem p = begin("resnet18", 64, 1, &o);
    int n = 7;
    weft_set_message_handler(p.ctx, count_warning, NULL);
    assert_int_equal(weft_module_recompute(p.net, "layer9", &n), WEFT_OK);
    assert_int_equal(n, 0);
    assert_int_equal(warnings, 0);
    assert_int_equal(weft_module_recompute(p.net, "layer9", NULL), WEFT_OK);
    assert_int_equal(warnings, 1);
    assert_int_equal(weft_module_recompute(p.net, "layer1.*", &n), WEFT_OK);
    assert_true(n > 2);
    assert_int_equal(weft_module_recompute(p.net, NULL, &n), WEFT_ERR_INVALID);
    assert_int_equal(weft_module_recompute(NULL, "a", &n), WEFT_ERR_STATE);
    end(&p);
}

/* conv, relu, conv, relu inside a scope with a scope inside; with a read in the middle of the step. */
static void a_scope(weft_context *ctx, bool scope, bool read, float *out, size_t bytes, int *again)
{
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(2, 16, 24, 24));
    weft_tensor *w = weft_randn(ctx, WEFT_SHAPE(16, 16, 3, 3));
    assert_int_equal(weft_set_requires_grad(w, true), WEFT_OK);
    const weft_conv2d_opts same = {.padding = {1, 1}};
    const bool was = scope && weft_recompute_begin(ctx);
    assert_false(was);
    weft_tensor *y = weft_relu(weft_conv2d(x, w, NULL, &same));
    if (scope) {
        const bool inner = weft_recompute_begin(ctx);
        assert_true(inner);
        weft_recompute_end(ctx, inner);
    }
    y = weft_sigmoid(weft_conv2d(weft_dropout(y, 0.3, true), w, NULL, &same));
    y = weft_conv2d(y, w, NULL, &same);
    if (scope)
        weft_recompute_end(ctx, was);
    if (read) {
        static float all[2 * 16 * 24 * 24];
        assert_int_equal(weft_read(y, all, sizeof all), WEFT_OK);
    }
    weft_tensor *loss = weft_mean(weft_mul(y, y), WEFT_ALL_DIMS, false);
    assert_int_equal(weft_backward(loss), WEFT_OK);
    wf_plan *plan = NULL;
    assert_int_equal(wf_plan_of_recorded(ctx, &plan), WEFT_OK);
    *again = 0;
    for (int n = 0; n < plan->n_nodes; n++)
        *again += plan->nodes[n].again;
    wf_plan_destroy(plan);
    if (weft_sync(ctx) || weft_read(weft_grad(w), out, bytes) != WEFT_OK)
        fail_msg("%s", weft_error_text(ctx));
    weft_tensor_unref(x);
    weft_tensor_unref(w);
}

static void scopes_without_modules(void **state)
{
    static float want[16 * 16 * 9], got[16 * 16 * 9];
    for (int kind = 0; kind < 4; kind++) {
        const weft_options o = {.seed = 2, .threads = 2};
        weft_context *ctx;
        int again;
        assert_int_equal(weft_context_create(&ctx, &o, NULL), WEFT_OK);
        a_scope(ctx, kind & 1, kind & 2, kind ? got : want, sizeof want, &again);
        assert_int_equal(again > 0, kind == 1);
        if (kind && memcmp(want, got, sizeof want) != 0)
            fail_msg("kind %d: other bits", kind);
        weft_context_destroy(ctx);
    }
    assert_false(weft_recompute_begin(NULL));
    weft_recompute_end(NULL, false);
}

static void a_clone_keeps_the_setting(void **state)
{
    const weft_options o = {.threads = 1};
    problem p = begin("resnet18", 64, 2, &o);
    assert_int_equal(weft_module_recompute(p.net, "layer1", NULL), WEFT_OK);
    weft_module *copy = weft_module_clone(p.net);
    assert_non_null(copy);
    weft_module_unref(p.net);
    weft_optimizer_destroy(p.optimizer);
    p.net = copy;
    const weft_sgd_opts sgd = {.lr = 0.01};
    p.optimizer = weft_sgd_create(p.ctx, p.net, &sgd);
    int again = 0;
    wf_plan *plan = plan_of(&p);
    for (int n = 0; n < plan->n_nodes; n++)
        again += plan->nodes[n].again;
    assert_true(again > 0);
    wf_plan_destroy(plan);
    end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(computed_again_has_the_same_bits),
        cmocka_unit_test(in_every_way_of_running),
        cmocka_unit_test(the_same_in_mixed_precision),
        cmocka_unit_test(a_segment_takes_less_memory),
        cmocka_unit_test(a_limit_is_met),
        cmocka_unit_test(a_limit_that_cannot_be_met_names_the_least),
        cmocka_unit_test(copies_wait_for_their_gradient),
        cmocka_unit_test(a_pattern_without_a_match_is_told),
        cmocka_unit_test(scopes_without_modules),
        cmocka_unit_test(a_clone_keeps_the_setting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
