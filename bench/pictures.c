/* Transforms' benchmarks; see pictures.h. A loader thread takes one picture after another, so each
 * call gets another picture, and another crop of it. bench/pil_pictures.py does the same with PIL. */
#include "bench/pictures.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/gbench.h"
#include "data/transform/transform.h"

/* ImageNet's usual picture; more of them than second-level caches hold. */
enum { HEIGHT = 375, WIDTH = 500, CHANNELS = 3, PICTURES = 16, SIDE = 224, CALLS = 256 };

#define CROP                                                                                       \
    .height = SIDE, .width = SIDE, .random_crop = true, .scale = {0.08, 1.0},                      \
    .ratio = {3.0 / 4.0, 4.0 / 3.0}
static const struct {
    const char *name;
    weft_transform transform;
} cases[] = {
    {"crop_bilinear", {CROP}},
    {"crop_bicubic", {CROP, .interpolation = WEFT_INTERPOLATE_BICUBIC}},
    {"crop_nearest", {CROP, .interpolation = WEFT_INTERPOLATE_NEAREST}},
    {"crop_flip", {CROP, .hflip = 0.5}},
    {"crop_flip_ta_wide", {CROP, .hflip = 0.5, .auto_augment = WEFT_AUGMENT_TA_WIDE}},
    {"crop_flip_ra",
     {CROP, .hflip = 0.5, .auto_augment = WEFT_AUGMENT_RA, .ra_ops = 2, .ra_magnitude = 9}},
    {"crop_flip_jitter",
     {CROP, .hflip = 0.5, .brightness = 0.4, .contrast = 0.4, .saturation = 0.4, .hue = 0.1}},
    {"evaluation_256_224", {.height = SIDE, .width = SIDE, .resize = 256}},
};
enum { N_CASES = sizeof cases / sizeof *cases };

struct bench_pictures {
    uint8_t *pixels; /* (PICTURES, HEIGHT, WIDTH, CHANNELS) */
};

typedef struct one {
    const weft_transform *transform;
    bench_pictures *all;
} one;

static one items[N_CASES];

static void run(bench_state *state, void *user)
{
    const one *b = user;
    const size_t bytes = (size_t)HEIGHT * WIDTH * CHANNELS;
    wf_transform_state *s = wf_transform_state_create();
    uint8_t *image = malloc((size_t)SIDE * SIDE * CHANNELS);
    int64_t call = 0;
    bool good = s && image;
    if (!good)
        bench_fail(state, "out of memory");
    while (good && bench_next(state))
        for (int i = 0; i < CALLS; i++, call++) {
            const wf_picture picture = {b->all->pixels + (size_t)(call % PICTURES) * bytes, HEIGHT,
                                        WIDTH, CHANNELS};
            const wf_transform_key key = {1, 0, call % 4096, 0};
            wf_transform_apply(s, b->transform, &picture, key, image, NULL);
        }
    if (good) {
        bench_counter(state, "img/s", CALLS / bench_seconds(state));
        bench_counter(state, "us/img", bench_seconds(state) / CALLS * 1e6);
    }
    free(image);
    wf_transform_state_destroy(s);
}

bench_pictures *bench_pictures_register(void)
{
    const size_t bytes = (size_t)PICTURES * HEIGHT * WIDTH * CHANNELS;
    bench_pictures *all = calloc(1, sizeof *all);
    uint32_t noise = 1;
    if (!all || !(all->pixels = malloc(bytes))) {
        free(all);
        return NULL;
    }
    for (size_t i = 0; i < bytes; i++) { /* Marsaglia's xorshift */
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        all->pixels[i] = (uint8_t)noise;
    }
    for (int i = 0; i < N_CASES; i++) {
        char name[64];
        items[i] = (one){&cases[i].transform, all};
        snprintf(name, sizeof name, "images/picture/%s", cases[i].name);
        bench_register(name, run, &items[i]);
    }
    return all;
}

void bench_pictures_destroy(bench_pictures *all)
{
    if (!all)
        return;
    free(all->pixels);
    free(all);
}
