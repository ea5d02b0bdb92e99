/* The loss that training minimises: of networks with one output and with auxiliary ones. */
#include <math.h>

#include "tests/modules/fixture.h"

enum { N = 6, IN = 5, K = 3 };

/* ---- a network with a head on the way -------------------------------------------------------- */

typedef struct net {
    weft_module base;
    weft_module *trunk, *fc, *aux;
} net;

static weft_status forward(weft_module *m, int n_in, weft_tensor *const *in, int *n_out,
                           weft_tensor **out)
{
    net *self = (net *)m;
    weft_tensor *x = weft_call(self->trunk, in[0]);
    out[0] = weft_call(self->fc, x);
    *n_out = 1;
    if (m->training)
        out[(*n_out)++] = weft_call(self->aux, x);
    return weft_error_status(m->ctx);
}

static const weft_module_class weighted = {
    .name = "Weighted", .size = sizeof(net), .forward_many = forward, .aux_loss_weight = 0.25};
static const weft_module_class weightless = {
    .name = "Weightless", .size = sizeof(net), .forward_many = forward};

static weft_module *create(const weft_module_class *cls)
{
    net *self = weft_module_create(ctx, cls, NULL);
    assert_non_null(self);
    weft_module *m = &self->base;
    weft_register_module(m, "trunk", &self->trunk, weft_linear_create(ctx, IN, IN, NULL));
    weft_register_module(m, "fc", &self->fc, weft_linear_create(ctx, IN, K, NULL));
    weft_register_module(m, "aux", &self->aux, weft_linear_create(ctx, IN, K, NULL));
    assert_no_error();
    return m;
}

static weft_tensor *images(void)
{
    return weft_randn(ctx, WEFT_SHAPE(N, IN));
}

static weft_tensor *labels(void)
{
    const int64_t values[N] = {0, 1, 2, 2, 0, 1};
    return weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(N), values);
}

/* Mean cross-entropy of each of the model's outputs. */
static int losses_of_outputs(weft_module *m, weft_tensor *x, weft_tensor *y, double *loss)
{
    weft_tensor *out[WEFT_MODULE_MAX_OUT], *node[WEFT_MODULE_MAX_OUT];
    int n = WEFT_MODULE_MAX_OUT;
    assert_int_equal(weft_call_many(m, 1, &x, &n, out), WEFT_OK);
    for (int i = 0; i < n; i++)
        node[i] = weft_keep(weft_cross_entropy(out[i], y, NULL));
    for (int i = 0; i < n; i++) {
        loss[i] = weft_item(node[i]);
        weft_tensor_unref(node[i]);
    }
    return n;
}

static double training_loss(weft_module *m, weft_tensor *x, weft_tensor *y)
{
    weft_tensor *logits = NULL, *loss = weft_training_loss(m, x, y, NULL, &logits);
    if (loss == NULL)
        fail_msg("%s", weft_error_text(ctx));
    assert_true(
        weft_shape_equal(weft_tensor_shape(logits), WEFT_SHAPE(weft_tensor_shape(y).dim[0], K)));
    return weft_item(loss);
}

/* Five additions and products in f32. */
static void assert_close(double got, double want)
{
    if (!(fabs(got - want) <= 8 * 0x1p-24 * fabs(want)))
        fail_msg("got %.9g, want %.9g", got, want);
}

static void auxiliary_losses_count_with_the_weight_that_the_class_states(void **state)
{
    weft_module *m = create(&weighted);
    weft_tensor *x = images(), *y = labels();
    double loss[WEFT_MODULE_MAX_OUT];
    assert_int_equal(losses_of_outputs(m, x, y, loss), 2);
    assert_true(fabs(loss[1]) > 0.1);
    assert_close(training_loss(m, x, y), loss[0] + 0.25 * loss[1]);
    weft_module_eval(m);
    assert_close(training_loss(m, x, y), loss[0]);
    weft_tensor_unref(x);
    weft_tensor_unref(y);
    weft_module_unref(m);
}

static void outputs_without_a_weight_are_an_error(void **state)
{
    weft_module *m = create(&weightless);
    weft_tensor *x = images(), *y = labels();
    assert_null(weft_training_loss(m, x, y, NULL, NULL));
    assert_error(WEFT_ERR_INVALID, "training needs one output; Weightless gives 2, and its class "
                                   "has no aux_loss_weight");
    weft_module_eval(m);
    assert_non_null(weft_training_loss(m, x, y, NULL, NULL));
    assert_null(weft_training_loss(m, NULL, y, NULL, NULL));
    weft_tensor_unref(x);
    weft_tensor_unref(y);
    weft_module_unref(m);
}

/* ---- training and evaluation ----------------------------------------------------------------- */

static void count_message(void *user, const char *text)
{
    print_message("%s\n", text);
    ++*(int *)user;
}

static double aux_weight(weft_module *m)
{
    return first(weft_get_parameter(m, "aux.weight"));
}

static void the_trainer_moves_auxiliary_heads_and_evaluation_needs_none(void **state)
{
    enum { S = 2, PIXELS = S * S };
    weft_error err = WEFT_ERROR_INIT;
    float pixels[N * PIXELS];
    const int64_t classes[N] = {0, 1, 2, 2, 0, 1};
    for (int i = 0; i < N * PIXELS; i++)
        pixels[i] = (float)(i * 5 % 11) / 11.0f;
    weft_dataset *ds;
    weft_dataset_arrays arrays = {.count = N,
                                  .channels = 1,
                                  .height = S,
                                  .width = S,
                                  .classes = K,
                                  .dtype = WEFT_F32,
                                  .images = pixels,
                                  .labels = classes};
    assert_int_equal(weft_dataset_from_arrays(&arrays, &ds, &err), WEFT_OK);
    weft_loader *loader;
    assert_int_equal(weft_loader_create(ds, &(weft_loader_opts){.batch = N}, &loader, &err),
                     WEFT_OK);
    int messages = 0;
    weft_set_message_handler(ctx, count_message, &messages);
    weft_module *m = create(&weighted);
    weft_register_module(
        m, "trunk", &((net *)m)->trunk,
        WEFT_SEQUENTIAL(ctx, weft_flatten_create(ctx), weft_linear_create(ctx, PIXELS, IN, NULL)));
    weft_optimizer *sgd = weft_sgd_create(ctx, m, &(weft_sgd_opts){.lr = 0.1});
    double before = aux_weight(m);
    weft_train_opts opts = {.train = loader, .test = loader, .optimizer = sgd, .epochs = 2};
    weft_train_result r;
    if (weft_train(m, &opts, &r, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    assert_true(aux_weight(m) != before);
    assert_true(r.train_loss > r.test_loss); /* which has no auxiliary part, a fifth of it all */
    assert_int_equal(messages, 0);
    weft_optimizer_destroy(sgd);
    weft_module_unref(m);
    weft_loader_destroy(loader);
    weft_dataset_destroy(ds);
}

/* ---- the zoo's ------------------------------------------------------------------------------- */

static void googlenets_heads_weigh_three_tenths_each_and_all_of_it_gets_gradients(void **state)
{
    const weft_model_arg args[] = {{"aux_logits", "true"}, {"dropout", "0"}, {"dropout_aux", "0"}};
    weft_model_opts opts = {
        .num_classes = K, .in_channels = 3, .height = 32, .width = 32, .args = args, .n_args = 3};
    weft_module *m = weft_model_create(ctx, "googlenet", &opts);
    assert_non_null(m);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(N, 3, 32, 32)), *y = labels();
    double loss[WEFT_MODULE_MAX_OUT];
    assert_int_equal(losses_of_outputs(m, x, y, loss), 3);
    weft_tensor *node = weft_training_loss(m, x, y, NULL, NULL);
    assert_int_equal(weft_backward(node), WEFT_OK);
    assert_close(weft_item(node), loss[0] + 0.3 * loss[1] + 0.3 * loss[2]);
    weft_tensor_list parameters = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_parameters(m, 0, &parameters), WEFT_OK);
    for (int i = 0; i < parameters.n; i++)
        assert_non_null(weft_grad(parameters.item[i].tensor));
    weft_tensor_list_done(&parameters);
    weft_module_eval(m);
    assert_int_equal(losses_of_outputs(m, x, y, loss), 1);
    weft_tensor_unref(x);
    weft_tensor_unref(y);
    weft_module_unref(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(auxiliary_losses_count_with_the_weight_that_the_class_states),
        TEST(outputs_without_a_weight_are_an_error),
        TEST(the_trainer_moves_auxiliary_heads_and_evaluation_needs_none),
        TEST(googlenets_heads_weigh_three_tenths_each_and_all_of_it_gets_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
