/* Every allocation that modules make may fail: the error says so and nothing leaks or crashes (run
 * this under the sanitizers to see leaks). */
#include <math.h>
#include <stdio.h>

#include "engine/base/alloc.h"
#include "tests/modules/fixture.h"
#include "tests/scratch.h"

/* Each makes something, uses it and drops it; false on failure. */
static bool make_model(weft_module *net)
{
    weft_module *m = weft_model_create(ctx, "lenet", NULL);
    weft_module_unref(m);
    return m != NULL;
}

/* With modules of modules. */
static bool make_nested_model(weft_module *net)
{
    bool was = weft_init_skip_begin(ctx);
    weft_module *m = weft_model_create(ctx, "squeezenet1_1", NULL);
    weft_init_skip_end(ctx, was);
    weft_module_unref(m);
    return m != NULL && !was;
}

static bool clone(weft_module *net)
{
    weft_module *m = weft_module_clone(net);
    weft_module_unref(m);
    return m != NULL;
}

static bool load_own_state(weft_module *net)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    bool ok =
        weft_state_dict(net, &list) == WEFT_OK && weft_load_state_dict(net, &list, true) == WEFT_OK;
    weft_tensor_list_done(&list);
    return ok;
}

static bool list_everything(weft_module *net)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_named_modules modules = WEFT_NAMED_MODULES_INIT;
    bool ok = weft_parameters(net, 0, &list) == WEFT_OK && weft_buffers(net, 0, &list) == WEFT_OK &&
              weft_modules(net, 0, &modules) == WEFT_OK && weft_children(net, &modules) == WEFT_OK;
    weft_tensor_list_done(&list);
    weft_named_modules_done(&modules);
    return ok;
}

static bool print(weft_module *net)
{
    FILE *f = fopen("/dev/null", "w");
    assert_non_null(f);
    bool ok = weft_module_print(net, f) == WEFT_OK;
    fclose(f);
    return ok;
}

static bool save_and_load(weft_module *net)
{
    return weft_module_save(net, scratch_file) == WEFT_OK &&
           weft_module_load(net, scratch_file, true) == WEFT_OK;
}

/* A refusal, whose message needs memory too, counts as success. */
static bool refuse_state(weft_module *net)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_module *other = weft_linear_create(ctx, 2, 2, NULL);
    bool ok = other != NULL && weft_state_dict(net, &list) == WEFT_OK &&
              weft_load_state_dict(other, &list, true) == WEFT_ERR_NOT_FOUND &&
              strstr(weft_error_text(ctx), "fc.weight") != NULL;
    if (ok)
        weft_error_clear(ctx);
    weft_tensor_list_done(&list);
    weft_module_unref(other);
    return ok;
}

static bool load_part_of_a_file(weft_module *net)
{
    int left_out;
    weft_load_opts opts = {.except = "fc", .optional = "bn1 aux", .left_out = &left_out};
    return weft_module_save(net, scratch_file) == WEFT_OK &&
           weft_module_load_with(net, scratch_file, &opts) == WEFT_OK && left_out == 0;
}

static bool freeze(weft_module *net)
{
    int n;
    bool ok = weft_module_freeze(net, "bn*", &n) == WEFT_OK && n == 6;
    weft_module_requires_grad(net, true);
    return ok;
}

static bool find_heads(weft_module *net)
{
    weft_named_modules heads = WEFT_NAMED_MODULES_INIT;
    bool ok = weft_model_heads(net, "fmnist_cnn", &heads) == WEFT_OK && heads.n == 1;
    weft_named_modules_done(&heads);
    return ok;
}

static bool change_type(weft_module *net)
{
    weft_dtype dtype = weft_tensor_dtype(weft_get_parameter(net, "fc.bias"));
    return weft_module_to(net, dtype == WEFT_F32 ? WEFT_F64 : WEFT_F32) == WEFT_OK;
}

static bool insert(weft_module *net)
{
    weft_module *m = WEFT_SEQUENTIAL(ctx, weft_relu_create(ctx), weft_softmax_create(ctx, 1));
    bool ok = m != NULL && weft_insert(m, 0, weft_flatten_create(ctx)) == WEFT_OK;
    weft_module_unref(m);
    return ok;
}

/* ---- hooks, custom modules ---- */

static weft_status hook(void *user, weft_module *m, int n_in, weft_tensor *const *in, int n_out,
                        weft_tensor **out)
{
    return WEFT_OK;
}

static bool hooks(weft_module *net)
{
    uint64_t a = weft_register_forward_hook(net, hook, NULL, 0);
    uint64_t b = a != 0 ? weft_register_global_forward_hook(ctx, hook, NULL, 0) : 0;
    weft_hook_remove(net, a);
    weft_global_hook_remove(ctx, b);
    return b != 0;
}

typedef struct custom {
    weft_module base;
    weft_module *fc;
    weft_tensor *w, *b;
} custom;
static const weft_module_class custom_class = {.name = "Custom", .size = sizeof(custom)};

static bool build_custom(weft_module *net)
{
    custom *self = weft_module_create(ctx, &custom_class, NULL);
    if (self == NULL)
        return false;
    weft_module *m = &self->base;
    weft_register_module(m, "fc", &self->fc, weft_linear_create(ctx, 3, 2, NULL));
    weft_register_parameter(m, "w", &self->w, weft_randn(ctx, WEFT_SHAPE(2, 2)));
    weft_register_buffer(m, "b", &self->b, tensor(1), true);
    m = weft_module_ok(m);
    weft_module_unref(m);
    return m != NULL;
}

static bool summary(weft_module *net)
{
    FILE *f = fopen("/dev/null", "w");
    assert_non_null(f);
    bool ok = weft_module_summary(net, WEFT_SHAPE(1, 1, 28, 28), f) == WEFT_OK;
    fclose(f);
    return ok;
}

/* ---- steps ---- */

static weft_tensor *images, *labels;

static bool forward(weft_module *net)
{
    float logits[20];
    weft_tensor *y = weft_call(net, images);
    bool ok = y != NULL && weft_read(y, logits, sizeof(logits)) == WEFT_OK;
    return weft_sync(ctx) == WEFT_OK && ok;
}

static bool forward_and_backward(weft_module *net)
{
    weft_tensor *loss = weft_cross_entropy(weft_call(net, images), labels, NULL);
    bool ok = weft_backward(loss) == WEFT_OK;
    ok = weft_sync(ctx) == WEFT_OK && ok;
    ok = ok && weft_grad(weft_get_parameter(net, "fc.weight")) != NULL;
    weft_module_zero_grad(net);
    return ok;
}

static bool training_step(weft_module *net)
{
    weft_optimizer *o = weft_sgd_create(ctx, net, &(weft_sgd_opts){.lr = 1e-3, .momentum = 0.9});
    weft_backward(weft_cross_entropy(weft_call(net, images), labels, NULL));
    bool ok = weft_error_status(ctx) == WEFT_OK && weft_optimizer_step(o) == WEFT_OK;
    if (!ok)
        weft_sync(ctx); /* ends the step */
    weft_module_zero_grad(net);
    weft_optimizer_destroy(o);
    return ok;
}

static double loss_of(weft_module *net)
{
    weft_module_eval(net);
    bool was = weft_no_grad_begin(ctx);
    double loss = weft_item(weft_cross_entropy(weft_call(net, images), labels, NULL));
    weft_no_grad_end(ctx, was);
    weft_module_train(net, true);
    weft_sync(ctx);
    assert_no_error();
    return loss;
}

/* A small network with everything in it: convolution, BatchNorm with its buffers, dropout. */
static weft_module *small_net(void)
{
    weft_module *m = WEFT_SEQUENTIAL(ctx, weft_conv2d_create(ctx, 1, 4, 3, NULL),
                                     weft_batch_norm2d_create(ctx, 4, NULL), weft_relu_create(ctx),
                                     weft_max_pool2d_create(ctx, 2, NULL), weft_flatten_create(ctx),
                                     weft_dropout_create(ctx, 0.1));
    assert_int_equal(weft_register_module(m, "fc", NULL, weft_linear_create(ctx, 36, 10, NULL)),
                     WEFT_OK);
    return m;
}

/* Runs every step with every allocation failing in turn. Whatever failed, afterwards the network
 * computes what it computed before and the next step succeeds. */
static void a_step_without_memory_breaks_nothing(void **state)
{
    static const struct {
        const char *name;
        bool (*run)(weft_module *net);
        bool trains;
    } cases[] = {{"forward", forward, false},
                 {"forward_and_backward", forward_and_backward, false},
                 {"training_step", training_step, true}};
    images = weft_randn(ctx, WEFT_SHAPE(2, 1, 8, 8));
    labels = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(2), (int64_t[]){3, 5});
    weft_module *net = small_net();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        weft_module *parameters = weft_module_clone(net);
        for (long n = 1;; n++) {
            weft_tensor_list before = WEFT_TENSOR_LIST_INIT, after = WEFT_TENSOR_LIST_INIT;
            assert_int_equal(weft_parameters(parameters, 0, &before), WEFT_OK);
            wf_alloc_fail_at(n);
            bool ok = cases[i].run(net);
            bool struck = wf_alloc_fail_at(0) == 0;
            if (!struck)
                assert_true(ok && n > 20); /* compiling the plan, too, was let fail */
            else if (!ok && strstr(weft_error_text(ctx), "memory") == NULL)
                fail_msg("%s, allocation %ld: %s", cases[i].name, n, weft_error_text(ctx));
            weft_error_clear(ctx);
            if (struck && ok) /* it did without; the next one is to compile the plan again */
                assert_int_equal(weft_set_memory_limit(ctx, ((size_t)1 << 40) + (size_t)n),
                                 WEFT_OK);
            assert_int_equal(weft_parameters(net, 0, &after), WEFT_OK);
            for (int k = 0; k < after.n && !(cases[i].trains && ok); k++) {
                size_t bytes = sizeof(float) *
                               (size_t)weft_shape_count(weft_tensor_shape(after.item[k].tensor));
                if (memcmp(weft_tensor_data(before.item[k].tensor),
                           weft_tensor_data(after.item[k].tensor), bytes) != 0)
                    fail_msg("%s, allocation %ld: %s has changed", cases[i].name, n,
                             after.item[k].name);
            }
            weft_tensor_list_done(&before);
            weft_tensor_list_done(&after);
            assert_true(isfinite(loss_of(net)));
            if (!struck)
                break;
            if (ok && cases[i].trains) { /* the failure was made up for: a cache, say */
                weft_module_unref(parameters);
                parameters = weft_module_clone(net);
            }
        }
        weft_module_unref(parameters);
    }
    weft_tensor_unref(images);
    weft_tensor_unref(labels);
    weft_module_unref(net);
}

static void failed_allocations_are_clean_errors(void **state)
{
    static const struct {
        const char *name;
        bool (*run)(weft_module *net);
        bool records;
    } cases[] = {{"make_model", make_model},
                 {"make_nested_model", make_nested_model},
                 {"clone", clone},
                 {"load_own_state", load_own_state},
                 {"list_everything", list_everything},
                 {"print", print},
                 {"insert", insert},
                 {"save_and_load", save_and_load},
                 {"refuse_state", refuse_state},
                 {"load_part_of_a_file", load_part_of_a_file},
                 {"freeze", freeze},
                 {"find_heads", find_heads},
                 {"change_type", change_type},
                 {"hooks", hooks},
                 {"build_custom", build_custom},
                 {"summary", summary, true}};
    weft_module *net = weft_model_create(ctx, "fmnist_cnn", NULL);
    assert_non_null(net);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (long n = 1;; n++) {
            wf_alloc_fail_at(n);
            bool ok = cases[i].run(net);
            if (wf_alloc_fail_at(0) > 0) {
                assert_true(ok);
                assert_true(n > 1); /* something was let fail */
                break;
            }
            if (ok && cases[i].records && weft_error_status(ctx) == WEFT_OK)
                continue; /* a node without its path: messages are poorer, nothing else */
            if (ok || strstr(weft_error_text(ctx), "memory") == NULL)
                fail_msg("%s, allocation %ld: ok %d, %s", cases[i].name, n, ok,
                         weft_error_text(ctx));
            weft_error_clear(ctx);
        }
    }
    weft_module_unref(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(failed_allocations_are_clean_errors),
        TEST(a_step_without_memory_breaks_nothing),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
