/* Arithmetic on bytes against the reference to the bit, on every instruction set, between guard
 * bytes; and what maps of images do. */
#include "guarded.h"

#include <math.h>

#include "kernels/image/affine.h"
#include "kernels/image/colour.h"

extern const wf_colour_kernels wf_colour_emul;

/* Implementation i, the emulated one last; NULL: this machine cannot run it. */
static const wf_colour_kernels *implementation(int i)
{
    const weft_isa isa = i < wf_n_colour_impls ? wf_colour_impls[i].isa : WEFT_ISA_AVX2;
    if (isa > wf_cpu_isa())
        return NULL;
    return i < wf_n_colour_impls ? wf_colour_impls[i].kernels : &wf_colour_emul;
}

static guarded random_bytes(size_t n, uint64_t seed)
{
    guarded g = guarded_new(n, 1);
    for (size_t i = 0; i < n; i++)
        g.data[i] = (unsigned char)test_bits(seed, i);
    return g;
}

/* One kernel over n bytes: y in place, from up to three others. */
typedef struct operands {
    size_t n;
    int variant;
    const uint8_t *a, *b, *c;
    uint8_t *y;
} operands;

static const float FACTORS[] = {0, 1, 0.1f, 0.5f, 0.99f, 1.9f, 3.7f, -2, 1000};

static void run_mix(const wf_colour_kernels *k, const operands *o)
{
    const float own = FACTORS[o->variant % 5];
    k->mix(o->n, own, 1 - own, o->a, o->y);
}
static void run_blend(const wf_colour_kernels *k, const operands *o)
{
    k->blend(o->n, FACTORS[o->variant], o->a, o->y);
}
static void run_blend_level(const wf_colour_kernels *k, const operands *o)
{
    k->blend_level(o->n, FACTORS[o->variant], o->a[0], o->y);
}
static void run_grey(const wf_colour_kernels *k, const operands *o)
{
    k->grey(o->n, o->a, o->b, o->c, o->y);
}
static void run_sum(const wf_colour_kernels *k, const operands *o)
{
    const uint64_t sum = k->sum(o->n, o->a);
    memcpy(o->y, &sum, o->n < sizeof sum ? o->n : sizeof sum);
}

static const struct {
    const char *name;
    void (*run)(const wf_colour_kernels *k, const operands *o);
    int variants;
} KERNELS[] = {
    {"mix", run_mix, 5},   {"blend", run_blend, 9}, {"blend_level", run_blend_level, 9},
    {"grey", run_grey, 1}, {"sum", run_sum, 1},
};

static void compare(size_t kernel, size_t n, int variant)
{
    guarded a = random_bytes(n, 1), b = random_bytes(n, 2), c = random_bytes(n, 3);
    guarded want = random_bytes(n, 4);
    const operands o = {n, variant, a.data, b.data, c.data, want.data};
    KERNELS[kernel].run(wf_colour_impls[wf_n_colour_impls - 1].kernels, &o);
    for (int i = 0; i <= wf_n_colour_impls; i++) {
        const wf_colour_kernels *k = implementation(i);
        if (!k)
            continue;
        guarded got = random_bytes(n, 4);
        operands mine = o;
        mine.y = got.data;
        KERNELS[kernel].run(k, &mine);
        for (size_t j = 0; j < n; j++)
            if (got.data[j] != want.data[j])
                fail_msg("%s: %s of %zu bytes, variant %d, byte %zu: %d, expected %d", k->name,
                         KERNELS[kernel].name, n, variant, j, got.data[j], want.data[j]);
        guarded_free(&got);
    }
    guarded_free(&a);
    guarded_free(&b);
    guarded_free(&c);
    guarded_free(&want);
}

static void bytes_are_the_references(void **state)
{
    static const size_t sizes[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100, 1000};
    for (size_t k = 0; k < sizeof KERNELS / sizeof *KERNELS; k++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (int v = 0; v < KERNELS[k].variants; v++)
                compare(k, sizes[s], v);
}

/* Every pair of levels, and the ties that halves make. */
static void every_pair_of_levels_mixes_as_the_reference(void **state)
{
    static const float shares[] = {0.5f, 0.25f, 0.123f};
    for (int i = 0; i <= wf_n_colour_impls; i++)
        for (int s = 0; s < 3 && implementation(i); s++)
            for (int other = 0; other < 256; other++) {
                uint8_t x[256], y[256];
                memset(x, other, sizeof x);
                for (int v = 0; v < 256; v++)
                    y[v] = (uint8_t)v;
                implementation(i)->mix(256, shares[s], 1 - shares[s], x, y);
                for (int v = 0; v < 256; v++) {
                    const double exact =
                        (double)v * (double)shares[s] + (double)other * (1 - (double)shares[s]);
                    if (fabs((double)y[v] - exact) > 0.5 + 0x1p-14)
                        fail_msg("%d and %d: %d, exactly %g", v, other, y[v], exact);
                }
            }
}

static const int SIZES[][2] = {{1, 1},  {2, 9},  {3, 3},   {5, 10}, {4, 17},
                               {7, 18}, {9, 33}, {20, 50}, {32, 64}};
enum { N_SIZES = sizeof SIZES / sizeof *SIZES };

static void smooth_is_the_references(void **state)
{
    for (int s = 0; s < N_SIZES; s++) {
        const int H = SIZES[s][0], W = SIZES[s][1];
        const size_t n = (size_t)(H * W);
        guarded x = random_bytes(n, (uint64_t)s), want = guarded_new(n, 1);
        wf_colour_impls[wf_n_colour_impls - 1].kernels->smooth(H, W, x.data, want.data);
        for (int i = 0; i <= wf_n_colour_impls; i++) {
            if (!implementation(i))
                continue;
            guarded got = guarded_new(n, 1);
            implementation(i)->smooth(H, W, x.data, got.data);
            assert_memory_equal(got.data, want.data, n);
            guarded_free(&got);
        }
        guarded_free(&want);
        guarded_free(&x);
    }
}

static void blur_is_the_references(void **state)
{
    const float weights[] = {0.1f, 0.2f, 0.4f, 0.2f, 0.1f};
    for (int s = 2; s < N_SIZES; s++) {
        const int H = SIZES[s][0], W = SIZES[s][1];
        const size_t n = (size_t)(H * W);
        guarded x = random_bytes(n, (uint64_t)s), want = guarded_new(n, 1);
        guarded scratch = guarded_new(wf_blur_scratch(H, W, 5), sizeof(float));
        wf_colour_impls[wf_n_colour_impls - 1].kernels->blur(H, W, 5, weights, x.data, scratch.data,
                                                             want.data);
        for (int i = 0; i <= wf_n_colour_impls; i++) {
            if (!implementation(i))
                continue;
            guarded got = guarded_new(n, 1);
            implementation(i)->blur(H, W, 5, weights, x.data, scratch.data, got.data);
            assert_memory_equal(got.data, want.data, n);
            guarded_free(&got);
        }
        guarded_free(&scratch);
        guarded_free(&want);
        guarded_free(&x);
    }
}

static void a_histogram_counts_every_byte(void **state)
{
    guarded x = random_bytes(1001, 6);
    uint32_t count[WF_BYTE_VALUES], want[WF_BYTE_VALUES] = {0};
    wf_colour_histogram(x.size, x.data, count);
    for (size_t i = 0; i < x.size; i++)
        want[x.data[i]]++;
    assert_memory_equal(count, want, sizeof want);
    guarded_free(&x);
}

enum { C = 3, H = 6, W = 9, N = C * H * W };

static void a_translation_moves_whole_pixels(void **state)
{
    guarded x = random_bytes(N, 7), y = guarded_new(N, 1);
    const double a[6] = {1, 0, 2, 0, 1, -1}; /* from two to the right and one above */
    wf_image_affine(WF_RESIZE_NEAREST, C, H, W, a, x.data, y.data);
    for (int c = 0; c < C; c++)
        for (int h = 0; h < H; h++)
            for (int w = 0; w < W; w++)
                assert_int_equal(y.data[(c * H + h) * W + w],
                                 h >= 1 && w + 2 < W ? x.data[(c * H + h - 1) * W + w + 2] : 0);
    guarded_free(&x);
    guarded_free(&y);
}

/* PIL leaves 16.16 fixed point where a position is 32768 or more. */
static void maps_beyond_fixed_point_use_doubles(void **state)
{
    guarded x = random_bytes(N, 8), y = guarded_new(N, 1);
    const double a[6] = {1, 1e-9, 0, 0, 1, 40000}; /* all from far below: black */
    wf_image_affine(WF_RESIZE_NEAREST, C, H, W, a, x.data, y.data);
    for (int i = 0; i < N; i++)
        assert_int_equal(y.data[i], 0);
    const double b[6] = {1, 40000, -20000, 0, 1, 0}; /* only row 0 comes from inside: itself */
    wf_image_affine(WF_RESIZE_NEAREST, C, H, W, b, x.data, y.data);
    for (int i = 0; i < N; i++)
        assert_int_equal(y.data[i], i / W % H == 0 ? x.data[i] : 0);
    guarded_free(&x);
    guarded_free(&y);
}

static void four_quarter_turns_are_none(void **state)
{
    enum { S = 7 };
    guarded x = random_bytes(C * S * S, 9), y = random_bytes(C * S * S, 9),
            z = guarded_new(x.size, 1);
    for (int i = 0; i < 4; i++) {
        wf_image_rotate(WF_RESIZE_NEAREST, C, S, S, 90, y.data, z.data);
        memcpy(y.data, z.data, x.size);
        if (i == 1) {
            wf_image_rotate(WF_RESIZE_NEAREST, C, S, S, -180, x.data, z.data);
            assert_memory_equal(z.data, y.data, x.size);
        }
    }
    assert_memory_equal(x.data, y.data, x.size);
    guarded_free(&x);
    guarded_free(&y);
    guarded_free(&z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_the_references),
        cmocka_unit_test(every_pair_of_levels_mixes_as_the_reference),
        cmocka_unit_test(smooth_is_the_references),
        cmocka_unit_test(blur_is_the_references),
        cmocka_unit_test(a_histogram_counts_every_byte),
        cmocka_unit_test(a_translation_moves_whole_pixels),
        cmocka_unit_test(maps_beyond_fixed_point_use_doubles),
        cmocka_unit_test(four_quarter_turns_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
