/* Buffers of one task group (plan/local.c), and what a group holds for others (plan/holding.c):
 * which buffers share bytes, how large the arena is, and that the bits stay. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/step/execute.h"
#include "weft/weft.h"

/* A chain of convolutions, each with a bias and ReLU, and one max pooling: without BatchNorm the
 * gradients of all layers follow each other image by image. */
enum { LAYERS = 12, POOLED = 3, C = 16, MOST_IMAGES = 8, SIDE = 16, WEIGHTS = C * C * 9 };

typedef struct chain {
    weft_context *ctx;
    weft_tensor *x, *w[LAYERS], *b[LAYERS];
} chain;

static void begin(chain *c, const weft_options *o, int images)
{
    const weft_conv2d_opts same = {.padding = {1, 1}};
    const weft_pool2d_opts pool = {.kernel = {2, 2}, .stride = {2, 2}};
    assert_int_equal(weft_context_create(&c->ctx, o, NULL), WEFT_OK);
    weft_tensor *y = c->x = weft_randn(c->ctx, WEFT_SHAPE(images, C, SIDE, SIDE));
    for (int i = 0; i < LAYERS; i++) {
        c->w[i] = weft_randn(c->ctx, WEFT_SHAPE(C, C, 3, 3));
        c->b[i] = weft_randn(c->ctx, WEFT_SHAPE(C));
        weft_set_requires_grad(c->w[i], true);
        weft_set_requires_grad(c->b[i], true);
        y = weft_relu(weft_conv2d(weft_scale(y, 0.1), c->w[i], c->b[i], &same));
        y = i == POOLED ? weft_max_pool2d(y, &pool) : y;
    }
    if (!y || weft_backward(weft_sum(weft_mul(y, y), WEFT_DIMS(0, 1, 2, 3), false)) != WEFT_OK)
        fail_msg("%s", weft_error_text(c->ctx));
}

static void end(chain *c)
{
    for (int i = 0; i < LAYERS; i++) {
        weft_tensor_unref(c->w[i]);
        weft_tensor_unref(c->b[i]);
    }
    weft_tensor_unref(c->x);
    weft_context_destroy(c->ctx);
}

static wf_plan *plan_of(chain *c, const weft_options *o, int images)
{
    wf_plan *p = NULL;
    begin(c, o, images);
    if (wf_plan_of_recorded(c->ctx, &p) != WEFT_OK)
        fail_msg("%s", weft_error_text(c->ctx));
    return p;
}

/* ---- bytes ---- */

/* The one task group that uses the buffer itself, and its first and last task there. */
typedef struct users {
    int group, first, last;
} users;

static users users_of(const wf_plan *p, wf_buf b)
{
    users u = {-1, -1, -1};
    for (int g = 0; g < p->n_groups; g++)
        for (int k = 0; k < p->groups[g].n_tasks; k++)
            for (const wf_use *x = p->tasks[p->groups[g].tasks[k]]->uses; x; x = x->next) {
                if (x->buf != b)
                    continue;
                assert_true(u.group < 0 || u.group == g);
                assert_int_equal(x->access, WF_TILED);
                u.first = u.group < 0 ? k : u.first;
                u.group = g;
                u.last = k;
            }
    return u;
}

/* Whether the buffer lies in a tray: in a buffer that no value has, and no task uses by itself. */
static bool in_tray(const wf_plan *p, wf_buf b)
{
    return p->buffers[b].whole >= 0 && p->buffers[p->buffers[b].whole].value < 0;
}

/* How many pairs of buffers share bytes in trays. Fails where the same tile needs both. */
static int sharing_pairs(const wf_plan *p)
{
    int pairs = 0;
    for (int a = 0; a < p->n_buffers; a++) {
        const wf_buffer *x = &p->buffers[a];
        if (!in_tray(p, a))
            continue;
        const users of_a = users_of(p, a);
        assert_true(of_a.group >= 0);
        assert_true(x->at + x->size <= p->buffers[x->whole].stride);
        assert_int_equal(x->images, p->buffers[x->whole].images);
        for (int b = 0; b < a; b++) {
            const wf_buffer *y = &p->buffers[b];
            if (y->whole != x->whole || y->at >= x->at + x->size || x->at >= y->at + y->size)
                continue;
            const users of_b = users_of(p, b);
            assert_int_equal(of_a.group, of_b.group);
            assert_true(of_a.last < of_b.first || of_b.last < of_a.first);
            pairs++;
        }
    }
    return pairs;
}

static void buffers_of_a_tile_share_bytes_one_after_the_other(void **state)
{
    const int images[] = {1, 2, MOST_IMAGES};
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++) {
        chain c;
        const weft_options o = {.threads = 2};
        wf_plan *p = plan_of(&c, &o, images[i]);
        const int pairs = sharing_pairs(p);
        if (pairs == 0)
            fail_msg("%d images: no buffers of a task group share bytes", images[i]);
        for (int b = 0; b < p->n_buffers; b++)
            if (in_tray(p, b))
                assert_int_equal(p->buffers[p->buffers[b].whole].local, images[i] > 2);
        wf_plan_destroy(p);
        end(&c);
    }
}

/* ---- how much a group holds ---- */

/* Bytes of buffers that tasks of the forward and of the backward pass use. */
static size_t kept_bytes(const wf_plan *p)
{
    char *in = calloc((size_t)p->n_buffers, 1);
    size_t sum = 0;
    assert_non_null(in);
    for (int t = 0; t < p->n_tasks; t++)
        for (const wf_use *u = p->tasks[t]->uses; u; u = u->next) {
            const int node = p->tasks[t]->node;
            in[wf_buffer_whole(p, u->buf)] |= node >= 0 && p->nodes[node].backward ? 2 : 1;
        }
    for (int b = 0; b < p->n_buffers; b++)
        sum += in[b] == 3 && !p->buffers[b].bound ? p->buffers[b].bytes : 0;
    free(in);
    return sum;
}

static void a_long_backward_pass_does_not_hold_all_gradients(void **state)
{
    chain c;
    const weft_options o = {.threads = 2};
    wf_plan *p = plan_of(&c, &o, MOST_IMAGES);
    const size_t kept = kept_bytes(p), arena = p->arena_bytes;
    if (arena > kept + kept / 2)
        fail_msg("an arena of %zu bytes, of which the forward pass keeps %zu", arena, kept);
    wf_plan_destroy(p);
    end(&c);
}

/* ---- bits ---- */

typedef struct gradients {
    float w[LAYERS][WEIGHTS], b[LAYERS][C];
} gradients;

static void run(const weft_options *o, int images, gradients *g)
{
    chain c;
    begin(&c, o, images);
    if (weft_sync(c.ctx) != WEFT_OK)
        fail_msg("%s", weft_error_text(c.ctx));
    for (int i = 0; i < LAYERS; i++) {
        assert_int_equal(weft_read(weft_grad(c.w[i]), g->w[i], sizeof g->w[i]), WEFT_OK);
        assert_int_equal(weft_read(weft_grad(c.b[i]), g->b[i], sizeof g->b[i]), WEFT_OK);
    }
    end(&c);
}

/* Whether all numbers are finite, and not all of them zero. */
static bool is_something(const float *x, int n)
{
    bool any = false;
    for (int i = 0; i < n; i++) {
        any |= x[i] != 0;
        if (x[i] - x[i] != 0)
            return false;
    }
    return any;
}

static void the_bits_are_the_interpreters(void **state)
{
    static gradients want, got;
    const weft_options ways[] = {
        {.seed = 3, .threads = 1},
        {.seed = 3, .threads = 2},
        {.seed = 3, .threads = 3},
        {.seed = 3, .threads = 2, .passes_off = WEFT_PASS_MEMORY},
        {.seed = 3, .threads = 2, .executor = WEFT_EXECUTOR_RANDOM, .schedule_seed = 1},
        {.seed = 3, .threads = 3, .executor = WEFT_EXECUTOR_RANDOM, .schedule_seed = 2},
        {.seed = 3, .threads = 4, .executor = WEFT_EXECUTOR_SEQUENCE},
    };
    for (int images = 1; images <= MOST_IMAGES; images += images < 4 ? 1 : 4) {
        const weft_options oracle = {
            .seed = 3, .threads = 1, .executor = WEFT_EXECUTOR_INTERPRETER};
        run(&oracle, images, &want);
        for (int i = 0; i < LAYERS; i++)
            assert_true(is_something(want.w[i], WEIGHTS));
        for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
            run(&ways[i], images, &got);
            if (memcmp(&want, &got, sizeof want) != 0)
                fail_msg("way %zu, %d images: other bits than the interpreter's", i, images);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_of_a_tile_share_bytes_one_after_the_other),
        cmocka_unit_test(a_long_backward_pass_does_not_hold_all_gradients),
        cmocka_unit_test(the_bits_are_the_interpreters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
