/* Checks the header of a safetensors file, as hostile input.
 *
 * The checks, in order: sizes of file and header; JSON (UTF-8, no duplicate keys, nothing after
 * it); each entry by itself (type, shape, offsets inside the file, offsets and shape of the same
 * size); all entries together (no overlap, no gap, nothing left over). Afterwards every offset is
 * inside the file. safetensors_open.c reads the bytes. Threads: any, each with a file of its
 * own. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/files/safetensors.h"
#include "engine/base/alloc.h"

/* The state of one parse. */
typedef struct parser {
    const char *label;
    int64_t data_size; /* of the array section */
    weft_error *err;
} parser;

typedef struct span {
    int64_t begin, end; /* in the array section */
    const char *name;
} span;

wf_st_quoted wf_st_quote(const char *name)
{
    enum { KEEP = 80 };
    wf_st_quoted q;
    if (weft_quote(name, q.text, KEEP + 1) > KEEP)
        strcat(q.text, "...");
    return q;
}

#define QUOTE(name) wf_st_quote(name).text

/* ---- one entry ------------------------------------------------------------------------------ */

/* Element types of the format that Weft does not have, and their bits. */
static const struct foreign_type {
    const char *name;
    int bits;
} foreign_types[] = {{"BOOL", 8},    {"I8", 8},          {"I16", 16},    {"U16", 16},
                     {"U32", 32},    {"U64", 64},        {"C64", 64},    {"F4", 4},
                     {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"F8_E4M3", 8}, {"F8_E4M3FNUZ", 8},
                     {"F8_E5M2", 8}, {"F8_E5M2FNUZ", 8}, {"F8_E8M0", 8}};

/* Sets e->dtype or e->foreign, and *bits to the bits of an element. */
static weft_status parse_dtype(const parser *p, const json_t *value, weft_safetensors_entry *e,
                               int *bits)
{
    const char *text = json_string_value(value);
    if (!text)
        return wf_error_set(p->err, WEFT_ERR_FORMAT, "%s: tensor \"%s\": has no \"dtype\" text",
                            p->label, QUOTE(e->name));
#define X(id, bytes, dtype_text, st)                                                               \
    if (strcmp(text, st) == 0) {                                                                   \
        e->dtype = WEFT_##id;                                                                      \
        *bits = 8 * (bytes);                                                                       \
        return WEFT_OK;                                                                            \
    }
    WEFT_DTYPE_LIST(X)
#undef X
    for (size_t i = 0; i < sizeof foreign_types / sizeof *foreign_types; i++)
        if (strcmp(text, foreign_types[i].name) == 0) {
            e->foreign = foreign_types[i].name;
            *bits = foreign_types[i].bits;
            return WEFT_OK;
        }
    return wf_error_set(p->err, WEFT_ERR_FORMAT, "%s: tensor \"%s\": unknown element type \"%s\"",
                        p->label, QUOTE(e->name), QUOTE(text));
}

/* Sets e->shape, or e->foreign where there are too many dimensions. Sets *count to the number of
 * elements; -1: it does not fit 64 bits. */
static weft_status parse_shape(const parser *p, const json_t *value, weft_safetensors_entry *e,
                               int64_t *count)
{
    if (!json_is_array(value))
        return wf_error_set(p->err, WEFT_ERR_FORMAT, "%s: tensor \"%s\": has no \"shape\" list",
                            p->label, QUOTE(e->name));
    size_t rank = json_array_size(value);
    bool overflows = false;
    *count = 1;
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(value, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return wf_error_set(p->err, WEFT_ERR_FORMAT,
                                "%s: tensor \"%s\": dimension %zu is not a whole number >= 0",
                                p->label, QUOTE(e->name), i);
        if (i < WEFT_MAX_RANK)
            e->shape.dim[i] = json_integer_value(dim);
        overflows |= __builtin_mul_overflow(*count, json_integer_value(dim), count);
    }
    if (overflows)
        *count = -1;
    e->shape.rank = rank < WEFT_MAX_RANK ? (int)rank : WEFT_MAX_RANK;
    if (rank > WEFT_MAX_RANK)
        e->foreign = "a tensor of more than 6 dimensions";
    return WEFT_OK;
}
_Static_assert(WEFT_MAX_RANK == 6, "the text says how many");

static weft_status parse_offsets(const parser *p, const char *name, const json_t *value, span *s)
{
    const json_t *begin = json_array_get(value, 0), *end = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return wf_error_set(p->err, WEFT_ERR_FORMAT,
                            "%s: tensor \"%s\": \"data_offsets\" is not two whole numbers",
                            p->label, QUOTE(name));
    s->begin = json_integer_value(begin);
    s->end = json_integer_value(end);
    s->name = name;
    if (s->begin < 0 || s->end < s->begin)
        return wf_error_set(p->err, WEFT_ERR_FORMAT,
                            "%s: tensor \"%s\": offsets %" PRId64 "..%" PRId64 " are not a range",
                            p->label, QUOTE(name), s->begin, s->end);
    if (s->end > p->data_size)
        return wf_error_set(p->err, WEFT_ERR_FORMAT,
                            "%s: tensor \"%s\": offsets %" PRId64 "..%" PRId64
                            " lie outside the file's %" PRId64 " data bytes",
                            p->label, QUOTE(name), s->begin, s->end, p->data_size);
    return WEFT_OK;
}

static weft_status parse_entry(const parser *p, const char *name, const json_t *value,
                               weft_safetensors_entry *e, span *s)
{
    if (!json_is_object(value))
        return wf_error_set(p->err, WEFT_ERR_FORMAT, "%s: tensor \"%s\": entry is not an object",
                            p->label, QUOTE(name));
    int64_t count = 0, bits;
    int element_bits = 0;
    char text[160];
    e->name = name;
    WF_TRY(parse_dtype(p, json_object_get(value, "dtype"), e, &element_bits));
    const char *type = e->foreign ? e->foreign : weft_dtype_name(e->dtype);
    WF_TRY(parse_shape(p, json_object_get(value, "shape"), e, &count));
    WF_TRY(parse_offsets(p, name, json_object_get(value, "data_offsets"), s));
    if (count < 0 || __builtin_mul_overflow(count, (int64_t)element_bits, &bits))
        return wf_error_set(p->err, WEFT_ERR_FORMAT, "%s: tensor \"%s\": shape %s overflows",
                            p->label, QUOTE(name), weft_shape_format(e->shape, text, sizeof text));
    int64_t bytes = bits / 8 + (bits % 8 != 0);
    if (bytes != s->end - s->begin)
        return wf_error_set(p->err, WEFT_ERR_FORMAT,
                            "%s: tensor \"%s\": %s of shape %s needs %" PRId64
                            " bytes, offsets %" PRId64 "..%" PRId64 " give %" PRId64,
                            p->label, QUOTE(name), type,
                            weft_shape_format(e->shape, text, sizeof text), bytes, s->begin, s->end,
                            s->end - s->begin);
    if (e->foreign) {
        e->dtype = WEFT_DTYPE_COUNT;
        e->shape = WEFT_SCALAR;
    }
    return WEFT_OK;
}

/* ---- all entries together ------------------------------------------------------------------- */

static int compare_spans(const void *a, const void *b)
{
    const span *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static weft_status check_cover(const parser *p, span *spans, int64_t n)
{
    qsort(spans, (size_t)n, sizeof *spans, compare_spans);
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        const span *s = &spans[i];
        if (s->begin < at)
            return wf_error_set(p->err, WEFT_ERR_FORMAT,
                                "%s: tensors \"%s\" and \"%s\" overlap (offsets %" PRId64
                                "..%" PRId64 " and %" PRId64 "..%" PRId64 ")",
                                p->label, QUOTE(spans[i - 1].name), QUOTE(s->name),
                                spans[i - 1].begin, spans[i - 1].end, s->begin, s->end);
        if (s->begin > at)
            return wf_error_set(p->err, WEFT_ERR_FORMAT,
                                "%s: tensor \"%s\": a hole before it (offsets %" PRId64 "..%" PRId64
                                " belong to no tensor)",
                                p->label, QUOTE(s->name), at, s->begin);
        at = s->end;
    }
    if (at != p->data_size)
        return wf_error_set(p->err, WEFT_ERR_FORMAT,
                            "%s: %" PRId64 " bytes after the last tensor (data ends at %" PRId64
                            ", the file at %" PRId64 ")",
                            p->label, p->data_size - at, at, p->data_size);
    return WEFT_OK;
}

int wf_st_compare_names(const void *a, const void *b)
{
    const weft_safetensors_entry *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static weft_status parse_metadata(const parser *p, weft_safetensors *f, json_t *map)
{
    if (!map)
        return WEFT_OK;
    if (!json_is_object(map))
        return wf_error_set(p->err, WEFT_ERR_FORMAT, "%s: " WF_ST_METADATA " is not an object",
                            p->label);
    f->meta = wf_zalloc_array(json_object_size(map) + 1, sizeof *f->meta);
    if (!f->meta)
        return wf_error_set(p->err, WEFT_ERR_NOMEM, "%s: out of memory", p->label);
    for (void *it = json_object_iter(map); it; it = json_object_iter_next(map, it)) {
        const char *key = json_object_iter_key(it);
        const json_t *value = json_object_iter_value(it);
        if (!json_is_string(value))
            return wf_error_set(p->err, WEFT_ERR_FORMAT,
                                "%s: " WF_ST_METADATA ": the value of \"%s\" is not a text",
                                p->label, QUOTE(key));
        f->meta[f->n_meta++] = (weft_safetensors_meta){key, json_string_value(value)};
    }
    return WEFT_OK;
}

static weft_status parse_entries(const parser *p, weft_safetensors *f)
{
    json_t *map = json_object_get(f->root, WF_ST_METADATA);
    WF_TRY(parse_metadata(p, f, map));
    size_t n = json_object_size(f->root) - (map != NULL);
    f->entries = wf_zalloc_array(n + 1, sizeof *f->entries);
    f->by_name = wf_zalloc_array(n + 1, sizeof *f->by_name);
    f->begins = wf_alloc_array(n + 1, sizeof *f->begins);
    span *spans = wf_zalloc_array(n + 1, sizeof *spans);
    weft_status status = WEFT_OK;
    if (!f->entries || !f->by_name || !f->begins || !spans)
        status = wf_error_set(p->err, WEFT_ERR_NOMEM, "%s: out of memory", p->label);
    for (void *it = json_object_iter(f->root); it && status == WEFT_OK;
         it = json_object_iter_next(f->root, it)) {
        const json_t *value = json_object_iter_value(it);
        if (value == map)
            continue;
        status = parse_entry(p, json_object_iter_key(it), value, &f->entries[f->n], &spans[f->n]);
        f->begins[f->n] = spans[f->n].begin;
        f->by_name[f->n] = &f->entries[f->n];
        f->n++;
    }
    if (status == WEFT_OK)
        status = check_cover(p, spans, f->n);
    if (status == WEFT_OK)
        qsort(f->by_name, (size_t)f->n, sizeof *f->by_name, wf_st_compare_names);
    wf_free(spans);
    return status;
}

/* ---- the file ------------------------------------------------------------------------------- */

/* Whether parsing would make too many JSON values: each takes some 40 bytes, even if its text is
 * short. */
static bool too_many_values(const char *header, size_t length)
{
    size_t values = 0;
    for (size_t i = 0; i < length; i++)
        values += header[i] == ',' || header[i] == '[' || header[i] == '{';
    return values > WF_ST_MAX_VALUES;
}

weft_status wf_st_header_length(const char *label, const void *prefix, int64_t size,
                                int64_t *length, weft_error *err)
{
    uint64_t n;
    if (size < WF_ST_PREFIX)
        return wf_error_set(err, WEFT_ERR_FORMAT,
                            "%s: truncated: %" PRId64 " bytes, a safetensors file has at least %d",
                            label, size, WF_ST_PREFIX);
    memcpy(&n, prefix, sizeof n);
    if (n > WF_ST_MAX_HEADER)
        return wf_error_set(err, WEFT_ERR_FORMAT,
                            "%s: not a safetensors file: header of %" PRIu64
                            " bytes, at most %u are allowed",
                            label, n, WF_ST_MAX_HEADER);
    if ((int64_t)n > size - WF_ST_PREFIX)
        return wf_error_set(err, WEFT_ERR_FORMAT,
                            "%s: truncated: header of %" PRIu64 " bytes in a file of %" PRId64,
                            label, n, size);
    *length = (int64_t)n;
    return WEFT_OK;
}

static weft_status parse_json(const parser *p, const char *header, size_t length,
                              weft_safetensors *f)
{
    if (length == 0 || header[0] != '{')
        return wf_error_set(p->err, WEFT_ERR_FORMAT,
                            "%s: not a safetensors file: header does not start with {", p->label);
    if (too_many_values(header, length))
        return wf_error_set(p->err, WEFT_ERR_FORMAT, "%s: header has more than %u values", p->label,
                            WF_ST_MAX_VALUES);
    json_error_t why;
    f->root = json_loadb(header, length, JSON_REJECT_DUPLICATES, &why);
    if (f->root)
        return WEFT_OK;
    return json_error_code(&why) == json_error_out_of_memory
               ? wf_error_set(p->err, WEFT_ERR_NOMEM, "%s: out of memory", p->label)
               : wf_error_set(p->err, WEFT_ERR_FORMAT,
                              "%s: header is not JSON in UTF-8: byte %d: %s", p->label,
                              why.position, QUOTE(why.text));
}

void weft_safetensors_close(weft_safetensors *f)
{
    if (!f)
        return;
    if (f->path)
        close(f->fd);
    wf_free(f->path);
    json_decref(f->root);
    wf_free(f->entries);
    wf_free(f->begins);
    wf_free(f->by_name);
    wf_free(f->meta);
    wf_free(f->bytes);
    wf_free(f);
}

weft_status wf_st_parse_header(const char *label, const char *header, int64_t length,
                               int64_t data_size, weft_safetensors **file, weft_error *err)
{
    const parser p = {label, data_size, err};
    weft_safetensors *f = wf_zalloc(sizeof *f);
    if (!f)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", label);
    weft_status status = parse_json(&p, header, (size_t)length, f);
    if (status == WEFT_OK)
        status = parse_entries(&p, f);
    if (status == WEFT_OK)
        *file = f;
    else
        weft_safetensors_close(f);
    return status;
}
