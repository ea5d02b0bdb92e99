/* The orientation in an EXIF block, by libexif. */
#include <string.h>

#include <libexif/exif-data.h>

#include "data/picture/codec.h"

/* libexif allocates through functions without an argument of the caller's: they find the memory of
 * the thread's decoder here. */
static _Thread_local wf_picture_memory *lender;

static void *on_alloc(ExifLong size)
{
    void *p = wf_picture_memory_take(lender, size + sizeof(size_t));
    if (!p)
        return NULL;
    memset(p, 0, size + sizeof(size_t));
    *(size_t *)p = size;
    return (size_t *)p + 1;
}

static void *on_realloc(void *old, ExifLong size)
{
    void *p = on_alloc(size);
    if (p && old) {
        size_t before = ((size_t *)old)[-1];
        memcpy(p, old, before < size ? before : size);
    }
    return p;
}

static void on_free(void *p)
{
}

int wf_exif_orientation(wf_decoder *d, const uint8_t *bytes, size_t n)
{
    static const uint8_t prefix[6] = "Exif\0";
    if (n < 8 || n > 1 << 24)
        return 1;
    if (memcmp(bytes, prefix, sizeof prefix) != 0) {
        uint8_t *copy = wf_picture_memory_take(&d->memory, n + sizeof prefix);
        if (!copy)
            return 1;
        memcpy(copy, prefix, sizeof prefix);
        memcpy(copy + sizeof prefix, bytes, n);
        bytes = copy;
        n += sizeof prefix;
    }
    lender = &d->memory;
    int orientation = 1;
    ExifMem *memory = exif_mem_new(on_alloc, on_realloc, on_free);
    ExifData *data = memory ? exif_data_new_mem(memory) : NULL;
    if (data) {
        exif_data_unset_option(data, EXIF_DATA_OPTION_FOLLOW_SPECIFICATION);
        exif_data_load_data(data, bytes, (unsigned)n);
        ExifEntry *entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
        if (entry && entry->format == EXIF_FORMAT_SHORT && entry->components >= 1 &&
            entry->size >= 2) {
            int value = exif_get_short(entry->data, exif_data_get_byte_order(data));
            if (value >= 1 && value <= 8)
                orientation = value;
        }
        exif_data_unref(data);
    }
    if (memory)
        exif_mem_unref(memory);
    lender = NULL;
    return orientation;
}
