/* Ops from outside the library: values, gradients, tiles, attributes, errors. */
#include "tests/engine/autograd.h"

/* The same loop for f32 and f64. */
static double get(const weft_array *a, int64_t i)
{
    return a->dtype == WEFT_F32 ? ((const float *)a->data)[i] : ((const double *)a->data)[i];
}
static void set(const weft_array *a, int64_t i, double value)
{
    if (a->dtype == WEFT_F32)
        ((float *)a->data)[i] = (float)value;
    else
        ((double *)a->data)[i] = value;
}

/* ---- power: y = factor x^2, elements in tiles of `tile` ---- */

typedef struct power_attrs {
    double factor;
    int64_t tile;
} power_attrs;

static int64_t power_tiles(const weft_custom_call *c)
{
    const power_attrs *a = c->attrs;
    return (weft_shape_count(c->in[0].shape) + a->tile - 1) / a->tile;
}

static void power_range(const weft_custom_call *c, int64_t *from, int64_t *to)
{
    int64_t count = weft_shape_count(c->in[0].shape), step = ((const power_attrs *)c->attrs)->tile;
    *from = c->tile * step;
    *to = *from + step < count ? *from + step : count;
}

static weft_status power(const weft_custom_call *c)
{
    const power_attrs *a = c->attrs;
    int64_t from, to;
    power_range(c, &from, &to);
    for (int64_t i = from; i < to; i++) {
        double x = get(&c->in[0], i);
        if (x == 99) {
            snprintf(c->message, c->message_size, "element %lld is 99", (long long)i);
            return WEFT_ERR_INVALID;
        }
        set(&c->out[0], i, a->factor * x * x);
    }
    return WEFT_OK;
}

static weft_status power_backward(const weft_custom_call *c)
{
    const power_attrs *a = c->attrs;
    int64_t from, to;
    power_range(c, &from, &to);
    for (int64_t i = from; i < to; i++)
        set(&c->din[0], i, 2 * a->factor * get(&c->in[0], i) * get(&c->dout[0], i));
    return WEFT_OK;
}

static const weft_custom_op power_op = {.name = "power",
                                        .n_in = 1,
                                        .n_out = 1,
                                        .attr_size = sizeof(power_attrs),
                                        .forward = power,
                                        .backward = power_backward,
                                        .forward_tiles = power_tiles,
                                        .backward_tiles = power_tiles};

static weft_tensor *record_power(weft_tensor *x, double factor, int64_t tile)
{
    return weft_custom(&power_op, &(power_attrs){factor, tile}, &x, NULL);
}

static void a_custom_op_has_values_and_gradients(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true);
    weft_tensor *y = record_power(weft_scale(w, 2), 10, 2);
    weft_tensor *other = record_power(w, 100, 1); /* other attributes: another op */
    assert_int_equal(weft_backward(total(weft_add(y, other))), WEFT_OK);
    expect(y, 40, 160, 360);
    expect(other, 100, 400, 900);
    expect(weft_grad(w), 80 + 200, 160 + 400, 240 + 600);
    weft_sync(ctx);
    weft_tensor_unref(w);
}

/* ---- stretch: (R, C), a bias (C) and further inputs that are added: (R, 2C) and row sums ---- */

static weft_status stretch_infer(const weft_custom_infer *f)
{
    const weft_shape *x = &f->in[0].shape, *b = &f->in[1].shape;
    if (x->rank != 2 || b->rank != 1 || b->dim[0] != x->dim[1]) {
        snprintf(f->message, f->message_size, "x has rank %d and %lld columns, b %lld values",
                 x->rank, (long long)x->dim[1], (long long)b->dim[0]);
        return WEFT_ERR_SHAPE;
    }
    f->out[0].shape = WEFT_SHAPE(x->dim[0], 2 * x->dim[1]);
    f->out[1].shape = WEFT_SHAPE(x->dim[0]);
    return WEFT_OK;
}

/* Row r: (x + b + rest) twice, the second time squared; the sum of x's row. */
static weft_status stretch(const weft_custom_call *c)
{
    int64_t R = c->in[0].shape.dim[0], C = c->in[0].shape.dim[1];
    for (int64_t r = 0; r < R; r++) {
        double sum = 0;
        for (int64_t k = 0; k < C; k++) {
            double v = get(&c->in[0], r * C + k) + get(&c->in[1], k);
            for (int i = 2; i < c->n_in; i++)
                v += i * get(&c->in[i], k);
            set(&c->out[0], r * 2 * C + k, v);
            set(&c->out[0], r * 2 * C + C + k, v * v);
            sum += get(&c->in[0], r * C + k);
        }
        set(&c->out[1], r, sum);
    }
    return WEFT_OK;
}

static weft_status stretch_backward(const weft_custom_call *c)
{
    int64_t R = c->in[0].shape.dim[0], C = c->in[0].shape.dim[1];
    for (int i = 0; i < c->n_in; i++)
        for (int64_t k = 0; k < C && i > 0 && c->din[i].data; k++)
            set(&c->din[i], k, 0);
    for (int64_t r = 0; r < R; r++)
        for (int64_t k = 0; k < C; k++) {
            double d = 0, all = c->dout[1].data ? get(&c->dout[1], r) : 0;
            if (c->dout[0].data) /* 2 v is in the output */
                d = get(&c->dout[0], r * 2 * C + k) +
                    2 * get(&c->out[0], r * 2 * C + k) * get(&c->dout[0], r * 2 * C + C + k);
            if (c->din[0].data)
                set(&c->din[0], r * C + k, d + all);
            for (int i = 1; i < c->n_in; i++)
                if (c->din[i].data)
                    set(&c->din[i], k, get(&c->din[i], k) + (i > 1 ? i : 1) * d);
        }
    return WEFT_OK;
}

static weft_custom_op stretch_op(int n_in)
{
    return (weft_custom_op){.name = "stretch",
                            .n_in = n_in,
                            .n_out = 2,
                            .infer = stretch_infer,
                            .forward = stretch,
                            .backward = stretch_backward};
}

/* user: 0 both outputs, 1 the first, 2 the second. */
static weft_tensor *apply_stretch(void *user, weft_tensor *const *in, int n)
{
    weft_custom_op op = stretch_op(n);
    weft_tensor *out[2];
    if (!weft_custom(&op, NULL, in, out))
        return NULL;
    int which = *(const int *)user;
    return which == 1 ? out[0]
           : which == 2
               ? out[1]
               : weft_concat((weft_tensor *[]){weft_reshape(out[0], WEFT_SHAPE(12)), out[1]}, 2, 0);
}

static weft_tensor *apply_power(void *user, weft_tensor *const *in, int n)
{
    return record_power(in[0], -1.5, 4);
}

static weft_tensor *doubles(weft_shape shape, int seed)
{
    double v[64];
    for (int i = 0; i < 64; i++)
        v[i] = 0.3 * ((i * 5 + seed) % 7) - 0.8;
    weft_tensor *t = weft_tensor_from(ctx, WEFT_F64, shape, v);
    weft_set_requires_grad(t, true);
    return t;
}

static void gradcheck_works_on_custom_ops(void **state)
{
    weft_tensor *in[WEFT_CUSTOM_MAX_IN];
    for (int i = 0; i < WEFT_CUSTOM_MAX_IN; i++)
        in[i] = doubles(i ? WEFT_SHAPE(3) : WEFT_SHAPE(2, 3), i);
    for (int n = 2; n <= WEFT_CUSTOM_MAX_IN; n += 3) /* more than four gradients: two calls */
        for (int which = 0; which < 3; which++)
            if (weft_gradcheck(ctx, apply_stretch, &which, in, n, NULL) != WEFT_OK)
                fail_msg("%d inputs, outputs %d: %s", n, which, weft_error_text(ctx));
    weft_set_requires_grad(in[1], false);
    int both = 0;
    assert_int_equal(weft_gradcheck(ctx, apply_stretch, &both, in, 3, NULL), WEFT_OK);
    assert_int_equal(weft_gradcheck(ctx, apply_power, NULL, in, 1, NULL), WEFT_OK);
    for (int i = 0; i < WEFT_CUSTOM_MAX_IN; i++)
        weft_tensor_unref(in[i]);
}

static weft_status wrong_backward(const weft_custom_call *c)
{
    for (int64_t i = 0; i < weft_shape_count(c->in[0].shape); i++)
        set(&c->din[0], i, get(&c->in[0], i) * get(&c->dout[0], i));
    return WEFT_OK;
}

static weft_tensor *apply_wrong(void *user, weft_tensor *const *in, int n)
{
    weft_custom_op op = power_op;
    op.backward = wrong_backward;
    op.backward_tiles = NULL;
    return weft_custom(&op, &(power_attrs){1, 4}, in, NULL);
}

static void gradcheck_finds_a_wrong_backward(void **state)
{
    weft_tensor *x = doubles(WEFT_SHAPE(2, 3), 1);
    assert_int_equal(weft_gradcheck(ctx, apply_wrong, NULL, &x, 1, NULL), WEFT_ERR_NUMERIC);
    expect_error(WEFT_ERR_NUMERIC, "gradcheck: input 0 [2, 3]");
    weft_tensor_unref(x);
}

/* A network around the op; blocked activations come to it row-major. */
static void run_net(const weft_options *options, float *out)
{
    weft_context *c;
    assert_int_equal(weft_context_create(&c, options, NULL), WEFT_OK);
    weft_tensor *x = weft_randn(c, WEFT_SHAPE(3, 3, 8, 8));
    weft_tensor *k = weft_randn(c, WEFT_SHAPE(16, 3, 3, 3));
    weft_set_requires_grad(k, true);
    weft_tensor *y = record_power(weft_relu(weft_conv2d(x, k, NULL, NULL)), 0.5, 100);
    assert_int_equal(weft_backward(weft_mean(weft_mul(y, y), WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_int_equal(weft_sync(c), WEFT_OK);
    assert_int_equal(weft_read(weft_grad(k), out, 432 * sizeof *out), WEFT_OK);
    weft_tensor_unref(x);
    weft_tensor_unref(k);
    weft_context_destroy(c);
}

static void tiles_run_on_any_thread_to_the_same_bits(void **state)
{
    static float want[432], got[432];
    run_net(&(weft_options){.seed = 4, .executor = WEFT_EXECUTOR_INTERPRETER}, want);
    const weft_options others[] = {{.seed = 4, .threads = 1},
                                   {.seed = 4, .threads = 3},
                                   {.seed = 4, .threads = 2, .executor = WEFT_EXECUTOR_RANDOM}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        run_net(&others[i], got);
        assert_memory_equal(got, want, sizeof want);
    }
}

static int64_t no_tiles(const weft_custom_call *c)
{
    return 0;
}

static weft_status silent(const weft_custom_call *c)
{
    return WEFT_ERR_UNSUPPORTED;
}

static weft_status huge_infer(const weft_custom_infer *f)
{
    f->out[0].shape.dim[0] = -1;
    return WEFT_OK;
}

static void errors_name_the_op(void **state)
{
    weft_tensor *w = vec(1, 99, 3, true), *m = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 4));
    wf_path_push(ctx, "head");
    weft_custom_op op = stretch_op(2);
    assert_null(weft_custom(&op, NULL, (weft_tensor *[]){m, w}, NULL));
    expect_error(WEFT_ERR_SHAPE, "head: stretch: x has rank 2 and 4 columns, b 3 values");
    wf_path_pop(ctx);

    assert_true(isnan(weft_item(total(record_power(w, 1, 1)))));
    expect_error(WEFT_ERR_INVALID, "power: element 1 is 99");
    weft_discard(ctx);

    op = (weft_custom_op){.name = "silent", .n_in = 1, .n_out = 1, .forward = silent};
    assert_true(isnan(weft_item(total(weft_custom(&op, NULL, &w, NULL)))));
    expect_error(WEFT_ERR_UNSUPPORTED, "silent: failed");
    weft_discard(ctx);

    op.forward_tiles = no_tiles;
    assert_true(isnan(weft_item(total(weft_custom(&op, NULL, &w, NULL)))));
    expect_error(WEFT_ERR_INVALID, "silent: 0 tiles");
    weft_discard(ctx);

    op.infer = huge_infer;
    assert_null(weft_custom(&op, NULL, &w, NULL));
    expect_error(WEFT_ERR_SHAPE, "silent: output 0 cannot be f32 [-1]");

    const weft_custom_op bad[] = {
        {.name = "bad", .n_in = 9, .n_out = 1, .forward = silent},
        {.name = "bad", .n_in = 1, .n_out = 5, .forward = silent},
        {.name = "bad", .n_in = 1, .n_out = 1},
        {.n_in = 1, .n_out = 1, .forward = silent},
        {.name = "bad", .n_in = 1, .n_out = 1, .forward = silent, .attr_size = 257},
        {.name = "bad", .n_in = 1, .n_out = 1, .forward = silent, .attr_size = 8}, /* no attrs */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(weft_custom(&bad[i], NULL, &w, NULL));
        expect_error(WEFT_ERR_INVALID, "custom op ");
    }
    assert_null(weft_custom(&power_op, NULL, (weft_tensor *[]){NULL}, NULL));
    assert_int_equal(weft_error_status(ctx), WEFT_OK);
    weft_tensor_unref(w);
    weft_tensor_unref(m);
}

static void without_backward_it_passes_no_gradient(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true);
    weft_custom_op op = power_op;
    op.backward = NULL;
    weft_tensor *y = weft_custom(&op, &(power_attrs){1, 8}, &w, NULL);
    assert_false(weft_requires_grad(y));
    assert_int_equal(weft_backward(total(weft_mul(y, w))), WEFT_OK);
    expect(weft_grad(w), 1, 4, 9);
    weft_sync(ctx);
    weft_tensor_unref(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_custom_op_has_values_and_gradients),
        TEST(gradcheck_works_on_custom_ops),
        TEST(gradcheck_finds_a_wrong_backward),
        TEST(tiles_run_on_any_thread_to_the_same_bits),
        TEST(errors_name_the_op),
        TEST(without_backward_it_passes_no_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
