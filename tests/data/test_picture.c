/* Decoding pictures: content decides, limits, channels, EXIF turning, scaled decoding, damaged files of
 * each format, memory that runs out, and that nothing is allocated after warm-up. That pixels are PIL's
 * is shown by tests/parity/test_pictures.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "data/picture/picture.h"
#include "engine/base/alloc.h"
#include "tests/data/picture_samples.h"

static wf_decoder *decoder;
static sample samples[SAMPLES_MOST];
static int n_samples;

static int create(void **state)
{
    decoder = wf_decoder_create();
    n_samples = samples_create(samples);
    return decoder ? 0 : -1;
}

static int destroy(void **state)
{
    wf_decoder_destroy(decoder);
    samples_destroy(samples, n_samples);
    return 0;
}

static wf_picture decode(const sample *s, wf_decode_opts opts)
{
    weft_error err = WEFT_ERROR_INIT;
    wf_picture p;
    if (wf_decode(decoder, s->bytes, s->n, s->name, &opts, &p, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    return p;
}

/* That this fails with a text which has all parts. */
static void check_refused(const void *bytes, size_t n, const char *name, wf_decode_opts opts,
                          const char *const *parts)
{
    weft_error err = WEFT_ERROR_INIT;
    wf_picture p = {.height = -7};
    assert_int_equal(wf_decode(decoder, bytes, n, name, &opts, &p, &err), WEFT_ERR_FORMAT);
    assert_int_equal(p.height, -7);
    if (strncmp(err.text, name, strlen(name)) != 0 || strchr(err.text, '\n'))
        fail_msg("no line that names the file: %s", err.text);
    for (; *parts; parts++)
        if (!strstr(err.text, *parts))
            fail_msg("no \"%s\" in: %s", *parts, err.text);
}
#define PARTS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ---- pixels ---------------------------------------------------------------------------------- */

static void the_content_says_which_format_it_is(void **state)
{
    for (int i = 0; i < n_samples; i++) {
        wf_picture_info info;
        weft_error err = WEFT_ERROR_INIT;
        assert_string_equal(wf_picture_format(samples[i].bytes, 16), samples[i].format);
        assert_int_equal(
            wf_picture_probe(decoder, samples[i].bytes, samples[i].n, "x.txt", &info, &err),
            WEFT_OK);
        assert_string_equal(info.format, samples[i].format);
        assert_int_equal(info.height, SAMPLE_HEIGHT);
        assert_int_equal(info.width, SAMPLE_WIDTH);
        assert_int_equal(info.channels, 3);
        assert_int_equal(info.orientation, strcmp(samples[i].name, "plain.png") == 0 ? 6 : 1);
    }
    assert_null(wf_picture_format("hello, I am a text", 16));
    assert_null(wf_picture_format("", 0));
}

static void lossless_formats_give_the_pixels_back(void **state)
{
    for (int i = 0; i < n_samples; i++) {
        wf_picture p = decode(&samples[i], (wf_decode_opts){0});
        assert_int_equal(p.height, SAMPLE_HEIGHT);
        assert_int_equal(p.width, SAMPLE_WIDTH);
        assert_int_equal(p.channels, 3);
        if (strcmp(samples[i].format, "JPEG") != 0)
            assert_memory_equal(p.pixels, sample_pixels(), SAMPLE_BYTES);
    }
}

/* libjpeg's own defaults are the slow integer transform and fancy upsampling. */
static void jpeg_equals_libjpeg(void **state)
{
    for (int i = 0; i < 3; i++) {
        struct jpeg_decompress_struct c;
        struct jpeg_error_mgr errors;
        c.err = jpeg_std_error(&errors);
        jpeg_create_decompress(&c);
        jpeg_mem_src(&c, samples[i].bytes, samples[i].n);
        jpeg_read_header(&c, TRUE);
        jpeg_start_decompress(&c);
        wf_picture p = decode(&samples[i], (wf_decode_opts){0});
        uint8_t line[3 * SAMPLE_WIDTH], *row = line;
        for (int y = 0; y < SAMPLE_HEIGHT; y++) {
            jpeg_read_scanlines(&c, &row, 1);
            assert_memory_equal(p.pixels + y * 3 * SAMPLE_WIDTH, line, sizeof line);
        }
        jpeg_destroy_decompress(&c);
    }
}

static void channels_are_converted_as_by_pil(void **state)
{
    const sample *png = &samples[4];
    wf_picture p = decode(png, (wf_decode_opts){.channels = 1});
    assert_int_equal(p.channels, 1);
    for (int i = 0; i < SAMPLE_BYTES / 3; i++) {
        const uint8_t *rgb = sample_pixels() + 3 * i;
        double grey = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
        /* Rounded to nearest, from weights in 2^-16. */
        assert_in_range((int)((p.pixels[i] - grey + 1) * 1000), 499, 1501);
    }
    uint8_t grey[40 * 30];
    for (int i = 0; i < 40 * 30; i++)
        grey[i] = (uint8_t)(i / 5);
    sample s = sample_jpeg(grey, 30, 40, 1, 0);
    uint8_t stored[40 * 30];
    p = decode(&s, (wf_decode_opts){0});
    assert_int_equal(p.channels, 1);
    memcpy(stored, p.pixels, sizeof stored);
    p = decode(&s, (wf_decode_opts){.channels = 3});
    for (int i = 0; i < 3 * 40 * 30; i++)
        assert_int_equal(p.pixels[i], stored[i / 3]);
    free(s.bytes);
}

/* Which pixel of the stored picture lies at (y, x) of the turned one: the EXIF standard's drawings. */
static void exif_turns_only_where_asked(void **state)
{
    const int h = SAMPLE_HEIGHT, w = SAMPLE_WIDTH;
    for (int orientation = 1; orientation <= 8; orientation++) {
        sample s = sample_png(false, orientation);
        wf_picture p = decode(&s, (wf_decode_opts){0});
        assert_memory_equal(p.pixels, sample_pixels(), SAMPLE_BYTES);
        p = decode(&s, (wf_decode_opts){.exif = true});
        assert_int_equal(p.height, orientation < 5 ? h : w);
        assert_int_equal(p.width, orientation < 5 ? w : h);
        for (int y = 0; y < p.height; y++)
            for (int x = 0; x < p.width; x++) {
                const int from[9][2] = {{0},
                                        {y, x},
                                        {y, w - 1 - x},
                                        {h - 1 - y, w - 1 - x},
                                        {h - 1 - y, x},
                                        {x, y},
                                        {h - 1 - x, y},
                                        {h - 1 - x, w - 1 - y},
                                        {x, w - 1 - y}};
                const int *yx = from[orientation];
                assert_memory_equal(p.pixels + 3 * (y * p.width + x),
                                    sample_pixels() + 3 * (yx[0] * w + yx[1]), 3);
            }
        free(s.bytes);
    }
}

static void a_jpeg_is_decoded_smaller_where_asked(void **state)
{
    static uint8_t pixels[3 * 300 * 203];
    for (int i = 0; i < 3 * 300 * 203; i++)
        pixels[i] = (uint8_t)(i / 900);
    sample s = sample_jpeg(pixels, 203, 300, 3, 0);
    static const int cases[][3] = {/* fast_side, height, width */
                                   {0, 203, 300},   {300, 203, 300}, {203, 203, 300},
                                   {102, 102, 150}, {103, 203, 300}, {51, 51, 75},
                                   {26, 26, 38},    {1, 26, 38}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wf_picture p = decode(&s, (wf_decode_opts){.fast_side = cases[i][0]});
        assert_int_equal(p.height, cases[i][1]);
        assert_int_equal(p.width, cases[i][2]);
    }
    free(s.bytes);
}

/* ---- bad files ------------------------------------------------------------------------------- */

static void what_is_no_picture_is_refused(void **state)
{
    check_refused("", 0, "empty.jpg", (wf_decode_opts){0}, PARTS("empty"));
    check_refused("Dear diary", 10, "diary.jpg", (wf_decode_opts){0},
                  PARTS("JPEG", "PNG", "44 65 61 72"));
    check_refused("\xff\xd8\xff", 3, "short.jpg", (wf_decode_opts){0}, PARTS("truncated", "JPEG"));
    check_refused("\x89PNG\r\n\x1a\n", 8, "short.png", (wf_decode_opts){0},
                  PARTS("truncated", "PNG"));
}

static void files_cut_short_are_refused(void **state)
{
    for (int i = 0; i < n_samples; i++) {
        const sample *s = &samples[i];
        /* Not all that a file ends with is pixels: the last number of a plain file may lose digits, a
         * BMP its padding, a TIFF where the next picture begins, a PNG checksums, EXIF and its last chunk. */
        size_t tail = !strcmp(s->name, "plain.ppm") ? 4
                      : !strcmp(s->format, "BMP")   ? 2
                      : !strcmp(s->format, "TIFF")  ? 5
                      : !strcmp(s->format, "PNG")   ? 60
                                                    : 1;
        for (size_t n = 16; n <= s->n - tail; n++) {
            uint8_t *part = malloc(n); /* so that AddressSanitizer sees what is read beyond it */
            memcpy(part, s->bytes, n);
            check_refused(part, n, s->name, (wf_decode_opts){0}, PARTS(s->format));
            free(part);
        }
        decode(s, (wf_decode_opts){0});
    }
}

/* A changed byte is found, or changes pixels; and the next picture is what it was. */
static void damaged_files_do_no_harm(void **state)
{
    unsigned seed = 3;
    int refused = 0;
    for (int i = 0; i < n_samples; i++) {
        const sample *s = &samples[i];
        wf_picture p = decode(s, (wf_decode_opts){0});
        uint8_t before[SAMPLE_BYTES];
        memcpy(before, p.pixels, sizeof before);
        for (size_t at = 0; at < s->n; at += 1 + s->n / 400) {
            seed = seed * 1664525u + 1013904223u;
            uint8_t old = s->bytes[at];
            s->bytes[at] ^= (uint8_t)(1u << (seed >> 29));
            weft_error err = WEFT_ERROR_INIT;
            wf_decode_opts opts = {.exif = true, .max_pixels = 1 << 20};
            if (wf_decode(decoder, s->bytes, s->n, s->name, &opts, &p, &err) != WEFT_OK) {
                refused++;
                assert_int_equal(strncmp(err.text, s->name, strlen(s->name)), 0);
                assert_null(strchr(err.text, '\n'));
            }
            s->bytes[at] = old;
        }
        p = decode(s, (wf_decode_opts){0});
        assert_memory_equal(p.pixels, before, sizeof before);
    }
    assert_true(refused > 100);
}

static void a_png_with_wrong_checksums_is_refused(void **state)
{
    const sample *s = &samples[3];
    s->bytes[s->n - 13] ^= 1; /* the checksum of its pixels */
    check_refused(s->bytes, s->n, s->name, (wf_decode_opts){0}, PARTS("damaged", "CRC"));
    s->bytes[s->n - 13] ^= 1;
}

/* A JPEG without tables is not decoded with those of the picture before it. */
static void tables_of_one_jpeg_do_not_serve_another(void **state)
{
    const sample *s = &samples[0];
    decode(s, (wf_decode_opts){0});
    uint8_t *bare = malloc(s->n);
    size_t n = 0;
    for (size_t at = 0; at < s->n;) { /* all segments but those of quantization */
        size_t length = s->n - at;
        if (at == 0)
            length = 2;
        else if (s->bytes[at + 1] != 0xda)
            length = 2 + ((size_t)s->bytes[at + 2] << 8 | s->bytes[at + 3]);
        if (s->bytes[at + 1] != 0xdb) {
            memcpy(bare + n, s->bytes + at, length);
            n += length;
        }
        at += length;
    }
    assert_true(n < s->n);
    check_refused(bare, n, "bare.jpg", (wf_decode_opts){0}, PARTS("damaged JPEG"));
    free(bare);
}

/* Sizes are read and refused before anything is allocated for them. */
static void huge_pictures_are_refused_before_they_are_decoded(void **state)
{
    const sample *s = &samples[4];
    check_refused(s->bytes, s->n, s->name,
                  (wf_decode_opts){.max_pixels = SAMPLE_WIDTH * SAMPLE_HEIGHT - 1},
                  PARTS("21x14", "294", "293"));
    decode(s, (wf_decode_opts){.max_pixels = SAMPLE_WIDTH * SAMPLE_HEIGHT});

    sample jpeg = sample_jpeg(sample_pixels(), SAMPLE_HEIGHT, SAMPLE_WIDTH, 3, 1);
    uint8_t *sof = jpeg.bytes;
    while (memcmp(sof, "\xff\xc2", 2) != 0)
        sof++;
    memcpy(sof + 5, "\xff\xdc\xff\xdc", 4); /* 65500x65500, the most that libjpeg takes */
    check_refused(jpeg.bytes, jpeg.n, "bomb.jpg", (wf_decode_opts){0},
                  PARTS("65500x65500", "4290250000", "178956970"));
    free(jpeg.bytes);

    uint8_t head[] = "P5 2147483647 2147483647 255\n.";
    check_refused(head, sizeof head - 1, "bomb.pgm", (wf_decode_opts){0},
                  PARTS("2147483647x2147483647"));
    check_refused(head, sizeof head - 1, "bomb.pgm", (wf_decode_opts){.max_pixels = INT64_MAX},
                  PARTS("2147483647x2147483647"));
}

static void long_and_thin_pictures_are_decoded(void **state)
{
    uint8_t *line = malloc(65500);
    for (int i = 0; i < 65500; i++)
        line[i] = (uint8_t)(i / 300);
    sample s = sample_jpeg(line, 1, 65500, 1, 0);
    wf_picture p = decode(&s, (wf_decode_opts){0});
    assert_int_equal(p.width, 65500);
    free(s.bytes);
    s = sample_jpeg(line, 65500, 1, 1, 1);
    p = decode(&s, (wf_decode_opts){.channels = 3});
    assert_int_equal(p.height, 65500);
    free(s.bytes);
    free(line);
}

static void wrong_options_are_refused(void **state)
{
    weft_error err = WEFT_ERROR_INIT;
    wf_picture p;
    assert_int_equal(wf_decode(decoder, samples[0].bytes, samples[0].n, "a.jpg",
                               &(wf_decode_opts){.channels = 2}, &p, &err),
                     WEFT_ERR_INVALID);
    assert_non_null(strstr(err.text, "a.jpg: 2 channels"));
    wf_decoder_destroy(NULL);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void every_allocation_may_fail(void **state)
{
    for (int i = 0; i < n_samples; i++) {
        long n = 1;
        for (;; n++) {
            weft_error err = WEFT_ERROR_INIT;
            wf_picture p;
            wf_alloc_fail_at(n);
            wf_decoder *d = wf_decoder_create();
            weft_status status = WEFT_ERR_NOMEM;
            wf_decode_opts opts = {.exif = true};
            if (d)
                status =
                    wf_decode(d, samples[i].bytes, samples[i].n, samples[i].name, &opts, &p, &err);
            bool all_were_there = wf_alloc_fail_at(0) > 0;
            if (d && status != WEFT_OK)
                assert_non_null(strstr(err.text, samples[i].name));
            /* An EXIF block that finds no memory counts as none. */
            assert_true(all_were_there ? status == WEFT_OK
                                       : status == WEFT_ERR_NOMEM || status == WEFT_OK);
            if (d && status != WEFT_OK) { /* the decoder is as good as new */
                weft_error none = WEFT_ERROR_INIT;
                assert_int_equal(
                    wf_decode(d, samples[i].bytes, samples[i].n, "again", &opts, &p, &none),
                    WEFT_OK);
            }
            wf_decoder_destroy(d);
            if (all_were_there)
                break;
        }
        assert_true(n > 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_content_says_which_format_it_is),
        cmocka_unit_test(lossless_formats_give_the_pixels_back),
        cmocka_unit_test(jpeg_equals_libjpeg),
        cmocka_unit_test(channels_are_converted_as_by_pil),
        cmocka_unit_test(exif_turns_only_where_asked),
        cmocka_unit_test(a_jpeg_is_decoded_smaller_where_asked),
        cmocka_unit_test(what_is_no_picture_is_refused),
        cmocka_unit_test(files_cut_short_are_refused),
        cmocka_unit_test(damaged_files_do_no_harm),
        cmocka_unit_test(a_png_with_wrong_checksums_is_refused),
        cmocka_unit_test(tables_of_one_jpeg_do_not_serve_another),
        cmocka_unit_test(huge_pictures_are_refused_before_they_are_decoded),
        cmocka_unit_test(long_and_thin_pictures_are_decoded),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, create, destroy);
}
