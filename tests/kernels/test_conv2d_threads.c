/* Note [oneDNN and threads]: kernels created where OpenMP offers several threads and run by several
 * workers at once give the bits of one worker. Without the care of kernels/onednn a weight gradient
 * is silently wrong here. The same of kernels over bf16 images. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernels/conv2d/conv2d.h"

enum { MAX_WORKERS = 4 };

typedef struct data {
    wf_conv2d *forward, *backward_data, *backward_weights;
    float *w, *dw, *packed, *packed_t, *partial_sums;
    char *x, *y, *dx, *scratch;
    size_t x_bytes, y_bytes; /* of an image */
    size_t scratch_bytes, partial_sum_stride;
} data;

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    assert_non_null(p);
    memset(p, 0, (bytes + 127) / 64 * 64);
    return p;
}

static float *noise(size_t n, unsigned seed)
{
    float *p = memory(n * sizeof *p);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (float)(int32_t)seed * 0x1p-31f;
    }
    return p;
}

static char *images(size_t n, weft_dtype type, unsigned seed)
{
    float *p = noise(n, seed);
    uint32_t *bits = (uint32_t *)(void *)p;
    uint16_t *halves = (uint16_t *)(void *)p;
    for (size_t i = 0; type == WEFT_BF16 && i < n; i++)
        halves[i] = (uint16_t)(bits[i] >> 16);
    return (char *)p;
}

/* The kernels that a machine with so many workers plans; prefer: NULL, or an implementation's name. */
static void create(data *t, const wf_conv2d_desc *d, int workers, const char *prefer)
{
    size_t n_x = wf_act_count(wf_conv2d_src(d)), n_y = wf_act_count(wf_conv2d_dst(d));
    t->x_bytes = n_x * weft_dtype_size(d->src_type);
    t->y_bytes = n_y * weft_dtype_size(d->dst_type);
    t->forward = wf_conv2d_create(d, WF_CONV2D_FORWARD, wf_cpu_isa(), workers, prefer);
    t->backward_data = wf_conv2d_create(d, WF_CONV2D_BACKWARD_DATA, wf_cpu_isa(), workers, prefer);
    t->backward_weights =
        wf_conv2d_create(d, WF_CONV2D_BACKWARD_WEIGHTS, wf_cpu_isa(), workers, prefer);
    const wf_conv2d *all[] = {t->forward, t->backward_data, t->backward_weights};
    t->scratch_bytes = 64;
    for (int i = 0; i < 3; i++) {
        assert_non_null(all[i]);
        if (all[i]->scratch_bytes > t->scratch_bytes)
            t->scratch_bytes = (all[i]->scratch_bytes + 63) / 64 * 64;
    }
    t->scratch = memory(t->scratch_bytes * MAX_WORKERS);
    t->partial_sum_stride = (t->backward_weights->partial_sum_bytes + 63) / 64 * 64;
    t->partial_sums = memory(t->partial_sum_stride * (size_t)t->backward_weights->splits);
    t->x = images(n_x * (size_t)d->N, d->src_type, 1);
    t->w = noise(wf_conv2d_weights_count(d), 2);
    t->y = images(n_y * (size_t)d->N, d->dst_type, 3);
    t->dx = memory(t->x_bytes * (size_t)d->N);
    t->dw = memory(wf_conv2d_weights_count(d) * sizeof(float));
    t->packed = memory(t->forward->packed_bytes);
    t->packed_t = memory(t->backward_data->packed_bytes);
}

static void destroy(data *t)
{
    wf_conv2d_destroy(t->forward);
    wf_conv2d_destroy(t->backward_data);
    wf_conv2d_destroy(t->backward_weights);
    void *all[] = {t->x,      t->w, t->y, t->dx, t->dw, t->packed, t->packed_t, t->partial_sums,
                   t->scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static const float *weights_of(const wf_conv2d *k, const float *plain, const float *packed)
{
    return k->packed_bytes ? packed : plain;
}

/* forward into y, backward-data of y into dx, backward-weights of x and y into dw. */
static void step(data *t, const wf_conv2d_desc *d, int threads)
{
    const wf_conv2d *fw = t->forward, *bd = t->backward_data, *bw = t->backward_weights;
    const size_t x_stride = t->x_bytes, y_stride = t->y_bytes;
    const wf_conv2d_io forward = {.in = t->x,
                                  .in_stride = x_stride,
                                  .weights = weights_of(fw, t->w, t->packed),
                                  .out = t->y,
                                  .out_stride = y_stride};
    const wf_conv2d_io backward = {.in = t->y,
                                   .in_stride = y_stride,
                                   .weights = weights_of(bd, t->w, t->packed_t),
                                   .out = t->dx,
                                   .out_stride = x_stride};
    const wf_conv2d_gradient_io gradient = {
        .src = t->x, .src_stride = x_stride, .ddst = t->y, .ddst_stride = y_stride};
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(+ : failed)
    {
        int me = omp_get_thread_num();
        char *scratch = t->scratch + (size_t)me * t->scratch_bytes;
        omp_set_num_threads(1);
#pragma omp for schedule(dynamic)
        for (int i = 0; i < fw->pack_tiles; i++)
            if (fw->packed_bytes)
                failed += wf_conv2d_pack(fw, me, t->w, t->packed, i) != WEFT_OK;
#pragma omp for schedule(dynamic)
        for (int i = 0; i < bd->pack_tiles; i++)
            if (bd->packed_bytes)
                failed += wf_conv2d_pack(bd, me, t->w, t->packed_t, i) != WEFT_OK;
#pragma omp for schedule(dynamic)
        for (int i = 0; i < wf_conv2d_tiles(fw); i++)
            failed += wf_conv2d_run(fw, me, &forward, scratch, i) != WEFT_OK;
#pragma omp for schedule(dynamic) nowait /* the two run side by side */
        for (int i = 0; i < wf_conv2d_tiles(bd); i++)
            failed += wf_conv2d_run(bd, me, &backward, scratch, i) != WEFT_OK;
#pragma omp for schedule(dynamic)
        for (int i = 0; i < bw->splits * bw->parts; i++)
            failed += wf_conv2d_backward_weights(bw, me, &gradient, t->partial_sums,
                                                 t->partial_sum_stride, scratch, i) != WEFT_OK;
#pragma omp for schedule(dynamic)
        for (int i = 0; i < bw->reduce_tiles; i++)
            failed += wf_conv2d_reduce(bw, me, t->partial_sums, t->partial_sum_stride, t->dw, i) !=
                      WEFT_OK;
    }
    assert_int_equal(failed, 0);
}

/* prefer: NULL, or whose kernels are taken where no shape asks for others. */
static void check(weft_dtype type, const char *prefer)
{
    int block = wf_isa_block(wf_cpu_isa());
    const wf_conv2d_desc shapes[] = {
        {.N = 12, .C = 32, .H = 14, .W = 14, .K = 64, .R = 3, .S = 3, .padding = {1, 1}},
        {.N = 8, .C = 64, .H = 7, .W = 7, .K = 128, .R = 3, .S = 3, .padding = {1, 1}},
        {.N = 9, .C = 64, .H = 14, .W = 14, .K = 32, .R = 1, .S = 1},
        {.N = 6, .C = 32, .H = 9, .W = 9, .K = 32, .R = 3, .S = 3, .padding = {1, 1}},
        /* By Winograd: few images, which more workers cut into rows of patches or output channels. */
        {.N = 1, .C = 64, .H = 29, .W = 27, .K = 64, .R = 3, .S = 3, .padding = {1, 1}},
        {.N = 1, .C = 128, .H = 14, .W = 14, .K = 160, .R = 3, .S = 3, .padding = {1, 1}},
        {.N = 2, .C = 272, .H = 7, .W = 7, .K = 256, .R = 3, .S = 3, .padding = {1, 1}},
    };
    char winograd[32];
    snprintf(winograd, sizeof winograd, "winograd:%s", weft_isa_name(wf_cpu_isa()));
    int was = omp_get_max_threads();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        wf_conv2d_desc d = shapes[i];
        d.stride[0] = d.stride[1] = i == 3 ? 2 : 1;
        d.dilation[0] = d.dilation[1] = d.groups = 1;
        d.src_block = d.dst_block = block;
        d.src_type = d.dst_type = type;
        assert_true(wf_conv2d_output(&d));
        omp_set_num_threads(MAX_WORKERS); /* what creation must not be misled by */
        data t, one;
        create(&t, &d, MAX_WORKERS, i > 3 ? winograd : prefer);
        assert_int_equal(omp_get_max_threads(), MAX_WORKERS);
        create(&one, &d, 1, i > 3 ? winograd : prefer);
        step(&one, &d, 1);
        for (int threads = 2; threads <= MAX_WORKERS; threads++) {
            step(&t, &d, threads);
            assert_memory_equal(t.y, one.y, t.y_bytes * (size_t)d.N);
            assert_memory_equal(t.dx, one.dx, t.x_bytes * (size_t)d.N);
            assert_memory_equal(t.dw, one.dw, wf_conv2d_weights_count(&d) * sizeof(float));
        }
        destroy(&t);
        destroy(&one);
    }
    omp_set_num_threads(was);
}

static void any_number_of_workers_gives_the_same_bits(void **unused)
{
    check(WEFT_F32, NULL);
}

static void and_so_over_images_of_bf16(void **unused)
{
    check(WEFT_BF16, NULL);
}

static void and_so_by_onednn_over_images_of_bf16(void **unused)
{
    check(WEFT_BF16, "onednn_bf16"); /* which is passed over where it does not fit */
}

/* A first layer has one vector of input channels for each channel, and frames with a halo: its pixels are
 * cut until 64 cores have work, as often for one worker as for many. */
static void a_first_layer_has_work_for_many_cores(void **unused)
{
    const int block = wf_isa_block(wf_cpu_isa());
    const wf_conv2d_desc d = {.N = 16,
                              .C = 3,
                              .H = 224,
                              .W = 224,
                              .K = 64,
                              .R = 7,
                              .S = 7,
                              .P = 112,
                              .Q = 112,
                              .stride = {2, 2},
                              .padding = {3, 3},
                              .dilation = {1, 1},
                              .groups = 1,
                              .src_block = 1,
                              .dst_block = block,
                              .src_type = WEFT_F32,
                              .weights_type = WEFT_F32,
                              .dst_type = WEFT_F32};
    for (int i = 0; i < wf_conv2d_n_impls; i++) {
        char why[160];
        const wf_conv2d_impl *impl = wf_conv2d_impls[i];
        if (strncmp(impl->name, "gemm", 4) != 0 || impl->isa != wf_cpu_isa())
            continue;
        wf_conv2d *k[2];
        for (int j = 0; j < 2; j++)
            k[j] = wf_conv2d_create_impl(impl, &d, WF_CONV2D_BACKWARD_WEIGHTS, wf_cpu_isa(),
                                         j ? 64 : 1, why, sizeof why);
        if (k[0] && k[1]) {
            assert_true(k[0]->splits * k[0]->parts >= 64);
            assert_int_equal(k[0]->parts, k[1]->parts);
        }
        wf_conv2d_destroy(k[0]);
        wf_conv2d_destroy(k[1]);
    }
}

/* The kernel of one worker is the kernel of any number, at the same expected cost: else a plan, and the
 * bits of a step, would depend on the number of threads. */
static void the_choice_does_not_depend_on_the_number_of_workers(void **unused)
{
    static const int channels[] = {32, 64, 128, 256, 512}, sides[] = {4, 7, 14, 28, 56};
    static const int images[] = {1, 2, 3, 8}, workers[] = {2, 3, 7, 64};
    enum { N_CHANNELS = 5, N_SIDES = 5, N_IMAGES = 4, N_WORKERS = 4 };
    const int block = wf_isa_block(wf_cpu_isa());
    for (int i = 0; i < N_CHANNELS * N_CHANNELS * N_SIDES * N_IMAGES; i++) {
        const int side = sides[i / (N_CHANNELS * N_CHANNELS) % N_SIDES];
        const wf_conv2d_desc d = {.N = images[i / (N_CHANNELS * N_CHANNELS * N_SIDES)],
                                  .C = channels[i % N_CHANNELS],
                                  .K = channels[i / N_CHANNELS % N_CHANNELS],
                                  .H = side,
                                  .W = side,
                                  .P = side,
                                  .Q = side,
                                  .R = 3,
                                  .S = 3,
                                  .stride = {1, 1},
                                  .padding = {1, 1},
                                  .dilation = {1, 1},
                                  .groups = 1,
                                  .src_block = block,
                                  .dst_block = block,
                                  .src_type = WEFT_F32,
                                  .weights_type = WEFT_F32,
                                  .dst_type = WEFT_F32};
        for (int pass = 0; pass < 3; pass++) {
            wf_conv2d *one = wf_conv2d_create(&d, (wf_conv2d_pass)pass, wf_cpu_isa(), 1, NULL);
            assert_non_null(one);
            for (int j = 0; j < N_WORKERS; j++) {
                wf_conv2d *many =
                    wf_conv2d_create(&d, (wf_conv2d_pass)pass, wf_cpu_isa(), workers[j], NULL);
                assert_non_null(many);
                if (strcmp(many->name, one->name) != 0 || many->cycles < one->cycles ||
                    many->cycles > one->cycles)
                    fail_msg(
                        "%d images %dx%d, %d to %d channels, %s: %s (%.0f cycles) for 1 worker, "
                        "%s (%.0f) for %d",
                        d.N, side, side, d.C, d.K, wf_conv2d_pass_name((wf_conv2d_pass)pass),
                        one->name, one->cycles, many->name, many->cycles, workers[j]);
                wf_conv2d_destroy(many);
            }
            wf_conv2d_destroy(one);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_workers_gives_the_same_bits),
        cmocka_unit_test(and_so_over_images_of_bf16),
        cmocka_unit_test(and_so_by_onednn_over_images_of_bf16),
        cmocka_unit_test(a_first_layer_has_work_for_many_cores),
        cmocka_unit_test(the_choice_does_not_depend_on_the_number_of_workers),
    };
    return cmocka_run_group_tests_name("conv2d_threads", tests, NULL, NULL);
}
