/* Mixup and cutmix: the distribution of their shares, what they do to images, and targets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/transform/mix.h"
#include "statistics.h"

enum { N = 100000 };
static double x[N], y[N];
static uint64_t other = 2;

/* ---- Beta ----------------------------------------------------------------------------------- */

static double arcsine(double v) /* Beta(1/2, 1/2) */
{
    return 2 / M_PI * asin(sqrt(v));
}
static double smoothstep(double v) /* Beta(2, 2) */
{
    return v * v * (3 - 2 * v);
}

static void draw_lambdas(double alpha)
{
    const weft_transform t = {.height = 8, .width = 8, .mixup_alpha = alpha};
    for (int i = 0; i < N; i++) {
        const wf_mixture m = wf_choose_mixture(&t, 3, i % 5, i);
        assert_true(m.lambda >= 0 && m.lambda <= 1 && !m.cut);
        x[i] = m.lambda;
    }
}

static void lambda_is_beta_distributed(void **state)
{
    static const struct {
        double alpha;
        double (*F)(double);
    } cases[] = {{0.5, arcsine}, {1, stat_flat}, {2, smoothstep}};
    for (int i = 0; i < 3; i++) {
        draw_lambdas(cases[i].alpha);
        stat_has("Beta", x, N, cases[i].F, 0);
    }
}

/* Joehnk, "Erzeugung von betaverteilten und gammaverteilten Zufallszahlen" (1964), from another
 * generator: for alpha below 1. */
static double beta_by_joehnk(double alpha)
{
    for (;;) {
        const double a = pow(stat_uniform(&other), 1 / alpha);
        const double b = pow(stat_uniform(&other), 1 / alpha);
        if (a + b > 0 && a + b <= 1)
            return a / (a + b);
    }
}

static void torchvisions_alpha_gives_joehnks_beta(void **state)
{
    draw_lambdas(0.2);
    for (int i = 0; i < N; i++)
        y[i] = beta_by_joehnk(0.2);
    stat_alike("Beta(0.2, 0.2)", x, N, y, N);
}

/* With so small a shape a gamma has no double: all or nothing, but a number. A share in between has
 * a probability of about alpha ln(1e12) / 2 = 1.4e-8 a draw. */
static void tiny_and_huge_alphas_give_shares(void **state)
{
    int64_t ones = 0;
    draw_lambdas(1e-9);
    for (int i = 0; i < N; i++) {
        assert_true(x[i] < 1e-6 || x[i] > 1 - 1e-6);
        ones += x[i] > 0.5;
    }
    stat_share("all", ones, N, 0.5);
    draw_lambdas(1e6);
    for (int i = 0; i < N; i++) /* a standard deviation is 1 / sqrt(8e6) */
        assert_true(fabs(x[i] - 0.5) < 8 / sqrt(8e6));
}

/* ---- cutmix --------------------------------------------------------------------------------- */

/* CutMix.make_params with alpha 1, from another generator. */
static double kept_by_definition(int height, int width)
{
    const double lambda = stat_uniform(&other), r = 0.5 * sqrt(1 - lambda);
    const int cx = (int)(stat_uniform(&other) * width), cy = (int)(stat_uniform(&other) * height);
    const int w = (int)(r * width), h = (int)(r * height);
    const int x1 = cx - w > 0 ? cx - w : 0, y1 = cy - h > 0 ? cy - h : 0;
    const int x2 = cx + w < width ? cx + w : width, y2 = cy + h < height ? cy + h : height;
    return 1 - (double)(x2 - x1) * (y2 - y1) / ((double)width * height);
}

static void cutmix_boxes_have_their_definitions_areas(void **state)
{
    const weft_transform t = {.height = 60, .width = 80, .cutmix_alpha = 1};
    for (int i = 0; i < N; i++) {
        const wf_mixture m = wf_choose_mixture(&t, 4, 0, i);
        assert_true(m.cut && m.left >= 0 && m.top >= 0 && m.right <= 80 && m.bottom <= 60);
        assert_true(m.left <= m.right && m.top <= m.bottom);
        assert_true(fabs(m.lambda - 1 + (m.right - m.left) * (m.bottom - m.top) / 4800.0) < 1e-12);
        x[i] = m.lambda;
        y[i] = kept_by_definition(60, 80);
    }
    stat_alike("the share that is kept", x, N, y, N);
}

static void with_both_half_of_the_batches_are_cut(void **state)
{
    const weft_transform t = {.height = 8, .width = 8, .mixup_alpha = 0.2, .cutmix_alpha = 1};
    int64_t cut = 0;
    for (int i = 0; i < N; i++)
        cut += wf_choose_mixture(&t, 5, 1, i).cut;
    stat_share("cutmix", cut, N, 0.5);
}

/* ---- batches -------------------------------------------------------------------------------- */

enum { BATCH = 5, C = 3, H = 12, W = 17, IMAGE = C * H * W, K = 4 };
static const int64_t LABELS[BATCH] = {2, 0, 2, 3, 3};

typedef struct batch {
    uint8_t before[BATCH * IMAGE], images[BATCH * IMAGE];
    float targets[BATCH * K];
} batch;

static void mix(const weft_transform *t, int64_t n, int64_t number, batch *b)
{
    wf_transform_state *s = wf_transform_state_create();
    for (int i = 0; i < BATCH * IMAGE; i++)
        b->images[i] = b->before[i] = (uint8_t)(i * 59 + i / 255);
    assert_int_equal(
        wf_transform_mix(s, t, 6, 2, number, n, C, K, b->images, LABELS, b->targets, NULL),
        WEFT_OK);
    wf_transform_state_destroy(s);
}

/* Each class has the share of the images that bear it, and the shares add up to 1. */
static void check_targets(const batch *b, int n, double lambda)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k < K; k++) {
            const double want =
                (LABELS[i] == k ? lambda : 0) + (LABELS[(i + n - 1) % n] == k ? 1 - lambda : 0);
            if (fabs((double)b->targets[i * K + k] - want) > 0x1p-23)
                fail_msg("target %d of image %d: %g, expected %g", k, i,
                         (double)b->targets[i * K + k], want);
        }
}

static void each_image_is_mixed_with_the_one_before(void **state)
{
    static batch b;
    for (int kind = 0; kind < 2; kind++)
        for (int n = 1; n <= BATCH; n += 2)
            for (int number = 0; number < 20; number++) {
                const weft_transform t = {
                    .height = H, .width = W, .mixup_alpha = kind ? 0 : 1, .cutmix_alpha = kind};
                const wf_mixture m = wf_choose_mixture(&t, 6, 2, number);
                mix(&t, n, number, &b);
                check_targets(&b, n, m.lambda);
                for (int i = 0; i < n * IMAGE; i++) {
                    const int own = b.before[i];
                    const int from = b.before[(i + (n - 1) * IMAGE) % (n * IMAGE)];
                    const int h = i / W % H, w = i % W;
                    const bool in_box = h >= m.top && h < m.bottom && w >= m.left && w < m.right;
                    const double exact =
                        kind ? in_box ? from : own : own * m.lambda + from * (1 - m.lambda);
                    if (fabs(b.images[i] - exact) > (kind ? 0 : 0.5 + 0x1p-14))
                        fail_msg("byte %d of batch %d: %d, exactly %g", i, number, b.images[i],
                                 exact);
                }
                for (int i = n * IMAGE; i < BATCH * IMAGE; i++)
                    assert_int_equal(b.images[i], b.before[i]);
            }
}

static void without_mixing_targets_are_the_labels(void **state)
{
    static batch b;
    const weft_transform t = {.height = H, .width = W};
    assert_false(wf_transform_mixes(&t));
    mix(&t, BATCH, 0, &b);
    check_targets(&b, BATCH, 1);
    assert_memory_equal(b.images, b.before, sizeof b.images);
}

static void a_label_out_of_range_leaves_the_batch(void **state)
{
    static batch b;
    const weft_transform t = {.height = H, .width = W, .mixup_alpha = 1};
    const int64_t labels[] = {0, 4};
    weft_error err = {0};
    wf_transform_state *s = wf_transform_state_create();
    memset(b.images, 7, sizeof b.images);
    assert_int_equal(wf_transform_mix(s, &t, 1, 1, 1, 2, C, K, b.images, labels, b.targets, &err),
                     WEFT_ERR_INVALID);
    assert_string_equal(err.text, "mixup: label 4 of image 1 of the batch: expected 0 to 3");
    for (size_t i = 0; i < sizeof b.images; i++)
        assert_int_equal(b.images[i], 7);
    wf_transform_state_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lambda_is_beta_distributed),
        cmocka_unit_test(torchvisions_alpha_gives_joehnks_beta),
        cmocka_unit_test(tiny_and_huge_alphas_give_shares),
        cmocka_unit_test(cutmix_boxes_have_their_definitions_areas),
        cmocka_unit_test(with_both_half_of_the_batches_are_cut),
        cmocka_unit_test(each_image_is_mixed_with_the_one_before),
        cmocka_unit_test(without_mixing_targets_are_the_labels),
        cmocka_unit_test(a_label_out_of_range_leaves_the_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
