/* Five training steps of whole networks against PyTorch, from the same weights.
 *
 * The expected numbers are golden.py's: PyTorch 2.13 in double. Weft must agree in double to what
 * five steps amplify of a rounding, and in float to what they make of float's roundings, which
 * golden.py finds by adding such errors to every sum. The logits after training are those of
 * evaluation mode, so BatchNorm's running statistics are part of the comparison. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "weft/weft.h"

enum { STEPS = 5, BATCH = 8, LOGITS = 3, CLASSES = 10 };

typedef struct parity_case {
    const char *model;
    bool adamw;
    double loss[STEPS];
    double logits[LOGITS]; /* of the first image, after training */
    /* What may differ in float, losses relatively. fmnist_cnn's logits differ most under AdamW: its
     * step is lr times the gradient's sign wherever that is not below 1e-8, and rounding decides
     * which way a weight with almost no gradient goes, by 2 lr a step; of golden.py's trials a
     * quarter had such a weight, worth 1e-4 of a logit, the others none above 1e-5. */
    double float_loss, float_logit;
} parity_case;

static const parity_case cases[] = {
    {"fmnist_cnn",
     false,
     {2.54309021621455, 0.727811915807982, 0.118086757384444, 0.0247387315341831,
      0.0084847573856333},
     {0.428315178537241, 0.110127948782426, 0.274551716027541},
     1e-5,
     1e-4},
    {"fmnist_cnn",
     true,
     {2.54309021621455, 0.668580747313147, 0.128439829875048, 0.0314213889901014,
      0.0104395867433786},
     {0.0634186354649294, 0.0619667313295801, -0.0350395525670537},
     1e-5,
     8e-4},
    {"lenet",
     false,
     {2.30124807986211, 2.29055019948845, 2.27587948347017, 2.25986565915073, 2.24218637190903},
     {0.0303591712478214, -0.190547400060766, 0.0401365452187566},
     3e-7,
     3e-6},
    {"lenet",
     true,
     {2.30124807986211, 2.23263969562757, 2.17742143592888, 2.12946801079724, 2.08111893839295},
     {0.325443418765031, 0.00448110832565246, 0.20938213930433},
     4e-7,
     6e-6},
};

/* Element i of golden.py's values(): a multiple of bound / 4096 in [-bound, bound). */
static double value(uint64_t stream, uint64_t i, double bound)
{
    uint32_t x = (uint32_t)(i * 2654435761u + stream * 40503u + 12345u);
    x = (x ^ (x >> 15)) * 2246822519u;
    return ((double)(x >> 19) / 4096 - 1) * bound;
}

static void fill(weft_tensor *t, uint64_t stream, double bound)
{
    int64_t n = weft_shape_count(weft_tensor_shape(t));
    void *data = weft_tensor_data(t);
    assert_non_null(data);
    for (int64_t i = 0; i < n; i++) {
        if (weft_tensor_dtype(t) == WEFT_F64)
            ((double *)data)[i] = value(stream, (uint64_t)i, bound);
        else
            ((float *)data)[i] = (float)value(stream, (uint64_t)i, bound);
    }
}

/* Weights by formula, linear and convolution biases zero, BatchNorm as it starts. */
static void fill_parameters(weft_module *net)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_parameters(net, 0, &list), WEFT_OK);
    for (int k = 0; k < list.n; k++) {
        weft_tensor *t = list.item[k].tensor;
        weft_shape s = weft_tensor_shape(t);
        if (s.rank > 1) {
            double fan_in = (double)(weft_shape_count(s) / s.dim[0]);
            fill(t, (uint64_t)k, exp2(floor(log2(2 / sqrt(fan_in)))));
        } else if (((const double *)weft_tensor_data(t))[0] != 1 || s.dim[0] == CLASSES) {
            weft_init_constant(t, 0);
        }
    }
    weft_tensor_list_done(&list);
}

static void check(const char *what, const parity_case *c, int i, double got, double want,
                  double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%s %s, %s %d: %.15g instead of %.15g", c->model, c->adamw ? "adamw" : "sgd", what,
                 i, got, want);
}

static void first_logits(weft_tensor *logits, double out[LOGITS])
{
    static union {
        float f32[BATCH * CLASSES];
        double f64[BATCH * CLASSES];
    } data;
    bool f64 = weft_tensor_dtype(logits) == WEFT_F64;
    assert_int_equal(weft_read(logits, &data, f64 ? sizeof(data.f64) : sizeof(data.f32)), WEFT_OK);
    for (int i = 0; i < LOGITS; i++)
        out[i] = f64 ? data.f64[i] : (double)data.f32[i];
}

static void train(const parity_case *c, weft_dtype dtype)
{
    double loss_tolerance = dtype == WEFT_F64 ? 1e-10 : c->float_loss;
    double logit_tolerance = dtype == WEFT_F64 ? 1e-9 : c->float_logit;
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, NULL, NULL), WEFT_OK);
    weft_module *net = weft_model_create(ctx, c->model, NULL);
    assert_int_equal(weft_module_to(net, WEFT_F64), WEFT_OK);
    fill_parameters(net);
    assert_int_equal(weft_module_to(net, dtype), WEFT_OK);
    weft_tensor *x = weft_tensor_create(ctx, dtype, WEFT_SHAPE(BATCH, 1, 28, 28));
    fill(x, 1000, 1);
    int64_t labels[BATCH];
    for (int i = 0; i < BATCH; i++)
        labels[i] = (i * 7 + 3) % CLASSES;
    weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(BATCH), labels);
    weft_optimizer *o = c->adamw ? weft_adamw_create(ctx, net, NULL)
                                 : weft_sgd_create(ctx, net,
                                                   &(weft_sgd_opts){.lr = 0.01,
                                                                    .momentum = 0.9,
                                                                    .weight_decay = 5e-4,
                                                                    .nesterov = true});
    for (int step = 0; step < STEPS; step++) {
        weft_optimizer_zero_grad(o);
        weft_tensor *loss = weft_cross_entropy(weft_call(net, x), y, NULL);
        weft_backward(loss);
        if (weft_optimizer_step(o) != WEFT_OK)
            fail_msg("%s", weft_error_text(ctx));
        check("loss", c, step, weft_item(loss), c->loss[step], loss_tolerance * c->loss[step]);
    }
    weft_module_eval(net);
    double logits[LOGITS];
    first_logits(weft_call(net, x), logits);
    for (int i = 0; i < LOGITS; i++)
        check("logit", c, i, logits[i], c->logits[i], logit_tolerance);
    weft_tensor_unref(x);
    weft_tensor_unref(y);
    weft_optimizer_destroy(o);
    weft_module_unref(net);
    weft_context_destroy(ctx);
}

static void five_steps_in_double_are_pytorchs(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        train(&cases[i], WEFT_F64);
}

static void five_steps_in_float_are_pytorchs(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        train(&cases[i], WEFT_F32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_steps_in_double_are_pytorchs),
        cmocka_unit_test(five_steps_in_float_are_pytorchs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
