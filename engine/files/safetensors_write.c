/* Writes safetensors files. Threads: any, each with a file of its own. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "engine/files/atomic_file.h"
#include "engine/files/safetensors.h"
#include "engine/base/alloc.h"
#include "engine/machine/workers.h"

#define MAX_ELEMENT 8 /* bytes of the largest element type */

static const char *st_dtype(weft_dtype dtype)
{
    switch (dtype) {
#define X(id, bytes, text, st)                                                                     \
    case WEFT_##id: return st;
        WEFT_DTYPE_LIST(X)
#undef X
    default: return NULL;
    }
}

/* Checks an entry, and sets *bytes to its size. later: its data may come later. */
static weft_status entry_bytes(const char *path, const weft_safetensors_entry *e, bool later,
                               int64_t *bytes, weft_error *err)
{
    if (!e->name || strcmp(e->name, WF_ST_METADATA) == 0)
        return wf_error_set(err, WEFT_ERR_INVALID, "%s: a tensor cannot be named %s", path,
                            e->name ? e->name : "NULL");
    if (!st_dtype(e->dtype))
        return wf_error_set(err, WEFT_ERR_INVALID, "%s: tensor \"%s\": unknown element type %d",
                            path, wf_st_quote(e->name).text, (int)e->dtype);
    int64_t count = weft_shape_count(e->shape);
    if (count < 0 || __builtin_mul_overflow(count, (int64_t)weft_dtype_size(e->dtype), bytes))
        return wf_error_set(err, WEFT_ERR_SHAPE, "%s: tensor \"%s\": shape overflows", path,
                            wf_st_quote(e->name).text);
    if (*bytes > 0 && !e->data && !later)
        return wf_error_set(err, WEFT_ERR_INVALID, "%s: tensor \"%s\": has no data", path,
                            wf_st_quote(e->name).text);
    return WEFT_OK;
}

/* Gives each entry its place: sorted by element size, largest first, and otherwise in the order
 * given. So every array starts on a multiple of its element size. begin[n] becomes their bytes. */
static weft_status place(const char *path, const weft_safetensors_entry *entries, int64_t n,
                         bool later, int64_t *begin, weft_error *err)
{
    int64_t at = 0, bytes;
    for (size_t size = MAX_ELEMENT; size >= 1; size /= 2)
        for (int64_t i = 0; i < n; i++) {
            WF_TRY(entry_bytes(path, &entries[i], later, &bytes, err));
            if (weft_dtype_size(entries[i].dtype) != size)
                continue;
            begin[i] = at;
            if (__builtin_add_overflow(at, bytes, &at))
                return wf_error_set(err, WEFT_ERR_SHAPE, "%s: too many bytes", path);
        }
    begin[n] = at;
    return WEFT_OK;
}

/* json_object_set_new that refuses a name that is there already. jansson checks that names are
 * UTF-8. */
static weft_status add(const char *path, const char *what, json_t *object, const char *name,
                       json_t *value, weft_error *err)
{
    if (json_object_get(object, name)) {
        json_decref(value);
        return wf_error_set(err, WEFT_ERR_INVALID, "%s: two %s are named \"%s\"", path, what,
                            wf_st_quote(name).text);
    }
    if (json_object_set_new(object, name, value) != 0)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "%s: %s \"%s\": not valid UTF-8, or out of memory", path, what,
                            wf_st_quote(name).text);
    return WEFT_OK;
}

static json_t *entry_json(const weft_safetensors_entry *e, int64_t begin)
{
    int64_t end = begin + weft_shape_count(e->shape) * (int64_t)weft_dtype_size(e->dtype);
    json_t *shape = json_array();
    for (int i = 0; i < e->shape.rank; i++)
        if (json_array_append_new(shape, json_integer(e->shape.dim[i])) != 0) {
            json_decref(shape);
            return NULL;
        }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", st_dtype(e->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)end);
}

/* Puts metadata and entries into `root`. */
static weft_status build(const char *path, json_t *root, const weft_safetensors_entry *entries,
                         int64_t n, const int64_t *begin, const weft_safetensors_meta *meta,
                         int64_t n_meta, weft_error *err)
{
    if (n_meta > 0) {
        json_t *map = json_object();
        if (json_object_set_new(root, WF_ST_METADATA, map) != 0)
            return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
        for (int64_t i = 0; i < n_meta; i++)
            WF_TRY(add(path, "metadata keys", map, meta[i].key, json_string(meta[i].value), err));
    }
    for (int64_t i = 0; i < n; i++)
        WF_TRY(add(path, "tensors", root, entries[i].name, entry_json(&entries[i], begin[i]), err));
    return WEFT_OK;
}

/* A file before it is written: its header, with padding, and how many bytes follow. */
typedef struct layout {
    char *header; /* malloc's */
    size_t header_bytes, padding, array_bytes;
} layout;

static weft_status header_of(const char *path, const weft_safetensors_entry *entries, int64_t n,
                             const weft_safetensors_meta *meta, int64_t n_meta,
                             const int64_t *begin, json_t *root, layout *l, weft_error *err)
{
    WF_TRY(build(path, root, entries, n, begin, meta, n_meta, err));
    l->header = json_dumps(root, JSON_COMPACT); /* jansson allocates it with malloc */
    if (!l->header)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    l->header_bytes = strlen(l->header);
    l->padding = (8 - l->header_bytes % 8) % 8;
    l->array_bytes = (size_t)begin[n];
    if (l->header_bytes + 8 > WF_ST_MAX_HEADER)
        return wf_error_set(err, WEFT_ERR_INVALID, "%s: header of %zu bytes is too long", path,
                            l->header_bytes);
    return WEFT_OK;
}

static weft_status lay_out(const char *path, const weft_safetensors_entry *entries, int64_t n,
                           const weft_safetensors_meta *meta, int64_t n_meta, bool later, layout *l,
                           weft_error *err)
{
    bool fit = path && n >= 0 && (entries || n == 0) && n_meta >= 0 && (meta || n_meta == 0);
    for (int64_t i = 0; fit && i < n_meta; i++)
        fit = meta[i].key && meta[i].value;
    if (!fit)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "%s: a file needs a path, its entries, and metadata with a key and a "
                            "value each",
                            path ? path : "safetensors");
    json_t *root = json_object();
    int64_t *begin = wf_zalloc_array((size_t)n + 1, sizeof *begin);
    weft_status status = WEFT_OK;
    if (!root || !begin)
        status = wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    if (status == WEFT_OK)
        status = place(path, entries, n, later, begin, err);
    if (status == WEFT_OK)
        status = header_of(path, entries, n, meta, n_meta, begin, root, l, err);
    wf_free(begin);
    json_decref(root);
    return status;
}

typedef weft_status (*sink)(void *to, const void *data, size_t bytes, weft_error *err);

/* Gives prefix, header, padding and the arrays in the order of their places to `put`. */
static weft_status emit(sink put, void *to, const layout *l, const weft_safetensors_entry *entries,
                        int64_t n, weft_error *err)
{
    uint64_t prefix = l->header_bytes + l->padding;
    WF_TRY(put(to, &prefix, sizeof prefix, err));
    WF_TRY(put(to, l->header, l->header_bytes, err));
    WF_TRY(put(to, "       ", l->padding, err));
    for (size_t size = MAX_ELEMENT; size >= 1; size /= 2)
        for (int64_t i = 0; i < n; i++)
            if (weft_dtype_size(entries[i].dtype) == size && entries[i].data)
                WF_TRY(put(to, entries[i].data, (size_t)weft_shape_count(entries[i].shape) * size,
                           err));
    return WEFT_OK;
}

static weft_status put_in_file(void *to, const void *data, size_t bytes, weft_error *err)
{
    return wf_atomic_write(to, data, bytes, err);
}

weft_status weft_safetensors_write(const char *path, const weft_safetensors_entry *entries,
                                   int64_t n, const weft_safetensors_meta *meta, int64_t n_meta,
                                   weft_error *err)
{
    wf_atomic_file *out = NULL;
    layout l = {0};
    weft_status status = lay_out(path, entries, n, meta, n_meta, false, &l, err);
    if (status == WEFT_OK)
        status = wf_atomic_create(path, &out, err);
    if (status == WEFT_OK)
        status = emit(put_in_file, out, &l, entries, n, err);
    if (status == WEFT_OK)
        status = wf_atomic_commit(out, err);
    else
        wf_atomic_abort(out);
    free(l.header);
    return status;
}

weft_status wf_safetensors_begin(const char *path, const weft_safetensors_entry *entries, int64_t n,
                                 const weft_safetensors_meta *meta, int64_t n_meta,
                                 wf_atomic_file **file, weft_error *err)
{
    wf_atomic_file *out = NULL;
    layout l = {0};
    weft_status status = lay_out(path, entries, n, meta, n_meta, true, &l, err);
    if (status == WEFT_OK)
        status = wf_atomic_create(path, &out, err);
    if (status == WEFT_OK)
        status = emit(put_in_file, out, &l, entries, n, err);
    if (status == WEFT_OK)
        *file = out;
    else
        wf_atomic_abort(out);
    free(l.header);
    return status;
}

/* ---- in memory ------------------------------------------------------------------------------- */

/* Makes the block as large as the image. */
static weft_status reserve(const layout *l, const char *label, wf_memory *memory, wf_block *block,
                           weft_error *err)
{
    const wf_block_request request = {.size = sizeof(uint64_t) + l->header_bytes + l->padding +
                                              l->array_bytes,
                                      .kind = WF_MEM_COPY,
                                      .placement = WF_PLACE_INTERLEAVED,
                                      .what = label};
    if (block->size == request.size)
        return WEFT_OK;
    wf_memory_free(block);
    return wf_memory_alloc(memory, &request, block, err);
}

/* A worker's share of the image: its bytes from begin to end. */
typedef struct share {
    char *image;
    size_t at, begin, end;
} share;

static weft_status put_share(void *to, const void *data, size_t bytes, weft_error *err)
{
    (void)err;
    share *s = to;
    const size_t first = s->at > s->begin ? s->at : s->begin;
    const size_t last = s->at + bytes < s->end ? s->at + bytes : s->end;
    if (first < last)
        memcpy(s->image + first, (const char *)data + (first - s->at), last - first);
    s->at += bytes;
    return WEFT_OK;
}

typedef struct copying {
    const wf_st_content *content;
    const layout *layout;
    wf_block block;
} copying;

static void copy_share(void *user, int worker, int workers)
{
    const copying *c = user;
    const size_t size = c->block.size, each = size / (size_t)workers;
    share s = {.image = c->block.data,
               .begin = each * (size_t)worker,
               .end = worker + 1 == workers ? size : each * (size_t)(worker + 1)};
    emit(put_share, &s, c->layout, c->content->entries, c->content->n, NULL);
}

weft_status wf_safetensors_image(const wf_st_content *c, wf_memory *memory, int threads,
                                 wf_block *block, weft_error *err)
{
    layout l = {0};
    weft_status status = lay_out(c->label, c->entries, c->n, c->meta, c->n_meta, false, &l, err);
    if (status == WEFT_OK)
        status = reserve(&l, c->label, memory, block, err);
    if (status == WEFT_OK)
        wf_team_run(threads, copy_share, &(copying){c, &l, *block});
    else
        wf_memory_free(block);
    free(l.header);
    return status;
}
