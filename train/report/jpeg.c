/* libjpeg's encoder behind one function. See jpeg.h. */
#include "train/report/jpeg.h"

#include <setjmp.h>
#include <stdio.h> /* jpeglib.h needs it */
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "engine/base/alloc.h"
#include "engine/base/error.h"

enum { QUALITY = 88 };

typedef struct failure {
    struct jpeg_error_mgr base; /* first: libjpeg knows this part only */
    jmp_buf back;
    char why[JMSG_LENGTH_MAX];
} failure;

static void on_error(j_common_ptr jpeg)
{
    failure *f = (failure *)jpeg->err;
    jpeg->err->format_message(jpeg, f->why);
    longjmp(f->back, 1);
}

static void on_message(j_common_ptr jpeg)
{
    (void)jpeg; /* a library prints nothing */
}

/* The calls of libjpeg that may jump out. False: jpeg->err has the reason. */
static bool encode(struct jpeg_compress_struct *jpeg, int width, int height, int channels,
                   const uint8_t *pixels, unsigned char **bytes, unsigned long *size)
{
    if (setjmp(((failure *)jpeg->err)->back))
        return false;
    jpeg_create_compress(jpeg);
    jpeg_mem_dest(jpeg, bytes, size);
    jpeg->image_width = (JDIMENSION)width;
    jpeg->image_height = (JDIMENSION)height;
    jpeg->input_components = channels;
    jpeg->in_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(jpeg);
    jpeg_set_quality(jpeg, QUALITY, TRUE);
    jpeg_start_compress(jpeg, TRUE);
    for (int y = 0; y < height; y++) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(pixels + (size_t)y * (size_t)width * (size_t)channels);
        jpeg_write_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_compress(jpeg);
    return true;
}

weft_status wf_jpeg_encode(int width, int height, int channels, const uint8_t *pixels,
                           unsigned char **bytes, size_t *size, weft_error *err)
{
    struct jpeg_compress_struct jpeg = {0};
    failure f;
    unsigned char *made = NULL; /* libjpeg's, from malloc */
    unsigned long n = 0;
    memset(&f, 0, sizeof f);
    jpeg.err = jpeg_std_error(&f.base);
    f.base.error_exit = on_error;
    f.base.output_message = on_message;
    bool good = encode(&jpeg, width, height, channels, pixels, &made, &n);
    jpeg_destroy_compress(&jpeg);
    unsigned char *copy = good ? wf_alloc(n) : NULL;
    if (copy) {
        memcpy(copy, made, n);
        *bytes = copy;
        *size = n;
    }
    free(made);
    return copy ? WEFT_OK
                : wf_error_set(err, WEFT_ERR_NOMEM, "an image could not be encoded: %s",
                               f.why[0] ? f.why : "out of memory");
}
