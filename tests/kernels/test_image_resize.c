/* Resize kernels against the reference to the bit, on every instruction set, between guard bytes. */
#include "guarded.h"

#include "kernels/image/resize.h"

extern const wf_resize_kernels wf_resize_emul;

/* Implementation i, the emulated one last; NULL: this machine cannot run it. */
static const wf_resize_kernels *implementation(int i)
{
    const weft_isa isa = i < wf_n_resize_impls ? wf_resize_impls[i].isa : WEFT_ISA_AVX2;
    if (isa > wf_cpu_isa())
        return NULL;
    return i < wf_n_resize_impls ? wf_resize_impls[i].kernels : &wf_resize_emul;
}
static const wf_resize_kernels *reference(void)
{
    return wf_resize_impls[wf_n_resize_impls - 1].kernels;
}

static guarded random_bytes(size_t n, uint64_t seed)
{
    guarded g = guarded_new(n, 1);
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = test_bits(seed, i);
        g.data[i] = (unsigned char)(seed % 3 ? bits : bits & 1 ? 255 : 0); /* extremes overshoot */
    }
    return g;
}

typedef struct axis {
    wf_resize_axis a;
    int32_t *memory;
} axis;

static axis make_axis(wf_resize_filter filter, int in, float from, float to, int out, bool mirror)
{
    axis x = {{.out = out, .room = wf_resize_room(filter, from, to, out)}, NULL};
    const size_t n = (size_t)out, room = (size_t)x.a.room;
    double *scratch = malloc(room * sizeof *scratch);
    x.memory = malloc(n * (2 + room) * sizeof *x.memory);
    assert_non_null(scratch);
    assert_non_null(x.memory);
    x.a.first = x.memory;
    x.a.count = x.memory + n;
    x.a.weights = x.memory + 2 * n;
    wf_resize_axis_fill(&x.a, filter, in, from, to, mirror, scratch);
    free(scratch);
    return x;
}

typedef struct geometry {
    int in, out;
    float from, to;
} geometry;
static const geometry GEOMETRIES[] = {
    {1, 1, 0, 1},       {1, 40, 0, 1},         {40, 1, 0, 40},        {7, 5, 0, 7},
    {16, 16, 0, 16},    {17, 33, 0.5f, 16.5f}, {64, 15, 3, 61},       {100, 31, 0.25f, 99},
    {333, 224, 0, 333}, {50, 224, 10, 50},     {300, 16, 20, 120.3f}, {35, 48, 0, 35},
};
enum { N_GEOMETRIES = sizeof GEOMETRIES / sizeof *GEOMETRIES };

static void the_weights_of_a_pixel_add_up_to_one(void **state)
{
    for (int g = 0; g < N_GEOMETRIES; g++)
        for (int f = WF_RESIZE_BILINEAR; f <= WF_RESIZE_NEAREST; f++) {
            const geometry *q = &GEOMETRIES[g];
            axis x = make_axis((wf_resize_filter)f, q->in, q->from, q->to, q->out, false);
            for (int o = 0; o < q->out; o++) {
                int64_t sum = 0;
                assert_in_range(x.a.first[o], 0, q->in - 1);
                assert_in_range(x.a.count[o], 1, q->in - x.a.first[o]);
                assert_in_range(x.a.count[o], 1, x.a.room);
                for (int t = 0; t < x.a.count[o]; t++)
                    sum += x.a.weights[o * x.a.room + t];
                /* Each weight is rounded by at most half a unit. */
                if (llabs(sum - (1 << WF_RESIZE_BITS)) > (x.a.count[o] + 1) / 2)
                    fail_msg("%d to %d, pixel %d: the sum is %lld", q->in, q->out, o,
                             (long long)sum);
            }
            free(x.memory);
        }
}

static void a_mirrored_axis_runs_backwards(void **state)
{
    for (int f = WF_RESIZE_BILINEAR; f <= WF_RESIZE_NEAREST; f++) {
        axis x = make_axis((wf_resize_filter)f, 50, 3.5f, 47, 20, false);
        axis y = make_axis((wf_resize_filter)f, 50, 3.5f, 47, 20, true);
        for (int o = 0; o < 20; o++) {
            assert_int_equal(x.a.first[o], y.a.first[19 - o]);
            assert_int_equal(x.a.count[o], y.a.count[19 - o]);
            assert_memory_equal(x.a.weights + o * x.a.room, y.a.weights + (19 - o) * y.a.room,
                                (size_t)x.a.count[o] * sizeof(int32_t));
        }
        free(x.memory);
        free(y.memory);
    }
}

static void columns_of(const wf_resize_kernels *k, const wf_resize_axis *a, int C, int in, int n,
                       const guarded *x, size_t stride, guarded *y)
{
    const uint8_t *rows[WF_RESIZE_ROWS];
    const size_t plane = stride * (size_t)n;
    uint8_t *scratch = malloc(wf_resize_scratch(a, C));
    assert_non_null(scratch);
    for (int r = 0; r < n; r++)
        rows[r] = x->data + (size_t)(r * in * C);
    k->columns(a, C, rows, n, y->data, stride, plane, scratch);
    free(scratch);
}

static void one_pass_along_rows(int g, int f, int C, int n, bool mirror)
{
    const geometry *q = &GEOMETRIES[g];
    axis x = make_axis((wf_resize_filter)f, q->in, q->from, q->to, q->out, mirror);
    const size_t stride = (size_t)q->out + 3, bytes = stride * (size_t)(n * C) - 3;
    guarded in = random_bytes((size_t)(q->in * C * n), (uint64_t)(g * 7 + f));
    guarded want = guarded_new(bytes, 1);
    columns_of(reference(), &x.a, C, q->in, n, &in, stride, &want);
    for (int i = 0; i <= wf_n_resize_impls; i++) {
        const wf_resize_kernels *k = implementation(i);
        if (!k)
            continue;
        guarded got = guarded_new(bytes, 1);
        columns_of(k, &x.a, C, q->in, n, &in, stride, &got);
        if (memcmp(got.data, want.data, bytes) != 0)
            fail_msg("%s: columns %d to %d, filter %d, C %d, %d rows", k->name, q->in, q->out, f, C,
                     n);
        guarded_free(&got);
    }
    guarded_free(&want);
    guarded_free(&in);
    free(x.memory);
}

static void columns_are_the_references(void **state)
{
    for (int g = 0; g < N_GEOMETRIES; g++)
        for (int f = WF_RESIZE_BILINEAR; f <= WF_RESIZE_NEAREST; f++)
            for (int C = 1; C <= 3; C += 2) {
                one_pass_along_rows(g, f, C, g % 2 ? WF_RESIZE_ROWS : 1 + g, f == 1);
                one_pass_along_rows(g, f, C, 1, false);
            }
}

static void row_is_the_references(void **state)
{
    static const int widths[] = {1, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 129, 224};
    const size_t STRIDE = 300;
    for (size_t v = 0; v < sizeof widths / sizeof *widths; v++)
        for (int count = 0; count <= 9; count += 3) {
            const int W = widths[v];
            int32_t weights[9];
            for (int t = 0; t < count; t++) /* negative ones, too; sums of 9 stay below 2^31 */
                weights[t] = (int32_t)(test_bits(5, (uint64_t)(W + t)) % (1 << 20)) - (1 << 18);
            const size_t bytes = count ? STRIDE * (size_t)(count - 1) + (size_t)W : 1;
            guarded x = random_bytes(bytes, v), want = guarded_new((size_t)W, 1);
            reference()->row(W, count, weights, x.data, STRIDE, want.data);
            for (int i = 0; i <= wf_n_resize_impls; i++) {
                const wf_resize_kernels *k = implementation(i);
                if (!k)
                    continue;
                guarded got = guarded_new((size_t)W, 1);
                k->row(W, count, weights, x.data, STRIDE, got.data);
                if (memcmp(got.data, want.data, (size_t)W) != 0)
                    fail_msg("%s: row of %d pixels from %d", k->name, W, count);
                guarded_free(&got);
            }
            guarded_free(&want);
            guarded_free(&x);
        }
}

static void split_is_the_references(void **state)
{
    for (int C = 1; C <= 3; C += 2)
        for (int pixels = 1; pixels < 70; pixels += pixels < 20 ? 1 : 9)
            for (int mirror = 0; mirror < 2; mirror++) {
                const size_t plane = (size_t)pixels + 5;
                const size_t bytes = plane * (size_t)(C - 1) + (size_t)pixels;
                guarded x = random_bytes((size_t)(pixels * C), 1), want = guarded_new(bytes, 1);
                reference()->split(C, pixels, mirror, x.data, want.data, plane);
                for (int i = 0; i <= wf_n_resize_impls; i++) {
                    const wf_resize_kernels *k = implementation(i);
                    if (!k)
                        continue;
                    guarded got = guarded_new(bytes, 1);
                    k->split(C, pixels, mirror, x.data, got.data, plane);
                    if (memcmp(got.data, want.data, bytes) != 0)
                        fail_msg("%s: split of %d pixels, C %d, mirror %d", k->name, pixels, C,
                                 mirror);
                    guarded_free(&got);
                }
                guarded_free(&want);
                guarded_free(&x);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_weights_of_a_pixel_add_up_to_one),
        cmocka_unit_test(a_mirrored_axis_runs_backwards),
        cmocka_unit_test(columns_are_the_references),
        cmocka_unit_test(row_is_the_references),
        cmocka_unit_test(split_is_the_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
