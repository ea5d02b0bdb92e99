/* See manifest.h. Any thread. */
#include "train/checkpoint/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "engine/base/error.h"

#define FORMAT "weft_checkpoint" /* the member that says what this is; its value is the version */
#define OWN_HASH ", \"manifest_xxh3\": \"" /* in front of the manifest's own checksum */
#define OWN_END "\"}\n"

enum {
    VERSION = 1,
    HASH_DIGITS = 16,
    TAIL = sizeof(OWN_HASH) - 1 + HASH_DIGITS + sizeof(OWN_END) - 1
};

uint64_t wf_ckpt_hash(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}

/* ---- writing --------------------------------------------------------------------------------- */

static json_t *file_json(const wf_ckpt_file *f)
{
    char hash[HASH_DIGITS + 1];
    snprintf(hash, sizeof hash, "%016" PRIx64, f->hash);
    return json_pack("{s:s, s:I, s:s}", "name", f->name, "bytes", (json_int_t)f->block.size, "xxh3",
                     hash);
}

static json_t *whole(const wf_ckpt_image *image)
{
    json_t *root = json_pack("{s:i}", FORMAT, VERSION), *files = json_array();
    bool good = root && files && json_object_update_missing(root, image->about) == 0;
    for (int i = 0; good && i < image->n; i++)
        good = json_array_append_new(files, file_json(&image->file[i])) == 0;
    good = good && json_object_set(root, "files", files) == 0;
    json_decref(files);
    if (good)
        return root;
    json_decref(root);
    return NULL;
}

char *wf_manifest_text(const wf_ckpt_image *image, size_t *bytes)
{
    json_t *root = whole(image);
    char *text = root ? json_dumps(root, JSON_REAL_PRECISION(17)) : NULL;
    json_decref(root);
    if (!text)
        return NULL;
    size_t n = strlen(text) - 1; /* without the closing brace, which OWN_END has */
    char *longer = realloc(text, n + TAIL + 1);
    if (!longer) {
        free(text);
        return NULL;
    }
    snprintf(longer + n, TAIL + 1, OWN_HASH "%016" PRIx64 OWN_END, wf_ckpt_hash(longer, n));
    *bytes = n + TAIL;
    return longer;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool parse_hash(const char *text, uint64_t *hash)
{
    *hash = 0;
    for (int i = 0; i < HASH_DIGITS; i++) {
        const char *digits = "0123456789abcdef";
        const char *at = text[i] ? strchr(digits, text[i]) : NULL;
        if (!at)
            return false;
        *hash = *hash << 4 | (uint64_t)(at - digits);
    }
    return true;
}

/* Whether the text ends with its own checksum. */
static bool is_whole(const char *text, size_t bytes)
{
    uint64_t hash;
    if (bytes <= TAIL)
        return false;
    const char *tail = text + bytes - TAIL;
    return memcmp(tail, OWN_HASH, sizeof(OWN_HASH) - 1) == 0 &&
           memcmp(text + bytes - (sizeof(OWN_END) - 1), OWN_END, sizeof(OWN_END) - 1) == 0 &&
           parse_hash(tail + sizeof(OWN_HASH) - 1, &hash) &&
           hash == wf_ckpt_hash(text, bytes - TAIL);
}

static bool read_file(const json_t *o, const wf_manifest *m, wf_manifest_file *f)
{
    const char *name = json_string_value(json_object_get(o, "name"));
    const json_t *bytes = json_object_get(o, "bytes");
    const char *hash = json_string_value(json_object_get(o, "xxh3"));
    if (!name || !wf_ckpt_name_fits(name) || strcmp(name, WF_MANIFEST) == 0 ||
        !json_is_integer(bytes) || json_integer_value(bytes) < 0 || !hash ||
        strlen(hash) != HASH_DIGITS || !parse_hash(hash, &f->hash))
        return false;
    for (int i = 0; i < m->n; i++)
        if (strcmp(m->file[i].name, name) == 0)
            return false;
    strcpy(f->name, name);
    f->bytes = (int64_t)json_integer_value(bytes);
    return true;
}

static weft_status read_root(const char *label, json_t *root, wf_manifest *m, weft_error *err)
{
    const json_t *version = json_object_get(root, FORMAT), *files = json_object_get(root, "files");
    size_t n = json_array_size(files);
    if (!json_is_integer(version))
        return wf_error_set(err, WEFT_ERR_FORMAT, "%s: is no manifest of a checkpoint", label);
    if (json_integer_value(version) != VERSION)
        return wf_error_set(err, WEFT_ERR_FORMAT,
                            "%s: version %lld of checkpoints, this Weft reads version %d", label,
                            (long long)json_integer_value(version), VERSION);
    if (!json_is_array(files) || n == 0 || n > WF_CKPT_FILES)
        return wf_error_set(err, WEFT_ERR_FORMAT, "%s: lists %zu files, expected 1 to %d", label, n,
                            WF_CKPT_FILES);
    for (size_t i = 0; i < n; i++, m->n++)
        if (!read_file(json_array_get(files, i), m, &m->file[m->n]))
            return wf_error_set(err, WEFT_ERR_FORMAT,
                                "%s: file %zu of its list has a name, size or checksum that no "
                                "checkpoint's file can have",
                                label, i + 1);
    m->about = json_incref(root);
    return WEFT_OK;
}

weft_status wf_manifest_parse(const char *label, const char *text, size_t bytes, wf_manifest *m,
                              weft_error *err)
{
    if (!is_whole(text, bytes))
        return wf_error_set(err, WEFT_ERR_FORMAT, "%s: its own checksum does not fit", label);
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);
    if (!root)
        return wf_error_set(err, WEFT_ERR_FORMAT, "%s: is not JSON", label);
    wf_manifest read = {0};
    weft_status status = read_root(label, root, &read, err);
    json_decref(root);
    if (status == WEFT_OK)
        *m = read;
    return status;
}

void wf_manifest_done(wf_manifest *m)
{
    json_decref(m->about);
    *m = (wf_manifest){0};
}
