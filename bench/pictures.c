/* Transforms' benchmarks; see pictures.h. A loader thread takes one picture after another, so each
 * call gets another picture, and another crop of it. bench/pil_pictures.py does the same with PIL. */
#include "bench/pictures.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "bench/gbench.h"
#include "data/picture/picture.h"
#include "data/transform/transform.h"

/* ImageNet's usual picture; more of them than second-level caches hold. */
enum { HEIGHT = 375, WIDTH = 500, CHANNELS = 3, PICTURES = 16, SIDE = 224, CALLS = 256 };

#define CROP                                                                                       \
    .height = SIDE, .width = SIDE, .random_crop = true, .scale = {0.08, 1.0},                      \
    .ratio = {3.0 / 4.0, 4.0 / 3.0}
typedef struct one_case {
    const char *name;
    weft_transform transform;
    bool jpeg; /* decodes the picture first */
} one_case;
static const one_case cases[] = {
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
    {"jpeg_crop_flip", {CROP, .hflip = 0.5}, .jpeg = true},
    {"jpeg_evaluation_256_224", {.height = SIDE, .width = SIDE, .resize = 256}, .jpeg = true},
};
enum { N_CASES = sizeof cases / sizeof *cases };

struct bench_pictures {
    uint8_t *pixels; /* (PICTURES, HEIGHT, WIDTH, CHANNELS) */
    unsigned char *jpeg[PICTURES];
    unsigned long jpeg_bytes[PICTURES];
};

typedef struct one {
    const one_case *c;
    const bench_pictures *all;
} one;

static one items[N_CASES];

/* A loader thread's work on one picture. */
static bool transform(const one *b, wf_decoder *decoder, wf_transform_state *s, int64_t call,
                      uint8_t *image)
{
    const int64_t i = call % PICTURES;
    const wf_transform_key key = {1, 0, call % 4096, 0};
    wf_picture picture = {b->all->pixels + i * HEIGHT * WIDTH * CHANNELS, HEIGHT, WIDTH, CHANNELS};
    if (b->c->jpeg && wf_decode(decoder, b->all->jpeg[i], b->all->jpeg_bytes[i], "picture", NULL,
                                &picture, NULL) != WEFT_OK)
        return false;
    return wf_transform_apply(s, &b->c->transform, &picture, key, image, NULL) == WEFT_OK;
}

static void run(bench_state *state, void *user)
{
    const one *b = user;
    wf_transform_state *s = wf_transform_state_create();
    wf_decoder *decoder = wf_decoder_create();
    uint8_t *image = malloc((size_t)SIDE * SIDE * CHANNELS);
    int64_t call = 0;
    bool good = s && decoder && image && transform(b, decoder, s, 0, image);
    if (!good)
        bench_fail(state, "out of memory");
    while (good && bench_next(state))
        for (int i = 0; i < CALLS; i++, call++)
            good = transform(b, decoder, s, call, image) && good;
    if (good) {
        bench_counter(state, "img/s", CALLS / bench_seconds(state));
        bench_counter(state, "us/img", bench_seconds(state) / CALLS * 1e6);
    }
    free(image);
    wf_decoder_destroy(decoder);
    wf_transform_state_destroy(s);
}

/* ---- pictures ------------------------------------------------------------------------------- */

/* Noise of a fifth of the size, enlarged: about as smooth as a photograph. */
static bool fill_picture(uint8_t *pixels, uint32_t *noise)
{
    enum { SMALL = 5 };
    const weft_transform enlarge = {.height = HEIGHT,
                                    .width = WIDTH,
                                    .resize = HEIGHT,
                                    .interpolation = WEFT_INTERPOLATE_BICUBIC};
    static uint8_t small[HEIGHT / SMALL * WIDTH / SMALL * CHANNELS];
    static uint8_t planes[CHANNELS * HEIGHT * WIDTH];
    const wf_picture picture = {small, HEIGHT / SMALL, WIDTH / SMALL, CHANNELS};
    wf_transform_state *s = wf_transform_state_create();
    for (size_t i = 0; i < sizeof small; i++) { /* Marsaglia's xorshift */
        *noise ^= *noise << 13;
        *noise ^= *noise >> 17;
        *noise ^= *noise << 5;
        small[i] = (uint8_t)*noise;
    }
    const bool good = s && wf_transform_apply(s, &enlarge, &picture, (wf_transform_key){0}, planes,
                                              NULL) == WEFT_OK;
    for (int i = 0; i < HEIGHT * WIDTH * CHANNELS; i++)
        pixels[i] = planes[i % CHANNELS * HEIGHT * WIDTH + i / CHANNELS];
    wf_transform_state_destroy(s);
    return good;
}

/* Quality 90, 4:2:0. */
static void compress(const uint8_t *pixels, unsigned char **jpeg, unsigned long *bytes)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, jpeg, bytes);
    c.image_width = WIDTH;
    c.image_height = HEIGHT;
    c.input_components = CHANNELS;
    c.in_color_space = JCS_RGB;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, 90, TRUE);
    jpeg_start_compress(&c, TRUE);
    for (int h = 0; h < HEIGHT; h++) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(pixels + h * WIDTH * CHANNELS);
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
}

bench_pictures *bench_pictures_register(void)
{
    const size_t bytes = (size_t)HEIGHT * WIDTH * CHANNELS;
    bench_pictures *all = calloc(1, sizeof *all);
    uint32_t noise = 1;
    bool good = all && (all->pixels = malloc(PICTURES * bytes));
    for (int i = 0; good && i < PICTURES; i++) {
        good = fill_picture(all->pixels + (size_t)i * bytes, &noise);
        compress(all->pixels + (size_t)i * bytes, &all->jpeg[i], &all->jpeg_bytes[i]);
    }
    if (!good) {
        bench_pictures_destroy(all);
        return NULL;
    }
    for (int i = 0; i < N_CASES; i++) {
        char name[64];
        items[i] = (one){&cases[i], all};
        snprintf(name, sizeof name, "images/picture/%s", cases[i].name);
        bench_register(name, run, &items[i]);
    }
    return all;
}

void bench_pictures_destroy(bench_pictures *all)
{
    if (!all)
        return;
    for (int i = 0; i < PICTURES; i++)
        free(all->jpeg[i]);
    free(all->pixels);
    free(all);
}
