/* One file of each format, made in memory, of the same picture: SAMPLE_WIDTH x SAMPLE_HEIGHT, RGB. */
#ifndef TESTS_DATA_PICTURE_SAMPLES_H
#define TESTS_DATA_PICTURE_SAMPLES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>
#include <webp/encode.h>

enum { SAMPLE_WIDTH = 21, SAMPLE_HEIGHT = 14, SAMPLE_BYTES = 3 * SAMPLE_WIDTH * SAMPLE_HEIGHT };

typedef struct sample {
    const char *format, *name;
    uint8_t *bytes; /* freed by the caller */
    size_t n;
} sample;

static inline const uint8_t *sample_pixels(void)
{
    static uint8_t pixels[SAMPLE_BYTES];
    for (int i = 0; i < SAMPLE_BYTES; i++) {
        int c = i % 3, x = i / 3 % SAMPLE_WIDTH, y = i / 3 / SAMPLE_WIDTH;
        pixels[i] = (uint8_t)(x * (7 + c) + y * (11 - 3 * c) + (x / 5 + y / 4) % 2 * 60);
    }
    return pixels;
}

static inline sample sample_alloc(const char *format, size_t n)
{
    return (sample){format, format, calloc(1, n), n};
}

/* `coding`: 0 baseline, 1 progressive, 2 arithmetic. `pixels` has `channels` (1, 3) a pixel. */
static inline sample sample_jpeg(const uint8_t *pixels, int height, int width, int channels,
                                 int coding)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    unsigned char *bytes = NULL;
    unsigned long n = 0;
    jpeg_mem_dest(&c, &bytes, &n);
    c.image_height = (JDIMENSION)height;
    c.image_width = (JDIMENSION)width;
    c.input_components = channels;
    c.in_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, 90, TRUE);
    if (coding == 1)
        jpeg_simple_progression(&c);
    c.arith_code = coding == 2;
    jpeg_start_compress(&c, TRUE);
    for (int y = 0; y < height; y++) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(pixels + (size_t)y * (size_t)width * (size_t)channels);
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    static const char *const names[] = {"baseline.jpg", "progressive.jpg", "arithmetic.jpg"};
    return (sample){"JPEG", names[coding], bytes, n};
}

static inline void sample_png_write(png_structp png, png_bytep from, size_t n)
{
    sample *s = png_get_io_ptr(png);
    s->bytes = realloc(s->bytes, s->n + n);
    memcpy(s->bytes + s->n, from, n);
    s->n += n;
}

/* With an eXIf chunk where `orientation` is more than 0. */
static inline sample sample_png(bool interlaced, int orientation)
{
    sample s = {"PNG", interlaced ? "interlaced.png" : "plain.png", NULL, 0};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(png, &s, sample_png_write, NULL);
    png_set_IHDR(png, info, SAMPLE_WIDTH, SAMPLE_HEIGHT, 8, PNG_COLOR_TYPE_RGB,
                 interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, 0, 0);
    uint8_t exif[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0,
                      3,   0,   0, 0,  1, 0, 0, 0, 0, 0, 0, 0,    0};
    exif[19] = (uint8_t)orientation;
    if (orientation > 0)
        png_set_eXIf_1(png, info, sizeof exif, exif);
    const uint8_t *rows[SAMPLE_HEIGHT];
    for (int y = 0; y < SAMPLE_HEIGHT; y++)
        rows[y] = sample_pixels() + y * 3 * SAMPLE_WIDTH;
    png_write_info(png, info);
    png_write_image(png, (png_bytepp)(uintptr_t)rows);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return s;
}

static inline sample sample_webp(void)
{
    uint8_t *bytes = NULL;
    size_t n = WebPEncodeLosslessRGB(sample_pixels(), SAMPLE_WIDTH, SAMPLE_HEIGHT, 3 * SAMPLE_WIDTH,
                                     &bytes);
    sample s = sample_alloc("WebP", n);
    memcpy(s.bytes, bytes, n);
    WebPFree(bytes);
    s.name = "lossless.webp";
    return s;
}

static inline void sample_u32(uint8_t *to, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(v >> 8 * i);
}

static inline sample sample_bmp(void)
{
    enum { STRIDE = (3 * SAMPLE_WIDTH + 3) / 4 * 4, HEAD = 54 };
    sample s = sample_alloc("BMP", HEAD + STRIDE * SAMPLE_HEIGHT);
    memcpy(s.bytes, "BM", 2);
    sample_u32(s.bytes + 10, HEAD);
    sample_u32(s.bytes + 14, 40);
    sample_u32(s.bytes + 18, SAMPLE_WIDTH);
    sample_u32(s.bytes + 22, SAMPLE_HEIGHT);
    s.bytes[26] = 1;
    s.bytes[28] = 24;
    for (int y = 0; y < SAMPLE_HEIGHT; y++)
        for (int i = 0; i < 3 * SAMPLE_WIDTH; i++)
            s.bytes[HEAD + (SAMPLE_HEIGHT - 1 - y) * STRIDE + i] =
                sample_pixels()[y * 3 * SAMPLE_WIDTH + i / 3 * 3 + 2 - i % 3];
    s.name = "bottom-up.bmp";
    return s;
}

static inline sample sample_ppm(bool plain)
{
    sample s = sample_alloc("PNM", 32 + 4 * SAMPLE_BYTES);
    int at =
        sprintf((char *)s.bytes, "P%d %d %d 255\n", plain ? 3 : 6, SAMPLE_WIDTH, SAMPLE_HEIGHT);
    for (int i = 0; i < SAMPLE_BYTES; i++)
        if (plain)
            at += sprintf((char *)s.bytes + at, "%d\n", sample_pixels()[i]);
        else
            s.bytes[at++] = sample_pixels()[i];
    s.n = (size_t)at;
    s.name = plain ? "plain.ppm" : "raw.ppm";
    return s;
}

#ifdef WF_HAS_TIFF
static inline sample sample_tiff(void)
{
    static const uint32_t tags[][4] = {/* tag, type, count, value */
                                       {256, 4, 1, SAMPLE_WIDTH},
                                       {257, 4, 1, SAMPLE_HEIGHT},
                                       {258, 3, 1, 8},
                                       {262, 3, 1, 2},
                                       {273, 4, 1, 8},
                                       {277, 3, 1, 3},
                                       {278, 4, 1, SAMPLE_HEIGHT},
                                       {279, 4, 1, SAMPLE_BYTES}};
    enum { TAGS = sizeof tags / sizeof *tags, AT = 8 + SAMPLE_BYTES };
    sample s = sample_alloc("TIFF", AT + 2 + 12 * TAGS + 4);
    memcpy(s.bytes, "II*", 3);
    sample_u32(s.bytes + 4, AT);
    memcpy(s.bytes + 8, sample_pixels(), SAMPLE_BYTES);
    s.bytes[AT] = TAGS;
    for (int i = 0; i < TAGS; i++) {
        uint8_t *p = s.bytes + AT + 2 + 12 * i;
        sample_u32(p, tags[i][0] | tags[i][1] << 16);
        sample_u32(p + 4, tags[i][2]);
        sample_u32(p + 8, tags[i][3]);
    }
    s.name = "strip.tif";
    return s;
}
#endif

enum { SAMPLES_MOST = 16 };
/* One or more files of each format. Returns how many. */
static inline int samples_create(sample *s)
{
    int n = 0;
    for (int coding = 0; coding < 3; coding++)
        s[n++] = sample_jpeg(sample_pixels(), SAMPLE_HEIGHT, SAMPLE_WIDTH, 3, coding);
    s[n++] = sample_png(false, 6);
    s[n++] = sample_png(true, 0);
    s[n++] = sample_webp();
    s[n++] = sample_bmp();
    s[n++] = sample_ppm(false);
    s[n++] = sample_ppm(true);
#ifdef WF_HAS_TIFF
    s[n++] = sample_tiff();
#endif
    return n;
}

static inline void samples_destroy(sample *s, int n)
{
    for (int i = 0; i < n; i++)
        free(s[i].bytes);
}

#endif
