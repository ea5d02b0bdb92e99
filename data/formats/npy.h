/* Arrays in NumPy's .npy format, for the formats npy and npz.
 *
 * Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. */
#ifndef WF_DATA_FORMATS_NPY_H
#define WF_DATA_FORMATS_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/data.h"

enum { WF_NPY_RANK = 4 };

/* What a header says. */
typedef struct wf_npy {
    char type; /* 'u', 'i', 'f' or 'b' */
    int item;  /* bytes of an element: 1, 2, 4 or 8; little-endian */
    int rank;  /* 1 to WF_NPY_RANK */
    int64_t dim[WF_NPY_RANK];
    int64_t count; /* elements */
    size_t begin;  /* where they begin in the file */
} wf_npy;

/* Reads the header at the start of `size` bytes; `total` is the size of the whole file. `name` is
 * for messages. */
weft_status wf_npy_parse(const char *name, const unsigned char *bytes, size_t size, int64_t total,
                         wf_npy *npy, weft_error *err);
/* Bytes of a header that hold all that can be read: the longest header of the arrays that this
 * reader takes is shorter. */
enum { WF_NPY_HEADER = 4096 };

/* Two arrays of a split as a data set. Takes over `images`, the elements of npy `a`, on failure
 * too. `labels` (may be NULL) are the elements of `b`. Images are (N,H,W), (N,H,W,C) or (N,C,H,W),
 * u8 or f32; which of the latter, a dimension of 1, 3 or 4 says. Labels are whole numbers, (N) or
 * (N,1). */
weft_status wf_npy_dataset(const char *source, const wf_npy *a, unsigned char *images,
                           const wf_npy *b, const unsigned char *labels, weft_dataset **ds,
                           weft_error *err);

#endif
