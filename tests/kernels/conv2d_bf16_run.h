/* What a convolution kernel over bf16 images is tried with: operands between guards, and checks of all its passes
 * against plain formulas in double. test_conv2d_bf16.c says what the numbers are and how near results must lie. */
#ifndef TESTS_KERNELS_CONV2D_BF16_RUN_H
#define TESTS_KERNELS_CONV2D_BF16_RUN_H

#include <float.h>

#include "tests/kernels/conv2d_problem.h"
#include "tests/kernels/onednn_tried.h"

/* ---- operands ------------------------------------------------------------------------------- */

typedef struct images {
    region memory;
    char *base;
    wf_act act;
    weft_dtype type;
    size_t stride; /* bytes: a gap of NaN behind each image */
} images;

static void put(weft_dtype type, void *p, size_t i, double v)
{
    const float f = (float)v;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (type == WEFT_BF16)
        ((uint16_t *)p)[i] = (uint16_t)(bits >> 16); /* exact */
    else
        ((float *)p)[i] = f;
}

static double get(weft_dtype type, const void *p, size_t i)
{
    if (type == WEFT_F32)
        return (double)((const float *)p)[i];
    const uint32_t bits = (uint32_t)((const uint16_t *)p)[i] << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

static images images_create(wf_act act, weft_dtype type, int n, const double *plain)
{
    images m = {.act = act, .type = type};
    m.stride = wf_act_count(act) * weft_dtype_size(type) + GAP;
    m.base = region_create(&m.memory, m.stride * (size_t)n);
    for (int i = 0; plain && i < n; i++) {
        char *image = m.base + (size_t)i * m.stride;
        memset(image, 0, m.stride - GAP);
        for (int c = 0; c < act.C; c++)
            for (int h = 0; h < act.H; h++)
                for (int w = 0; w < act.W; w++)
                    put(type, image, wf_act_index(act, c, h, w), *plain++);
    }
    return m;
}

static images bytes_create(const wf_conv2d_desc *d, const uint8_t *bytes)
{
    images m = {.act = wf_conv2d_src(d), .type = WEFT_U8};
    const size_t count = wf_act_count(m.act);
    m.stride = count + GAP;
    m.base = region_create(&m.memory, m.stride * (size_t)d->N);
    for (int i = 0; i < d->N; i++)
        memcpy(m.base + (size_t)i * m.stride, bytes + (size_t)i * count, count);
    return m;
}

static float *floats_create(region *m, size_t n, const double *from)
{
    float *p = region_create(m, n * sizeof *p);
    for (size_t i = 0; from && i < n; i++)
        put(WEFT_F32, p, i, from[i]);
    return p;
}

/* ---- one kernel ----------------------------------------------------------------------------- */

typedef struct run {
    const wf_conv2d *k;
    const problem *t;
    bool exact;
    double transformed; /* the bound of a kernel with an amplification, wf_conv2d_impl; 0: none */
    uint64_t bits;      /* of the output, hashed */
    char what[200];
} run;

static void hash(run *r, const void *data, size_t bytes) /* FNV-1a */
{
    r->bits = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++)
        r->bits = (r->bits ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
}

static void release(const run *r, region *m)
{
    if (!region_check_free(m))
        fail_msg("%s: wrote outside a buffer", r->what);
}

/* A sum of `length` products against what it is exactly. */
static void check_number(const run *r, weft_dtype type, double got, double want, double sum_abs,
                         double length, size_t at)
{
    double bound = r->transformed > 0 ? r->transformed
                   : r->exact         ? 0
                                      : (length + 2) * FLT_EPSILON * sum_abs;
    if (type == WEFT_BF16 && r->exact && r->transformed == 0)
        want = to_bf16(want);
    else if (type == WEFT_BF16)
        bound += (fabs(want) + bound) * 0x1p-8;
    if (!(fabs(got - want) <= bound))
        fail_msg("%s: element %zu: %.9g instead of %.9g (bound %.3g)", r->what, at, got, want,
                 bound);
}

static void check_images(const run *r, const images *m, int n, const double *want,
                         const double *sum_abs, double length)
{
    const wf_act a = m->act;
    for (int i = 0; i < n; i++) {
        const char *image = m->base + (size_t)i * m->stride;
        for (int c = 0; c < wf_round_up(a.C, a.block); c++)
            for (int h = 0; h < a.H; h++)
                for (int w = 0; w < a.W; w++) {
                    const size_t at = wf_act_index(a, c, h, w);
                    const double got = get(m->type, image, at);
                    if (c < a.C)
                        check_number(r, m->type, got, *want++, *sum_abs++, length, at);
                    else
                        check_number(r, m->type, got, 0, 0, 0, at); /* padding */
                }
        for (size_t j = m->stride - GAP; j < m->stride; j++)
            if ((unsigned char)image[j] != 0xff)
                fail_msg("%s: wrote behind image %d", r->what, i);
    }
}

static images src_create(const run *r)
{
    const wf_conv2d_desc *d = &r->k->desc;
    return d->src_type == WEFT_U8 ? bytes_create(d, r->t->bytes)
                                  : images_create(wf_conv2d_src(d), d->src_type, d->N, r->t->x);
}

static void check_images_pass(run *r)
{
    const wf_conv2d *k = r->k;
    const wf_conv2d_desc *d = &k->desc;
    const problem *t = r->t;
    const bool forward = k->pass == WF_CONV2D_FORWARD;
    images in = forward ? src_create(r) : images_create(wf_conv2d_dst(d), d->dst_type, d->N, t->dy);
    images out = images_create(forward ? wf_conv2d_dst(d) : wf_conv2d_src(d),
                               forward ? d->dst_type : d->src_type, d->N, NULL);
    region m[5];
    float *w = floats_create(&m[0], t->n_w, t->w);
    float *bias = floats_create(&m[1], (size_t)d->K, t->b);
    void *packed = region_create(&m[2], k->packed_bytes);
    void *scratch = region_create(&m[3], k->scratch_bytes);
    float *table = floats_create(&m[4], (size_t)d->C * WF_BYTE_VALUES, t->table);
    for (int i = k->pack_tiles - 1; k->packed_bytes && i >= 0; i--) /* any order */
        assert_int_equal(wf_conv2d_pack(k, 1, w, packed, i), WEFT_OK);
    const wf_conv2d_io io = {.in = in.base,
                             .in_stride = in.stride,
                             .table = in.type == WEFT_U8 ? table : NULL,
                             .weights = k->packed_bytes ? packed : w,
                             .bias = d->bias ? bias : NULL,
                             .out = out.base,
                             .out_stride = out.stride};
    for (int i = wf_conv2d_tiles(k) - 1; i >= 0; i--)
        assert_int_equal(wf_conv2d_run(k, i % 2, &io, scratch, i), WEFT_OK);
    hash(r, out.base, out.stride * (size_t)d->N);
    const double length = (double)(forward ? d->C : d->K) / d->groups * d->R * d->S + 1;
    check_images(r, &out, d->N, forward ? t->y : t->dx, forward ? t->y_abs : t->dx_abs, length);
    release(r, &in.memory);
    release(r, &out.memory);
    for (int i = 0; i < 5; i++)
        release(r, &m[i]);
}

static void check_weights_pass(run *r)
{
    const wf_conv2d *k = r->k;
    const wf_conv2d_desc *d = &k->desc;
    const problem *t = r->t;
    images x = src_create(r);
    images dy = images_create(wf_conv2d_dst(d), d->dst_type, d->N, t->dy);
    const size_t partial_sum_stride = (k->partial_sum_bytes + 63) / 64 * 64;
    region m[4];
    float *dw = floats_create(&m[0], t->n_w, NULL);
    void *partial_sums = region_create(&m[1], partial_sum_stride * (size_t)k->splits);
    void *scratch = region_create(&m[2], k->scratch_bytes);
    float *table = floats_create(&m[3], (size_t)d->C * WF_BYTE_VALUES, t->table);
    const wf_conv2d_gradient_io io = {.src = x.base,
                                      .src_stride = x.stride,
                                      .table = x.type == WEFT_U8 ? table : NULL,
                                      .ddst = dy.base,
                                      .ddst_stride = dy.stride};
    for (int i = k->splits * k->parts - 1; i >= 0; i--)
        assert_int_equal(
            wf_conv2d_backward_weights(k, i % 2, &io, partial_sums, partial_sum_stride, scratch, i),
            WEFT_OK);
    for (int i = k->reduce_tiles - 1; i >= 0; i--)
        assert_int_equal(wf_conv2d_reduce(k, i % 2, partial_sums, partial_sum_stride, dw, i),
                         WEFT_OK);
    hash(r, dw, t->n_w * sizeof *dw);
    const double length = (double)d->N * d->P * d->Q;
    for (size_t i = 0; i < t->n_w; i++)
        check_number(r, WEFT_F32, (double)dw[i], t->dw[i], t->dw_abs[i], length, i);
    release(r, &x.memory);
    release(r, &dy.memory);
    for (int i = 0; i < 4; i++)
        release(r, &m[i]);
}

/* Every pass that fits; the bits of each into `bits`, 0 where it does not fit. */
static void check_passes(const wf_conv2d_impl *impl, weft_isa isa, int count[3], const problem *t,
                         wf_conv2d_desc d, bool exact, const char *name, uint64_t bits[3])
{
    for (int pass = 0; pass < 3; pass++) {
        char why[160] = "";
        bits[pass] = 0;
        d.bias = t->d.bias && pass == WF_CONV2D_FORWARD;
        wf_conv2d *k = wf_conv2d_create_impl(impl, &d, pass, isa, 2, why, sizeof why);
        if (!k) {
            assert_string_not_equal(why, "");
            continue;
        }
        run r = {.k = k,
                 .t = t,
                 .exact = exact,
                 .transformed = transformed_bound(impl, t, pass, (double)FLT_EPSILON / 2)};
        snprintf(r.what, sizeof r.what, "%s %s \"%s\" %s in blocks of %d, %s of %d", k->name,
                 wf_conv2d_pass_name(pass), name, weft_dtype_name(d.src_type), d.src_block,
                 weft_dtype_name(d.dst_type), d.dst_block);
        count[pass]++;
        if (pass == WF_CONV2D_BACKWARD_WEIGHTS)
            check_weights_pass(&r);
        else
            check_images_pass(&r);
        bits[pass] = r.bits;
        note_onednn(k);
        wf_conv2d_destroy(k);
    }
}

#endif
