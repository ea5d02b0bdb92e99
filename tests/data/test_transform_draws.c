/* Each random step's distribution against its definition. statistics.h says how bounds follow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/transform/policy.h"
#include "data/transform/steps.h"
#include "statistics.h"

enum { N = 20000, MANY = 10 * N };
static double x[N], y[N], z[N];
static double defined[MANY], ratios[MANY]; /* what a definition gives */
static uint64_t other = 1;                 /* the state of definitions' draws */

static wf_transform_key key_of(int i)
{
    return (wf_transform_key){12, (int64_t)i % 7, i, 0};
}

static wf_placement place(const weft_transform *t, int height, int width, int i)
{
    const wf_transform_key key = key_of(i);
    return wf_choose_placement(t, height, width, &key);
}

/* i of n places as a number that is uniform in [0, 1) if i is uniform. */
static double spread(int i, int n)
{
    return (i + stat_uniform(&other)) / n;
}

/* ---- random crops --------------------------------------------------------------------------- */

static double log_ratio_share(double ratio)
{
    return log(ratio / 0.75) / log(16.0 / 9.0);
}

/* Crops that always fit at the first try: area and shape are as they were drawn. */
static void area_shape_and_place_of_a_crop_are_uniform(void **state)
{
    enum { SIDE = 4000 };
    weft_transform t = WEFT_TRANSFORM_INIT;
    t.height = t.width = 224;
    t.random_crop = true;
    t.scale[0] = 0.1;
    t.scale[1] = 0.4;
    static double top[N], left[N];
    double both = 0;
    for (int i = 0; i < N; i++) {
        const wf_placement p = place(&t, SIDE, SIDE, i);
        x[i] = ((double)p.height * p.width / ((double)SIDE * SIDE) - 0.1) / 0.3;
        y[i] = log_ratio_share((double)p.width / p.height);
        top[i] = spread(p.top, SIDE - p.height + 1);
        left[i] = spread(p.left, SIDE - p.width + 1);
        both += (x[i] - 0.5) * (y[i] - 0.5) * 12;
        assert_true(p.top + p.height <= SIDE && p.left + p.width <= SIDE);
    }
    /* A side is rounded by half a pixel of at least 1095. */
    stat_has("area", x, N, stat_flat, 0.002);
    stat_has("shape", y, N, stat_flat, 0.002);
    stat_has("top", top, N, stat_flat, 0);
    stat_has("left", left, N, stat_flat, 0);
    if (fabs(both / N) > 4 / sqrt(N)) /* four standard deviations of a sum of N such products */
        fail_msg("area and shape are correlated by %g", both / N);
}

/* RandomResizedCrop's definition, from another generator. */
static double crop_area_by_definition(int height, int width)
{
    for (int i = 0; i < 10; i++) {
        const double area = height * width * (0.08 + 0.92 * stat_uniform(&other));
        const double ratio = 0.75 * pow(16.0 / 9.0, stat_uniform(&other));
        const double w = rint(sqrt(area * ratio)), h = rint(sqrt(area / ratio));
        if (w <= width && h <= height)
            return w * h;
    }
    return (double)height * width;
}

static void crops_that_do_not_fit_are_drawn_again(void **state)
{
    weft_transform t = WEFT_TRANSFORM_INIT;
    t.height = t.width = 224;
    t.random_crop = true;
    for (int i = 0; i < N; i++) {
        const wf_placement p = place(&t, 375, 500, i);
        x[i] = (double)p.height * p.width;
    }
    for (int i = 0; i < MANY; i++)
        defined[i] = crop_area_by_definition(375, 500);
    stat_alike("area", x, N, defined, MANY);
}

static void every_place_of_a_crop_is_as_likely(void **state)
{
    weft_transform t = {
        .height = 8, .width = 8, .random_crop = true, .scale = {0.25, 0.25}, .ratio = {1, 1}};
    int64_t count[7 * 10] = {0};
    for (int i = 0; i < N; i++) {
        const wf_placement p = place(&t, 12, 15, i);
        assert_true(p.height == 7 && p.width == 7);
        count[p.top * 9 + p.left]++;
    }
    stat_counts("place", count, NULL, 6 * 9, N);
}

static void after_ten_tries_the_middle_is_cropped(void **state)
{
    weft_transform t = WEFT_TRANSFORM_INIT;
    t.height = t.width = 224;
    t.random_crop = true;
    for (int i = 0; i < 100; i++) {
        wf_placement p = place(&t, 9, 4000, i); /* not even an area of 8 % fits */
        assert_true(p.height == 9 && p.width == 12 && p.top == 0 && p.left == 1994);
        p = place(&t, 4000, 9, i);
        assert_true(p.height == 12 && p.width == 9 && p.top == 1994 && p.left == 0);
    }
}

/* ---- flips and padding ---------------------------------------------------------------------- */

static void flips_happen_with_their_probability(void **state)
{
    static const double ps[] = {0, 0.1, 0.5, 1};
    for (int k = 0; k < 4; k++) {
        weft_transform t = {.height = 8, .width = 8, .hflip = ps[k], .vflip = ps[3 - k]};
        int64_t h = 0, v = 0, both = 0;
        for (int i = 0; i < N; i++) {
            const wf_placement p = place(&t, 8, 8, i);
            h += p.hflip;
            v += p.vflip;
            both += p.hflip && p.vflip;
        }
        stat_share("horizontal flip", h, N, ps[k]);
        stat_share("vertical flip", v, N, ps[3 - k]);
        stat_share("both flips", both, N, ps[k] * ps[3 - k]);
        if (k == 0)
            assert_true(h == 0 && v == N);
    }
}

static void padded_crops_lie_anywhere(void **state)
{
    enum { P = 4 };
    weft_transform t = {.height = 32, .width = 30, .crop_padding = P};
    int64_t count[(2 * P + 1) * (2 * P + 1)] = {0}, wide[2 * P + 5] = {0};
    for (int i = 0; i < N; i++) {
        wf_placement p = place(&t, 32, 30, i);
        count[(p.crop_top + P) * (2 * P + 1) + p.crop_left + P]++;
        p = place(&t, 32, 34, i); /* a picture of another size than the image */
        wide[p.crop_left + P]++;
    }
    stat_counts("shift", count, NULL, (2 * P + 1) * (2 * P + 1), N);
    stat_counts("shift of a wider picture", wide, NULL, 2 * P + 5, N);
}

/* ---- automatic augmentation ----------------------------------------------------------------- */

static int augs(weft_auto_augment policy, int i, wf_aug_step *steps)
{
    weft_transform t = WEFT_TRANSFORM_INIT;
    t.height = t.width = 224;
    t.auto_augment = policy;
    const wf_transform_key key = key_of(i);
    return wf_choose_augs(&t, 224, 224, &key, steps);
}

static void trivial_augment_draws_op_strength_and_sign(void **state)
{
    int64_t op[WF_AUG_INVERT] = {0}, bin[31] = {0}, negative = 0, n = 0;
    for (int i = 0; i < N; i++) {
        wf_aug_step s[WF_AUG_MOST_STEPS];
        assert_int_equal(augs(WEFT_AUGMENT_TA_WIDE, i, s), 1);
        op[s[0].op]++;
        if (s[0].op == WF_AUG_ROTATE) {
            bin[(int)lround(fabs(s[0].magnitude) / 4.5)]++;
            negative += signbit(s[0].magnitude) != 0;
            n++;
        }
    }
    stat_counts("op", op, NULL, WF_AUG_INVERT, N);
    stat_counts("angle", bin, NULL, 31, n);
    stat_share("a negative angle", negative, n, 0.5);
}

static void rand_augment_draws_each_op_by_itself(void **state)
{
    static int64_t pair[WF_AUG_INVERT * WF_AUG_INVERT];
    for (int i = 0; i < N; i++) {
        wf_aug_step s[WF_AUG_MOST_STEPS];
        bool is_signed;
        assert_int_equal(augs(WEFT_AUGMENT_RA, i, s), 2);
        pair[s[0].op * WF_AUG_INVERT + s[1].op]++;
        assert_true(fabs(s[0].magnitude) ==
                    wf_aug_magnitude(WEFT_AUGMENT_RA, s[0].op, 9, 224, 224, &is_signed));
        assert_true(s[0].magnitude >= 0 || is_signed);
    }
    stat_counts("two ops", pair, NULL, WF_AUG_INVERT * WF_AUG_INVERT, N);
}

/* What an op's probabilities add up to over torchvision's 25 subpolicies. */
static void auto_augment_applies_each_op_as_often_as_its_policy(void **state)
{
    static const double sums[2][WF_N_AUGS] = {
        {[WF_AUG_POSTERIZE] = 2.8,
         [WF_AUG_ROTATE] = 3.6,
         [WF_AUG_SOLARIZE] = 3.6,
         [WF_AUG_AUTO_CONTRAST] = 1.2,
         [WF_AUG_EQUALIZE] = 11.2,
         [WF_AUG_COLOR] = 3.8,
         [WF_AUG_INVERT] = 1.8,
         [WF_AUG_CONTRAST] = 2.0,
         [WF_AUG_SHARPNESS] = 0.4,
         [WF_AUG_SHEAR_X] = 0.6},
        {[WF_AUG_INVERT] = 0.2,
         [WF_AUG_CONTRAST] = 0.8,
         [WF_AUG_ROTATE] = 0.7,
         [WF_AUG_TRANSLATE_X] = 0.8,
         [WF_AUG_SHARPNESS] = 2.8,
         [WF_AUG_SHEAR_Y] = 0.7,
         [WF_AUG_TRANSLATE_Y] = 3.4,
         [WF_AUG_AUTO_CONTRAST] = 5.0,
         [WF_AUG_EQUALIZE] = 4.7,
         [WF_AUG_POSTERIZE] = 0.3,
         [WF_AUG_COLOR] = 2.9,
         [WF_AUG_BRIGHTNESS] = 2.3,
         [WF_AUG_SOLARIZE] = 1.9},
    };
    for (int policy = 0; policy < 2; policy++) {
        int64_t count[WF_N_AUGS] = {0};
        for (int i = 0; i < MANY; i++) {
            wf_aug_step s[WF_AUG_MOST_STEPS];
            const int n = augs(policy ? WEFT_AUGMENT_CIFAR10 : WEFT_AUGMENT_IMAGENET, i, s);
            for (int k = 0; k < n; k++)
                count[s[k].op]++;
        }
        for (int op = 0; op < WF_N_AUGS; op++) {
            /* Up to two an image: half of the count is within Hoeffding's bound. */
            stat_share("an op", count[op], 2LL * MANY, sums[policy][op] / 50);
            if (sums[policy][op] == 0)
                assert_int_equal(count[op], 0);
        }
    }
}

/* ---- colour jitter and erasing -------------------------------------------------------------- */

static void jitter_draws_order_and_factors(void **state)
{
    weft_transform t = {.height = 8, .width = 8, .brightness = 0.4, .contrast = 2, .hue = 0.1};
    int64_t order[256] = {0}, seen[24];
    for (int i = 0; i < N; i++) {
        const wf_transform_key key = key_of(i);
        const wf_jitter j = wf_choose_jitter(&t, &key);
        order[j.order[0] << 6 | j.order[1] << 4 | j.order[2] << 2 | j.order[3]]++;
        x[i] = (j.factor[0] - 0.6) / 0.8;
        y[i] = j.factor[1] / 3; /* from max(0, 1 - 2) to 1 + 2 */
        z[i] = (j.factor[3] + 0.1) / 0.2;
        assert_true(j.factor[2] == 1); /* off */
    }
    int n = 0;
    for (int i = 0; i < 256; i++)
        if (order[i])
            seen[n++] = order[i];
    assert_int_equal(n, 24);
    stat_counts("order", seen, NULL, 24, N);
    stat_has("brightness", x, N, stat_flat, 0);
    stat_has("contrast", y, N, stat_flat, 0);
    stat_has("hue", z, N, stat_flat, 0);
}

/* RandomErasing's definition, from another generator. */
static double erased_area_by_definition(int height, int width, double *ratio)
{
    for (int i = 0; i < 10; i++) {
        const double area = height * width * (0.02 + 0.31 * stat_uniform(&other));
        const double r = 0.3 * pow(11, stat_uniform(&other));
        const double h = rint(sqrt(area * r)), w = rint(sqrt(area / r));
        if (h < height && w < width) {
            *ratio = h / w;
            return h * w;
        }
    }
    return *ratio = 0;
}

static void erasing_draws_whether_how_much_and_where(void **state)
{
    weft_transform t = {.height = 100, .width = 140, .erase = 0.7};
    static double shape[N], top[N];
    int n = 0;
    for (int i = 0; i < N; i++) {
        const wf_transform_key key = key_of(i);
        const wf_erasure e = wf_choose_erasure(&t, &key);
        if (e.height == 0)
            continue;
        x[n] = (double)e.height * e.width;
        shape[n] = (double)e.height / e.width;
        top[n] = spread(e.top, t.height - e.height + 1);
        assert_true(e.top + e.height <= t.height && e.left + e.width <= t.width);
        n++;
    }
    stat_share("erasing", n, N, 0.7);
    for (int i = 0; i < MANY; i++)
        defined[i] = erased_area_by_definition(t.height, t.width, &ratios[i]);
    stat_alike("area", x, n, defined, MANY);
    stat_alike("shape", shape, n, ratios, MANY);
    stat_has("top", top, n, stat_flat, 0);
    t.erase = 0;
    for (int i = 0; i < 100; i++) {
        const wf_transform_key key = key_of(i);
        assert_int_equal(wf_choose_erasure(&t, &key).height, 0);
    }
}

/* ---- what only the pixels show -------------------------------------------------------------- */

enum { S = 32 };

static void run(wf_transform_state *s, const weft_transform *t, const uint8_t *pixels, int i,
                uint8_t *image)
{
    const wf_picture p = {pixels, S, S, 3};
    assert_int_equal(wf_transform_apply(s, t, &p, key_of(i), image, NULL), WEFT_OK);
}

static void grey_blur_and_erasing_reach_the_pixels(void **state)
{
    static uint8_t pixels[3 * S * S], plain[3 * S * S], image[3 * S * S];
    wf_transform_state *s = wf_transform_state_create();
    const weft_transform none = {.height = S, .width = S};
    const weft_transform grey = {.height = S, .width = S, .grey = 0.3};
    const weft_transform blur = {.height = S, .width = S, .blur = 0.2, .blur_sigma = {0.5, 1}};
    const weft_transform erase = {.height = S, .width = S, .erase = 0.5, .erase_fill = {1, 2, 3}};
    int64_t greys = 0, blurs = 0, erasures = 0;
    const int tries = 3000;
    for (int i = 0; i < 3 * S * S; i++)
        pixels[i] = (uint8_t)(i * 31 % 200 + 50); /* no level of the fill */
    run(s, &none, pixels, 0, plain);
    for (int i = 0; i < tries; i++) {
        run(s, &grey, pixels, i, image);
        greys += memcmp(image, image + S * S, S * S) == 0;
        run(s, &blur, pixels, i, image);
        blurs += memcmp(image, plain, sizeof image) != 0;
        run(s, &erase, pixels, i, image);
        const wf_transform_key key = key_of(i);
        const wf_erasure e = wf_choose_erasure(&erase, &key);
        erasures += e.height > 0;
        for (int c = 0; c < 3; c++)
            for (int h = 0; h < S; h++)
                for (int w = 0; w < S; w++) {
                    const bool inside =
                        h >= e.top && h < e.top + e.height && w >= e.left && w < e.left + e.width;
                    const int at = (c * S + h) * S + w;
                    assert_int_equal(image[at], inside ? c + 1 : plain[at]);
                }
    }
    stat_share("grey", greys, tries, 0.3);
    stat_share("blur", blurs, tries, 0.2);
    stat_share("erasing", erasures, tries, 0.5);
    wf_transform_state_destroy(s);
}

/* A white half on the right of black: the direction of its centre tells the angle. */
static void angles_are_uniform(void **state)
{
    static uint8_t pixels[3 * S * S], image[3 * S * S];
    enum { TRIES = 4000 };
    wf_transform_state *s = wf_transform_state_create();
    const weft_transform t = {.height = S, .width = S, .rotation = 60};
    for (int i = 0; i < S * S; i++) {
        const double u = i % S - S / 2 + 0.5, v = i / S - S / 2 + 0.5;
        memset(pixels + i * 3, u > 0 && u * u + v * v < S * S / 4 ? 255 : 0, 3);
    }
    for (int i = 0; i < TRIES; i++) {
        double right = 0, up = 0;
        run(s, &t, pixels, i, image);
        for (int j = 0; j < S * S; j++)
            if (image[j]) {
                right += j % S - S / 2 + 0.5;
                up -= j / S - S / 2 + 0.5;
            }
        x[i] = (atan2(up, right) * 180 / M_PI + 60) / 120; /* counter-clockwise */
    }
    stat_has("angle", x, TRIES, stat_flat, 0.02); /* two degrees: pixels */
    wf_transform_state_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(area_shape_and_place_of_a_crop_are_uniform),
        cmocka_unit_test(crops_that_do_not_fit_are_drawn_again),
        cmocka_unit_test(every_place_of_a_crop_is_as_likely),
        cmocka_unit_test(after_ten_tries_the_middle_is_cropped),
        cmocka_unit_test(flips_happen_with_their_probability),
        cmocka_unit_test(padded_crops_lie_anywhere),
        cmocka_unit_test(trivial_augment_draws_op_strength_and_sign),
        cmocka_unit_test(rand_augment_draws_each_op_by_itself),
        cmocka_unit_test(auto_augment_applies_each_op_as_often_as_its_policy),
        cmocka_unit_test(jitter_draws_order_and_factors),
        cmocka_unit_test(erasing_draws_whether_how_much_and_where),
        cmocka_unit_test(grey_blur_and_erasing_reach_the_pixels),
        cmocka_unit_test(angles_are_uniform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
