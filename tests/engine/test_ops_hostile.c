/* Ops called at random with whatever comes: shapes that fit and that do not, dimensions of 0, every type,
 * options from ordinary to absurd. What is refused is refused with one line that begins with the
 * function's name, and leaves the context usable; what is taken runs, forward and backward, planned
 * as interpreted, to the bit. Cases are numbered; by hand,
 * test_engine_ops_hostile FIRST END runs those, and of a single one tells what it is. */
#include "tests/engine/values.h"
#include "tests/parity/sweep_ops.h"

static const char *const names[] = {"relu",
                                    "relu6",
                                    "sigmoid",
                                    "tanh",
                                    "silu",
                                    "gelu",
                                    "gelu_tanh",
                                    "hardsigmoid",
                                    "hardswish",
                                    "mish",
                                    "neg",
                                    "abs",
                                    "exp",
                                    "log",
                                    "sqrt",
                                    "rsqrt",
                                    "reciprocal",
                                    "prelu",
                                    "bias",
                                    "add",
                                    "sub",
                                    "mul",
                                    "div",
                                    "maximum",
                                    "minimum",
                                    "pow_tensor",
                                    "eq",
                                    "ne",
                                    "lt",
                                    "le",
                                    "gt",
                                    "ge",
                                    "scale",
                                    "add_scalar",
                                    "leaky_relu",
                                    "elu",
                                    "pow",
                                    "clamp",
                                    "softplus",
                                    "where",
                                    "expand",
                                    "sum",
                                    "mean",
                                    "max",
                                    "min",
                                    "argmax",
                                    "argmin",
                                    "softmax",
                                    "log_softmax",
                                    "permute",
                                    "transpose",
                                    "reshape",
                                    "flatten",
                                    "concat",
                                    "stack",
                                    "channel_shuffle",
                                    "slice",
                                    "narrow",
                                    "one_hot",
                                    "linear",
                                    "conv2d",
                                    "conv_transpose2d",
                                    "max_pool2d",
                                    "avg_pool2d",
                                    "adaptive_avg_pool2d",
                                    "upsample2d",
                                    "layer_norm",
                                    "group_norm",
                                    "batch_norm",
                                    "mse_loss",
                                    "l1_loss",
                                    "bce_with_logits",
                                    "nll_loss",
                                    "cross_entropy",
                                    "split",
                                    "chunk",
                                    "matmul",
                                    "dot",
                                    "mv",
                                    "bmm",
                                    "outer",
                                    "dropout",
                                    "stochastic_depth",
                                    "alpha_dropout",
                                    "check_finite",
                                    "count_correct"};
enum { N_NAMES = sizeof names / sizeof *names, CASES = 4000, LIMIT = 20000 };

typedef struct hostile {
    uint64_t state;
    const char *name;
    sweep_call call; /* without tensors */
    weft_shape shape[3];
    weft_dtype dtype[3];
} hostile;

static uint64_t draw(hostile *h, uint64_t below)
{
    h->state = h->state * 6364136223846793005u + 1442695040888963407u;
    return (h->state >> 33) % below;
}

static weft_shape some_shape(hostile *h)
{
    static const int64_t sizes[] = {0, 1, 1, 2, 2, 3, 4, 5, 6, 8, 9, 17};
    weft_shape s = {.rank = (int)draw(h, 7)};
    if (draw(h, 2))
        s.rank = 4;
    for (int i = 0; i < s.rank; i++)
        s.dim[i] = sizes[draw(h, 12) < 1 ? 0 : 1 + draw(h, 11)];
    while (weft_shape_count(s) > 3000)
        s.dim[draw(h, (uint64_t)s.rank)] = 1;
    return s;
}

static double some_option(hostile *h)
{
    static const double absurd[] = {-1,   -2,  1e9,  2147483647, -2147483648.0, 0.5,
                                    -0.5, NAN, 1e18, INFINITY,   -INFINITY,     268435456};
    return draw(h, 5) ? (double)draw(h, 4) : absurd[draw(h, sizeof absurd / sizeof *absurd)];
}

static hostile make(int number)
{
    static const weft_dtype types[] = {WEFT_F32, WEFT_F64, WEFT_I64, WEFT_I32, WEFT_U8, WEFT_BF16};
    hostile h = {.state = (uint64_t)number * 0x9e3779b97f4a7c15u + 1};
    h.name = names[draw(&h, N_NAMES)];
    h.call.n = 1 + (int)draw(&h, 3);
    h.call.n_options = (int)draw(&h, 7);
    for (int i = 0; i < SWEEP_MAX_OPTIONS; i++)
        h.call.option[i] = some_option(&h);
    if (strcmp(h.name, "split") == 0 || strcmp(h.name, "chunk") == 0) {
        h.call.n_options += h.call.n_options == 0;
        h.call.option[1] = (double)draw(&h, SWEEP_MAX_OUT + 1); /* out has no more places */
    }
    const weft_dtype common = types[draw(&h, 3) ? draw(&h, 2) : draw(&h, 6)];
    for (int i = 0; i < 3; i++) {
        h.dtype[i] = draw(&h, 12) ? common : types[draw(&h, 6)];
        h.shape[i] = some_shape(&h);
        if (i == 0)
            continue;
        const uint64_t kind = draw(&h, 6);
        if (kind < 3)
            h.shape[i] = h.shape[0];
        for (int k = 0; kind == 1 && k < h.shape[i].rank; k++) /* broadcasts */
            h.shape[i].dim[k] = draw(&h, 2) ? 1 : h.shape[i].dim[k];
        if (kind == 3 && h.shape[0].rank > 1) /* weights, labels, statistics */
            h.shape[i] = (weft_shape){1, {h.shape[0].dim[draw(&h, 2)]}};
        if (kind == 4 && h.shape[0].rank == 4)
            h.shape[i] = (weft_shape){4, {2, h.shape[0].dim[1], 1 + (int64_t)draw(&h, 3), 2}};
        if (kind == 3 && draw(&h, 2))
            h.dtype[i] = WEFT_I64;
    }
    return h;
}

static weft_tensor *made(weft_context *ctx, const hostile *h, int i)
{
    const int64_t n = weft_shape_count(h->shape[i]);
    const weft_dtype dtype = h->dtype[i];
    weft_tensor *t = weft_tensor_create(ctx, dtype, h->shape[i]);
    if (!t)
        fail_msg("%s", weft_error_text(ctx));
    char *x = weft_tensor_data(t);
    double *numbers = malloc((size_t)(n + 1) * sizeof *numbers);
    make_input(i, h->shape[i], numbers);
    for (int64_t k = 0; k < n; k++) {
        if (dtype == WEFT_F32)
            ((float *)(void *)x)[k] = (float)numbers[k];
        else if (dtype == WEFT_F64)
            ((double *)(void *)x)[k] = numbers[k];
        else if (dtype == WEFT_I64)
            ((int64_t *)(void *)x)[k] = k % 3;
    }
    free(numbers);
    if (dtype == WEFT_F32 || dtype == WEFT_F64)
        weft_set_requires_grad(t, true);
    return t;
}

static int record(const hostile *h, const sweep_call *c, weft_tensor **out)
{
    const bool a = c->option[0] > 0, b = c->option[1] > 0;
    const double p = c->option[0];
    weft_tensor *x = c->in[0], *w = c->in[1];
    const int n = sweep_record(h->name, c, out);
    if (n >= 0)
        return n;
    out[0] = strcmp(h->name, "matmul") == 0             ? weft_matmul(x, w, a, b)
             : strcmp(h->name, "dot") == 0              ? weft_dot(x, w)
             : strcmp(h->name, "mv") == 0               ? weft_mv(x, w)
             : strcmp(h->name, "bmm") == 0              ? weft_bmm(x, w)
             : strcmp(h->name, "outer") == 0            ? weft_outer(x, w)
             : strcmp(h->name, "dropout") == 0          ? weft_dropout(x, p, b)
             : strcmp(h->name, "stochastic_depth") == 0 ? weft_stochastic_depth(x, p, b)
             : strcmp(h->name, "alpha_dropout") == 0    ? weft_alpha_dropout(x, p, b)
             : strcmp(h->name, "check_finite") == 0     ? weft_check_finite(x)
                                                        : weft_count_correct(x, w, NULL, NULL);
    return out[0] ? 1 : 0;
}

static int wrong; /* cases that were told */

static void check_error(const char *text, const hostile *h, int number)
{
    const char *said = strcmp(h->name, "split") == 0 ? "split_with_sizes" : h->name;
    const size_t n = strlen(said);
    if (strncmp(text, said, n) != 0 || text[n] != ':' || strchr(text, '\n') || strlen(text) > 300)
        print_error("case %d, %d: %s says \"%s\"\n", number, ++wrong, h->name, text);
}

typedef struct results {
    int n; /* -1: refused; -2: it failed as it ran */
    size_t bytes;
    char data[8 * LIMIT * 8];
} results;

static void add(results *r, weft_tensor *t)
{
    const size_t bytes =
        weft_dtype_size(weft_tensor_dtype(t)) * (size_t)weft_shape_count(weft_tensor_shape(t));
    assert_true(r->bytes + bytes <= sizeof r->data);
    memcpy(r->data + r->bytes, weft_tensor_const_data(t), bytes);
    r->bytes += bytes;
    r->n++;
}

static void run(weft_context *ctx, const hostile *h, int number, results *r)
{
    sweep_call c = h->call;
    weft_tensor *out[SWEEP_MAX_OUT] = {NULL}, *kept[SWEEP_MAX_OUT] = {NULL}, *in[3];
    *r = (results){.n = -1};
    for (int i = 0; i < 3; i++)
        in[i] = c.in[i] = made(ctx, h, i);
    const int n = record(h, &c, out);
    int64_t total = 0;
    for (int i = 0; i < n; i++)
        total += weft_shape_count(weft_tensor_shape(out[i]));
    if (n == 0) {
        check_error(weft_error_text(ctx), h, number);
    } else if (total <= LIMIT) {
        weft_tensor *loss = NULL;
        for (int i = 0; i < n; i++) {
            if (weft_tensor_is_stored(out[i])) /* the input itself */
                continue;
            kept[i] = weft_keep(out[i]);
            const weft_dtype dtype = weft_tensor_dtype(out[i]);
            if (dtype != WEFT_F32 && dtype != WEFT_F64)
                continue;
            weft_tensor *sum = weft_sum(out[i], WEFT_ALL_DIMS, false);
            loss = loss && weft_tensor_dtype(loss) == dtype ? weft_add(loss, sum) : sum;
        }
        if (loss && weft_backward(loss) != WEFT_OK) /* nothing that requires a gradient */
            assert_non_null(strstr(weft_error_text(ctx), "backward: the loss does not depend"));
        else if (weft_sync(ctx) != WEFT_OK)
            r->n = -2;
        if (weft_error_status(ctx) == WEFT_OK) {
            r->n = 0;
            for (int i = 0; i < n; i++)
                if (kept[i])
                    add(r, kept[i]);
            for (int i = 0; i < 3; i++)
                if (weft_grad(in[i]))
                    add(r, weft_grad(in[i]));
        } else if (r->n == -2) {
            check_error(weft_error_text(ctx), h, number);
        }
    }
    weft_discard(ctx);
    weft_error_clear(ctx);
    for (int i = 0; i < SWEEP_MAX_OUT; i++)
        weft_tensor_unref(kept[i]);
    for (int i = 0; i < 3; i++)
        weft_tensor_unref(in[i]);
}

static int first_case = 0, end_case = CASES;

static void whatever_comes(void **state)
{
    static results planned, interpreted;
    weft_context *plan = context(WEFT_EXECUTOR_PARALLEL),
                 *interpreter = context(WEFT_EXECUTOR_INTERPRETER);
    const bool one = first_case + 1 == end_case;
    int taken = 0;
    for (int i = first_case; i < end_case; i++) {
        const hostile h = make(i);
        for (int k = 0; k < 3 && one; k++) {
            char text[160];
            print_message("%s: input %d of %d: %s %s, option %g\n", h.name, k, h.call.n,
                          weft_dtype_name(h.dtype[k]),
                          weft_shape_format(h.shape[k], text, sizeof text), h.call.option[k]);
        }
        run(plan, &h, i, &planned);
        run(interpreter, &h, i, &interpreted);
        taken += planned.n >= 0;
        if (planned.n != interpreted.n || planned.bytes != interpreted.bytes ||
            memcmp(planned.data, interpreted.data, planned.bytes) != 0)
            print_error("case %d, %d: %s, planned and interpreted, differs\n", i, ++wrong, h.name);
    }
    print_message("%d of %d calls were taken\n", taken, end_case - first_case);
    assert_int_equal(wrong, 0);
    assert_true(one || taken > (end_case - first_case) / 10);
    weft_context_destroy(plan);
    weft_context_destroy(interpreter);
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        first_case = atoi(argv[1]);
        end_case = atoi(argv[2]);
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(whatever_comes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
