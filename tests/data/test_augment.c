/* Augmentation: the crop drawn for a sample, and what it does to the pixels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "data/augment.h"

/* The definition, pixel by pixel: pad with 0, move, mirror, scale, normalise. */
static float expected(const weft_dataset_info *info, const void *x, wf_crop crop, int c, int h,
                      int w, const float *mean, const float *std)
{
    int H = info->height, W = info->width;
    int from_w = (crop.flip ? W - 1 - w : w) - crop.right, from_h = h - crop.down;
    float value = 0.0f;
    if (from_h >= 0 && from_h < H && from_w >= 0 && from_w < W) {
        size_t at = ((size_t)c * (size_t)H + (size_t)from_h) * (size_t)W + (size_t)from_w;
        value = info->dtype == WEFT_U8 ? (float)((const uint8_t *)x)[at] / 255.0f
                                       : ((const float *)x)[at];
    }
    return (value - mean[c]) / std[c];
}

static void crops_move_mirror_and_normalise_to_the_bit(void **state)
{
    enum { C = 3, MAX = 40 };
    static const int sizes[][2] = {{28, 28}, {5, 17}, {1, 1}, {1, 33}, {32, 40}};
    static const float mean[C] = {0.48f, 0.1f, 0.0f}, std[C] = {0.22f, 1.0f, 3.0f};
    static uint8_t u8[C * MAX * MAX];
    static float f32[C * MAX * MAX], y[C * MAX * MAX], z[C * MAX * MAX], cropped[C * MAX * MAX];
    static _Alignas(64) unsigned char scratch[2 * sizeof f32];
    for (int i = 0; i < C * MAX * MAX; i++) {
        u8[i] = (uint8_t)(i * 37 + i / 256);
        f32[i] = (float)(i % 1009) / 7.0f - 60.0f;
    }
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int type = 0; type < 2; type++)
            for (int down = -4; down <= 4; down += 2)
                for (int right = -6; right <= 6; right += 3)
                    for (int flip = 0; flip < 2; flip++) {
                        weft_dataset_info info = {.channels = C,
                                                  .height = sizes[s][0],
                                                  .width = sizes[s][1],
                                                  .dtype = type ? WEFT_F32 : WEFT_U8};
                        const void *x = type ? (const void *)f32 : u8;
                        wf_crop crop = {down, right, flip};
                        wf_augment(y, x, &info, crop, mean, std, scratch);
                        wf_augment_crop(cropped, x, &info, crop, scratch);
                        wf_augment(z, cropped, &info, (wf_crop){0}, mean, std, scratch);
                        const float *got = y, *in_two_steps = z;
                        for (int c = 0; c < C; c++)
                            for (int h = 0; h < info.height; h++)
                                for (int w = 0; w < info.width; w++, got++, in_two_steps++) {
                                    assert_true(*got ==
                                                expected(&info, x, crop, c, h, w, mean, std));
                                    assert_true(*in_two_steps == *got);
                                }
                    }
}

static void a_sample_draws_the_same_crop_each_time(void **state)
{
    for (int64_t sample = 0; sample < 100; sample++) {
        wf_crop a = wf_augment_draw(0.5, 4, 3, 7, sample);
        wf_crop b = wf_augment_draw(0.5, 4, 3, 7, sample);
        assert_true(a.down == b.down && a.right == b.right && a.flip == b.flip);
        /* switching the flip off moves nothing */
        wf_crop c = wf_augment_draw(0, 4, 3, 7, sample);
        assert_true(c.down == a.down && c.right == a.right && !c.flip);
        wf_crop none = wf_augment_draw(0, 0, 3, 7, sample);
        assert_true(none.down == 0 && none.right == 0 && !none.flip);
    }
}

/* 16,200 samples, 5 shifts each way, two mirrors: every one of the 50 crops 324 times, deviation
 * 18; five of them. Over samples of one epoch, and over epochs of one sample. */
static void all_crops_are_alike(void **state)
{
    for (int over_epochs = 0; over_epochs < 2; over_epochs++) {
        int hits[5][5][2] = {{{0}}};
        for (int64_t i = 0; i < 16200; i++) {
            wf_crop crop = wf_augment_draw(0.5, 2, 11, over_epochs ? i : 4, over_epochs ? 6 : i);
            assert_in_range(crop.down + 2, 0, 4);
            assert_in_range(crop.right + 2, 0, 4);
            hits[crop.down + 2][crop.right + 2][crop.flip]++;
        }
        for (int d = 0; d < 5; d++)
            for (int r = 0; r < 5; r++)
                for (int f = 0; f < 2; f++)
                    assert_in_range(hits[d][r][f], 324 - 90, 324 + 90);
    }
}

/* 10,000 samples: p of them to five deviations, and none or all where p says so. */
static void as_many_are_mirrored_as_asked_for(void **state)
{
    static const struct {
        double p;
        int least, most;
    } cases[] = {{0, 0, 0}, {0.25, 2283, 2717}, {0.5, 4750, 5250}, {1, 10000, 10000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int mirrored = 0;
        for (int64_t sample = 0; sample < 10000; sample++)
            mirrored += wf_augment_draw(cases[i].p, 0, 5, 2, sample).flip;
        assert_in_range(mirrored, cases[i].least, cases[i].most);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crops_move_mirror_and_normalise_to_the_bit),
        cmocka_unit_test(a_sample_draws_the_same_crop_each_time),
        cmocka_unit_test(all_crops_are_alike),
        cmocka_unit_test(as_many_are_mirrored_as_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
