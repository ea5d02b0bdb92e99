/* Resampling: every implementation against formulas in double, in every layout, at odd sizes, and
 * the gradient against the forward pass; equal bits in float on every ISA. */
#include "guarded.h"

#include <math.h>

#include "kernels/upsample/upsample.h"

extern const wf_upsample_fns wf_upsample_emul, wf_upsample_f32, wf_upsample_scalar,
    wf_upsample_bf16_emul, wf_upsample_bf16_scalar;

typedef struct shape_case {
    int C, H, W, P, Q;
    bool nearest, align_corners;
} shape_case;

static const shape_case cases[] = {
    {16, 5, 7, 10, 14, true, false},  {3, 4, 4, 9, 3, true, false},
    {19, 5, 7, 10, 14, false, false}, {8, 6, 3, 7, 11, false, true},
    {16, 9, 9, 4, 5, false, false},   {5, 1, 1, 3, 4, false, false},
    {5, 3, 4, 1, 1, false, true},     {32, 7, 7, 7, 7, false, false},
    {32, 7, 7, 7, 7, true, false},    {1, 32, 10, 100, 31, true, false},
    {1, 3, 65, 4, 100, false, false}, {1, 2, 128, 3, 64, false, false},
    {1, 2, 64, 3, 128, false, false}, {1, 3, 2, 2, 128, false, true},
};
enum { N_CASES = sizeof(cases) / sizeof(*cases), MAX_SIDE = 128 };

/* The position in the input of output o's centre, bilinear. */
static double position(const shape_case *c, int in, int out, int o)
{
    if (c->align_corners)
        return out == 1 ? 0 : (double)o * (in - 1) / (out - 1);
    const double at = (o + 0.5) * in / out - 0.5;
    return at > 0 ? at : 0;
}

/* How much of input i output o holds. */
static double weight(const shape_case *c, weft_dtype dtype, int in, int out, int o, int i)
{
    if (c->nearest) {
        const double at = dtype == WEFT_F64 ? floor(o * ((double)in / out))
                                            : (double)floorf((float)o * ((float)in / (float)out));
        return i == (at < in - 1 ? at : in - 1);
    }
    const double at = position(c, in, out, o), low = floor(at), part = at - low;
    return (i == fmin(low, in - 1)) * (1 - part) + (i == fmin(low + 1, in - 1)) * part;
}

static void check(const wf_upsample_fns *k, const shape_case *c, int block)
{
    wf_upsample_tap rows[MAX_SIDE], cols[MAX_SIDE];
    wf_upsample_taps(c->nearest, c->align_corners, k->dtype, c->H, c->P, rows);
    wf_upsample_taps(c->nearest, c->align_corners, k->dtype, c->W, c->Q, cols);
    const wf_upsample g = {{c->C, c->H, c->W, block}, c->P, c->Q, c->nearest, rows, cols};
    const wf_act out = {c->C, c->P, c->Q, block};
    const size_t size = weft_dtype_size(k->dtype), nx = wf_act_count(g.in), ny = wf_act_count(out);
    guarded x = test_random(k->dtype, nx, 1), y = guarded_new(ny * size, size);
    guarded dy = test_random(k->dtype, ny, 2), dx = guarded_new(nx * size, size);
    for (int ch = c->C; ch < wf_round_up(c->C, block); ch++) { /* padding */
        for (int p = 0; p < c->H * c->W; p++)
            test_set(k->dtype, x.data, wf_act_index(g.in, ch, p / c->W, p % c->W), 0);
        for (int p = 0; p < c->P * c->Q; p++)
            test_set(k->dtype, dy.data, wf_act_index(out, ch, p / c->Q, p % c->Q), 0);
    }
    k->forward(&g, x.data, y.data);
    k->backward(&g, dy.data, dx.data);
    /* Eight roundings of values below 1, and of the weights; the gradient of an element adds up
     * those of all outputs near it. */
    const double bound = 16 * test_epsilon(test_arithmetic(k->dtype));
    const double store = 1.01 * test_storing(k->dtype);
    const double near = (2.0 * c->P / c->H + 2) * (2.0 * c->Q / c->W + 2);
    for (int ch = 0; ch < wf_round_up(c->C, block); ch++) {
        for (int p = 0; p < c->P; p++)
            for (int q = 0; q < c->Q; q++) {
                double want = 0;
                for (int h = 0; h < c->H; h++)
                    for (int w = 0; w < c->W; w++)
                        want += weight(c, k->dtype, c->H, c->P, p, h) *
                                weight(c, k->dtype, c->W, c->Q, q, w) *
                                test_get(k->dtype, x.data, wf_act_index(g.in, ch, h, w));
                const double got = test_get(k->dtype, y.data, wf_act_index(out, ch, p, q));
                if (!(fabs(got - want) <= (c->nearest ? 0 : bound + store * fabs(want))))
                    fail_msg("%s block %d, case %d: y(%d, %d, %d) is %.9g, expected %.9g", k->name,
                             block, (int)(c - cases), ch, p, q, got, want);
            }
        for (int h = 0; h < c->H; h++)
            for (int w = 0; w < c->W; w++) {
                double want = 0;
                for (int p = 0; p < c->P; p++)
                    for (int q = 0; q < c->Q; q++)
                        want += weight(c, k->dtype, c->H, c->P, p, h) *
                                weight(c, k->dtype, c->W, c->Q, q, w) *
                                test_get(k->dtype, dy.data, wf_act_index(out, ch, p, q));
                const double got = test_get(k->dtype, dx.data, wf_act_index(g.in, ch, h, w));
                if (!(fabs(got - want) <= bound * near + store * fabs(want)))
                    fail_msg("%s block %d, case %d: dx(%d, %d, %d) is %.9g, expected %.9g", k->name,
                             block, (int)(c - cases), ch, h, w, got, want);
            }
    }
    guarded_free(&x);
    guarded_free(&y);
    guarded_free(&dy);
    guarded_free(&dx);
}

static void every_implementation_matches_the_formula(void **state)
{
    static const int blocks[] = {1, 8, 16};
    for (int i = 0; wf_upsample_list[i]; i++)
        for (int b = 0; b < 3; b++)
            for (int c = 0; c < N_CASES; c++)
                if (wf_upsample_list[i]->isa <= wf_cpu_isa() &&
                    blocks[b] % wf_upsample_list[i]->lanes == 0)
                    check(wf_upsample_list[i], &cases[c], blocks[b]);
    for (int c = 0; c < N_CASES && wf_cpu_isa() >= WEFT_ISA_AVX2; c++)
        check(&wf_upsample_bf16_emul, &cases[c], 16);
}

static void float_has_the_same_bits_on_every_isa(void **state)
{
    if (wf_cpu_isa() < WEFT_ISA_AVX2)
        skip();
    enum { MAX = 32 * 100 * 31 };
    static float x[MAX], from[MAX], to[4][MAX];
    for (int i = 0; i < MAX; i++)
        x[i] = (float)test_uniform(1, (uint64_t)i);
    for (int n = 0; n < N_CASES; n++) {
        const shape_case *c = &cases[n];
        wf_upsample_tap rows[MAX_SIDE], cols[MAX_SIDE];
        wf_upsample_taps(c->nearest, c->align_corners, WEFT_F32, c->H, c->P, rows);
        wf_upsample_taps(c->nearest, c->align_corners, WEFT_F32, c->W, c->Q, cols);
        const wf_upsample g = {{c->C, c->H, c->W, 16}, c->P, c->Q, c->nearest, rows, cols};
        const size_t ny = wf_act_count((wf_act){c->C, c->P, c->Q, 16});
        const wf_upsample_fns *k[] = {&wf_upsample_f32, &wf_upsample_scalar, &wf_upsample_emul,
                                      wf_upsample_find(wf_cpu_isa(), WEFT_F32, 16)};
        assert_true(ny <= MAX);
        for (int i = 0; i < 4; i++) {
            k[i]->forward(&g, x, to[i]);
            assert_memory_equal(to[0], to[i], ny * sizeof(float));
            if (i == 0)
                memcpy(from, to[0], ny * sizeof(float));
        }
        for (int i = 0; i < 4; i++) {
            k[i]->backward(&g, from, to[i]);
            assert_memory_equal(to[0], to[i], wf_act_count(g.in) * sizeof(float));
        }
    }
}

static void bf16_has_the_same_bits_on_every_isa(void **state)
{
    if (wf_cpu_isa() < WEFT_ISA_AVX2)
        skip();
    enum { MAX = 32 * 100 * 31 };
    static uint16_t x[MAX], from[MAX], to[3][MAX];
    for (int i = 0; i < MAX; i++)
        x[i] = wf_to_bf16((float)test_uniform(1, (uint64_t)i));
    for (int n = 0; n < N_CASES; n++) {
        const shape_case *c = &cases[n];
        wf_upsample_tap rows[MAX_SIDE], cols[MAX_SIDE];
        wf_upsample_taps(c->nearest, c->align_corners, WEFT_BF16, c->H, c->P, rows);
        wf_upsample_taps(c->nearest, c->align_corners, WEFT_BF16, c->W, c->Q, cols);
        const wf_upsample g = {{c->C, c->H, c->W, 16}, c->P, c->Q, c->nearest, rows, cols};
        const size_t ny = wf_act_count((wf_act){c->C, c->P, c->Q, 16});
        const wf_upsample_fns *k[] = {&wf_upsample_bf16_scalar, &wf_upsample_bf16_emul,
                                      wf_upsample_find(wf_cpu_isa(), WEFT_BF16, 16)};
        for (int i = 0; i < 3; i++) {
            k[i]->forward(&g, x, to[i]);
            assert_memory_equal(to[0], to[i], ny * sizeof(**to));
        }
        memcpy(from, to[0], ny * sizeof(*from));
        for (int i = 0; i < 3; i++) {
            k[i]->backward(&g, from, to[i]);
            assert_memory_equal(to[0], to[i], wf_act_count(g.in) * sizeof(**to));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_implementation_matches_the_formula),
        cmocka_unit_test(float_has_the_same_bits_on_every_isa),
        cmocka_unit_test(bf16_has_the_same_bits_on_every_isa),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
