/* JPEG, by libjpeg-turbo: baseline, extended and progressive, Huffman and arithmetic codes, 8 bits.
 *
 * Pixels equal PIL's: the ISLOW transform, and "fancy" upsampling of the chroma. Files of four
 * components are taken as Adobe's, whose CMYK is inverted. As there, bytes after the end of the
 * image do not matter, and an image without its end is truncated.
 *
 * PIL ignores libjpeg's warnings. Here a warning that pixels are lost is an error.
 *
 * The decompressor lives as long as the decoder. libjpeg reports errors by a function that must not
 * return: `guarded` is where it jumps to. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "data/picture/codec.h"
#include "data/picture/jpeg_memory.h"
#include "data/picture/pixels.h"
#include "engine/base/alloc.h"

#define ROWS_AT_ONCE 16
/* A scan is a pass over all coefficients, which costs few bytes of a file: a bound against files
 * made to keep us busy. Encoders write some ten of them. libjpeg-turbo's fuzzers have MAX_SCANS. A
 * large picture may have fewer: some ten seconds of one core at the most. */
#define MAX_SCANS 500
#define LEAST_SCANS 64
#define MAX_SCANNED_PIXELS (INT64_C(1) << 32)

typedef struct jpeg_reader {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    wf_jpeg_memory memory;
    jmp_buf failed;
    bool cut_short, too_many_scans;
} jpeg_reader;

/* ---- what libjpeg calls ---------------------------------------------------------------------- */

static jpeg_reader *reader(void *jpeg)
{
    return ((j_common_ptr)jpeg)->client_data;
}

static void on_error(j_common_ptr jpeg)
{
    longjmp(reader(jpeg)->failed, 1);
}

static void on_message(j_common_ptr jpeg)
{
}

/* level is -1 for a warning, and more for a trace. */
static void on_warning(j_common_ptr jpeg, int level)
{
    if (level >= 0)
        return;
    switch (jpeg->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA: /* bytes between markers that nothing reads */
    case JWRN_JFIF_MAJOR:
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_ICC:
    case JWRN_BOGUS_PROGRESSION: /* in an order that no encoder should choose, but all there */
    case JWRN_NOT_SEQUENTIAL: return;
    default: on_error(jpeg);
    }
}

static int most_scans(const struct jpeg_decompress_struct *jpeg)
{
    const int64_t pixels = (int64_t)jpeg->image_height * jpeg->image_width + 1;
    const int64_t most = MAX_SCANNED_PIXELS / pixels;
    return most < LEAST_SCANS ? LEAST_SCANS : most < MAX_SCANS ? (int)most : MAX_SCANS;
}

static void on_progress(j_common_ptr jpeg)
{
    if (((j_decompress_ptr)jpeg)->input_scan_number <= most_scans((j_decompress_ptr)jpeg))
        return;
    reader(jpeg)->too_many_scans = true;
    on_error(jpeg);
}

static void source_begin(j_decompress_ptr jpeg)
{
}

/* The whole file lies in memory, so there is never more of it. */
static boolean source_refill(j_decompress_ptr jpeg)
{
    reader(jpeg)->cut_short = true;
    on_error((j_common_ptr)jpeg);
    return FALSE;
}

static void source_skip(j_decompress_ptr jpeg, long bytes)
{
    if (bytes <= 0)
        return;
    if ((size_t)bytes > jpeg->src->bytes_in_buffer)
        source_refill(jpeg);
    jpeg->src->next_input_byte += bytes;
    jpeg->src->bytes_in_buffer -= (size_t)bytes;
}

/* ---- steps, each of which may be left by on_error -------------------------------------------- */

static weft_status create(wf_decoder *d, jpeg_reader *r, uint8_t *pixels)
{
    jpeg_create_decompress(&r->jpeg);
    r->jpeg.client_data = r;
    r->jpeg.src = &r->source;
    r->jpeg.progress = &r->progress;
    wf_jpeg_memory_install(&r->memory, &r->jpeg, &d->memory);
    return WEFT_OK;
}

static weft_status read_header(wf_decoder *d, jpeg_reader *r, uint8_t *pixels)
{
    struct jpeg_decompress_struct *jpeg = &r->jpeg;
    for (int i = 0; i < NUM_QUANT_TBLS; i++)
        jpeg->quant_tbl_ptrs[i] = NULL;
    for (int i = 0; i < NUM_HUFF_TBLS; i++)
        jpeg->dc_huff_tbl_ptrs[i] = jpeg->ac_huff_tbl_ptrs[i] = NULL;
    r->source.next_input_byte = d->bytes;
    r->source.bytes_in_buffer = d->n;
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, d->want_exif ? 0xffff : 0);
    jpeg_read_header(jpeg, TRUE);
    int components = jpeg->num_components;
    if (components != 1 && components != 3 && components != 4)
        return wf_picture_unsupported(d, "%d colour components", components);
    if (jpeg->data_precision != 8)
        return wf_picture_unsupported(d, "%d bits a sample", jpeg->data_precision);
    d->info.height = (int)jpeg->image_height;
    d->info.width = (int)jpeg->image_width;
    d->info.channels = components == 1 ? 1 : 3;
    jpeg->out_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
    if (d->fast_side > 0)
        for (unsigned by = 8; by > 1 && jpeg->scale_denom == 1; by /= 2)
            if ((jpeg->image_height + by - 1) / by >= (unsigned)d->fast_side &&
                (jpeg->image_width + by - 1) / by >= (unsigned)d->fast_side)
                jpeg->scale_denom = by;
    jpeg_calc_output_dimensions(jpeg);
    d->height = (int)jpeg->output_height;
    d->width = (int)jpeg->output_width;
    for (jpeg_saved_marker_ptr m = jpeg->marker_list; m; m = m->next)
        if (m->data_length > 6 && !memcmp(m->data, "Exif\0", 6)) {
            d->info.orientation = wf_exif_orientation(d, m->data, m->data_length);
            break;
        }
    return WEFT_OK;
}

static weft_status read_rows(wf_decoder *d, jpeg_reader *r, uint8_t *pixels)
{
    struct jpeg_decompress_struct *jpeg = &r->jpeg;
    jpeg_start_decompress(jpeg);
    bool cmyk = jpeg->out_color_space == JCS_CMYK;
    size_t width = jpeg->output_width, row = width * (size_t)d->info.channels;
    size_t inks = width * 4;
    uint8_t *staged = NULL;
    if (cmyk && !(staged = wf_picture_memory_take(&d->memory, ROWS_AT_ONCE * inks)))
        return wf_picture_nomem(d);
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *to = pixels + jpeg->output_scanline * row;
        JDIMENSION left = jpeg->output_height - jpeg->output_scanline;
        JSAMPROW rows[ROWS_AT_ONCE];
        JDIMENSION n = left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE;
        for (JDIMENSION i = 0; i < n; i++)
            rows[i] = cmyk ? staged + i * inks : to + i * row;
        n = jpeg_read_scanlines(jpeg, rows, n);
        if (cmyk) {
            for (size_t i = 0; i < n * inks; i++)
                staged[i] = (uint8_t)(255 - staged[i]);
            wf_pixels_cmyk_to_rgb(staged, to, n * width);
        }
    }
    jpeg_finish_decompress(jpeg); /* reads to the end of the image */
    return WEFT_OK;
}

/* ---- the codec ------------------------------------------------------------------------------- */

/* Why libjpeg gave up. */
static weft_status failure(wf_decoder *d, jpeg_reader *r)
{
    if (d->memory.out)
        return wf_picture_nomem(d);
    if (r->cut_short)
        return wf_picture_cut_short(d);
    if (r->too_many_scans)
        return wf_picture_damaged(d, "more than %d scans", most_scans(&r->jpeg));
    char text[JMSG_LENGTH_MAX];
    r->errors.format_message((j_common_ptr)&r->jpeg, text);
    switch (r->errors.msg_code) {
    case JERR_OUT_OF_MEMORY: return wf_picture_nomem(d);
    case JERR_ARITH_NOTIMPL:
    case JERR_BAD_PRECISION:
    case JERR_CCIR601_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_IMAGE_TOO_BIG:
    case JERR_NOT_COMPILED:
    case JERR_NOTIMPL:
    case JERR_SOF_UNSUPPORTED: return wf_picture_unsupported(d, "%s", text);
    default: return wf_picture_damaged(d, "%s", text);
    }
}

static weft_status guarded(wf_decoder *d, jpeg_reader *r, uint8_t *pixels,
                           weft_status (*step)(wf_decoder *, jpeg_reader *, uint8_t *))
{
    r->cut_short = r->too_many_scans = false;
    if (setjmp(r->failed))
        return failure(d, r);
    return step(d, r, pixels);
}

static bool jpeg_matches(const uint8_t *bytes, size_t n)
{
    return n >= 3 && !memcmp(bytes, "\xff\xd8\xff", 3);
}

static weft_status jpeg_begin(wf_decoder *d)
{
    jpeg_reader *r = d->jpeg;
    if (!r) {
        r = wf_zalloc(sizeof *r);
        if (!r)
            return wf_picture_nomem(d);
        r->jpeg.err = jpeg_std_error(&r->errors);
        r->errors.error_exit = on_error;
        r->errors.output_message = on_message;
        r->errors.emit_message = on_warning;
        r->progress.progress_monitor = on_progress;
        r->source.init_source = source_begin;
        r->source.fill_input_buffer = source_refill;
        r->source.skip_input_data = source_skip;
        r->source.resync_to_restart = jpeg_resync_to_restart;
        r->source.term_source = source_begin;
        /* jpeg_create_decompress keeps both. */
        r->jpeg.client_data = r;
        weft_status status = guarded(d, r, NULL, create);
        if (status != WEFT_OK) {
            jpeg_destroy_decompress(&r->jpeg);
            wf_free(r);
            return status;
        }
        d->jpeg = r;
    }
    return guarded(d, r, NULL, read_header);
}

static weft_status jpeg_read(wf_decoder *d, uint8_t *pixels)
{
    return guarded(d, d->jpeg, pixels, read_rows);
}

static void jpeg_end(wf_decoder *d)
{
    if (d->jpeg)
        jpeg_abort_decompress(&((jpeg_reader *)d->jpeg)->jpeg);
}

static void jpeg_done(wf_decoder *d)
{
    if (!d->jpeg)
        return;
    jpeg_destroy_decompress(&((jpeg_reader *)d->jpeg)->jpeg);
    wf_free(d->jpeg);
    d->jpeg = NULL;
}

const wf_picture_codec wf_codec_jpeg = {
    .name = "JPEG",
    .matches = jpeg_matches,
    .begin = jpeg_begin,
    .read = jpeg_read,
    .end = jpeg_end,
    .done = jpeg_done,
};
