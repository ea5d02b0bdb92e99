/* Reads the header of .npy, and makes data sets of arrays. See npy.h. Files are hostile input. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset.h"
#include "data/formats/npy.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"

/* ---- the header ----------------------------------------------------------------------------- */

static weft_status bad(const char *name, const char *what, weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_FORMAT, "%s: not a .npy array: %s", name, what);
}

/* The text after 'key': in the dictionary, blanks skipped; NULL: it is not there. */
static const char *value_of(const char *text, const char *key)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s':", key);
    const char *at = strstr(text, quoted);
    if (!at)
        return NULL;
    at += strlen(quoted);
    return at + strspn(at, " ");
}

static weft_status parse_type(const char *name, const char *text, wf_npy *npy, weft_error *err)
{
    const char *at = value_of(text, "descr");
    if (!at || *at != '\'' || strnlen(at, 5) < 5)
        return bad(name, "its header has no type", err);
    char order = at[1];
    npy->type = at[2];
    npy->item = at[3] - '0';
    if (at[4] != '\'' || !strchr("uifb", npy->type) ||
        !(npy->item == 1 || npy->item == 2 || npy->item == 4 || npy->item == 8) ||
        (order == '>' && npy->item > 1) || !strchr("<>|=", order))
        return wf_error_set(err, WEFT_ERR_DTYPE,
                            "%s: elements of type %.6s, expected numbers of 1, 2, 4 or 8 bytes, "
                            "little-endian",
                            name, at);
    const char *fortran = value_of(text, "fortran_order");
    if (!fortran || strncmp(fortran, "False", 5) != 0)
        return bad(name, "its elements are in Fortran's order, expected C's", err);
    return WEFT_OK;
}

static weft_status parse_shape(const char *name, const char *text, wf_npy *npy, weft_error *err)
{
    const char *at = value_of(text, "shape");
    if (!at || *at++ != '(')
        return bad(name, "its header has no shape", err);
    npy->rank = 0;
    npy->count = 1;
    for (;;) {
        at += strspn(at, " ,");
        if (*at == ')')
            break;
        char *end;
        long long dim = isdigit((unsigned char)*at) ? strtoll(at, &end, 10) : -1;
        if (dim < 0 || npy->rank == WF_NPY_RANK || dim == INT64_MAX ||
            __builtin_mul_overflow(npy->count, (int64_t)dim, &npy->count))
            return bad(name, "its shape makes no sense, expected 1 to 4 dimensions", err);
        npy->dim[npy->rank++] = dim;
        at = end;
    }
    return npy->rank > 0 ? WEFT_OK : bad(name, "it is a single number", err);
}

weft_status wf_npy_parse(const char *name, const unsigned char *bytes, size_t size, int64_t total,
                         wf_npy *npy, weft_error *err)
{
    if (size < 12 || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return bad(name, "it does not begin as one", err);
    size_t at = bytes[6] == 1 ? 10 : 12, length = bytes[8] | (size_t)bytes[9] << 8;
    if (bytes[6] > 1)
        length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (bytes[6] < 1 || bytes[6] > 3 || length > size - at)
        return bad(name, "its header is too long, or of another version", err);
    char *text = wf_alloc(length + 1);
    if (!text)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", name);
    memcpy(text, bytes + at, length);
    text[length] = '\0';
    npy->begin = at + length;
    weft_status status = parse_type(name, text, npy, err);
    if (status == WEFT_OK)
        status = parse_shape(name, text, npy, err);
    wf_free(text);
    int64_t data;
    if (status == WEFT_OK && (__builtin_mul_overflow(npy->count, (int64_t)npy->item, &data) ||
                              data != total - (int64_t)npy->begin))
        status = wf_error_set(err, WEFT_ERR_FORMAT,
                              "%s: truncated or damaged: %" PRId64
                              " bytes of elements, expected %" PRId64 " elements of %d bytes",
                              name, total - (int64_t)npy->begin, npy->count, npy->item);
    return status;
}

/* ---- images --------------------------------------------------------------------------------- */

static bool few(int64_t channels)
{
    return channels == 1 || channels == 3 || channels == 4;
}

/* Channels, height and width; *last: the channels come last. */
static weft_status read_shape(const char *source, const wf_npy *a, int64_t chw[3], bool *last,
                              weft_error *err)
{
    const int64_t *d = a->dim;
    /* where both could be channels, images are taken to be square */
    *last = a->rank == 4 && few(d[3]) && (!few(d[1]) || d[1] == d[2]);
    if (a->rank == 3 || a->rank == 4) {
        chw[0] = a->rank == 3 ? 1 : d[*last ? 3 : 1];
        chw[1] = d[a->rank == 3 || *last ? 1 : 2];
        chw[2] = d[a->rank == 3 || *last ? 2 : 3];
        return WEFT_OK;
    }
    return wf_error_set(err, WEFT_ERR_SHAPE,
                        "%s: images of %d dimensions, expected (N,H,W), (N,H,W,C) or (N,C,H,W)",
                        source, a->rank);
}

/* Planes of images whose channels come last. */
static unsigned char *to_planes(const unsigned char *x, int64_t n, const int64_t chw[3], int item)
{
    size_t C = (size_t)chw[0], area = (size_t)(chw[1] * chw[2]), bytes = C * area * (size_t)item;
    unsigned char *y = wf_alloc_array((size_t)n, bytes);
    for (int64_t i = 0; y && i < n; i++)
        for (size_t c = 0; c < C; c++)
            for (size_t p = 0; p < area; p++)
                memcpy(y + (size_t)i * bytes + (c * area + p) * (size_t)item,
                       x + (size_t)i * bytes + (p * C + c) * (size_t)item, (size_t)item);
    return y;
}

static weft_status read_label(const char *source, const wf_npy *b, const unsigned char *bytes,
                              int64_t i, int64_t *label, weft_error *err)
{
    const unsigned char *p = bytes + i * b->item;
    uint64_t raw = 0;
    memcpy(&raw, p, (size_t)b->item); /* little-endian, as this machine */
    int shift = 64 - 8 * b->item;
    double value = 0;
    float single;
    switch (b->type) {
    case 'f':
        if (b->item == 8)
            memcpy(&value, p, 8);
        else if (b->item == 4)
            value = (memcpy(&single, p, 4), (double)single);
        *label = value >= 0 && value < 1e9 ? (int64_t)value : -1;
        if (b->item >= 4 && (double)*label == value)
            return WEFT_OK;
        return wf_error_set(err, WEFT_ERR_FORMAT,
                            "%s: label %g of sample %" PRId64 " is no class, expected whole "
                            "numbers from 0",
                            source, value, i);
    case 'i': *label = (int64_t)(raw << shift) >> shift; return WEFT_OK;
    default: *label = raw > INT64_MAX ? -1 : (int64_t)raw; return WEFT_OK;
    }
}

static weft_status read_labels(const char *source, const wf_npy *a, const wf_npy *b,
                               const unsigned char *bytes, int64_t **labels, weft_error *err)
{
    if (b->dim[0] != a->dim[0] || b->count != b->dim[0])
        return wf_error_set(err, WEFT_ERR_SHAPE,
                            "%s: %" PRId64 " labels in %" PRId64 " rows, expected one for each of "
                            "the %" PRId64 " images",
                            source, b->count, b->dim[0], a->dim[0]);
    int64_t *list = wf_alloc_array((size_t)b->count, sizeof *list);
    if (!list)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", source);
    weft_status status = WEFT_OK;
    for (int64_t i = 0; i < b->count && status == WEFT_OK; i++)
        status = read_label(source, b, bytes, i, &list[i], err);
    if (status == WEFT_OK)
        *labels = list;
    else
        wf_free(list);
    return status;
}

weft_status wf_npy_dataset(const char *source, const wf_npy *a, unsigned char *images,
                           const wf_npy *b, const unsigned char *labels, weft_dataset **ds,
                           weft_error *err)
{
    int64_t chw[3] = {0}, *list = NULL;
    size_t bytes;
    bool last = false;
    weft_dtype type = a->type == 'f' ? WEFT_F32 : WEFT_U8;
    weft_status status = read_shape(source, a, chw, &last, err);
    if (status == WEFT_OK && !(a->type == 'u' && a->item == 1) && !(a->type == 'f' && a->item == 4))
        status = wf_error_set(err, WEFT_ERR_DTYPE,
                              "%s: images of type %c%d, expected u1 (u8) or f4 (f32)", source,
                              a->type, a->item);
    if (status == WEFT_OK) /* before anything is allocated by these numbers */
        status = wf_dataset_geometry(source, a->dim[0], chw[0], chw[1], chw[2], type, &bytes, err);
    if (status == WEFT_OK && labels)
        status = read_labels(source, a, b, labels, &list, err);
    if (status == WEFT_OK && last && chw[0] > 1) {
        unsigned char *planes = to_planes(images, a->dim[0], chw, a->item);
        wf_free(images);
        images = planes;
        if (!planes)
            status = wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", source);
    }
    if (status != WEFT_OK) {
        wf_free(list);
        wf_free(images);
        return status;
    }
    const weft_dataset_arrays arrays = {a->dim[0], (int)chw[0], (int)chw[1], (int)chw[2],
                                        0,         type,        images};
    status = wf_dataset_over(&arrays, list, source, images, wf_free, ds, err);
    wf_free(list);
    if (status == WEFT_OK)
        (*ds)->info.layout = a->rank == 3 ? "(N,H,W)" : last ? "(N,H,W,C)" : "(N,C,H,W)";
    return status;
}
