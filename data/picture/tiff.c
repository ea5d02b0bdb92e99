/* TIFF, by libtiff: the first picture of a file, in strips or tiles, with any compression that libtiff
 * knows. Kinds are those that PIL opens: 1 to 16 bits, palettes, RGB, CMYK, YCbCr, and grey of 32
 * bits; PIL turns these as their orientation says, whatever one asks for.
 *
 * Grey of more than 8 bits is clipped to 0..255, as by PIL. Alpha is dropped; colours that have been
 * multiplied by it are divided again. libtiff has no hooks for memory: it allocates for each picture
 * itself. */
#include <stdio.h>
#include <string.h>

#include <tiffio.h>

#include "data/picture/codec.h"
#include "data/picture/pixels.h"

#define MAX_SAMPLES 6               /* a pixel, as PIL */
#define MAX_TILE_BYTES (256L << 20) /* a tile may be larger than its picture */
#define MAX_BLOCK_BYTES (1L << 30)  /* of what libtiff allocates at once */

enum kind { GREY, COLOURS, PALETTE, INKS, YCBCR, BY_LIBTIFF };

typedef struct tiff_reader {
    wf_decoder *d;
    TIFF *tiff;
    uint64_t at; /* in the file */
    bool cut_short;
    char why[256]; /* libtiff's text; "" without one */
    /* From here on: what the tags say. */
    enum kind kind;
    uint32_t height, width; /* as stored, before turning */
    uint16_t bits, samples, format, orientation;
    bool white_is_0, separate, divide; /* divide: by alpha */
    uint8_t palette[256][3];
    uint8_t *gathered; /* samples of pictures whose colours lie in planes, put together */
} tiff_reader;

/* ---- what libtiff calls ---------------------------------------------------------------------- */

static int on_error(TIFF *tiff, void *reader, const char *where, const char *format, va_list args)
{
    tiff_reader *r = reader;
    if (!r->why[0])
        wf_vsnprintf(r->why, sizeof r->why, format, args);
    return 1;
}

static int on_warning(TIFF *tiff, void *reader, const char *where, const char *format, va_list args)
{
    return 1;
}

static tmsize_t on_read(thandle_t reader, void *to, tmsize_t size)
{
    tiff_reader *r = reader;
    uint64_t left = r->at < r->d->n ? r->d->n - r->at : 0;
    if (size < 0)
        return -1;
    if ((uint64_t)size > left) {
        r->cut_short = true;
        size = (tmsize_t)left;
    }
    if (size > 0)
        memcpy(to, r->d->bytes + r->at, (size_t)size);
    r->at += (uint64_t)size;
    return size;
}

static tmsize_t on_write(thandle_t reader, void *from, tmsize_t size)
{
    return -1;
}

static toff_t on_seek(thandle_t reader, toff_t offset, int whence)
{
    tiff_reader *r = reader;
    r->at = whence == SEEK_SET ? offset : whence == SEEK_CUR ? r->at + offset : r->d->n + offset;
    return r->at;
}

static int on_close(thandle_t reader)
{
    return 0;
}

static toff_t on_size(thandle_t reader)
{
    return ((tiff_reader *)reader)->d->n;
}

static weft_status failure(wf_decoder *d, tiff_reader *r)
{
    if (r->cut_short)
        return wf_picture_cut_short(d);
    return wf_picture_damaged(d, "%s", r->why[0] ? r->why : "libtiff cannot read it");
}

/* ---- the tags -------------------------------------------------------------------------------- */

static weft_status read_palette(wf_decoder *d, tiff_reader *r)
{
    uint16_t *red, *green, *blue;
    if (!TIFFGetField(r->tiff, TIFFTAG_COLORMAP, &red, &green, &blue))
        return wf_picture_damaged(d, "it has no colour map");
    for (int i = 0; i < 1 << r->bits; i++) {
        r->palette[i][0] = (uint8_t)(red[i] >> 8);
        r->palette[i][1] = (uint8_t)(green[i] >> 8);
        r->palette[i][2] = (uint8_t)(blue[i] >> 8);
    }
    return WEFT_OK;
}

/* Sets the kind. False: PIL does not open such files either. */
static bool find_kind(tiff_reader *r, uint16_t photometric, uint16_t compression)
{
    uint16_t extras = 0, *extra = NULL, across = 2, down = 2;
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_EXTRASAMPLES, &extras, &extra);
    bool floats = r->format == SAMPLEFORMAT_IEEEFP;
    bool integers = r->format == SAMPLEFORMAT_UINT;
    int bits = r->bits;
    if (compression == COMPRESSION_OJPEG)
        photometric = PHOTOMETRIC_YCBCR;
    switch (photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK:
        r->kind = GREY;
        r->white_is_0 = photometric == PHOTOMETRIC_MINISWHITE && bits <= 8;
        if (r->samples == 2 && (bits != 8 || extras != 1 || extra[0] == EXTRASAMPLE_ASSOCALPHA))
            return false;
        if (r->samples > 2)
            return false;
        if (floats)
            return bits == 32;
        return bits == 8 || bits == 16 || bits == 32 ||
               (integers && (bits == 1 || bits == 2 || bits == 4 || bits == 12));
    case PHOTOMETRIC_RGB:
        r->kind = COLOURS;
        r->divide = r->samples > 3 && extras > 0 && extra[0] == EXTRASAMPLE_ASSOCALPHA;
        return r->samples >= 3 && integers && (bits == 8 || bits == 16);
    case PHOTOMETRIC_PALETTE:
        r->kind = PALETTE;
        return integers &&
               (bits == 8 || (r->samples == 1 && (bits == 1 || bits == 2 || bits == 4)));
    case PHOTOMETRIC_SEPARATED:
        r->kind = INKS;
        return r->samples >= 4 && integers && (bits == 8 || bits == 16);
    case PHOTOMETRIC_YCBCR:
        if (bits != 8 || !integers)
            return false;
        if (r->samples == 1 && compression != COMPRESSION_OJPEG) {
            r->kind = GREY;
            return true;
        }
        TIFFGetFieldDefaulted(r->tiff, TIFFTAG_YCBCRSUBSAMPLING, &across, &down);
        /* PIL leaves compressed files to libtiff, which rounds in another way. */
        r->kind = compression == COMPRESSION_NONE && across == 1 && down == 1 ? YCBCR : BY_LIBTIFF;
        if (compression == COMPRESSION_JPEG && !r->separate) {
            r->kind = COLOURS;
            TIFFSetField(r->tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        }
        return r->samples == 3;
    default: return false;
    }
}

static weft_status read_tags(wf_decoder *d, tiff_reader *r)
{
    uint16_t photometric = PHOTOMETRIC_MINISWHITE, planes, compression;
    if (!TIFFGetField(r->tiff, TIFFTAG_IMAGEWIDTH, &r->width) ||
        !TIFFGetField(r->tiff, TIFFTAG_IMAGELENGTH, &r->height))
        return wf_picture_damaged(d, "it has no size");
    if (r->width > INT32_MAX || r->height > INT32_MAX)
        return wf_picture_damaged(d, "its size is %ux%u", r->width, r->height);
    TIFFGetField(r->tiff, TIFFTAG_PHOTOMETRIC, &photometric);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_BITSPERSAMPLE, &r->bits);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_SAMPLESPERPIXEL, &r->samples);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_SAMPLEFORMAT, &r->format);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_PLANARCONFIG, &planes);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_COMPRESSION, &compression);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_ORIENTATION, &r->orientation);
    if (r->format == SAMPLEFORMAT_VOID)
        r->format = SAMPLEFORMAT_UINT;
    if (r->orientation < 1 || r->orientation > 8)
        r->orientation = 1;
    r->separate = planes == PLANARCONFIG_SEPARATE && r->samples > 1;
    if (!TIFFIsCODECConfigured(compression))
        return wf_picture_unsupported(d, "compression %u", compression);
    if (r->samples < 1 || r->samples > MAX_SAMPLES || !find_kind(r, photometric, compression))
        return wf_picture_unsupported(d, "photometric interpretation %u of %u samples of %u bits",
                                      photometric, r->samples, r->bits);
    if (r->kind == PALETTE)
        WF_TRY(read_palette(d, r));
    bool exchanged = r->orientation >= 5;
    d->info.height = (int)(exchanged ? r->width : r->height);
    d->info.width = (int)(exchanged ? r->height : r->width);
    d->info.channels = r->kind == GREY ? 1 : 3;
    return WEFT_OK;
}

/* ---- pixels ---------------------------------------------------------------------------------- */

static int clip(double v)
{
    return v >= 255 ? 255 : v > 0 ? (int)v : 0;
}

/* Grey value x of a row. */
static int grey_at(const tiff_reader *r, const uint8_t *row, size_t x)
{
    bool is_signed = r->format == SAMPLEFORMAT_INT;
    switch (r->bits) {
    case 8: return row[x * r->samples];
    case 12: {
        const uint8_t *p = row + x / 2 * 3;
        return clip(x % 2 ? (p[1] & 15) << 8 | p[2] : p[0] << 4 | p[1] >> 4);
    }
    case 16: {
        uint16_t v;
        memcpy(&v, row + 2 * x, sizeof v);
        return clip(is_signed ? (int16_t)v : v);
    }
    case 32: {
        int32_t v;
        float f;
        memcpy(&v, row + 4 * x, sizeof v);
        memcpy(&f, row + 4 * x, sizeof f);
        return r->format == SAMPLEFORMAT_IEEEFP ? clip(f) : clip(v);
    }
    default: { /* 1, 2, 4 */
        size_t bit = x * r->bits;
        int most = (1 << r->bits) - 1;
        return (row[bit / 8] >> (8 - r->bits - bit % 8) & most) * (255 / most);
    }
    }
}

/* Sample c of pixel x of a row, of 8 bits, or the higher 8 of 16. */
static uint8_t sample_at(const tiff_reader *r, const uint8_t *row, size_t x, int c)
{
    size_t i = x * r->samples + (size_t)c;
    return r->bits == 16 ? row[2 * i + 1] : row[i]; /* libtiff gives this machine's byte order */
}

static void unpack_colours(const tiff_reader *r, const uint8_t *row, uint8_t *to, size_t n)
{
    if (r->bits == 8 && r->samples == 3) {
        memcpy(to, row, 3 * n);
        return;
    }
    for (size_t x = 0; x < n; x++)
        for (int c = 0; c < 3; c++) {
            int v = sample_at(r, row, x, c);
            int alpha = r->divide ? sample_at(r, row, x, 3) : 255;
            to[3 * x + (size_t)c] = (uint8_t)(alpha == 0 ? 0 : clip(v * 255 / alpha));
        }
}

/* A row of samples, as libtiff gives them, to pixels. */
static void unpack(const tiff_reader *r, const uint8_t *row, uint8_t *to, size_t n)
{
    switch (r->kind) {
    case GREY:
        for (size_t x = 0; x < n; x++)
            to[x] = (uint8_t)(r->white_is_0 ? 255 - grey_at(r, row, x) : grey_at(r, row, x));
        break;
    case PALETTE:
        for (size_t x = 0; x < n; x++) {
            size_t bit = x * r->bits;
            int i = r->bits == 8 ? row[x * r->samples]
                                 : row[bit / 8] >> (8 - r->bits - bit % 8) & ((1 << r->bits) - 1);
            memcpy(to + 3 * x, r->palette[i], 3);
        }
        break;
    case INKS:
        for (size_t x = 0; x < n; x++) {
            uint8_t inks[4];
            for (int c = 0; c < 4; c++)
                inks[c] = sample_at(r, row, x, c);
            wf_pixels_cmyk_to_rgb(inks, to + 3 * x, 1);
        }
        break;
    case YCBCR:
        for (size_t x = 0; x < n; x++)
            wf_pixels_ycbcr_to_rgb(row + 3 * x, to + 3 * x, 1);
        break;
    default: unpack_colours(r, row, to, n);
    }
}

/* Takes n pixels from (y, x) on: of one plane, or of all samples. */
static void take_row(tiff_reader *r, const uint8_t *row, uint8_t *pixels, size_t y, size_t x,
                     size_t n, int plane)
{
    size_t bytes = r->bits / 8;
    if (!r->separate) {
        size_t channels = r->kind == GREY ? 1 : 3;
        unpack(r, row, pixels + (y * r->width + x) * channels, n);
        return;
    }
    uint8_t *to = r->gathered + ((y * r->width + x) * r->samples + (size_t)plane) * bytes;
    for (size_t i = 0; i < n; i++)
        memcpy(to + i * r->samples * bytes, row + i * bytes, bytes);
}

/* Strips are tiles as wide as the picture. */
static weft_status read_tiles(wf_decoder *d, tiff_reader *r, uint8_t *pixels)
{
    bool tiled = TIFFIsTiled(r->tiff);
    uint32_t rows = r->height, columns = r->width;
    if (tiled) {
        TIFFGetField(r->tiff, TIFFTAG_TILELENGTH, &rows);
        TIFFGetField(r->tiff, TIFFTAG_TILEWIDTH, &columns);
    } else {
        TIFFGetFieldDefaulted(r->tiff, TIFFTAG_ROWSPERSTRIP, &rows);
        rows = rows < r->height ? rows : r->height;
    }
    tmsize_t size = tiled ? TIFFTileSize(r->tiff) : TIFFStripSize(r->tiff);
    tmsize_t row = tiled ? TIFFTileRowSize(r->tiff) : TIFFScanlineSize(r->tiff);
    size_t samples = r->separate ? 1 : r->samples;
    if (rows == 0 || columns == 0 || size <= 0 || row <= 0 || row > size / (tmsize_t)rows ||
        (size_t)row < ((size_t)columns * samples * r->bits + 7) / 8)
        return r->why[0] ? failure(d, r) : wf_picture_damaged(d, "its tiles have no size");
    if (tiled && size > MAX_TILE_BYTES)
        return wf_picture_unsupported(d, "tiles of %ux%u pixels", columns, rows);
    uint8_t *tile = wf_picture_memory_take(&d->memory, (size_t)size);
    if (!tile)
        return wf_picture_nomem(d);
    int planes = r->separate ? r->samples : 1;
    for (int plane = 0; plane < planes; plane++)
        for (uint32_t y = 0; y < r->height; y += rows < r->height - y ? rows : r->height - y)
            for (uint32_t x = 0; x < r->width;
                 x += columns < r->width - x ? columns : r->width - x) {
                tmsize_t got;
                memset(tile, 0, (size_t)size); /* damaged faxes leave some of it as it was */
                if (tiled)
                    got = TIFFReadTile(r->tiff, tile, x, y, 0, (uint16_t)plane);
                else
                    got = TIFFReadEncodedStrip(
                        r->tiff, TIFFComputeStrip(r->tiff, y, (uint16_t)plane), tile, size);
                uint32_t height = rows < r->height - y ? rows : r->height - y;
                uint32_t width = columns < r->width - x ? columns : r->width - x;
                if (got < row * (tmsize_t)height)
                    return failure(d, r);
                for (uint32_t i = 0; i < height; i++)
                    take_row(r, tile + (size_t)row * i, pixels, y + i, x, width, plane);
            }
    return WEFT_OK;
}

/* YCbCr with chroma of fewer pixels, and old JPEG compression. */
static weft_status read_by_libtiff(wf_decoder *d, tiff_reader *r, uint8_t *pixels)
{
    size_t n = (size_t)r->height * r->width;
    uint32_t *raster = wf_picture_memory_take(&d->memory, n * sizeof *raster);
    if (!raster)
        return wf_picture_nomem(d);
    memset(raster, 0, n * sizeof *raster);
    char why[1024] = "";
    TIFFRGBAImage image;
    if (!TIFFRGBAImageOK(r->tiff, why) || !TIFFRGBAImageBegin(&image, r->tiff, 1, why))
        return r->cut_short ? wf_picture_cut_short(d) : wf_picture_damaged(d, "%s", why);
    image.orientation = image.req_orientation = ORIENTATION_TOPLEFT; /* decode.c turns */
    int good = TIFFRGBAImageGet(&image, raster, r->width, r->height);
    TIFFRGBAImageEnd(&image);
    if (!good)
        return failure(d, r);
    for (size_t i = 0; i < n; i++) {
        pixels[3 * i] = (uint8_t)TIFFGetR(raster[i]);
        pixels[3 * i + 1] = (uint8_t)TIFFGetG(raster[i]);
        pixels[3 * i + 2] = (uint8_t)TIFFGetB(raster[i]);
    }
    return WEFT_OK;
}

static weft_status read_pixels(wf_decoder *d, tiff_reader *r, uint8_t *pixels)
{
    if (r->kind == BY_LIBTIFF)
        return read_by_libtiff(d, r, pixels);
    size_t row = (size_t)r->width * r->samples * (r->bits / 8);
    if (r->separate && !(r->gathered = wf_picture_memory_take(&d->memory, row * r->height)))
        return wf_picture_nomem(d);
    WF_TRY(read_tiles(d, r, pixels));
    size_t channels = (size_t)d->info.channels;
    for (size_t y = 0; r->separate && y < r->height; y++)
        unpack(r, r->gathered + y * row, pixels + y * r->width * channels, r->width);
    return WEFT_OK;
}

/* ---- the codec ------------------------------------------------------------------------------- */

static bool tiff_matches(const uint8_t *bytes, size_t n)
{
    return n >= 4 && (!memcmp(bytes, "II*\0", 4) || !memcmp(bytes, "MM\0*", 4) ||
                      !memcmp(bytes, "II+\0", 4) || !memcmp(bytes, "MM\0+", 4));
}

static weft_status tiff_begin(wf_decoder *d)
{
    tiff_reader *r = wf_picture_memory_take(&d->memory, sizeof *r);
    if (!r)
        return wf_picture_nomem(d);
    memset(r, 0, sizeof *r);
    r->d = d;
    d->open = r;
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options)
        return wf_picture_nomem(d);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, MAX_BLOCK_BYTES);
    TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, r);
    TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, r);
    r->tiff = TIFFClientOpenExt("picture", "rm", r, on_read, on_write, on_seek, on_close, on_size,
                                NULL, NULL, options);
    TIFFOpenOptionsFree(options);
    return r->tiff ? read_tags(d, r) : failure(d, r);
}

static weft_status tiff_read(wf_decoder *d, uint8_t *pixels)
{
    tiff_reader *r = d->open;
    if (r->orientation == 1)
        return read_pixels(d, r, pixels);
    size_t size = (size_t)r->height * r->width * (size_t)d->info.channels;
    uint8_t *stored = wf_picture_memory_take(&d->memory, size);
    if (!stored)
        return wf_picture_nomem(d);
    WF_TRY(read_pixels(d, r, stored));
    wf_pixels_turn(stored, pixels, (int)r->height, (int)r->width, d->info.channels, r->orientation);
    return WEFT_OK;
}

static void tiff_end(wf_decoder *d)
{
    tiff_reader *r = d->open;
    if (r && r->tiff)
        TIFFClose(r->tiff);
}

const wf_picture_codec wf_codec_tiff = {
    .name = "TIFF",
    .matches = tiff_matches,
    .begin = tiff_begin,
    .read = tiff_read,
    .end = tiff_end,
};
