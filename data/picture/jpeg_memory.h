/* libjpeg's memory manager, with a picture's memory taken from the decoder's. */
#ifndef WF_DATA_PICTURE_JPEG_MEMORY_H
#define WF_DATA_PICTURE_JPEG_MEMORY_H

#include <stdio.h>

#include <jpeglib.h>

#include "data/picture/memory.h"

typedef struct wf_jpeg_memory {
    struct jpeg_memory_mgr methods; /* first: libjpeg hands us its address */
    struct jpeg_memory_mgr *original;
    wf_picture_memory *memory;
    jvirt_barray_ptr virtual_arrays;
} wf_jpeg_memory;

/* After jpeg_create_decompress. */
void wf_jpeg_memory_install(wf_jpeg_memory *m, j_decompress_ptr jpeg, wf_picture_memory *memory);

#endif
