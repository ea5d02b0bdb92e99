/* PNG, by libpng's low-level reader.
 *
 * Pixels equal PIL's convert("RGB"): alpha and transparent colours are dropped, of 16-bit samples
 * the high byte counts, gamma and colour profiles are ignored, and of an animation the still picture
 * is taken. Grey of 16 bits is what PIL makes of it: values above 255 are 255.
 *
 * Checksums are checked, and the end of the file may be missing if all rows are there, as with PIL.
 * libpng makes its reader anew for each picture, in the decoder's memory. It reports errors by a
 * function that must not return: `guarded` is where it jumps to. */
#include <setjmp.h>
#include <string.h>

#include <png.h>

#include "data/picture/codec.h"
#include "data/picture/pixels.h"

typedef struct png_reader {
    wf_decoder *d;
    png_structp png;
    png_infop info;
    size_t at; /* in the file */
    bool cut_short, all_rows;
    jmp_buf failed;
    char why[128]; /* libpng's text */
} png_reader;

static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

/* ---- what libpng calls ----------------------------------------------------------------------- */

static void *on_malloc(png_structp png, size_t size)
{
    wf_decoder *d = png_get_mem_ptr(png);
    return wf_picture_memory_take(&d->memory, size);
}

static void on_free(png_structp png, void *p)
{
}

static void on_error(png_structp png, const char *why)
{
    png_reader *r = png_get_error_ptr(png);
    strncpy(r->why, why, sizeof r->why - 1);
    longjmp(r->failed, 1);
}

static void on_warning(png_structp png, const char *why)
{
}

static void on_read(png_structp png, uint8_t *to, size_t n)
{
    png_reader *r = png_get_io_ptr(png);
    if (n > r->d->n - r->at) {
        r->cut_short = true;
        png_error(png, "truncated");
    }
    memcpy(to, r->d->bytes + r->at, n);
    r->at += n;
}

/* ---- steps, each of which may be left by on_error -------------------------------------------- */

/* eXIf may lie before or after the pixels. libpng would have to decode them to find it after. */
static int find_orientation(wf_decoder *d)
{
    size_t at = sizeof signature;
    while (d->n - at >= 12) {
        const uint8_t *chunk = d->bytes + at;
        size_t length = png_get_uint_32(chunk);
        if (length > d->n - at - 12)
            return 1;
        if (!memcmp(chunk + 4, "eXIf", 4))
            return wf_exif_orientation(d, chunk + 8, length);
        at += length + 12;
    }
    return 1;
}

static weft_status read_header(wf_decoder *d, png_reader *r, uint8_t *pixels)
{
    png_structp png = r->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, r, on_error,
                                                        on_warning, d, on_malloc, on_free);
    if (!png || !(r->info = png_create_info_struct(png)))
        return wf_picture_nomem(d);
    png_set_read_fn(png, r, on_read);
    png_set_user_limits(png, 0x7fffffff, 0x7fffffff); /* decode.c has its own */
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1); /* text, profiles, ... */
    png_read_info(png, r->info);
    d->info.height = (int)png_get_image_height(png, r->info);
    d->info.width = (int)png_get_image_width(png, r->info);
    d->info.channels = png_get_color_type(png, r->info) & PNG_COLOR_MASK_COLOR ? 3 : 1;
    if (d->want_exif)
        d->info.orientation = find_orientation(d);
    return WEFT_OK;
}

/* What read_rows converts itself. */
enum native { AS_IT_IS, PALETTE, GREY16 };

static void convert(enum native native, const uint8_t palette[256][3], const uint8_t *from,
                    uint8_t *to, size_t width)
{
    if (native == PALETTE)
        wf_pixels_look_up(from, palette, to, width);
    else
        wf_pixels_grey16_to_grey((const uint16_t *)from, to, width);
}

static weft_status read_rows(wf_decoder *d, png_reader *r, uint8_t *pixels)
{
    png_structp png = r->png;
    int bits = png_get_bit_depth(png, r->info), type = png_get_color_type(png, r->info);
    enum native native = AS_IT_IS;
    uint8_t palette[256][3] = {{0}}; /* colours beyond a short palette are black */
    if (type == PNG_COLOR_TYPE_PALETTE) {
        native = PALETTE;
        png_set_packing(png);
        png_colorp colours;
        int n = 0;
        png_get_PLTE(png, r->info, &colours, &n);
        for (int i = 0; i < n && i < 256; i++) {
            palette[i][0] = colours[i].red;
            palette[i][1] = colours[i].green;
            palette[i][2] = colours[i].blue;
        }
    } else if (type == PNG_COLOR_TYPE_GRAY && bits == 16) {
        native = GREY16;
        png_set_swap(png);
    } else if (bits == 16) {
        png_set_strip_16(png);
    } else if (bits < 8) {
        png_set_expand_gray_1_2_4_to_8(png);
    }
    if (type & PNG_COLOR_MASK_ALPHA)
        png_set_strip_alpha(png);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, r->info);

    size_t width = (size_t)d->width, row = png_get_rowbytes(png, r->info);
    size_t to_row = width * (size_t)d->info.channels;
    uint8_t *staged = pixels;
    size_t staged_row = to_row;
    if (native != AS_IT_IS || row != to_row) {
        staged_row = passes > 1 ? row : 0; /* each row lands where the one before was */
        size_t size = passes > 1 ? row * (size_t)d->height : row;
        if (!(staged = wf_picture_memory_take(&d->memory, size)))
            return wf_picture_nomem(d);
    }
    for (int pass = 0; pass < passes; pass++)
        for (size_t y = 0; y < (size_t)d->height; y++) {
            png_read_row(png, staged + y * staged_row, NULL);
            if (native != AS_IT_IS && pass == passes - 1)
                convert(native, palette, staged + y * staged_row, pixels + y * to_row, width);
        }
    r->all_rows = true;
    png_read_end(png, NULL);
    return WEFT_OK;
}

/* ---- the codec ------------------------------------------------------------------------------- */

static weft_status guarded(wf_decoder *d, png_reader *r, uint8_t *pixels,
                           weft_status (*step)(wf_decoder *, png_reader *, uint8_t *))
{
    if (!setjmp(r->failed))
        return step(d, r, pixels);
    if (d->memory.out)
        return wf_picture_nomem(d);
    if (r->cut_short)
        return r->all_rows ? WEFT_OK : wf_picture_cut_short(d);
    return wf_picture_damaged(d, "%s", r->why);
}

static bool png_matches(const uint8_t *bytes, size_t n)
{
    return n >= sizeof signature && !memcmp(bytes, signature, sizeof signature);
}

static weft_status png_begin(wf_decoder *d)
{
    png_reader *r = wf_picture_memory_take(&d->memory, sizeof *r);
    if (!r)
        return wf_picture_nomem(d);
    memset(r, 0, sizeof *r);
    r->d = d;
    d->open = r;
    return guarded(d, r, NULL, read_header);
}

static weft_status png_read(wf_decoder *d, uint8_t *pixels)
{
    return guarded(d, d->open, pixels, read_rows);
}

static void png_end(wf_decoder *d)
{
    png_reader *r = d->open;
    if (r)
        png_destroy_read_struct(&r->png, &r->info, NULL);
}

const wf_picture_codec wf_codec_png = {
    .name = "PNG",
    .matches = png_matches,
    .begin = png_begin,
    .read = png_read,
    .end = png_end,
};
