/* Concatenations and slices without copies (engine/plan/slices.c): every way in which values
 * can lie in one another gives the interpreter's bits, on any number of threads and in any
 * order over poisoned memory. Channels come in sixteens, whole blocks on every machine, where a
 * case does not say otherwise. */
#include "engine/step/execute.h"
#include "small_net.h"

#include <math.h>

#include "engine/graph/ops/common.h"
#include "engine/graph/ops/reorder.h"

enum { MAX_LEAVES = 16, MAX_KEPT = 24, MAX_BYTES = 1 << 21 };

/* What a case records on, and what is compared: the leaves' gradients and what was kept. */
typedef struct recording {
    weft_context *ctx;
    int n;     /* images */
    int pixel; /* height and width of the first image */
    weft_tensor *leaf[MAX_LEAVES], *kept[MAX_KEPT];
    int n_leaves, n_kept;
} recording;

static weft_tensor *must(recording *r, weft_tensor *t)
{
    if (!t)
        fail_msg("%s", weft_error_text(r->ctx));
    return t;
}

static weft_tensor *leaf(recording *r, weft_shape shape)
{
    assert_true(r->n_leaves < MAX_LEAVES);
    weft_tensor *t = must(r, weft_randn(r->ctx, shape));
    float *p = weft_tensor_data(t);
    for (int64_t i = 0; i < weft_shape_count(shape); i++)
        p[i] *= 0.25f;
    assert_int_equal(weft_set_requires_grad(t, true), WEFT_OK);
    return r->leaf[r->n_leaves++] = t;
}

static weft_tensor *image(recording *r, int channels)
{
    return leaf(r, WEFT_SHAPE(r->n, channels, r->pixel, r->pixel));
}

static weft_tensor *conv(recording *r, weft_tensor *x, int channels)
{
    const weft_conv2d_opts same = {.padding = {1, 1}};
    weft_tensor *w = leaf(r, WEFT_SHAPE(channels, weft_tensor_shape(x).dim[1], 3, 3));
    return must(r, weft_conv2d(x, w, NULL, &same));
}

static weft_tensor *norm(recording *r, weft_tensor *x)
{
    weft_batch_norm_opts training = WEFT_BATCH_NORM_OPTS_INIT;
    training.training = true;
    const weft_shape channels = WEFT_SHAPE(weft_tensor_shape(x).dim[1]);
    weft_tensor *gamma = leaf(r, channels);
    return must(r, weft_batch_norm(x, gamma, leaf(r, channels), NULL, NULL, NULL, &training));
}

static weft_tensor *join(recording *r, weft_tensor *a, weft_tensor *b)
{
    return must(r, weft_concat((weft_tensor *[]){a, b}, 2, 1));
}

static weft_tensor *part(recording *r, weft_tensor *x, int64_t start, int64_t length)
{
    return must(r, weft_narrow(x, 1, start, length));
}

static void keep(recording *r, weft_tensor *t)
{
    assert_true(r->n_kept < MAX_KEPT);
    r->kept[r->n_kept++] = must(r, weft_keep(t));
}

static void read_now(recording *r, weft_tensor *t)
{
    static char bytes[MAX_BYTES];
    if (weft_read(t, bytes, wf_type_bytes(t->type)) != WEFT_OK)
        fail_msg("%s", weft_error_text(r->ctx));
}

/* ---- the cases: each returns what the loss is of ---- */

static weft_tensor *the_same_tensor_twice(recording *r)
{
    weft_tensor *a = weft_relu(conv(r, image(r, 3), 16));
    return conv(r, join(r, join(r, a, a), a), 16);
}

static weft_tensor *an_input_of_two_concatenations(recording *r)
{
    weft_tensor *x = image(r, 3), *a = conv(r, x, 16), *b = conv(r, x, 16);
    weft_tensor *u = join(r, a, b), *v = join(r, b, a);
    return join(r, conv(r, u, 16), weft_add(conv(r, v, 16), b));
}

static weft_tensor *concatenations_in_concatenations(recording *r)
{
    weft_tensor *x = image(r, 3), *a = conv(r, x, 16), *b = conv(r, x, 32), *c = conv(r, x, 16);
    weft_tensor *ab = join(r, a, b), *abc = join(r, ab, c), *cabc = join(r, weft_relu(c), abc);
    return join(r, conv(r, cabc, 16), weft_add(conv(r, ab, 16), conv(r, abc, 16)));
}

static weft_tensor *a_leaf_among_the_inputs(recording *r)
{
    weft_tensor *x = image(r, 16), *y = join(r, conv(r, x, 16), x);
    return join(r, x, conv(r, y, 16));
}

static weft_tensor *a_leaf_alone(recording *r)
{
    weft_tensor *x = image(r, 16);
    return conv(r, join(r, x, x), 16);
}

/* The last input may end inside a block: padding channels are zero, and
 * statistics do not see them. */
static weft_tensor *an_end_inside_a_block(recording *r)
{
    weft_tensor *x = image(r, 3), *y = join(r, conv(r, x, 16), conv(r, x, 5));
    weft_tensor *z = weft_relu(norm(r, y));
    return join(r, conv(r, z, 16), part(r, z, 16, 5));
}

static weft_tensor *borders_inside_blocks(recording *r)
{
    weft_tensor *x = image(r, 3), *a = conv(r, x, 5), *b = conv(r, x, 16);
    weft_tensor *y = weft_relu(join(r, join(r, a, b), conv(r, x, 11))); /* 32 */
    return join(r, conv(r, part(r, y, 3, 9), 16), conv(r, part(r, y, 16, 5), 7));
}

/* A part that ends inside a block, where another channel stands in place of padding, is no slice:
 * that channel is infinite here, and zero weights do not make it vanish. */
static weft_tensor *an_infinity_beside_a_part(recording *r)
{
    const wf_reorder_attrs blocks = {wf_isa_block(weft_context_isa(r->ctx))};
    weft_tensor *x = image(r, 32);
    for (int n = 0; n < r->n; n++)
        ((float *)weft_tensor_data(x))[(n * 32 + 29) * r->pixel * r->pixel] = INFINITY;
    weft_tensor *y = weft_relu(wf_record(&wf_op_reorder, &blocks, NULL, 1, &x, NULL));
    return join(r, conv(r, part(r, y, 16, 13), 16), part(r, y, 0, 16));
}

static weft_tensor *a_joined_value_with_a_border_in_another(recording *r)
{
    weft_tensor *x = image(r, 3), *y = join(r, conv(r, x, 5), conv(r, x, 11)); /* gathered: 16 */
    return conv(r, join(r, y, conv(r, x, 16)), 16);
}

static weft_tensor *slices_of_slices(recording *r)
{
    weft_tensor *y = weft_relu(conv(r, image(r, 3), 64)), *z = part(r, y, 16, 48);
    weft_tensor *u = part(r, z, 16, 32), *v = part(r, u, 16, 16);
    weft_tensor *all = join(r, conv(r, z, 16), conv(r, u, 16));
    return join(r, all, conv(r, v, 16));
}

static weft_tensor *halves_the_other_way_round(recording *r)
{
    weft_tensor *y = weft_relu(conv(r, image(r, 3), 32));
    weft_tensor *z = join(r, part(r, y, 16, 16), part(r, y, 0, 16));
    return join(r, conv(r, z, 16), conv(r, y, 16));
}

static weft_tensor *a_part_beside_its_whole(recording *r)
{
    weft_tensor *y = weft_relu(conv(r, image(r, 3), 32));
    return conv(r, join(r, part(r, y, 16, 16), y), 16);
}

static weft_tensor *the_whole_as_a_part(recording *r)
{
    weft_tensor *y = conv(r, image(r, 3), 16), *z = part(r, y, 0, 16);
    return join(r, weft_relu(z), conv(r, y, 16));
}

static weft_tensor *kept_values(recording *r)
{
    weft_tensor *x = image(r, 3), *a = conv(r, x, 16), *b = conv(r, x, 16), *c = conv(r, x, 16);
    keep(r, a);
    weft_tensor *u = join(r, a, b), *v = join(r, u, c);
    keep(r, v);
    weft_tensor *p = part(r, v, 16, 16), *q = part(r, u, 0, 16);
    keep(r, q);
    return join(r, conv(r, p, 16), conv(r, q, 16));
}

static weft_tensor *read_before_the_step_ends(recording *r)
{
    weft_tensor *x = image(r, 3), *a = conv(r, x, 16);
    read_now(r, a); /* data from now on */
    weft_tensor *u = join(r, a, conv(r, x, 16));
    weft_tensor *v = join(r, u, conv(r, u, 16));
    read_now(r, v);
    return join(r, conv(r, part(r, v, 16, 32), 16), part(r, v, 0, 16));
}

/* The second backward pass runs the first one's work, and keeps what it will walk through. */
static weft_tensor *two_backward_passes(recording *r)
{
    weft_tensor *x = image(r, 3), *y = join(r, conv(r, x, 16), conv(r, x, 16));
    weft_tensor *z = join(r, y, conv(r, part(r, y, 16, 16), 16));
    weft_tensor *out = weft_relu(conv(r, z, 16));
    if (weft_backward_with(weft_sum(out, WEFT_DIMS(0, 1, 2, 3), false), NULL, true) != WEFT_OK)
        fail_msg("%s", weft_error_text(r->ctx));
    return join(r, out, conv(r, y, 16));
}

static weft_tensor *what_may_overwrite_its_input(recording *r)
{
    weft_tensor *a = conv(r, image(r, 3), 16), *b = weft_relu(a);
    weft_tensor *y = join(r, b, a), *z = weft_add(y, y);
    return join(r, weft_mul(z, y), conv(r, weft_add(part(r, z, 0, 16), a), 16));
}

static weft_tensor *many_branches(recording *r)
{
    const weft_pool2d_opts pool = {.kernel = {3, 3}, .stride = {1, 1}, .padding = {1, 1}};
    weft_tensor *x = conv(r, image(r, 3), 16), *in[10];
    in[0] = weft_max_pool2d(x, &pool);
    in[1] = weft_avg_pool2d(x, &pool);
    in[2] = weft_dropout(x, 0.5, true);
    in[3] = weft_mul(x, weft_sigmoid(weft_adaptive_avg_pool2d(x, 1, 1)));
    in[4] = weft_relu(norm(r, x));
    in[5] = weft_silu(x);
    in[6] = weft_stochastic_depth(x, 0.5, true);
    in[7] = weft_channel_shuffle(x, 4);
    in[8] = weft_scale(x, 2);
    in[9] = weft_detach(x);
    return conv(r, must(r, weft_concat(in, 10, 1)), 16);
}

static weft_tensor *activations_behind_norms(recording *r)
{
    weft_tensor *x = image(r, 3), *a = weft_relu(norm(r, conv(r, x, 16)));
    weft_tensor *b = weft_relu6(norm(r, conv(r, a, 16)));
    weft_tensor *y = join(r, a, b), *c = weft_silu(norm(r, part(r, y, 16, 16)));
    return join(r, y, weft_hardswish(norm(r, join(r, c, a))));
}

static weft_tensor *a_residual_in_a_slice(recording *r)
{
    weft_tensor *y = join(r, conv(r, image(r, 3), 16), conv(r, image(r, 3), 16));
    weft_tensor *z = weft_relu(weft_add(norm(r, conv(r, y, 16)), part(r, y, 16, 16)));
    return join(r, z, part(r, y, 0, 16));
}

static weft_tensor *shuffled_groups(recording *r)
{
    weft_tensor *y = conv(r, image(r, 3), 32), *half[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(weft_chunk(y, 2, 1, half), WEFT_OK);
        y = weft_channel_shuffle(join(r, half[0], weft_relu(conv(r, half[1], 16))), 2 + 2 * i);
    }
    return y;
}

static weft_tensor *a_shuffle_of_a_value_in_use(recording *r)
{
    weft_tensor *x = image(r, 3), *y = join(r, conv(r, x, 16), conv(r, x, 16));
    weft_tensor *z = weft_channel_shuffle(y, 2);
    return join(r, join(r, part(r, z, 0, 16), part(r, z, 5, 9)), conv(r, y, 16));
}

/* Values that are never blocked: a slice may begin at any channel. */
static weft_tensor *plain_images(recording *r)
{
    const weft_pool2d_opts pool = {.kernel = {2, 2}};
    weft_tensor *x = image(r, 3);
    weft_tensor *y = join(r, weft_relu(x), join(r, weft_scale(x, 3), weft_relu(x)));
    return weft_add(weft_max_pool2d(part(r, y, 1, 4), &pool),
                    weft_max_pool2d(part(r, y, 5, 4), &pool));
}

static weft_tensor *joined_weights(recording *r)
{
    const weft_conv2d_opts same = {.padding = {1, 1}};
    weft_tensor *w = weft_relu(leaf(r, WEFT_SHAPE(16, 16, 3, 3)));
    weft_tensor *v = weft_relu(leaf(r, WEFT_SHAPE(16, 16, 3, 3)));
    weft_tensor *x = conv(r, image(r, 3), 32), *joined = join(r, w, v);
    weft_tensor *y = must(r, weft_conv2d(x, joined, NULL, &same));
    return join(r, y, must(r, weft_conv2d(y, part(r, joined, 16, 16), NULL, &same)));
}

static weft_tensor *other_dimensions(recording *r)
{
    weft_tensor *x = conv(r, image(r, 3), 16), *y = weft_relu(x);
    weft_tensor *rows = must(r, weft_concat((weft_tensor *[]){x, y}, 2, 2));
    weft_tensor *images = must(r, weft_concat((weft_tensor *[]){rows, rows}, 2, 0));
    return conv(r, join(r, must(r, weft_narrow(images, 0, 1, r->n)), rows), 16);
}

static weft_tensor *a_dense_block(recording *r)
{
    weft_tensor *y = conv(r, image(r, 3), 16);
    for (int i = 0; i < 3; i++)
        y = join(r, y, conv(r, weft_relu(norm(r, y)), 16));
    return y;
}

/* ---- every case in every way ---- */

typedef struct result {
    size_t size;
    char bytes[MAX_BYTES];
} result;

static void take(recording *r, result *out, weft_tensor *t)
{
    const size_t size = wf_type_bytes(t->type);
    assert_true(out->size + size <= sizeof out->bytes);
    if (weft_read(t, out->bytes + out->size, size) != WEFT_OK)
        fail_msg("%s", weft_error_text(r->ctx));
    out->size += size;
}

typedef struct slice_case {
    const char *name;
    weft_tensor *(*record)(recording *r);
    int slices;   /* that the plan must have at least, forward and backward */
    int n, pixel; /* 0: five images of 6 x 6 */
    bool infinite;
} slice_case;

/* Returns how many values are slices of others in the plan. */
static int run(const slice_case *c, const weft_options *o, result *out)
{
    recording r = {.n = c->n ? c->n : 5, .pixel = c->pixel ? c->pixel : 6};
    weft_error err = WEFT_ERROR_INIT;
    if (weft_context_create(&r.ctx, o, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    weft_tensor *y = must(&r, c->record(&r));
    keep(&r, y);
    if (weft_backward(weft_sum(weft_mul(y, y), WEFT_DIMS(0, 1, 2, 3), false)) != WEFT_OK)
        fail_msg("%s", weft_error_text(r.ctx));
    wf_plan *plan = NULL;
    int slices = 0;
    assert_int_equal(wf_plan_of_recorded(r.ctx, &plan), WEFT_OK);
    for (int v = 0; v < plan->n_values; v++)
        slices += plan->values[v].buf >= 0 && plan->values[v].slice_of >= 0;
    wf_plan_destroy(plan);
    if (weft_sync(r.ctx) != WEFT_OK)
        fail_msg("%s", weft_error_text(r.ctx));
    out->size = 0;
    for (int i = 0; i < r.n_kept; i++)
        take(&r, out, r.kept[i]);
    for (int i = 0; i < r.n_leaves; i++)
        take(&r, out, weft_grad(r.leaf[i]));
    for (int i = 0; i < r.n_kept; i++)
        weft_tensor_unref(r.kept[i]);
    for (int i = 0; i < r.n_leaves; i++)
        weft_tensor_unref(r.leaf[i]);
    weft_context_destroy(r.ctx);
    return slices;
}

static result want, got;

static void expect_same(const slice_case *c, const weft_options *o)
{
    const int slices = run(c, o, &got);
    const bool off = o->passes_off & WEFT_PASS_SLICES;
    if (off ? slices != 0 : slices < c->slices)
        fail_msg("%s: %d slices, expected %d", c->name, slices, off ? 0 : c->slices);
    assert_int_equal(got.size, want.size);
    if (memcmp(got.bytes, want.bytes, want.size) != 0)
        fail_msg("%s: executor %d, threads %d, passes off 0x%x, seed %d differ", c->name,
                 (int)o->executor, o->threads, o->passes_off, (int)o->schedule_seed);
}

static void gives_the_interpreters_bits(void **state)
{
    const slice_case *c = *state;
    const int threads[] = {1, 2, 3, 7, 16};
    weft_options o = {.seed = 7,
                      .threads = 1,
                      .executor = WEFT_EXECUTOR_INTERPRETER,
                      .passes_off = WEFT_PASS_ALL};
    run(c, &o, &want);
    o.passes_off = 0;
    for (int i = 0; i < 5; i++) {
        o.threads = threads[i];
        o.executor = WEFT_EXECUTOR_PARALLEL;
        expect_same(c, &o);
        o.executor = WEFT_EXECUTOR_RANDOM;
        o.schedule_seed = (uint64_t)(i + 1);
        expect_same(c, &o);
    }
    o.threads = 3;
    for (unsigned off = 1; off <= WEFT_PASS_ALL; off++) {
        o.passes_off = off;
        expect_same(c, &o);
    }
    weft_options checked = {.seed = 7, .threads = 2, .anomaly = true}; /* runs the interpreter */
    if (!c->infinite)
        expect_same(c, &checked);
}

static slice_case cases[] = {
    {"the same tensor twice", the_same_tensor_twice, 4},
    {"an input of two concatenations", an_input_of_two_concatenations, 8},
    {"concatenations in concatenations", concatenations_in_concatenations, 8},
    {"a leaf among the inputs", a_leaf_among_the_inputs, 4},
    {"a leaf alone", a_leaf_alone, 2},
    {"an end inside a block", an_end_inside_a_block, 4},
    {"borders inside blocks", borders_inside_blocks, 1},
    {"an infinity beside a part", an_infinity_beside_a_part, 2, .infinite = true},
    {"a joined value with a border in another", a_joined_value_with_a_border_in_another, 2},
    {"slices of slices", slices_of_slices, 8},
    {"halves the other way round", halves_the_other_way_round, 4},
    {"a part beside its whole", a_part_beside_its_whole, 3},
    {"the whole as a part", the_whole_as_a_part, 3},
    {"kept values", kept_values, 6},
    {"read before the step ends", read_before_the_step_ends, 2},
    {"two backward passes", two_backward_passes, 4},
    {"what may overwrite its input", what_may_overwrite_its_input, 6},
    {"many branches", many_branches, 8},
    {"activations behind norms", activations_behind_norms, 6},
    {"a residual in a slice", a_residual_in_a_slice, 6},
    {"shuffled groups", shuffled_groups, 2},
    {"a shuffle of a value in use", a_shuffle_of_a_value_in_use, 4},
    {"plain images", plain_images, 6},
    {"joined weights", joined_weights, 6},
    {"other dimensions", other_dimensions, 2},
    {"a dense block", a_dense_block, 12},
    {"a dense block of one image", a_dense_block, 12, 1, 5},
    {"a dense block of single pixels", a_dense_block, 12, 7, 1},
    {"a dense block of large images", a_dense_block, 12, 4,
     34}, /* weight gradients image by image */
    {"norms of large images", activations_behind_norms, 6, 4, 34},
};
enum { CASES = sizeof cases / sizeof *cases };

int main(void)
{
    struct CMUnitTest tests[CASES];
    for (int i = 0; i < CASES; i++) {
        tests[i] = (struct CMUnitTest)cmocka_unit_test(gives_the_interpreters_bits);
        tests[i].name = cases[i].name;
        tests[i].initial_state = &cases[i];
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
