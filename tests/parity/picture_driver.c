/* Decodes pictures for test_pictures.py, and makes the JPEG files that PIL cannot write.
 *
 *     picture_driver decode         reads lines "CHANNELS EXIF FAST_SIDE MAX_PIXELS PATH" and answers
 *                                   each with "picture H W C" and the pixels, or "error TEXT"
 *     picture_driver probe          reads lines of paths, answers "info FORMAT H W C ORIENTATION"
 *     picture_driver jpegs FOLDER   writes NAME.jpg files and prints how many */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "data/picture/picture.h"

/* ---- decoding -------------------------------------------------------------------------------- */

static unsigned char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        exit(2);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    unsigned char *bytes = malloc(*n ? *n : 1); /* so that reading beyond its end is found */
    if (!bytes || fread(bytes, 1, *n, f) != *n)
        exit(2);
    fclose(f);
    return bytes;
}

static int decode(bool probe)
{
    wf_decoder *d = wf_decoder_create();
    char line[4096], path[4096];
    while (d && fgets(line, sizeof line, stdin)) {
        int channels = 0, exif = 0, fast = 0, at = 0;
        long long limit = 0;
        if (!probe && sscanf(line, "%d %d %d %lld %n", &channels, &exif, &fast, &limit, &at) != 4)
            return 2;
        snprintf(path, sizeof path, "%s", line + at);
        path[strcspn(path, "\n")] = 0;
        size_t n;
        unsigned char *bytes = read_file(path, &n);
        weft_error err = WEFT_ERROR_INIT;
        wf_picture p;
        wf_picture_info info;
        wf_decode_opts opts = {
            .channels = channels, .exif = exif, .fast_side = fast, .max_pixels = limit};
        const char *name = strrchr(path, '/');
        name = name ? name + 1 : path;
        if (probe) {
            if (wf_picture_probe(d, bytes, n, name, &info, &err) == WEFT_OK)
                printf("info %s %d %d %d %d\n", info.format, info.height, info.width, info.channels,
                       info.orientation);
        } else if (wf_decode(d, bytes, n, name, &opts, &p, &err) == WEFT_OK) {
            printf("picture %d %d %d\n", p.height, p.width, p.channels);
            fwrite(p.pixels, (size_t)p.height * (size_t)p.width, (size_t)p.channels, stdout);
        }
        if (err.status != WEFT_OK)
            printf("error %s\n", err.text);
        fflush(stdout);
        free(bytes);
    }
    wf_decoder_destroy(d);
    return 0;
}

/* ---- JPEG files ------------------------------------------------------------------------------ */

typedef struct jpeg_kind {
    const char *name;
    J_COLOR_SPACE colours; /* of the file */
    int h[4], v[4];        /* sampling factors */
} jpeg_kind;

static const jpeg_kind kinds[] = {
    {"grey", JCS_GRAYSCALE, {1}, {1}},
    {"grey22", JCS_GRAYSCALE, {2}, {2}},
    {"444", JCS_YCbCr, {1, 1, 1}, {1, 1, 1}},
    {"422", JCS_YCbCr, {2, 1, 1}, {1, 1, 1}},
    {"420", JCS_YCbCr, {2, 1, 1}, {2, 1, 1}},
    {"440", JCS_YCbCr, {1, 1, 1}, {2, 1, 1}},
    {"411", JCS_YCbCr, {4, 1, 1}, {1, 1, 1}},
    {"441", JCS_YCbCr, {1, 1, 1}, {4, 1, 1}},
    {"410", JCS_YCbCr, {4, 1, 1}, {2, 1, 1}},
    {"uneven", JCS_YCbCr, {2, 2, 1}, {2, 1, 2}},
    {"chroma22", JCS_YCbCr, {1, 2, 2}, {1, 2, 2}},
    {"rgb", JCS_RGB, {1, 1, 1}, {1, 1, 1}},
    {"rgb420", JCS_RGB, {2, 1, 1}, {2, 1, 1}},
    {"cmyk", JCS_CMYK, {1, 1, 1, 1}, {1, 1, 1, 1}},
    {"ycck", JCS_YCCK, {1, 1, 1, 1}, {1, 1, 1, 1}},
    {"ycck420", JCS_YCCK, {2, 1, 1, 2}, {2, 1, 1, 2}},
};
#define KINDS (int)(sizeof kinds / sizeof *kinds)
static const int sizes[][2] = {{1, 1}, {7, 5}, {16, 16}, {17, 33}, {61, 100}, {1, 57}, {200, 3}};
#define SIZES (int)(sizeof sizes / sizeof *sizes)
enum { BASELINE, PROGRESSIVE, ARITHMETIC, ARITHMETIC_PROGRESSIVE, RESTARTS, SCANS, CODINGS };
static const char *const codings[] = {
    "baseline", "progressive", "arithmetic", "arithmetic-progressive", "restarts", "scans"};

/* Smooth, with edges and noise, and different in each colour. */
static void paint(unsigned char *row, int y, int width, int n, unsigned *seed)
{
    for (int x = 0; x < width; x++)
        for (int c = 0; c < n; c++) {
            *seed = *seed * 1664525u + 1013904223u;
            int v = (c + 1) * x * 3 + (5 - c) * y * 2 + (int)(*seed >> 27);
            if ((x / 9 + y / 7 + c) % 5 == 0)
                v = 255 - v;
            row[x * n + c] = (unsigned char)((v / 256) % 2 ? 255 - v % 256 : v % 256);
        }
}

static void write_jpeg(const char *folder, const jpeg_kind *k, const int size[2], int coding,
                       int quality)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s-%s-%dx%d-q%d.jpg", folder, k->name, codings[coding], size[1],
             size[0], quality);
    FILE *f = fopen(path, "wb");
    if (!f)
        exit(2);
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_stdio_dest(&c, f);
    c.image_height = (JDIMENSION)size[0];
    c.image_width = (JDIMENSION)size[1];
    c.input_components = k->colours == JCS_GRAYSCALE                        ? 1
                         : k->colours == JCS_CMYK || k->colours == JCS_YCCK ? 4
                                                                            : 3;
    c.in_color_space = c.input_components == 1   ? JCS_GRAYSCALE
                       : c.input_components == 3 ? JCS_RGB
                                                 : JCS_CMYK;
    jpeg_set_defaults(&c);
    jpeg_set_colorspace(&c, k->colours);
    jpeg_set_quality(&c, quality, TRUE);
    for (int i = 0; i < c.input_components; i++) {
        c.comp_info[i].h_samp_factor = k->h[i];
        c.comp_info[i].v_samp_factor = k->v[i];
    }
    c.arith_code = coding == ARITHMETIC || coding == ARITHMETIC_PROGRESSIVE;
    if (coding == PROGRESSIVE || coding == ARITHMETIC_PROGRESSIVE)
        jpeg_simple_progression(&c);
    if (coding == RESTARTS)
        c.restart_interval = 3;
    jpeg_scan_info scans[4] = {{0}};
    if (coding == SCANS) { /* one for each component */
        for (int i = 0; i < c.input_components; i++)
            scans[i] = (jpeg_scan_info){.comps_in_scan = 1, .component_index = {i}, .Se = 63};
        c.scan_info = scans;
        c.num_scans = c.input_components;
    }
    jpeg_start_compress(&c, TRUE);
    unsigned char *row = malloc((size_t)size[1] * 4);
    unsigned seed = 1;
    for (int y = 0; row && y < size[0]; y++) {
        paint(row, y, size[1], c.input_components, &seed);
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    free(row);
    fclose(f);
}

static int write_jpegs(const char *folder)
{
    static const int qualities[] = {75, 95, 30, 100, 5};
    int n = 0;
    for (int k = 0; k < KINDS; k++)
        for (int s = 0; s < SIZES; s++)
            for (int coding = 0; coding < CODINGS; coding++)
                write_jpeg(folder, &kinds[k], sizes[s], coding, qualities[n++ % 5]);
    printf("%d\n", n);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "decode"))
        return decode(false);
    if (argc == 2 && !strcmp(argv[1], "probe"))
        return decode(true);
    if (argc == 3 && !strcmp(argv[1], "jpegs"))
        return write_jpegs(argv[2]);
    fprintf(stderr, "usage: picture_driver decode | probe | jpegs FOLDER\n");
    return 2;
}
