/* libpng behind one function. See png.h. */
#include "train/report/png.h"

#include <png.h>
#include <setjmp.h>
#include <string.h>

#include "engine/base/error.h"
#include "engine/base/alloc.h"

typedef struct sink {
    unsigned char *bytes;
    size_t size, capacity;
    char why[128];
} sink;

static void on_error(png_structp png, png_const_charp text)
{
    sink *s = png_get_error_ptr(png);
    strncpy(s->why, text, sizeof(s->why) - 1);
    png_longjmp(png, 1); /* not longjmp: while libpng starts, it jumps to a place of its own */
}

static void on_warning(png_structp png, png_const_charp text)
{
}

static png_voidp allocate(png_structp png, png_alloc_size_t size)
{
    return wf_alloc(size);
}

static void release(png_structp png, png_voidp p)
{
    wf_free(p);
}

static void append(png_structp png, png_bytep data, size_t size)
{
    sink *s = png_get_io_ptr(png);
    if (s->size + size > s->capacity) {
        size_t capacity = 2 * (s->size + size);
        unsigned char *bytes = wf_realloc_array(s->bytes, capacity, 1);
        if (!bytes)
            png_error(png, "out of memory");
        s->bytes = bytes;
        s->capacity = capacity;
    }
    memcpy(s->bytes + s->size, data, size);
    s->size += size;
}

static void flush(png_structp png)
{
}

/* The calls of libpng that may jump out. False: s->why has the reason. */
static bool encode(png_structp png, png_infop info, int width, int height, int channels,
                   const uint8_t *pixels)
{
    if (setjmp(png_jmpbuf(png)))
        return false;
    int color = channels == 1   ? PNG_COLOR_TYPE_GRAY
                : channels == 3 ? PNG_COLOR_TYPE_RGB
                                : PNG_COLOR_TYPE_RGB_ALPHA;
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 8, color, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int y = 0; y < height; y++)
        png_write_row(png, pixels + (size_t)y * (size_t)width * (size_t)channels);
    png_write_end(png, info);
    return true;
}

weft_status wf_png_encode(int width, int height, int channels, const uint8_t *pixels,
                          unsigned char **bytes, size_t *size, weft_error *err)
{
    sink s = {.bytes = NULL};
    png_structp png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &s, on_error, on_warning,
                                                NULL, allocate, release);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool good = false;
    if (info) {
        png_set_write_fn(png, &s, append, flush);
        good = encode(png, info, width, height, channels, pixels);
    }
    png_destroy_write_struct(png ? &png : NULL, info ? &info : NULL);
    if (!good) {
        wf_free(s.bytes);
        return wf_error_set(err, WEFT_ERR_NOMEM, "an image could not be encoded: %s",
                            s.why[0] ? s.why : "out of memory");
    }
    *bytes = s.bytes;
    *size = s.size;
    return WEFT_OK;
}
