/* Optimizers: the update formulas, groups, skipped parameters, state that resumes to the bit, and
 * that a failed step changes nothing. */
#include <float.h>
#include <math.h>

#include "tests/modules/fixture.h"
#include "train/optim/internal.h"

enum { N = 37 }; /* odd: kernels have tails */

#define assert_ok(expr)                                                                            \
    do {                                                                                           \
        weft_status status_ = (expr);                                                              \
        if (status_ != WEFT_OK)                                                                    \
            fail_msg("%s: %s", #expr, weft_error_text(ctx));                                       \
    } while (0)

static const weft_module_class holder_class = {.name = "Holder", .size = sizeof(weft_module)};

/* A module with parameters "w" and "v" of N values. */
static weft_module *holder(void)
{
    weft_module *m = weft_module_create(ctx, &holder_class, NULL);
    assert_ok(weft_register_parameter(m, "w", NULL, weft_randn(ctx, WEFT_SHAPE(N))));
    assert_ok(weft_register_parameter(m, "v", NULL, weft_randn(ctx, WEFT_SHAPE(N))));
    return m;
}

static void read_parameter(weft_module *m, const char *name, float out[N])
{
    assert_ok(weft_read(weft_get_parameter(m, name), out, N * sizeof(float)));
}

/* The gradient that step `step` gives parameter w. */
static void gradient(int step, float g[N])
{
    for (int i = 0; i < N; i++)
        g[i] = (float)((i * 7 + step * 5) % 11 - 5) / 8;
}

/* Records a backward pass whose gradient of `name` is g, exactly. */
static void backward(weft_module *m, const char *name, const float g[N])
{
    weft_tensor *c = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(N), g);
    assert_ok(
        weft_backward(weft_sum(weft_mul(weft_get_parameter(m, name), c), WEFT_ALL_DIMS, false)));
    weft_tensor_unref(c);
}

static void train(weft_optimizer *o, weft_module *m, int from, int to)
{
    float g[N];
    for (int step = from; step < to; step++) {
        gradient(step, g);
        weft_optimizer_zero_grad(o);
        backward(m, "w", g);
        backward(m, "v", g);
        assert_ok(weft_optimizer_step(o));
    }
}

/* Each step rounds a handful of times; values and updates stay below 8. */
static void assert_close(const float *got, const double *want, int steps)
{
    for (int i = 0; i < N; i++) {
        if (!(fabs(got[i] - want[i]) <= 8 * 8.0 * FLT_EPSILON * steps))
            fail_msg("element %d: %.9g instead of %.9g", i, got[i], want[i]);
    }
}

static void sgd_follows_torchs_formula(void **state)
{
    static const weft_sgd_opts cases[] = {
        {.lr = 0.1},
        {.lr = 0.1, .weight_decay = 0.01},
        {.lr = 0.1, .momentum = 0.9},
        {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01},
        {.lr = 0.1, .momentum = 0.9, .dampening = 0.5},
        {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true},
    };
    enum { STEPS = 4 };
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        const weft_sgd_opts *s = &cases[c];
        weft_module *m = holder();
        weft_optimizer *o = weft_sgd_create(ctx, m, s);
        assert_non_null(o);
        float start[N], g[N], got[N];
        double p[N], buf[N] = {0};
        read_parameter(m, "w", start);
        for (int i = 0; i < N; i++)
            p[i] = start[i];
        for (int step = 0; step < STEPS; step++) {
            gradient(step, g);
            for (int i = 0; i < N; i++) {
                double d = g[i] + s->weight_decay * p[i];
                buf[i] = step == 0 ? d : s->momentum * buf[i] + (1 - s->dampening) * d;
                if (s->momentum != 0)
                    d = s->nesterov ? d + s->momentum * buf[i] : buf[i];
                p[i] -= s->lr * d;
            }
        }
        train(o, m, 0, STEPS);
        read_parameter(m, "w", got);
        assert_close(got, p, STEPS);
        assert_int_equal(weft_optimizer_steps(o), STEPS);
        weft_optimizer_destroy(o);
        weft_module_unref(m);
    }
}

static void adamw_follows_torchs_formula(void **state)
{
    /* Zeros are zeros: no decay, no first moment, no second.
     * (Without eps a gradient of 0 is 0/0, as in torch: tests/parity has that case.) */
    static const weft_adamw_opts cases[] = {WEFT_ADAMW_OPTS_INIT,
                                            {0.01, 0.9, 0.999, 1e-8, 0},
                                            {0.1, 0.5, 0.9, 1e-8, 0.1},
                                            {0.01, 0, 0.9, 1e-8, 0},
                                            {0.01, 0.9, 0, 1e-3, 0.1}};
    enum { STEPS = 4 };
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        double lr = cases[c].lr, wd = cases[c].weight_decay;
        double b1 = cases[c].beta1, b2 = cases[c].beta2;
        weft_module *m = holder();
        weft_optimizer *o = weft_adamw_create(ctx, m, &cases[c]);
        assert_non_null(o);
        float start[N], g[N], got[N];
        double p[N], first[N] = {0}, second[N] = {0};
        read_parameter(m, "w", start);
        for (int i = 0; i < N; i++)
            p[i] = start[i];
        for (int step = 1; step <= STEPS; step++) {
            gradient(step - 1, g);
            for (int i = 0; i < N; i++) {
                p[i] *= 1 - lr * wd;
                first[i] = b1 * first[i] + (1 - b1) * g[i];
                second[i] = b2 * second[i] + (1 - b2) * g[i] * g[i];
                p[i] -= lr * first[i] / (1 - pow(b1, step)) /
                        (sqrt(second[i] / (1 - pow(b2, step))) + cases[c].eps);
            }
        }
        train(o, m, 0, STEPS);
        read_parameter(m, "w", got);
        assert_close(got, p, STEPS);
        weft_optimizer_destroy(o);
        weft_module_unref(m);
    }
}

static void parameters_without_a_gradient_are_left_alone(void **state)
{
    weft_module *m = holder();
    weft_optimizer *o = weft_sgd_create(ctx, m, &(weft_sgd_opts){.lr = 1, .weight_decay = 0.5});
    float before[N], after[N], g[N];
    gradient(0, g);
    read_parameter(m, "v", before);
    backward(m, "w", g);
    assert_ok(weft_optimizer_step(o));
    read_parameter(m, "v", after);
    assert_memory_equal(before, after, sizeof(before));
    /* Zeroed gradients are absent: not even weight decay happens. */
    read_parameter(m, "w", before);
    weft_optimizer_zero_grad(o);
    assert_ok(weft_optimizer_step(o));
    read_parameter(m, "w", after);
    assert_memory_equal(before, after, sizeof(before));
    /* Frozen ones get no gradient. */
    assert_ok(weft_set_requires_grad(weft_get_parameter(m, "w"), false));
    weft_tensor *sum = weft_add(weft_get_parameter(m, "w"), weft_get_parameter(m, "v"));
    assert_ok(weft_backward(weft_sum(sum, WEFT_ALL_DIMS, false)));
    assert_ok(weft_optimizer_step(o));
    read_parameter(m, "w", after);
    assert_memory_equal(before, after, sizeof(before));
    weft_optimizer_destroy(o);
    weft_module_unref(m);
}

static void gradients_of_two_backward_passes_add_up(void **state)
{
    weft_module *m = holder();
    weft_optimizer *o = weft_sgd_create(ctx, m, &(weft_sgd_opts){.lr = 0.5});
    float before[N], after[N], g[N];
    gradient(0, g);
    read_parameter(m, "w", before);
    backward(m, "w", g);
    backward(m, "w", g);
    assert_ok(weft_optimizer_step(o));
    read_parameter(m, "w", after);
    for (int i = 0; i < N; i++) /* 0.5 * 2 g is exact: one rounding */
        assert_true(after[i] == before[i] - g[i]);
    weft_optimizer_destroy(o);
    weft_module_unref(m);
}

/* Lists of two modules' parameters, whose names are the same: as torch's groups, they do not meet. */
static void groups_may_use_the_same_names(void **state)
{
    weft_module *m[2] = {holder(), holder()};
    weft_optimizer *o = weft_sgd_create(ctx, NULL, &(weft_sgd_opts){.lr = 0.5, .momentum = 0.5});
    weft_tensor_list twice = WEFT_TENSOR_LIST_INIT, list = WEFT_TENSOR_LIST_INIT;
    for (int i = 0; i < 2; i++) {
        weft_tensor_list own = WEFT_TENSOR_LIST_INIT;
        assert_ok(weft_parameters(m[i], 0, &own));
        assert_ok(weft_optimizer_add_group(o, &own, NAN, NAN));
        weft_tensor_list_done(&own);
    }
    for (int i = 0; i < 2; i++)
        train(o, m[i], 0, 1);
    assert_ok(weft_optimizer_state(o, &list));
    assert_non_null(weft_tensor_list_find(&list, "w.momentum_buffer"));
    assert_non_null(weft_tensor_list_find(&list, "1:w.momentum_buffer"));
    assert_ok(weft_optimizer_load_state(o, &list));
    weft_tensor_list_done(&list);
    weft_module *third = holder();
    assert_ok(weft_tensor_list_add(&twice, "u", weft_get_parameter(third, "w")));
    assert_ok(weft_tensor_list_add(&twice, "u", weft_get_parameter(third, "v")));
    assert_int_equal(weft_optimizer_add_group(o, &twice, NAN, NAN), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "group 2 has another parameter named 'u'");
    weft_tensor_list_done(&twice);
    weft_optimizer_destroy(o);
    for (int i = 0; i < 2; i++)
        weft_module_unref(m[i]);
    weft_module_unref(third);
}

static void groups_have_a_rate_and_a_decay_of_their_own(void **state)
{
    weft_module *m = holder();
    weft_optimizer *o = weft_sgd_create(ctx, NULL, &(weft_sgd_opts){.lr = 0.5});
    weft_tensor_list w = WEFT_TENSOR_LIST_INIT, v = WEFT_TENSOR_LIST_INIT;
    assert_ok(weft_tensor_list_add(&w, "w", weft_get_parameter(m, "w")));
    assert_ok(weft_tensor_list_add(&v, "v", weft_get_parameter(m, "v")));
    assert_ok(weft_optimizer_add_group(o, &w, NAN, NAN));
    assert_ok(weft_optimizer_add_group(o, &v, 0.25, 1));
    assert_int_equal(weft_optimizer_groups(o), 2);
    assert_true(weft_optimizer_lr(o, 0) == 0.5 && weft_optimizer_lr(o, 1) == 0.25);
    assert_true(weft_optimizer_weight_decay(o, 1) == 1 && isnan(weft_optimizer_lr(o, 2)));
    float before[N], after[N];
    read_parameter(m, "v", before);
    train(o, m, 0, 1);
    read_parameter(m, "v", after);
    float g[N];
    double want[N];
    gradient(0, g);
    for (int i = 0; i < N; i++)
        want[i] = before[i] - 0.25 * ((double)g[i] + before[i]);
    assert_close(after, want, 1);
    assert_ok(weft_optimizer_set_lr(o, -1, 0.125));
    assert_true(weft_optimizer_lr(o, 0) == 0.125 && weft_optimizer_lr(o, 1) == 0.125);
    assert_ok(weft_optimizer_set_weight_decay(o, 0, 2));
    assert_true(weft_optimizer_weight_decay(o, 0) == 2 && weft_optimizer_weight_decay(o, 1) == 1);
    assert_int_equal(weft_optimizer_set_lr(o, 2, 1), WEFT_ERR_NOT_FOUND);
    assert_error(WEFT_ERR_NOT_FOUND, "there is no group 2, there are 2");
    assert_int_equal(weft_optimizer_set_lr(o, 0, NAN), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "learning rate");
    assert_int_equal(weft_optimizer_add_group(o, &w, NAN, NAN), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "'w' is already in group 0");
    weft_tensor_list_done(&w);
    weft_tensor_list_done(&v);
    weft_optimizer_destroy(o);
    weft_module_unref(m);
}

/* conv1.weight, bn1.weight, bn1.bias, ..., fc.weight, fc.bias */
static void norms_and_biases_may_have_a_decay_of_their_own(void **state)
{
    static const struct {
        double norm, bias;
        int groups;
        double decay[3]; /* of fc.weight, fc.bias, bn.bias */
    } cases[] = {{NAN, NAN, 1, {0.5, 0.5, 0.5}},
                 {0, NAN, 2, {0.5, 0.5, 0}},
                 {NAN, 0.125, 2, {0.5, 0.125, 0.125}},
                 {0, 0.125, 3, {0.5, 0.125, 0.125}}};
    weft_module *net = weft_model_create(ctx, "fmnist_cnn", NULL);
    weft_tensor_list all = WEFT_TENSOR_LIST_INIT;
    assert_ok(weft_parameters(net, 0, &all));
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        weft_optimizer *o =
            weft_sgd_create(ctx, NULL, &(weft_sgd_opts){.lr = 0, .weight_decay = 0.5});
        assert_ok(weft_optimizer_add_by_kind(o, net, cases[c].norm, cases[c].bias));
        assert_int_equal(weft_optimizer_groups(o), cases[c].groups);
        int found = 0;
        for (int i = 0; i < o->n_params; i++) {
            const char *name = o->params[i].name;
            const int kind = strcmp(name, "fc.weight") == 0   ? 0
                             : strcmp(name, "fc.bias") == 0   ? 1
                             : strstr(name, "1.bias") != NULL ? 2
                                                              : -1;
            const double decay = o->groups[o->params[i].group].weight_decay;
            if (kind >= 0 && decay != cases[c].decay[kind])
                fail_msg("case %zu, %s: %g", c, name, decay);
            found |= kind >= 0 ? 1 << kind : 0;
        }
        assert_int_equal(found, 7);
        assert_int_equal(o->n_params, all.n);
        /* All of them or none. */
        assert_int_equal(weft_optimizer_add_by_kind(o, net, 0, NAN), WEFT_ERR_INVALID);
        weft_error_clear(ctx);
        assert_int_equal(weft_optimizer_groups(o), cases[c].groups);
        assert_int_equal(o->n_params, all.n);
        assert_int_equal(weft_optimizer_add_by_kind(o, net, -1, NAN), WEFT_ERR_INVALID);
        assert_error(WEFT_ERR_INVALID, "weight decay of norms -1 is not in [0, inf)");
        weft_optimizer_destroy(o);
    }
    weft_tensor_list_done(&all);
    weft_module_unref(net);
}

static void impossible_settings_are_refused(void **state)
{
    static const struct {
        weft_sgd_opts opts;
        const char *text;
    } sgd[] = {{{.lr = -1}, "SGD: learning rate -1 is not in [0, inf)"},
               {{.lr = NAN}, "SGD: learning rate nan is not in [0, inf)"},
               {{.momentum = 1}, "SGD: momentum 1 is not in [0, 1)"},
               {{.weight_decay = -1}, "SGD: weight decay -1 is not in [0, inf)"},
               {{.dampening = INFINITY}, "SGD: dampening inf is not finite"},
               {{.nesterov = true}, "SGD: nesterov needs a momentum above 0, it is 0"},
               {{.momentum = 0.9, .dampening = 0.1, .nesterov = true}, "dampening 0, it is 0.1"}};
    for (size_t i = 0; i < sizeof(sgd) / sizeof(sgd[0]); i++) {
        assert_null(weft_sgd_create(ctx, NULL, &sgd[i].opts));
        assert_error(WEFT_ERR_INVALID, sgd[i].text);
    }
    static const struct {
        size_t at;
        double value;
        const char *text;
    } adamw[] = {
        {offsetof(weft_adamw_opts, lr), -1, "AdamW: learning rate -1 is not in [0, inf)"},
        {offsetof(weft_adamw_opts, beta1), 1, "AdamW: beta1 1 is not in [0, 1)"},
        {offsetof(weft_adamw_opts, beta2), NAN, "AdamW: beta2 nan is not in [0, 1)"},
        {offsetof(weft_adamw_opts, eps), -1, "AdamW: eps -1 is not in [0, inf)"},
        {offsetof(weft_adamw_opts, weight_decay), -1, "AdamW: weight decay -1 is not in [0, inf)"}};
    for (size_t i = 0; i < sizeof(adamw) / sizeof(adamw[0]); i++) {
        weft_adamw_opts opts = WEFT_ADAMW_OPTS_INIT;
        memcpy((char *)&opts + adamw[i].at, &adamw[i].value, sizeof(double));
        assert_null(weft_adamw_create(ctx, NULL, &opts));
        assert_error(WEFT_ERR_INVALID, adamw[i].text);
    }
    /* Begun without the initialiser, and so not AdamW at all. */
    assert_null(weft_adamw_create(ctx, NULL, &(weft_adamw_opts){.lr = 0.1, .beta1 = 0.9}));
    assert_error(WEFT_ERR_INVALID, "WEFT_ADAMW_OPTS_INIT");
    weft_rmsprop_opts rmsprop = WEFT_RMSPROP_OPTS_INIT;
    rmsprop.alpha = 1;
    assert_null(weft_rmsprop_create(ctx, NULL, &rmsprop));
    assert_error(WEFT_ERR_INVALID, "RMSprop: alpha 1 is not in [0, 1)");
    assert_null(weft_rmsprop_create(ctx, NULL, &(weft_rmsprop_opts){.lr = 1}));
    assert_error(WEFT_ERR_INVALID, "WEFT_RMSPROP_OPTS_INIT");
    weft_adagrad_opts adagrad = WEFT_ADAGRAD_OPTS_INIT;
    adagrad.lr_decay = -1;
    assert_null(weft_adagrad_create(ctx, NULL, &adagrad));
    assert_error(WEFT_ERR_INVALID, "Adagrad: learning rate decay -1 is not in [0, inf)");
    assert_null(weft_lars_create(ctx, NULL, &(weft_lars_opts){.lr = 1}));
    assert_error(WEFT_ERR_INVALID, "WEFT_LARS_OPTS_INIT");
    weft_lion_opts lion = WEFT_LION_OPTS_INIT;
    lion.beta2 = 1;
    assert_null(weft_lion_create(ctx, NULL, &lion));
    assert_error(WEFT_ERR_INVALID, "Lion: beta2 1 is not in [0, 1)");
    assert_null(weft_lamb_create(ctx, NULL, &(weft_lamb_opts){.lr = 1}));
    assert_error(WEFT_ERR_INVALID, "WEFT_LAMB_OPTS_INIT");
    weft_optimizer *o = weft_adagrad_create(ctx, NULL, NULL);
    assert_int_equal(weft_optimizer_set_momentum(o, 0.5), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "Adagrad: it has no momentum to set");
    assert_true(isnan(weft_optimizer_momentum(o)));
    weft_optimizer_destroy(o);
    weft_optimizer_destroy(NULL);
}

static void a_learning_rate_of_zero_is_one(void **state)
{
    weft_module *m = holder();
    weft_optimizer *o = weft_sgd_create(ctx, m, &(weft_sgd_opts){.momentum = 0.9});
    assert_true(weft_optimizer_lr(o, -1) == 0);
    float before[N], after[N];
    read_parameter(m, "w", before);
    train(o, m, 0, 2);
    read_parameter(m, "w", after);
    assert_memory_equal(before, after, sizeof(before));
    weft_optimizer_destroy(o);
    weft_module_unref(m);
    o = weft_sgd_create(ctx, NULL, NULL);
    weft_tensor_list none = WEFT_TENSOR_LIST_INIT;
    assert_ok(weft_optimizer_add_group(o, &none, NAN, NAN));
    assert_true(weft_optimizer_lr(o, -1) == 0.001);
    weft_optimizer_destroy(o);
}

enum { KINDS = 9 };

static weft_optimizer *create(int kind, weft_module *m)
{
    weft_adam_opts amsgrad = WEFT_ADAM_OPTS_INIT;
    weft_rmsprop_opts rmsprop = WEFT_RMSPROP_OPTS_INIT, tensorflow = WEFT_RMSPROP_OPTS_INIT;
    weft_adagrad_opts adagrad = WEFT_ADAGRAD_OPTS_INIT;
    weft_lars_opts lars = WEFT_LARS_OPTS_INIT;
    rmsprop.momentum = lars.momentum = 0.9;
    tensorflow.tensorflow = true;
    amsgrad.amsgrad = true;
    adagrad.initial_accumulator_value = 0.5;
    lars.weight_decay = 0.1;
    switch (kind) {
    case 0: return weft_sgd_create(ctx, m, &(weft_sgd_opts){.lr = 0.1, .momentum = 0.9});
    case 1: return weft_adamw_create(ctx, m, NULL);
    case 2: return weft_adam_create(ctx, m, &amsgrad);
    case 3: return weft_rmsprop_create(ctx, m, &rmsprop);
    case 4: return weft_rmsprop_create(ctx, m, &tensorflow);
    case 5: return weft_adagrad_create(ctx, m, &adagrad);
    case 6: return weft_lamb_create(ctx, m, NULL);
    case 7: return weft_lars_create(ctx, m, &lars);
    default: return weft_lion_create(ctx, m, NULL);
    }
}

static void a_resumed_run_gives_the_same_bits(void **state)
{
    for (int kind = 0; kind < KINDS; kind++) {
        weft_module *a = holder();
        weft_optimizer *o = create(kind, a);
        train(o, a, 0, 3);
        weft_module *b = weft_module_clone(a);
        weft_optimizer *resumed = create(kind, b);
        weft_tensor_list state_dict = WEFT_TENSOR_LIST_INIT;
        assert_ok(weft_optimizer_state(o, &state_dict));
        assert_non_null(weft_tensor_list_find(&state_dict, "steps"));
        static const char *const names[KINDS] = {
            "w.momentum_buffer", "w.exp_avg_sq",      "w.max_exp_avg_sq",
            "w.momentum_buffer", "w.square_avg",      "w.sum",
            "w.exp_avg_sq",      "w.momentum_buffer", "w.exp_avg"};
        assert_non_null(weft_tensor_list_find(&state_dict, names[kind]));
        assert_ok(weft_optimizer_load_state(resumed, &state_dict));
        weft_tensor_list_done(&state_dict);
        assert_int_equal(weft_optimizer_steps(resumed), 3);
        train(o, a, 3, 6);
        train(resumed, b, 3, 6);
        float x[N], y[N];
        read_parameter(a, "w", x);
        read_parameter(b, "w", y);
        assert_memory_equal(x, y, sizeof(x));
        weft_optimizer_destroy(o);
        weft_optimizer_destroy(resumed);
        weft_module_unref(a);
        weft_module_unref(b);
    }
}

static void a_state_that_does_not_fit_is_refused_whole(void **state)
{
    weft_module *m = holder();
    weft_optimizer *o = create(1, m);
    train(o, m, 0, 1);
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_tensor *wrong = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(N + 1));
    int64_t steps = 9;
    weft_tensor *nine = weft_tensor_from(ctx, WEFT_I64, WEFT_SCALAR, &steps);
    assert_ok(weft_tensor_list_add(&list, "steps", nine));
    assert_ok(weft_tensor_list_add(&list, "w.exp_avg", wrong));
    assert_ok(weft_tensor_list_add(&list, "v.step", nine));
    assert_ok(weft_tensor_list_add(&list, "u.step", nine));
    assert_int_equal(weft_optimizer_load_state(o, &list), WEFT_ERR_INVALID);
    static const char *const parts[] = {"missing 'w.step'", "wrong shape or type of 'w.exp_avg'",
                                        "unexpected 'u.step'", "nothing was loaded"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        assert_non_null(strstr(weft_error_text(ctx), parts[i]));
    weft_error_clear(ctx);
    assert_int_equal(weft_optimizer_steps(o), 1);
    weft_tensor_list_done(&list);
    weft_tensor_unref(wrong);
    weft_tensor_unref(nine);
    weft_optimizer_destroy(o);
    weft_module_unref(m);
}

/* RMSprop's buffer is part of the state where there is momentum, and may be missing where not. */
static void a_state_tensor_that_the_settings_do_not_use_may_be_missing(void **state)
{
    weft_module *a = holder(), *b = weft_module_clone(a);
    weft_rmsprop_opts opts = WEFT_RMSPROP_OPTS_INIT;
    opts.centered = true;
    weft_optimizer *o = weft_rmsprop_create(ctx, a, &opts);
    weft_optimizer *same = weft_rmsprop_create(ctx, b, &opts);
    train(o, a, 0, 1);
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_ok(weft_optimizer_state(o, &list));
    assert_non_null(weft_tensor_list_find(&list, "w.grad_avg"));
    assert_null(weft_tensor_list_find(&list, "w.momentum_buffer"));
    assert_ok(weft_optimizer_load_state(same, &list));
    train(o, a, 1, 2);
    weft_module_unref(b);
    b = holder();
    weft_optimizer_destroy(same);
    opts.momentum = 0.5;
    same = weft_rmsprop_create(ctx, b, &opts);
    assert_int_equal(weft_optimizer_load_state(same, &list), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "incomplete state of 'w'");
    weft_tensor_list_done(&list);
    weft_optimizer_destroy(o);
    weft_optimizer_destroy(same);
    weft_module_unref(a);
    weft_module_unref(b);
}

/* A step whose loss has a label out of range fails before the commit phase. */
static void a_failed_step_changes_nothing(void **state)
{
    for (int kind = 0; kind < KINDS; kind++) {
        weft_module *net = weft_linear_create(ctx, 5, 3, NULL);
        weft_optimizer *o = create(kind, net);
        weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(4, 5));
        for (int step = 0; step < 3; step++) {
            int64_t labels[4] = {0, 2, 1, step == 1 ? 3 : 2};
            weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(4), labels);
            float before[15], after[15];
            assert_ok(weft_read(weft_get_parameter(net, "weight"), before, sizeof(before)));
            weft_optimizer_zero_grad(o);
            assert_ok(weft_backward(weft_cross_entropy(weft_call(net, x), y, NULL)));
            weft_status status = weft_optimizer_step(o);
            assert_int_equal(status, step == 1 ? WEFT_ERR_INVALID : WEFT_OK);
            weft_error_clear(ctx);
            assert_ok(weft_read(weft_get_parameter(net, "weight"), after, sizeof(after)));
            assert_true((memcmp(before, after, sizeof(after)) == 0) == (step == 1));
            assert_int_equal(weft_optimizer_steps(o), step == 0 ? 1 : step);
            weft_tensor_unref(y);
        }
        weft_tensor_unref(x);
        weft_optimizer_destroy(o);
        weft_module_unref(net);
    }
}

static void a_recorded_update_counts_when_it_has_run(void **state)
{
    weft_module *m = holder();
    weft_optimizer *o = create(0, m);
    float g[N];
    gradient(0, g);
    backward(m, "w", g);
    assert_ok(weft_optimizer_record(o));
    assert_int_equal(weft_optimizer_steps(o), 0);
    assert_int_equal(weft_optimizer_record(o), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "already recorded");
    assert_ok(weft_sync(ctx));
    assert_int_equal(weft_optimizer_steps(o), 1);
    backward(m, "w", g);
    assert_ok(weft_optimizer_record(o));
    assert_ok(weft_optimizer_step(o)); /* runs what is recorded, once */
    assert_int_equal(weft_optimizer_steps(o), 2);
    weft_optimizer_destroy(o);
    weft_module_unref(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sgd_follows_torchs_formula),
        TEST(adamw_follows_torchs_formula),
        TEST(parameters_without_a_gradient_are_left_alone),
        TEST(gradients_of_two_backward_passes_add_up),
        TEST(groups_have_a_rate_and_a_decay_of_their_own),
        TEST(groups_may_use_the_same_names),
        TEST(norms_and_biases_may_have_a_decay_of_their_own),
        TEST(impossible_settings_are_refused),
        TEST(a_learning_rate_of_zero_is_one),
        TEST(a_resumed_run_gives_the_same_bits),
        TEST(a_state_that_does_not_fit_is_refused_whole),
        TEST(a_state_tensor_that_the_settings_do_not_use_may_be_missing),
        TEST(a_failed_step_changes_nothing),
        TEST(a_recorded_update_counts_when_it_has_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
