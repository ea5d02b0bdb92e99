/* Calls that only read may stand anywhere in a step, in hooks too: it runs as without them, to the
 * bit. And what is written through an old pointer is told. */
#include <stdio.h>
#include <unistd.h>

#include "tests/modules/fixture.h"

enum { N = 4, C = 3, SIDE = 5, K = 10 };

typedef struct net {
    weft_module *model;
    weft_tensor *x, *y;
    weft_optimizer *opt;
} net;

static weft_module *model_create(void)
{
    return weft_sequential_create(ctx, 5,
                                  (weft_module *[]){weft_conv2d_create(ctx, C, 4, 3, NULL),
                                                    weft_batch_norm2d_create(ctx, 4, NULL),
                                                    weft_relu_create(ctx), weft_flatten_create(ctx),
                                                    weft_linear_create(ctx, 36, K, NULL)});
}

static net *net_create(void)
{
    static net n;
    n = (net){.model = model_create(),
              .x = weft_randn(ctx, WEFT_SHAPE(N, C, SIDE, SIDE)),
              .y = weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(N))};
    n.opt = weft_sgd_create(ctx, n.model, &(weft_sgd_opts){.lr = 0.1, .momentum = 0.9});
    assert_non_null(n.opt);
    return &n;
}

static void net_done(net *n)
{
    weft_optimizer_destroy(n->opt);
    weft_tensor_unref(n->x);
    weft_tensor_unref(n->y);
    weft_module_unref(n->model);
}

/* ---- the calls ---- */

static void save(net *n)
{
    char path[64];
    snprintf(path, sizeof(path), "read_only.%d.safetensors", (int)getpid());
    assert_int_equal(weft_module_save(n->model, path), WEFT_OK);
    remove(path);
}

static void clone(net *n)
{
    weft_module *copy = weft_module_clone(n->model);
    assert_non_null(copy);
    weft_module_unref(copy);
}

static void load_another(net *n)
{
    weft_module *other = model_create();
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_state_dict(n->model, &list), WEFT_OK);
    assert_int_equal(weft_load_state_dict(other, &list, true), WEFT_OK);
    weft_tensor_list_done(&list);
    weft_module_unref(other);
}

static void load_f64(net *n)
{
    weft_module *other = model_create();
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_module_to(other, WEFT_F64), WEFT_OK);
    assert_int_equal(weft_state_dict(n->model, &list), WEFT_OK);
    assert_int_equal(weft_load_state_dict(other, &list, true), WEFT_OK);
    weft_tensor_list_done(&list);
    weft_module_unref(other);
}

static void look(net *n)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_state_dict(n->model, &list), WEFT_OK);
    for (int i = 0; i < list.n; i++)
        assert_non_null(weft_tensor_const_data(list.item[i].tensor));
    assert_non_null(weft_tensor_const_data(n->x));
    weft_tensor_list_done(&list);
}

static void copy_out(net *n)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_state_dict(n->model, &list), WEFT_OK);
    for (int i = 0; i < list.n; i++) {
        char bytes[4096];
        weft_tensor *t = list.item[i].tensor;
        size_t size =
            (size_t)weft_shape_count(weft_tensor_shape(t)) * weft_dtype_size(weft_tensor_dtype(t));
        assert_int_equal(weft_read(t, bytes, size), WEFT_OK);
    }
    weft_tensor_list_done(&list);
}

static void optimizer_state(net *n)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_optimizer *other =
        weft_sgd_create(ctx, n->model, &(weft_sgd_opts){.lr = 0.1, .momentum = 0.9});
    assert_int_equal(weft_optimizer_state(n->opt, &list), WEFT_OK);
    for (int i = 0; i < list.n; i++)
        assert_non_null(weft_tensor_const_data(list.item[i].tensor));
    assert_int_equal(weft_optimizer_load_state(other, &list), WEFT_OK);
    weft_tensor_list_done(&list);
    weft_optimizer_destroy(other);
}

static void count_and_print(net *n)
{
    FILE *out = fopen("/dev/null", "w");
    assert_true(weft_parameter_count(n->model, true) > 0);
    assert_int_equal(weft_module_print(n->model, out), WEFT_OK);
    assert_true(weft_has_buffer(n->model, "1.running_mean"));
    fclose(out);
}

static const struct {
    const char *name;
    void (*run)(net *n);
} calls[] = {
    {"save", save}, {"clone", clone},       {"load", load_another},     {"load into f64", load_f64},
    {"look", look}, {"copy out", copy_out}, {"state", optimizer_state}, {"print", count_and_print},
};
enum { CALLS = sizeof(calls) / sizeof(calls[0]) };

/* ---- the places ---- */

typedef struct hooked {
    net *n;
    int call; /* -1: none */
} hooked;

static void run(const hooked *h)
{
    if (h->call >= 0)
        calls[h->call].run(h->n);
}

static weft_status forward_hook(void *user, weft_module *m, int n_in, weft_tensor *const *in,
                                int n_out, weft_tensor **out)
{
    run(user);
    return WEFT_OK;
}
static weft_status backward_pre_hook(void *user, weft_module *m, int *n_out, weft_tensor **grads)
{
    run(user);
    return WEFT_OK;
}
static weft_status backward_hook(void *user, weft_module *m, int *n_in, weft_tensor **grads,
                                 int n_out, weft_tensor *const *grad_output)
{
    run(user);
    return WEFT_OK;
}
static weft_status gradient_hook(void *user, weft_tensor *t, weft_tensor **grad)
{
    run(user);
    return WEFT_OK;
}

enum { BEFORE, AFTER_FORWARD, AFTER_BACKWARD, AFTER_UPDATE, HOOKS, PLACES };

/* Two steps, the call in place `place` of both; then the network's state. */
static void train(int place, int call, char *state, size_t size)
{
    net *n = net_create();
    hooked h = {n, call};
    weft_module *bn = weft_get_module(n->model, "1");
    weft_tensor *weight = weft_get_parameter(n->model, "0.weight");
    if (place == HOOKS) {
        weft_register_forward_hook(bn, forward_hook, &h, 0);
        weft_register_backward_pre_hook(bn, backward_pre_hook, &h, 0);
        weft_register_backward_hook(bn, backward_hook, &h, 0);
        weft_register_grad_hook(weight, gradient_hook, &h);
    }
    for (int step = 0; step < 2; step++) {
        weft_optimizer_zero_grad(n->opt);
        if (place == BEFORE)
            run(&h);
        weft_tensor *loss = weft_cross_entropy(weft_call(n->model, n->x), n->y, NULL);
        if (place == AFTER_FORWARD)
            run(&h);
        weft_status status = weft_backward(loss);
        if (place == AFTER_BACKWARD)
            run(&h);
        if (status == WEFT_OK)
            status = weft_optimizer_record(n->opt);
        if (place == AFTER_UPDATE)
            run(&h);
        if (status == WEFT_OK)
            status = weft_optimizer_step(n->opt);
        if (status != WEFT_OK)
            fail_msg("%s in place %d: %s", call < 0 ? "nothing" : calls[call].name, place,
                     weft_error_text(ctx));
    }
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_state_dict(n->model, &list), WEFT_OK);
    size_t used = 0;
    for (int i = 0; i < list.n; i++) {
        weft_tensor *t = list.item[i].tensor;
        size_t bytes =
            (size_t)weft_shape_count(weft_tensor_shape(t)) * weft_dtype_size(weft_tensor_dtype(t));
        assert_true(used + bytes <= size);
        assert_int_equal(weft_read(t, state + used, bytes), WEFT_OK);
        used += bytes;
    }
    weft_tensor_list_done(&list);
    assert_no_error();
    net_done(n);
}

static void calls_that_read_change_nothing_wherever_they_stand(void **state)
{
    static char want[8192], got[8192];
    for (int place = 0; place < PLACES; place++) {
        for (int call = -1; call < CALLS; call++) {
            teardown(NULL);
            assert_int_equal(setup(NULL), 0); /* the same random numbers */
            train(place, call, call < 0 && place == 0 ? want : got, sizeof(got));
            if ((call >= 0 || place > 0) && memcmp(want, got, sizeof(got)) != 0)
                fail_msg("%s in place %d changed the step", call < 0 ? "nothing" : calls[call].name,
                         place);
        }
    }
}

/* ---- pointers ---- */

static char told[1024];

static void hear(void *user, const char *text)
{
    snprintf(told, sizeof(told), "%s", text);
}

/* The first element of (2), recorded or stored. */
static float read_first(weft_tensor *t)
{
    float values[2];
    assert_int_equal(weft_read(t, values, sizeof(values)), WEFT_OK);
    return values[0];
}

static weft_tensor *written(float value)
{
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2), 0);
    float *data = weft_tensor_data(x);
    assert_non_null(data);
    data[0] = data[1] = value;
    return x;
}

static void a_pointer_asked_for_before_each_recording_is_fine(void **state)
{
    weft_set_message_handler(ctx, hear, NULL);
    told[0] = '\0';
    weft_tensor *x = written(1), *b = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2), 1);
    float *old = weft_tensor_data(x);
    for (int i = 0; i < 3; i++) {
        old[0] = (float)i; /* nothing of this step has read it */
        weft_tensor *y = weft_add(x, b);
        assert_true(read_first(y) == (float)i + 1);
        float *fresh = weft_tensor_data(x); /* y has been run */
        fresh[0] = 10;
        assert_true(read_first(weft_add(x, y)) == (float)i + 11);
        assert_int_equal(weft_sync(ctx), WEFT_OK);
    }
    assert_string_equal(told, "");
    assert_no_error();
    weft_tensor_unref(x);
    weft_tensor_unref(b);
}

static void writing_through_an_old_pointer_is_told(void **state)
{
    weft_set_message_handler(ctx, hear, NULL);
    told[0] = '\0';
    weft_tensor *x = written(1);
    float *old = weft_tensor_data(x);
    weft_tensor *y = weft_keep(weft_scale(x, 2));
    old[0] = 5;
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    assert_true(read_first(y) == 10); /* what was written last is read */
    assert_string_equal(told,
                        "scale: its input of shape [2] was written through an old pointer of "
                        "weft_tensor_data after it was recorded; ask for the pointer again, or use "
                        "weft_write");
    weft_tensor_unref(x);
    weft_tensor_unref(y);
}

static void writing_through_an_old_pointer_fails_where_that_is_wanted(void **state)
{
    for (int anomaly = 0; anomaly < 2; anomaly++) {
        weft_context *before = ctx;
        weft_options options = {.lint = anomaly ? WEFT_LINT_OFF : WEFT_LINT_ERROR};
        assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
        bool was = anomaly && weft_anomaly_begin(ctx);
        weft_tensor *x = written(1), *w = written(2);
        float *old = weft_tensor_data(x);
        assert_int_equal(weft_set_requires_grad(w, true), WEFT_OK);
        assert_int_equal(weft_backward(weft_sum(weft_mul(x, w), WEFT_ALL_DIMS, false)), WEFT_OK);
        old[1] = 5;
        assert_int_equal(weft_sync(ctx), WEFT_ERR_STATE);
        assert_null(weft_grad(w));
        assert_error(WEFT_ERR_STATE, "mul: its input of shape [2] was written through an old");
        weft_tensor_unref(x);
        weft_tensor_unref(w);
        if (anomaly)
            weft_anomaly_end(ctx, was);
        weft_context_destroy(ctx);
        ctx = before;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(calls_that_read_change_nothing_wherever_they_stand),
        TEST(a_pointer_asked_for_before_each_recording_is_fine),
        TEST(writing_through_an_old_pointer_is_told),
        TEST(writing_through_an_old_pointer_fails_where_that_is_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
