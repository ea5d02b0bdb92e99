/* See jpeg_memory.h. libjpeg's own manager calls malloc for each picture. This one takes the memory
 * from the decoder's, and so decoding does not allocate.
 *
 * libjpeg asks for memory in two pools: one lasts as long as the decompressor, the other as long as
 * a picture. What belongs to the first is made by jpeg_create_decompress, before this manager is
 * there, but for the tables for quantization and Huffman codes. These are forgotten after each
 * picture (jpeg.c), because a file without tables must not be decoded with another file's. So
 * everything here lasts as long as the picture.
 *
 * The rules are jpeglib.h's and libjpeg-turbo's for SIMD: blocks and rows are aligned, and rows may
 * be written beyond their end, up to a multiple of ROW_MULTIPLE samples. libjpeg's "virtual arrays",
 * which hold the coefficients of progressive files, are arrays here. */
#include "data/picture/jpeg_memory.h"

#include <jerror.h>
#include <string.h>

#define ROW_MULTIPLE 128

/* libjpeg knows this struct by name only; it is the manager's. */
struct jvirt_barray_control {
    JBLOCKARRAY rows; /* NULL: not made yet */
    JDIMENSION blocks_per_row, height;
    boolean pre_zero;
    jvirt_barray_ptr next;
};

static wf_jpeg_memory *manager(j_common_ptr jpeg)
{
    return (wf_jpeg_memory *)jpeg->mem;
}

static void *take(j_common_ptr jpeg, size_t count, size_t size)
{
    size_t bytes;
    void *p = __builtin_mul_overflow(count, size, &bytes)
                  ? NULL
                  : wf_picture_memory_take(manager(jpeg)->memory, bytes);
    if (!p) {
        manager(jpeg)->memory->out = true;
        ERREXIT1(jpeg, JERR_OUT_OF_MEMORY, 0);
    }
    return p;
}

static void *alloc_small(j_common_ptr jpeg, int pool, size_t size)
{
    return take(jpeg, size, 1);
}

static JSAMPARRAY alloc_sarray(j_common_ptr jpeg, int pool, JDIMENSION width, JDIMENSION height)
{
    size_t row = ((size_t)width + ROW_MULTIPLE - 1) / ROW_MULTIPLE * ROW_MULTIPLE;
    JSAMPARRAY rows = take(jpeg, height, sizeof *rows);
    JSAMPLE *samples = take(jpeg, row * sizeof *samples, height);
    for (JDIMENSION y = 0; y < height; y++)
        rows[y] = samples + y * row;
    return rows;
}

static JBLOCKARRAY alloc_barray(j_common_ptr jpeg, int pool, JDIMENSION width, JDIMENSION height)
{
    JBLOCKARRAY rows = take(jpeg, height, sizeof *rows);
    JBLOCKROW blocks = take(jpeg, (size_t)width * height, sizeof *blocks);
    for (JDIMENSION y = 0; y < height; y++)
        rows[y] = blocks + (size_t)y * width;
    return rows;
}

/* Colour quantization and lossless files use it; neither is asked for. */
static jvirt_sarray_ptr request_virt_sarray(j_common_ptr jpeg, int pool, boolean pre_zero,
                                            JDIMENSION width, JDIMENSION height, JDIMENSION access)
{
    ERREXIT(jpeg, JERR_NOT_COMPILED);
    return NULL;
}

static JSAMPARRAY access_virt_sarray(j_common_ptr jpeg, jvirt_sarray_ptr array, JDIMENSION start,
                                     JDIMENSION rows, boolean writable)
{
    ERREXIT(jpeg, JERR_BAD_VIRTUAL_ACCESS);
    return NULL;
}

static jvirt_barray_ptr request_virt_barray(j_common_ptr jpeg, int pool, boolean pre_zero,
                                            JDIMENSION width, JDIMENSION height, JDIMENSION access)
{
    jvirt_barray_ptr array = take(jpeg, 1, sizeof *array);
    *array = (struct jvirt_barray_control){
        .blocks_per_row = width,
        .height = height,
        .pre_zero = pre_zero,
        .next = manager(jpeg)->virtual_arrays,
    };
    manager(jpeg)->virtual_arrays = array;
    return array;
}

static void realize_virt_arrays(j_common_ptr jpeg)
{
    for (jvirt_barray_ptr a = manager(jpeg)->virtual_arrays; a; a = a->next) {
        if (a->rows)
            continue;
        a->rows = alloc_barray(jpeg, JPOOL_IMAGE, a->blocks_per_row, a->height);
        if (a->pre_zero && a->height > 0)
            memset(a->rows[0], 0, (size_t)a->blocks_per_row * a->height * sizeof(JBLOCK));
    }
}

static JBLOCKARRAY access_virt_barray(j_common_ptr jpeg, jvirt_barray_ptr a, JDIMENSION start,
                                      JDIMENSION rows, boolean writable)
{
    if (!a->rows || start > a->height || rows > a->height - start)
        ERREXIT(jpeg, JERR_BAD_VIRTUAL_ACCESS);
    return a->rows + start;
}

static void free_pool(j_common_ptr jpeg, int pool)
{
    manager(jpeg)->virtual_arrays = NULL; /* the decoder takes the memory back itself */
}

static void self_destruct(j_common_ptr jpeg)
{
    jpeg->mem = manager(jpeg)->original;
    jpeg->mem->self_destruct(jpeg);
}

void wf_jpeg_memory_install(wf_jpeg_memory *m, j_decompress_ptr jpeg, wf_picture_memory *memory)
{
    m->original = jpeg->mem;
    m->memory = memory;
    m->virtual_arrays = NULL;
    m->methods = (struct jpeg_memory_mgr){
        .alloc_small = alloc_small,
        .alloc_large = alloc_small,
        .alloc_sarray = alloc_sarray,
        .alloc_barray = alloc_barray,
        .request_virt_sarray = request_virt_sarray,
        .request_virt_barray = request_virt_barray,
        .realize_virt_arrays = realize_virt_arrays,
        .access_virt_sarray = access_virt_sarray,
        .access_virt_barray = access_virt_barray,
        .free_pool = free_pool,
        .self_destruct = self_destruct,
        .max_memory_to_use = jpeg->mem->max_memory_to_use,
        .max_alloc_chunk = jpeg->mem->max_alloc_chunk,
    };
    jpeg->mem = &m->methods;
}
