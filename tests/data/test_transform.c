/* Transforms: what is refused, what pixels depend on, memory, and the crops that the loader had
 * before there were transforms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/augment.h"
#include "data/transform/transform.h"
#include "engine/base/alloc.h"

/* A picture with a pattern that differs everywhere. */
static wf_picture make_picture(int channels, int height, int width)
{
    const size_t n = (size_t)channels * (size_t)height * (size_t)width;
    uint8_t *pixels = malloc(n);
    assert_non_null(pixels);
    for (size_t i = 0; i < n; i++)
        pixels[i] = (uint8_t)(i * 97 + i / 251 * 13 + i / 7919);
    return (wf_picture){pixels, height, width, channels};
}

static void free_picture(wf_picture *p)
{
    free((void *)(uintptr_t)p->pixels);
}

/* Everything at once. */
static weft_transform everything(void)
{
    weft_transform t = WEFT_TRANSFORM_INIT;
    t.height = 40;
    t.width = 48;
    t.random_crop = true;
    t.hflip = t.vflip = 0.5;
    t.auto_augment = WEFT_AUGMENT_RA;
    t.brightness = t.contrast = t.saturation = 0.4;
    t.hue = 0.1;
    t.grey = 0.2;
    t.blur = 0.5;
    t.rotation = 15;
    t.erase = 0.5;
    return t;
}

/* ---- what is refused ------------------------------------------------------------------------ */

typedef struct bad {
    size_t at;
    double value;
    char kind; /* d double, i int, b bool */
    const char *text;
} bad;

static void members_out_of_range_are_refused_by_name(void **state)
{
#define D(member, value, text)                                                                     \
    {                                                                                              \
        offsetof(weft_transform, member), value, 'd', text                                         \
    }
#define I(member, value, text)                                                                     \
    {                                                                                              \
        offsetof(weft_transform, member), value, 'i', text                                         \
    }
    static const bad cases[] = {
        I(height, 0, "height is 0: expected 1 to 65500"),
        I(width, 70000, "width is 70000: expected 1 to 65500"),
        I(resize, -1, "resize is -1: expected 0 to 65500"),
        I(resize, 256, "random_crop and resize exclude each other"),
        I(crop_padding, 4, "crop_padding and random_crop exclude each other"),
        I(interpolation, 3, "interpolation is 3: expected 0 to 2"),
        I(auto_augment, 9, "auto_augment is 9: expected 0 to 4"),
        I(ra_ops, 0, "ra_ops is 0: expected 1 to 16"),
        I(ra_magnitude, 31, "ra_magnitude is 31: expected 0 to 30"),
        D(hflip, 1.5, "hflip is 1.5: expected 0 to 1"),
        D(vflip, -0.1, "vflip is -0.1: expected 0 to 1"),
        D(erase, (double)NAN, "erase is nan: expected 0 to 1"),
        D(hue, 0.6, "hue is 0.6: expected 0 to 0.5"),
        D(rotation, 200, "rotation is 200: expected 0 to 180"),
        D(scale[0], 0, "scale is 0 to 1: expected a range within 9.53674e-07 to 1"),
        D(scale[1], 1.5, "scale is 0.08 to 1.5: expected a range within"),
        D(ratio[0], 2, "ratio is 2 to 1.33333: expected a range within"),
        D(blur_sigma[1], 0.01, "blur_sigma is 0.1 to 0.01: expected a range within"),
        D(mixup_alpha, -1, "mixup_alpha is -1: expected 0 to 1e+06"),
        D(brightness, -1, "brightness is -1: expected 0 to 1e+06"),
    };
    weft_transform t = everything();
    weft_error err = {0};
    assert_int_equal(weft_transform_check(&t, &err), WEFT_OK);
    assert_int_equal(weft_transform_check(NULL, NULL), WEFT_ERR_INVALID);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        t = everything();
        err = (weft_error){0};
        if (cases[i].kind == 'd')
            *(double *)(void *)((char *)&t + cases[i].at) = cases[i].value;
        else
            *(int *)(void *)((char *)&t + cases[i].at) = (int)cases[i].value;
        assert_int_equal(weft_transform_check(&t, &err), WEFT_ERR_INVALID);
        if (!strstr(err.text, cases[i].text))
            fail_msg("\"%s\" does not say \"%s\"", err.text, cases[i].text);
    }
}

static void ranges_that_no_step_uses_may_be_anything(void **state)
{
    weft_transform t = {.height = 8, .width = 8};
    assert_int_equal(weft_transform_check(&t, NULL), WEFT_OK);
}

/* ---- what pixels depend on ------------------------------------------------------------------ */

enum { IMAGE = 3 * 40 * 48 };

static void apply(wf_transform_state *s, const wf_picture *p, wf_transform_key key, uint8_t *image)
{
    const weft_transform t = everything();
    assert_int_equal(wf_transform_apply(s, &t, p, key, image, NULL), WEFT_OK);
}

static void pixels_depend_on_the_key_alone(void **state)
{
    static uint8_t a[IMAGE], b[IMAGE];
    const wf_transform_key key = {5, 2, 77, 0};
    const wf_transform_key others[] = {{6, 2, 77, 0}, {5, 3, 77, 0},        {5, 2, 78, 0},
                                       {5, 2, 77, 1}, {5, 2, 1LL << 33, 0}, {1ULL << 40, 2, 77, 0}};
    wf_transform_state *s = wf_transform_state_create(), *used = wf_transform_state_create();
    wf_picture p = make_picture(3, 90, 120), large = make_picture(3, 300, 200);
    apply(s, &p, key, a);
    for (int64_t i = 0; i < 20; i++) /* other pictures, other sizes of all buffers */
        apply(used, &large, (wf_transform_key){9, 1, i, 0}, b);
    apply(used, &p, key, b);
    assert_memory_equal(a, b, IMAGE);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        apply(s, &p, others[i], b);
        assert_memory_not_equal(a, b, IMAGE);
    }
    free_picture(&p);
    free_picture(&large);
    wf_transform_state_destroy(s);
    wf_transform_state_destroy(used);
    wf_transform_state_destroy(NULL);
}

static void switching_on_a_step_leaves_the_others_draws(void **state)
{
    static uint8_t a[IMAGE], b[IMAGE];
    weft_transform t = WEFT_TRANSFORM_INIT;
    t.height = 40;
    t.width = 48;
    t.random_crop = true;
    t.hflip = 0.5;
    wf_transform_state *s = wf_transform_state_create();
    wf_picture p = make_picture(3, 90, 120);
    for (int64_t i = 0; i < 20; i++) {
        weft_transform more = t;
        more.erase = 0.5;
        more.erase_fill[0] = 1;
        int same = 0;
        wf_transform_apply(s, &t, &p, (wf_transform_key){1, 1, i, 0}, a, NULL);
        wf_transform_apply(s, &more, &p, (wf_transform_key){1, 1, i, 0}, b, NULL);
        for (int j = 0; j < IMAGE; j++)
            same += a[j] == b[j];
        assert_true(same >= IMAGE * 6 / 10); /* a third at most is erased */
    }
    free_picture(&p);
    wf_transform_state_destroy(s);
}

/* ---- the loader's own crops ----------------------------------------------------------------- */

static void padding_and_mirroring_are_wf_augments_to_the_bit(void **state)
{
    enum { H = 28, W = 30 };
    wf_transform_state *s = wf_transform_state_create();
    static uint8_t want[3 * H * W], got[3 * H * W], planar[3 * H * W];
    static _Alignas(64) unsigned char scratch[2 * sizeof want];
    for (int C = 1; C <= 3; C += 2) {
        wf_picture p = make_picture(C, H, W);
        const weft_dataset_info info = {.channels = C, .height = H, .width = W, .dtype = WEFT_U8};
        for (int c = 0; c < C; c++)
            for (int i = 0; i < H * W; i++)
                planar[c * H * W + i] = p.pixels[i * C + c];
        for (int shift = 0; shift <= 33; shift += 11)
            for (int64_t sample = 0; sample < 100; sample++) {
                const weft_transform t = {
                    .height = H, .width = W, .crop_padding = shift, .hflip = 0.5};
                wf_augment_crop(want, planar, &info, wf_augment_draw(0.5, shift, 3, 4, sample),
                                scratch);
                assert_int_equal(
                    wf_transform_apply(s, &t, &p, (wf_transform_key){3, 4, sample, 0}, got, NULL),
                    WEFT_OK);
                assert_memory_equal(got, want, (size_t)(C * H * W));
            }
        free_picture(&p);
    }
    wf_transform_state_destroy(s);
}

/* ---- memory --------------------------------------------------------------------------------- */

static void nothing_is_allocated_once_buffers_have_grown(void **state)
{
    static uint8_t image[IMAGE];
    wf_transform_state *s = wf_transform_state_create();
    wf_picture p = make_picture(3, 90, 120);
    for (int64_t i = 0; i < 500; i++)
        apply(s, &p, (wf_transform_key){1, 0, i, 0}, image);
    wf_alloc_fail_at(1);
    for (int64_t i = 0; i < 500; i++)
        apply(s, &p, (wf_transform_key){1, 0, i, 0}, image);
    assert_int_equal(wf_alloc_fail_at(0), 1); /* nobody has allocated */
    free_picture(&p);
    wf_transform_state_destroy(s);
}

static void every_allocation_may_fail(void **state)
{
    static uint8_t image[IMAGE], want[IMAGE];
    const weft_transform t = everything();
    wf_picture p = make_picture(3, 90, 120);
    long n = 1;
    for (;; n++) {
        wf_alloc_fail_at(n);
        wf_transform_state *s = wf_transform_state_create();
        weft_error err = {0};
        weft_status status =
            s ? wf_transform_apply(s, &t, &p, (wf_transform_key){1, 0, 3, 0}, image, &err)
              : WEFT_ERR_NOMEM;
        const bool beyond = wf_alloc_fail_at(0) > 0;
        if (!beyond) {
            assert_int_equal(status, WEFT_ERR_NOMEM);
            if (s) { /* what could not be done then can be done now */
                assert_non_null(strstr(err.text, "out of memory"));
                assert_int_equal(
                    wf_transform_apply(s, &t, &p, (wf_transform_key){1, 0, 3, 0}, image, NULL),
                    WEFT_OK);
                if (n > 2)
                    assert_memory_equal(image, want, IMAGE);
                memcpy(want, image, IMAGE);
            }
        }
        wf_transform_state_destroy(s);
        if (beyond)
            break;
    }
    assert_true(n > 4);
    free_picture(&p);
}

/* ---- extremes ------------------------------------------------------------------------------- */

static void pictures_of_any_shape_fit(void **state)
{
    static const int sizes[][2] = {{1, 1}, {1, 500}, {500, 1}, {2, 3}, {1000, 7}, {40, 48}};
    static uint8_t image[IMAGE];
    wf_transform_state *s = wf_transform_state_create();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int C = 1; C <= 3; C += 2)
            for (int way = 0; way < 4; way++)
                for (int filter = 0; filter < 3; filter++) {
                    wf_picture p = make_picture(C, sizes[i][0], sizes[i][1]);
                    weft_transform t = everything();
                    t.interpolation = (weft_interpolation)filter;
                    t.random_crop = way == 0;
                    t.resize = way == 1 ? 44 : 0;
                    t.crop_padding = way == 2 ? 3 : 0;
                    for (int64_t sample = 0; sample < 8; sample++)
                        assert_int_equal(wf_transform_apply(s, &t, &p,
                                                            (wf_transform_key){1, 1, sample, 0},
                                                            image, NULL),
                                         WEFT_OK);
                    free_picture(&p);
                }
    wf_transform_state_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_out_of_range_are_refused_by_name),
        cmocka_unit_test(ranges_that_no_step_uses_may_be_anything),
        cmocka_unit_test(pixels_depend_on_the_key_alone),
        cmocka_unit_test(switching_on_a_step_leaves_the_others_draws),
        cmocka_unit_test(padding_and_mirroring_are_wf_augments_to_the_bit),
        cmocka_unit_test(nothing_is_allocated_once_buffers_have_grown),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(pictures_of_any_shape_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
