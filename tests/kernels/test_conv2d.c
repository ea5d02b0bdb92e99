/* Every convolution kernel against plain formulas in double, over tests/shapes/conv2d_small and
 * odd, or the file WEFT_TEST_SHAPES names: every pass, layout and implementation that fits and that
 * WEFT_AVOID does not name.
 *
 * Integers small enough that every sum is exact must come out to the bit; random numbers within
 * (L + 2) * eps * sum |a*b| of an accumulation of length L, which holds for any order of adding.
 * Kernels that work in a transformed domain have the bound of wf_conv2d_impl.amplification for
 * both. A plain src is given as bytes, too, which a table turns into the same numbers: to the
 * bit what the same kernel makes of those. Outputs, scratch and packed weights start as NaN,
 * padding channels must end as zero, and guard bytes around every buffer and between the images
 * of a strided batch must stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernels/select.h"
#include "tests/kernels/conv2d_problem.h"
#include "tests/kernels/conv2d_shapes.h"
#include "tests/kernels/onednn_tried.h"

/* 16 lanes in plain C, in place of AVX-512: tried on AVX2. */
extern const wf_conv2d_impl wf_conv2d_winograd_emul, wf_conv2d_winograd_weights_emul,
    wf_conv2d_gemm_emul, wf_conv2d_gemm_weights_emul, wf_conv2d_depthwise_emul;

/* ---- one kernel ----------------------------------------------------------------------------- */

typedef struct run {
    const wf_conv2d *k;
    weft_dtype type; /* of all but src, which may be bytes */
    bool bytes, exact;
    uint64_t bits;      /* of the output, hashed */
    double transformed; /* the bound of a kernel with an amplification; 0: it has none */
    char what[200];
} run;

static void put(const run *r, void *p, size_t i, double v)
{
    if (r->type == WEFT_F64)
        ((double *)p)[i] = v;
    else
        ((float *)p)[i] = (float)v;
}

static double get(const run *r, const void *p, size_t i)
{
    return r->type == WEFT_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

/* Bytes between images: a gap of NaN behind each, which also breaks denseness. */
static size_t stride_of(const run *r, wf_act a)
{
    return wf_act_count(a) * weft_dtype_size(r->type) + GAP;
}

static size_t src_stride_of(const run *r)
{
    const wf_act a = wf_conv2d_src(&r->k->desc);
    return r->bytes ? wf_act_count(a) + GAP : stride_of(r, a);
}

static void hash(run *r, const void *data, size_t bytes) /* FNV-1a */
{
    r->bits = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++)
        r->bits = (r->bits ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
}

static void *images_create(const run *r, region *m, wf_act a, int n, const double *plain)
{
    size_t stride = stride_of(r, a);
    char *base = region_create(m, stride * (size_t)n);
    for (int i = 0; plain && i < n; i++) {
        void *image = base + (size_t)i * stride;
        memset(image, 0, stride - GAP);
        for (int c = 0; c < a.C; c++)
            for (int h = 0; h < a.H; h++)
                for (int w = 0; w < a.W; w++)
                    put(r, image, wf_act_index(a, c, h, w), *plain++);
    }
    return base;
}

/* src, in floats or as bytes. */
static void *src_create(const run *r, region *m, const problem *t)
{
    const wf_conv2d_desc *d = &r->k->desc;
    const size_t count = (size_t)d->C * d->H * d->W, stride = count + GAP;
    if (!r->bytes)
        return images_create(r, m, wf_conv2d_src(d), d->N, t->x);
    char *base = region_create(m, stride * (size_t)d->N);
    for (int i = 0; i < d->N; i++)
        memcpy(base + (size_t)i * stride, t->bytes + (size_t)i * count, count);
    return base;
}

static double bound_of(const run *r, double sum_abs, double length)
{
    double eps = r->type == WEFT_F64 ? DBL_EPSILON : FLT_EPSILON;
    double bound = r->exact ? 0 : (length + 2) * eps * sum_abs;
    return r->transformed > 0 ? r->transformed : bound;
}

static void images_check(const run *r, const void *base, wf_act a, int n, const double *want,
                         const double *sum_abs, double length)
{
    size_t stride = stride_of(r, a);
    for (int i = 0; i < n; i++) {
        const char *image = (const char *)base + (size_t)i * stride;
        for (int c = 0; c < wf_round_up(a.C, a.block); c++)
            for (int h = 0; h < a.H; h++)
                for (int w = 0; w < a.W; w++) {
                    double got = get(r, image, wf_act_index(a, c, h, w)), exact = 0, bound = 0;
                    if (c < a.C) { /* else padding */
                        exact = *want++;
                        bound = bound_of(r, *sum_abs++, length);
                    }
                    if (!(fabs(got - exact) <= bound))
                        fail_msg("%s: image %d channel %d (%d, %d): %.9g instead of %.9g "
                                 "(bound %.3g)",
                                 r->what, i, c, h, w, got, exact, bound);
                }
        for (size_t j = stride - GAP; j < stride; j++)
            if ((unsigned char)image[j] != 0xff)
                fail_msg("%s: wrote behind image %d", r->what, i);
    }
}

static void *plain_create(const run *r, region *m, size_t n, const double *from)
{
    void *p = region_create(m, n * weft_dtype_size(r->type));
    for (size_t i = 0; from && i < n; i++)
        put(r, p, i, from[i]);
    return p;
}

static void release(const run *r, region *m)
{
    if (!region_check_free(m))
        fail_msg("%s: wrote outside a buffer", r->what);
}

static void check_images_pass(run *r, const problem *t)
{
    const wf_conv2d *k = r->k;
    const wf_conv2d_desc *d = &k->desc;
    bool forward = k->pass == WF_CONV2D_FORWARD;
    wf_act in = forward ? wf_conv2d_src(d) : wf_conv2d_dst(d);
    wf_act out = forward ? wf_conv2d_dst(d) : wf_conv2d_src(d);
    region m[7];
    char *src = forward ? src_create(r, &m[0], t) : images_create(r, &m[0], in, d->N, t->dy);
    char *dst = images_create(r, &m[1], out, d->N, NULL);
    void *w = plain_create(r, &m[2], t->n_w, t->w);
    void *bias = plain_create(r, &m[3], (size_t)d->K, t->b);
    void *packed = region_create(&m[4], k->packed_bytes);
    void *scratch = region_create(&m[5], k->scratch_bytes);
    void *table = plain_create(r, &m[6], (size_t)d->C * WF_BYTE_VALUES, t->table);
    for (int i = k->pack_tiles - 1; k->packed_bytes && i >= 0; i--) /* any order */
        assert_int_equal(wf_conv2d_pack(k, 1, w, packed, i), WEFT_OK);
    wf_conv2d_io io = {.in = src,
                       .in_stride = forward ? src_stride_of(r) : stride_of(r, in),
                       .table = r->bytes ? table : NULL,
                       .weights = k->packed_bytes ? packed : w,
                       .bias = d->bias ? bias : NULL,
                       .out = dst,
                       .out_stride = stride_of(r, out)};
    for (int i = wf_conv2d_tiles(k) - 1; i >= 0; i--)
        assert_int_equal(wf_conv2d_run(k, i % 2, &io, scratch, i), WEFT_OK);
    hash(r, dst, stride_of(r, out) * (size_t)d->N);
    double length = (double)(forward ? d->C : d->K) / d->groups * d->R * d->S + 1;
    images_check(r, dst, out, d->N, forward ? t->y : t->dx, forward ? t->y_abs : t->dx_abs, length);
    for (int i = 0; i < 7; i++)
        release(r, &m[i]);
}

static void check_weights_pass(run *r, const problem *t)
{
    const wf_conv2d *k = r->k;
    const wf_conv2d_desc *d = &k->desc;
    wf_act ya = wf_conv2d_dst(d);
    region m[6];
    void *x = src_create(r, &m[0], t);
    void *dy = images_create(r, &m[1], ya, d->N, t->dy);
    void *dw = plain_create(r, &m[2], t->n_w, NULL);
    size_t partial_sum_stride = (k->partial_sum_bytes + 63) / 64 * 64;
    void *partial_sums = region_create(&m[3], partial_sum_stride * (size_t)k->splits);
    void *scratch = region_create(&m[4], k->scratch_bytes);
    void *table = plain_create(r, &m[5], (size_t)d->C * WF_BYTE_VALUES, t->table);
    const wf_conv2d_gradient_io io = {.src = x,
                                      .src_stride = src_stride_of(r),
                                      .table = r->bytes ? table : NULL,
                                      .ddst = dy,
                                      .ddst_stride = stride_of(r, ya)};
    for (int i = k->splits * k->parts - 1; i >= 0; i--)
        assert_int_equal(
            wf_conv2d_backward_weights(k, i % 2, &io, partial_sums, partial_sum_stride, scratch, i),
            WEFT_OK);
    for (int i = k->reduce_tiles - 1; i >= 0; i--)
        assert_int_equal(wf_conv2d_reduce(k, i % 2, partial_sums, partial_sum_stride, dw, i),
                         WEFT_OK);
    hash(r, dw, t->n_w * weft_dtype_size(r->type));
    double length = (double)d->N * d->P * d->Q;
    for (size_t i = 0; i < t->n_w; i++) {
        double got = get(r, dw, i), bound = bound_of(r, t->dw_abs[i], length);
        if (!(fabs(got - t->dw[i]) <= bound))
            fail_msg("%s: weight %zu: %.9g instead of %.9g (bound %.3g)", r->what, i, got, t->dw[i],
                     bound);
    }
    for (int i = 0; i < 6; i++)
        release(r, &m[i]);
}

/* How often each implementation was tried on each pass: of floats, of bytes. */
enum { IMPLS = 32 }; /* room for so many implementations */
static int tried[2][IMPLS][3];
static int tried_emul[2][5][3];
static int n_complete; /* shapes gone through to the end, once for each kind of numbers */

/* Every pass that fits; the bits of each into `bits`, 0 where it does not fit. */
static void check_passes(const wf_conv2d_impl *impl, weft_isa isa, int *count, const problem *t,
                         wf_conv2d_desc d, bool exact, const char *name, uint64_t bits[3])
{
    const int workers = 2;
    for (int pass = 0; pass < 3; pass++) {
        char why[160] = "";
        run r = {.type = d.weights_type, .bytes = d.src_type == WEFT_U8, .exact = exact};
        bits[pass] = 0;
        d.bias = t->d.bias && pass == WF_CONV2D_FORWARD;
        wf_conv2d *k = wf_conv2d_create_impl(impl, &d, pass, isa, workers, why, sizeof why);
        r.k = k;
        if (!k) {
            assert_string_not_equal(why, "");
            continue;
        }
        snprintf(r.what, sizeof r.what, "%s %s \"%s\" blocks %d,%d%s", k->name,
                 wf_conv2d_pass_name(pass), name, d.src_block, d.dst_block,
                 r.bytes ? ", from bytes" : "");
        count[pass]++;
        r.transformed = transformed_bound(
            impl, t, pass, (r.type == WEFT_F64 ? DBL_EPSILON : (double)FLT_EPSILON) / 2);
        if (pass == WF_CONV2D_BACKWARD_WEIGHTS)
            check_weights_pass(&r, t);
        else
            check_images_pass(&r, t);
        bits[pass] = r.bits;
        note_onednn(k);
        wf_conv2d_destroy(k);
    }
}

/* From floats; where src is plain, from bytes, too: what fits must give the same bits. */
static void check_impl(const wf_conv2d_impl *impl, weft_isa isa, int (*count)[3], int n,
                       const problem *t, wf_conv2d_desc d, bool exact, const char *name)
{
    uint64_t floats[3], bytes[3];
    if (wf_select_avoids(impl->name))
        return;
    check_passes(impl, isa, count[0], t, d, exact, name, floats);
    if (d.src_block > 1)
        return;
    d.src_type = WEFT_U8;
    check_passes(impl, isa, count[n], t, d, exact, name, bytes);
    for (int pass = 0; pass < 3; pass++)
        if (bytes[pass] && bytes[pass] != floats[pass])
            fail_msg("%s %s \"%s\": bytes and what they stand for give other bits", impl->name,
                     wf_conv2d_pass_name(pass), name);
}

static void check_shape(const wf_shape_case *c, bool integers)
{
    int block = wf_isa_block(wf_cpu_isa());
    const int layouts[][2] = {{block, block}, {1, block}, {1, 1}};
    problem t;
    wf_conv2d_desc d = c->desc;
    d.bias = (c - shapes + integers) % 2; /* each shape once with, once without */
    d.src_type = WEFT_F32;                /* bytes are tried besides */
    random_state = (uint64_t)d.C * 1000003u + (uint64_t)d.H;
    assert_true(wf_conv2d_n_impls <= IMPLS);
    problem_create(&t, &d, integers ? INTEGERS : FLOATS);
    for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++)
        for (int i = 0; i < wf_conv2d_n_impls; i++) {
            d.src_block = layouts[l][0];
            d.dst_block = layouts[l][1];
            check_impl(wf_conv2d_impls[i], wf_cpu_isa(), &tried[0][i], IMPLS, &t, d, integers,
                       c->name);
        }
    for (int l = 0; l < 2 && wf_cpu_isa() == WEFT_ISA_AVX2; l++) {
        d.src_block = l == 0 ? 16 : 1;
        d.dst_block = 16;
        const wf_conv2d_impl *const emul[] = {
            &wf_conv2d_winograd_emul, &wf_conv2d_winograd_weights_emul, &wf_conv2d_gemm_emul,
            &wf_conv2d_depthwise_emul, &wf_conv2d_gemm_weights_emul};
        for (int i = 0; i < 5; i++)
            check_impl(emul[i], WEFT_ISA_AVX512, &tried_emul[0][i], 5, &t, d, integers, c->name);
    }
    d.src_block = d.dst_block = 1;
    d.src_type = d.weights_type = d.dst_type = WEFT_F64;
    for (int i = 0; i < wf_conv2d_n_impls; i++)
        check_impl(wf_conv2d_impls[i], wf_cpu_isa(), &tried[0][i], IMPLS, &t, d, integers, c->name);
    problem_destroy(&t);
    n_complete++;
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void integers_are_exact(void **unused)
{
    for (int i = 0; i < n_shapes; i++)
        check_shape(&shapes[i], true);
}

static void random_numbers_are_within_the_bound(void **unused)
{
    for (int i = 0; i < n_shapes; i++)
        check_shape(&shapes[i], false);
}

/* Note [Admitted kernels] */
static void what_onednn_may_run_was_tried(void **unused)
{
    if (getenv("WEFT_TEST_SHAPES") || n_complete < 2 * n_shapes || !knows_this_onednn(false))
        skip();
    check_tried_onednn(false);
}

static void every_kernel_was_tried(void **unused)
{
    if (getenv("WEFT_TEST_SHAPES") || getenv("WEFT_AVOID") || n_complete < 2 * n_shapes)
        skip(); /* not all was to be tried, or a test above has failed */
    for (int i = 0; i < wf_conv2d_n_impls; i++) {
        int sum = tried[0][i][0] + tried[0][i][1] + tried[0][i][2];
        bool replaced = wf_cpu_isa() == WEFT_ISA_AVX512 && /* its block is 8 */
                        strstr(wf_conv2d_impls[i]->name, ":avx2") != NULL;
        bool unknown = strcmp(wf_conv2d_impls[i]->name, "onednn") == 0 && !knows_this_onednn(false);
        bool elsewhere = strstr(wf_conv2d_impls[i]->name, "bf16") != NULL; /* test_conv2d_bf16.c */
        if (wf_conv2d_impls[i]->isa <= wf_cpu_isa() && !replaced && !unknown && !elsewhere &&
            sum == 0)
            fail_msg("%s never fits", wf_conv2d_impls[i]->name);
    }
    int(*const emul)[3] = tried_emul[0];
    assert_true(wf_cpu_isa() != WEFT_ISA_AVX2 ||
                (emul[0][WF_CONV2D_FORWARD] && emul[0][WF_CONV2D_BACKWARD_DATA] &&
                 emul[1][WF_CONV2D_BACKWARD_WEIGHTS] && emul[2][WF_CONV2D_FORWARD] &&
                 emul[2][WF_CONV2D_BACKWARD_DATA] && emul[3][WF_CONV2D_FORWARD] &&
                 emul[3][WF_CONV2D_BACKWARD_DATA] && emul[3][WF_CONV2D_BACKWARD_WEIGHTS] &&
                 emul[4][WF_CONV2D_BACKWARD_WEIGHTS] && tried_emul[1][2][WF_CONV2D_FORWARD] &&
                 tried_emul[1][4][WF_CONV2D_BACKWARD_WEIGHTS]));
    int ref = wf_conv2d_n_impls - 1;
    assert_string_equal(wf_conv2d_impls[ref]->name, "ref");
    for (int pass = 0; pass < 3; pass++) { /* three layouts and f64, both kinds of numbers */
        assert_int_equal(tried[0][ref][pass], n_shapes * 4 * 2);
        assert_int_equal(tried[1][ref][pass],
                         pass == WF_CONV2D_BACKWARD_DATA ? 0 : n_shapes * 3 * 2);
    }
}

static void the_choice_never_fails(void **unused)
{
    int block = wf_isa_block(wf_cpu_isa());
    for (int i = 0; i < n_shapes; i++)
        for (int pass = 0; pass < 3; pass++) {
            wf_conv2d_desc d = shapes[i].desc;
            d.src_block = d.dst_block = block;
            d.src_type = WEFT_F32;
            wf_conv2d *k = wf_conv2d_create(&d, pass, wf_cpu_isa(), 1, NULL);
            assert_non_null(k);
            assert_true(k->splits >= 1 && k->splits * k->split_images >= d.N);
            wf_conv2d_destroy(k);
            k = wf_conv2d_create(&d, pass, WEFT_ISA_SCALAR, 1, NULL);
            assert_non_null(k);
            assert_string_equal(k->name, "ref");
            wf_conv2d_destroy(k);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(random_numbers_are_within_the_bound),
        cmocka_unit_test(every_kernel_was_tried),
        cmocka_unit_test(what_onednn_may_run_was_tried),
        cmocka_unit_test(the_choice_never_fails),
    };
    return cmocka_run_group_tests_name("conv2d", tests, read_shapes, free_shapes);
}
