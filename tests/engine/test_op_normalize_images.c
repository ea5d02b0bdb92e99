/* normalize_images, and the plan's pass that lets convolutions read the images' bytes instead:
 * values to the bit, refusals, and that a step's bits do not depend on who normalises. */
#include "engine/step/execute.h"
#include "engine/tensor/context.h"
#include "engine/graph/ops/common.h"
#include "engine/plan/plan.h"
#include "kernels/conv2d/conv2d.h"
#include "tests/engine/values.h"

enum { N = 3, C = 3, H = 11, W = 9, K = 10, IMAGE = C * H * W };
static const double means[] = {0.4914, 0.4822, 0.4465}, deviations[] = {0.247, 0.2435, 0.2616};

static weft_tensor *some_bytes(weft_context *ctx)
{
    uint8_t bytes[N * IMAGE];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    return weft_tensor_from(ctx, WEFT_U8, WEFT_SHAPE(N, C, H, W), bytes);
}

static void values_have_torchvisions_bits(void **state)
{
    for (int e = WEFT_EXECUTOR_PARALLEL; e <= WEFT_EXECUTOR_RANDOM; e++)
        for (int wide = 0; wide < 2; wide++) {
            weft_context *ctx = context((weft_executor)e);
            const weft_dtype type = wide ? WEFT_F64 : WEFT_F32;
            weft_tensor *x = some_bytes(ctx);
            weft_tensor *mean = stored(ctx, type, WEFT_SHAPE(C), means);
            weft_tensor *std = stored(ctx, type, WEFT_SHAPE(C), deviations);
            double got[N * IMAGE];
            read_all(ctx, weft_normalize_images(x, mean, std), got);
            const uint8_t *bytes = weft_tensor_data(x);
            for (int i = 0; i < N * IMAGE; i++) {
                const int c = i / (H * W) % C;
                const float m = (float)means[c], s = (float)deviations[c];
                float narrow = (float)bytes[i] / 255.0f;
                narrow -= m;
                narrow /= s;
                const double want =
                    wide ? ((double)bytes[i] / 255.0 - means[c]) / deviations[c] : (double)narrow;
                if (got[i] != want)
                    fail_msg("[%d]: %.17g, expected %.17g", i, got[i], want);
            }
            weft_tensor_unref(x);
            weft_tensor_unref(mean);
            weft_tensor_unref(std);
            weft_context_destroy(ctx);
        }
}

static void errors_name_what_does_not_fit(void **state)
{
    static const char *const texts[] = {
        "normalize_images: images are f32 [2, 3, 4, 4], expected u8 (N, C, H, W)",
        "normalize_images: images are u8 [2, 3], expected u8 (N, C, H, W)",
        "normalize_images: input 1 is u8, expected f32 or f64",
        "normalize_images: mean is f32 [4], expected f32 [3]",
        "normalize_images: std is f32 [4], expected f32 [3]",
        "normalize_images: std is f64 [3], expected f32 [3]",
    };
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    const weft_shape shape = WEFT_SHAPE(2, 3, 4, 4);
    weft_tensor *x = weft_tensor_create(ctx, WEFT_U8, shape);
    weft_tensor *f = weft_tensor_create(ctx, WEFT_F32, shape);
    weft_tensor *flat = weft_tensor_create(ctx, WEFT_U8, WEFT_SHAPE(2, 3));
    weft_tensor *u3 = weft_tensor_create(ctx, WEFT_U8, WEFT_SHAPE(3));
    weft_tensor *f3 = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(3));
    weft_tensor *f4 = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(4));
    weft_tensor *d3 = weft_tensor_create(ctx, WEFT_F64, WEFT_SHAPE(3));
    weft_tensor *const in[][3] = {{f, f3, f3}, {flat, f3, f3}, {x, u3, u3},
                                  {x, f4, f4}, {x, f3, f4},    {x, f3, d3}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_null(weft_normalize_images(in[i][0], in[i][1], in[i][2]));
        assert_string_equal(weft_error_text(ctx), texts[i]);
        weft_error_clear(ctx);
    }
    weft_tensor *const all[] = {x, f, flat, u3, f3, f4, d3};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        weft_tensor_unref(all[i]);
    weft_context_destroy(ctx);
}

/* ---- in front of convolutions ---- */

/* What is done with the images besides convolving them. */
typedef enum besides { NOTHING, KEPT, READ, RELU } besides;

typedef struct net_case {
    const char *name;
    weft_dtype type;
    weft_conv2d_opts opts;
    int kernel;
    bool bias;
    besides besides;
    /* What the plan does, where every kernel but that of grouped ones can read bytes. */
    bool normalizes, looks_up;
} net_case;

static const net_case cases[] = {
    {"3x3", WEFT_F32, {.padding = {1, 1}}, 3, false, NOTHING, false, true},
    {"3x3 with bias", WEFT_F32, {.padding = {1, 1}}, 3, true, NOTHING, false, true},
    {"7x7, strided",
     WEFT_F32,
     {.stride = {2, 2}, .padding = {3, 3}},
     7,
     true,
     NOTHING,
     false,
     true},
    {"1x1", WEFT_F32, {.stride = {1, 1}}, 1, false, NOTHING, false, true},
    {"dilated", WEFT_F32, {.padding = {1, 2}, .dilation = {2, 1}}, 3, false, NOTHING, false, true},
    {"f64", WEFT_F64, {.padding = {1, 1}}, 3, true, NOTHING, false, true},
    {"kept", WEFT_F32, {.padding = {1, 1}}, 3, true, KEPT, true, true},
    {"read mid-step", WEFT_F32, {.padding = {1, 1}}, 3, true, READ, false, false},
    {"read by others", WEFT_F32, {.padding = {1, 1}}, 3, false, RELU, true, true},
};
enum { N_CASES = sizeof cases / sizeof *cases };

typedef struct result {
    double loss, image[N * IMAGE], dw[K * C * 49], db[K];
    char explain[20000];
    bool asks_for_floats; /* which kernel reads floats is still for tuning to answer */
} result;

static bool has_problem(const wf_plan *plan, const char *part)
{
    char text[WF_PROBLEM_TEXT];
    for (int i = 0; i < plan->n_problems; i++)
        if (strstr(wf_problem_text(&plan->problems[i], text, sizeof text), part))
            return true;
    return false;
}

static void run_case(const net_case *c, const weft_options *o, result *r)
{
    weft_context *ctx;
    memset(r, 0, sizeof *r);
    assert_int_equal(weft_context_create(&ctx, o, NULL), WEFT_OK);
    double w_values[K * C * 49], b_values[K];
    const weft_shape w_shape = WEFT_SHAPE(K, C, c->kernel, c->kernel);
    make_input(1, w_shape, w_values);
    make_input(2, WEFT_SHAPE(K), b_values);
    weft_tensor *x = some_bytes(ctx), *mean = stored(ctx, c->type, WEFT_SHAPE(C), means);
    weft_tensor *std = stored(ctx, c->type, WEFT_SHAPE(C), deviations);
    weft_tensor *w = stored(ctx, c->type, w_shape, w_values);
    weft_tensor *b = stored(ctx, c->type, WEFT_SHAPE(K), b_values);
    weft_set_requires_grad(w, true);
    weft_set_requires_grad(b, true);
    weft_tensor *images = weft_normalize_images(x, mean, std), *kept = NULL;
    if (c->besides == KEPT)
        kept = weft_keep(images);
    if (c->besides == READ)
        read_all(ctx, images, r->image);
    weft_tensor *y = weft_conv2d(images, w, c->bias ? b : NULL, &c->opts);
    weft_tensor *loss = weft_mean(weft_mul(y, y), WEFT_ALL_DIMS, false);
    if (c->besides == RELU)
        loss = weft_add(loss, weft_mean(weft_relu(images), WEFT_ALL_DIMS, false));
    if (!loss || weft_backward(loss))
        fail_msg("%s: %s", c->name, weft_error_text(ctx));
    FILE *f = fmemopen(r->explain, sizeof r->explain, "w");
    assert_int_equal(weft_explain(ctx, f), WEFT_OK);
    fclose(f);
    wf_plan *plan = NULL;
    assert_int_equal(wf_plan_of_recorded(ctx, &plan), WEFT_OK);
    r->asks_for_floats = has_problem(plan, "forward g1") &&
                         has_problem(plan, "backward-weights g1") &&
                         has_problem(plan, c->type == WEFT_F64 ? "nchw:f64 f64" : "nchw:f32 f32");
    wf_plan_destroy(plan);
    weft_tensor *kept_loss = weft_keep(loss);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    r->loss = weft_item(kept_loss);
    read_all(ctx, weft_grad(w), r->dw);
    if (c->bias)
        read_all(ctx, weft_grad(b), r->db);
    if (kept)
        read_all(ctx, kept, r->image);
    weft_tensor *const all[] = {x, mean, std, w, b, kept, kept_loss};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        weft_tensor_unref(all[i]);
    weft_context_destroy(ctx);
}

static void expect_same(const result *got, const result *want, const char *name)
{
    if (memcmp(got, want, offsetof(result, explain)) != 0)
        fail_msg("%s: not the interpreter's bits", name);
}

static void a_step_has_the_same_bits_whoever_normalizes(void **state)
{
    static const weft_options ways[] = {{.threads = 1},
                                        {.threads = 3},
                                        {.threads = 2, .passes_off = WEFT_PASS_BYTES},
                                        {.threads = 2, .passes_off = WEFT_PASS_FUSE},
                                        {.threads = 2, .passes_off = WEFT_PASS_SIMPLIFY},
                                        {.executor = WEFT_EXECUTOR_RANDOM, .threads = 3}};
    const weft_options interpreter = {.executor = WEFT_EXECUTOR_INTERPRETER, .threads = 1};
    static result want, got;
    for (int avoid = 0; avoid < 2; avoid++) { /* whichever kernels are chosen; those that can */
        if (avoid)
            setenv("WEFT_AVOID", "onednn", 1);
        for (int i = 0; i < N_CASES; i++) {
            run_case(&cases[i], &interpreter, &want);
            for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
                run_case(&cases[i], &ways[k], &got);
                expect_same(&got, &want, cases[i].name);
            }
        }
    }
    unsetenv("WEFT_AVOID");
}

static void images_that_only_convolutions_read_are_not_normalized(void **state)
{
    const weft_options on = {.threads = 2}, off = {.threads = 2, .passes_off = WEFT_PASS_BYTES};
    static result r;
    setenv("WEFT_AVOID", "onednn", 1); /* which cannot read bytes */
    for (int i = 0; i < N_CASES; i++) {
        const net_case *c = &cases[i];
        run_case(c, &on, &r);
        if ((strstr(r.explain, "normalize_images") != NULL) != c->normalizes ||
            (strstr(r.explain, "byte_table") != NULL) != c->looks_up)
            fail_msg("%s:\n%s", c->name, r.explain);
        if (!r.asks_for_floats)
            fail_msg("%s: the kernel of floats is not a problem of the plan", c->name);
        run_case(c, &off, &r);
        assert_null(strstr(r.explain, "byte_table"));
    }
    unsetenv("WEFT_AVOID");
}

/* Appends the names, each with a comma behind it, of the kernels that could read the bytes of d's source
 * in this pass. Returns whether another one but the reference can read floats. */
static bool readers_of_bytes(wf_conv2d_desc d, wf_conv2d_pass pass, char *names, size_t size)
{
    bool other = false;
    for (int i = 0; i < wf_conv2d_n_impls - 1; i++) {
        const wf_conv2d_impl *impl = wf_conv2d_impls[i];
        const weft_dtype types[] = {WEFT_F32, WEFT_U8};
        bool reads[2];
        for (int t = 0; t < 2; t++) {
            char why[160];
            d.src_type = types[t];
            wf_conv2d *k = wf_conv2d_create_impl(impl, &d, pass, wf_cpu_isa(), 1, why, sizeof why);
            reads[t] = k != NULL;
            wf_conv2d_destroy(k);
        }
        if (reads[1])
            snprintf(names + strlen(names), size - strlen(names), "%s,", impl->name);
        other |= reads[0] && !reads[1];
    }
    return other;
}

static void a_kernel_that_cannot_read_bytes_reads_normalized_images(void **state)
{
    const weft_options on = {.threads = 2};
    static result r;
    char names[400] = "";
    wf_conv2d_desc d = {.N = N, /* of cases[0] */
                        .C = C,
                        .H = H,
                        .W = W,
                        .K = K,
                        .R = 3,
                        .S = 3,
                        .stride = {1, 1},
                        .padding = {1, 1},
                        .dilation = {1, 1},
                        .groups = 1,
                        .src_block = 1,
                        .dst_block = wf_isa_block(wf_cpu_isa()),
                        .weights_type = WEFT_F32,
                        .dst_type = WEFT_F32};
    assert_true(wf_conv2d_output(&d));
    bool other = readers_of_bytes(d, WF_CONV2D_FORWARD, names, sizeof names);
    other &= readers_of_bytes(d, WF_CONV2D_BACKWARD_WEIGHTS, names, sizeof names);
    if (!other)
        skip(); /* here every kernel of one of the passes reads bytes */
    setenv("WEFT_AVOID", names, 1);
    run_case(&cases[0], &on, &r);
    unsetenv("WEFT_AVOID");
    assert_non_null(strstr(r.explain, "normalize_images"));
    assert_null(strstr(r.explain, "byte_table"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_have_torchvisions_bits),
        cmocka_unit_test(errors_name_what_does_not_fit),
        cmocka_unit_test(a_step_has_the_same_bits_whoever_normalizes),
        cmocka_unit_test(images_that_only_convolutions_read_are_not_normalized),
        cmocka_unit_test(a_kernel_that_cannot_read_bytes_reads_normalized_images),
    };
    return cmocka_run_group_tests_name("op_normalize_images", tests, NULL, NULL);
}
