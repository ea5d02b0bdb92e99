/* Indexes tar shards. See tar_index.h. libarchive reads the headers: ustar, pax and GNU names. The
 * files are hostile input. */
#include "data/formats/tar_index.h"

#include <archive.h>
#include <archive_entry.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "data/formats/name_order.h"
#include "data/formats/read_file.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "engine/files/regular_file.h"

enum { BLOCK = 512, READ_AT_ONCE = 10240, MOST_LABEL = 1 << 20 };

/* The sample whose files are being read. */
typedef struct pending {
    char key[PATH_MAX];
    bool open;
    wf_tar_sample sample;
    bool picture, exact; /* exact: the name is the key and an ending, with nothing between */
    bool labelled, has_cls;
    bool unlabelled; /* KEY.json has no label */
} pending;

typedef struct reader {
    wf_tar_index *index;
    const char *path;
    int32_t shard;
    int labelled, fd;
    int64_t size, end; /* of the shard; where the last entry ends */
    struct archive *archive;
    weft_error *err;
    pending now;
} reader;

static weft_status no_memory(const reader *r)
{
    return wf_error_set(r->err, WEFT_ERR_NOMEM, "%s: out of memory for its index", r->path);
}

/* Makes room for `more` elements behind the first n. */
static bool reserve(void *array, int64_t *cap, int64_t n, int64_t more, size_t size)
{
    if (n + more <= *cap)
        return true;
    int64_t room = 2 * *cap > n + more ? 2 * *cap : n + more + 64;
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    grown = wf_realloc_array(old, (size_t)room, size);
    if (!grown)
        return false;
    memcpy(array, &grown, sizeof grown);
    *cap = room;
    return true;
}

static weft_status add_text(const reader *r, const char *text, size_t n, uint64_t *at)
{
    wf_tar_index *x = r->index;
    if (!reserve(&x->text, &x->text_cap, x->text_bytes, (int64_t)n + 2, 1))
        return no_memory(r);
    if (x->text_bytes == 0)
        x->text[x->text_bytes++] = '\0';
    *at = (uint64_t)x->text_bytes;
    memcpy(x->text + x->text_bytes, text, n);
    x->text_bytes += (int64_t)n;
    x->text[x->text_bytes++] = '\0';
    return WEFT_OK;
}

/* ---- labels --------------------------------------------------------------------------------- */

/* The label in the text of KEY.cls. */
static weft_status take_cls(reader *r, const char *name, char *text, size_t n)
{
    while (n > 0 && text[n - 1] && strchr(" \t\r\n", text[n - 1]))
        n--;
    size_t skip = strspn(text, " \t\r\n");
    skip = skip < n ? skip : n;
    if (n == skip || memchr(text, '\0', n))
        return wf_error_set(r->err, WEFT_ERR_FORMAT, "%s: %s holds no label", r->path, name);
    return add_text(r, text + skip, n - skip, &r->now.sample.label);
}

/* The same of KEY.json: "label", "cls" or "class", a number or a text. It may have none where KEY.cls
 * has one. */
static weft_status take_json(reader *r, const char *name, const char *text, size_t n)
{
    static const char *const keys[] = {"label", "cls", "class"};
    json_error_t why;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why), *value = NULL;
    for (int i = 0; i < 3 && !value; i++)
        value = json_object_get(root, keys[i]);
    char number[64] = "";
    const char *label = json_string_value(value);
    if (json_is_integer(value))
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        snprintf(number, sizeof number, "%.6f", json_real_value(value));
    if (!label && number[0])
        label = number;
    weft_status status = WEFT_OK;
    if (label)
        status = add_text(r, label, strlen(label), &r->now.sample.label);
    else if (!root)
        status =
            wf_error_set(r->err, WEFT_ERR_FORMAT, "%s: %s is no JSON: %s", r->path, name, why.text);
    r->now.unlabelled = !label;
    json_decref(root);
    return status;
}

static weft_status take_label(reader *r, const char *name, int64_t offset, int64_t size, bool json)
{
    if (size > MOST_LABEL)
        return wf_error_set(r->err, WEFT_ERR_FORMAT, "%s: %s has %" PRId64 " bytes for a label",
                            r->path, name, size);
    char *text = wf_zalloc((size_t)size + 1);
    weft_status status =
        text ? wf_read_at(r->fd, r->path, text, size, offset, r->err) : no_memory(r);
    if (status == WEFT_OK)
        status =
            json ? take_json(r, name, text, (size_t)size) : take_cls(r, name, text, (size_t)size);
    r->now.labelled = status == WEFT_OK && !(json && r->now.unlabelled);
    wf_free(text);
    return status;
}

/* ---- entries -------------------------------------------------------------------------------- */

/* Adds the sample whose files have been read. */
static weft_status close_sample(reader *r)
{
    pending *p = &r->now;
    wf_tar_index *x = r->index;
    if (!p->open)
        return WEFT_OK;
    p->open = false;
    if (!p->picture) {
        x->left_out += 1;
        return WEFT_OK;
    }
    if (!p->labelled && r->labelled && p->unlabelled)
        return wf_error_set(r->err, WEFT_ERR_FORMAT,
                            "%s: %s.json holds no \"label\" or \"cls\", and there is no %s.cls",
                            r->path, p->key, p->key);
    if (!p->labelled && r->labelled)
        return wf_error_set(r->err, WEFT_ERR_FORMAT,
                            "%s: %s has no label: expected %s.cls or "
                            "%s.json beside it",
                            r->path, x->text + p->sample.name, p->key, p->key);
    if (!reserve(&x->samples, &x->cap, x->count, 1, sizeof *x->samples))
        return no_memory(r);
    x->samples[x->count++] = p->sample;
    return WEFT_OK;
}

static weft_status there_twice(const reader *r, const char *name)
{
    return wf_error_set(r->err, WEFT_ERR_FORMAT, "%s: %s is there twice", r->path, name);
}

static weft_status take_picture(reader *r, const char *name, const char *dot, int64_t offset,
                                int64_t size)
{
    pending *p = &r->now;
    const bool exact = strchr(dot + 1, '.') == NULL; /* 7.jpg goes before 7.mask.png */
    if (p->picture && strcmp(r->index->text + p->sample.name, name) == 0)
        return there_twice(r, name);
    if (size > WF_MOST_PICTURE_BYTES || (p->picture && (p->exact || !exact))) {
        r->index->left_out++;
        return WEFT_OK;
    }
    r->index->left_out += p->picture;
    p->picture = true;
    p->exact = exact;
    p->sample.offset = offset;
    p->sample.size = size;
    return add_text(r, name, strlen(name), &p->sample.name);
}

static weft_status take_entry(reader *r, const char *name, int64_t offset, int64_t size)
{
    pending *p = &r->now;
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    const char *dot = strchr(base, '.');
    if (base[0] == '.' || !dot) { /* hidden, or without an ending */
        r->index->left_out++;
        return WEFT_OK;
    }
    size_t key = (size_t)(dot - name);
    if (key >= sizeof p->key)
        return wf_error_set(r->err, WEFT_ERR_FORMAT, "%s: a name of %zu bytes is too long", r->path,
                            strlen(name));
    if (!p->open || strlen(p->key) != key || memcmp(p->key, name, key) != 0) {
        WF_TRY(close_sample(r));
        *p = (pending){.open = true, .sample = {.shard = r->shard}};
        memcpy(p->key, name, key);
        p->key[key] = '\0';
    }
    if (strcasecmp(dot, ".cls") == 0) {
        if (p->has_cls)
            return there_twice(r, name);
        p->has_cls = true;
        return take_label(r, name, offset, size, false);
    }
    if (strcasecmp(dot, ".json") == 0)
        return p->labelled ? WEFT_OK : take_label(r, name, offset, size, true);
    return wf_is_picture_name(name) ? take_picture(r, name, dot, offset, size) : WEFT_OK;
}

static weft_status cut_short(const reader *r, const char *what)
{
    return wf_error_set(r->err, WEFT_ERR_FORMAT, "%s: cut short: %s", r->path, what);
}

/* Whether a tar's checksum fits its header: the sum of its bytes, with spaces for the checksum. */
static bool is_header(const unsigned char block[BLOCK])
{
    enum { SUM_AT = 148, SUM_DIGITS = 8 };
    long sum = 0;
    char digits[SUM_DIGITS + 1] = "";
    memcpy(digits, block + SUM_AT, SUM_DIGITS);
    for (int i = 0; i < BLOCK; i++)
        sum += i >= SUM_AT && i < SUM_AT + SUM_DIGITS ? ' ' : block[i];
    return strtol(digits, NULL, 8) == sum;
}

/* A tar ends with blocks of zeros. What `cat a.tar b.tar` has behind them would be lost. */
static weft_status check_end(reader *r)
{
    unsigned char block[BLOCK] = {0};
    int64_t at = r->end;
    for (; at + BLOCK <= r->size && !block[0]; at += BLOCK)
        WF_TRY(wf_read_at(r->fd, r->path, block, BLOCK, at, r->err));
    if (!block[0] || !is_header(block))
        return WEFT_OK;
    return wf_error_set(r->err, WEFT_ERR_FORMAT,
                        "%s: another tar begins behind its end, at byte %" PRId64
                        "; a shard is one tar",
                        r->path, at - BLOCK);
}

static weft_status read_entries(reader *r)
{
    struct archive_entry *e;
    int code;
    while ((code = archive_read_next_header(r->archive, &e)) == ARCHIVE_OK ||
           code == ARCHIVE_WARN) {
        const char *name = archive_entry_pathname(e);
        int64_t size = archive_entry_size(e), offset = archive_filter_bytes(r->archive, 0);
        if (archive_entry_filetype(e) != AE_IFREG || archive_entry_hardlink(e))
            continue;
        if (archive_entry_sparse_count(e) > 0)
            return wf_error_set(r->err, WEFT_ERR_FORMAT,
                                "%s: %s is stored with holes, so that its bytes do not lie in one "
                                "piece; make the tar without --sparse",
                                r->path, name ? name : "a file");
        if (size < 0 || offset < 0 || offset > r->size || size > r->size - offset)
            return cut_short(r, name ? name : "its last file");
        r->end = offset + (size + BLOCK - 1) / BLOCK * BLOCK;
        if (!name)
            r->index->left_out++;
        else
            WF_TRY(take_entry(r, name, offset, size));
    }
    if (code != ARCHIVE_EOF)
        return wf_error_set(r->err, WEFT_ERR_FORMAT,
                            "%s: not a tar file, or damaged or cut short: %s", r->path,
                            archive_error_string(r->archive));
    if (r->size < r->end + BLOCK)
        return cut_short(r, "it has no end");
    WF_TRY(check_end(r));
    return close_sample(r);
}

weft_status wf_tar_index_add(wf_tar_index *index, const char *path, int32_t shard, int labelled,
                             weft_error *err)
{
    reader *r = wf_zalloc(sizeof *r); /* large for a thread's stack */
    if (!r)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    *r = (reader){.index = index, .path = path, .shard = shard, .labelled = labelled, .err = err};
    weft_status status = wf_open_regular(path, 0, &r->fd, &r->size, err);
    if (status != WEFT_OK) {
        wf_free(r);
        return status;
    }
    r->archive = archive_read_new();
    if (!r->archive || archive_read_support_format_tar(r->archive) != ARCHIVE_OK)
        status = no_memory(r);
    else if (archive_read_open_fd(r->archive, r->fd, READ_AT_ONCE) != ARCHIVE_OK)
        status = wf_error_set(err, WEFT_ERR_FORMAT, "%s: not a tar file: %s", path,
                              archive_error_string(r->archive));
    else
        status = read_entries(r);
    archive_read_free(r->archive);
    close(r->fd);
    wf_free(r);
    return status;
}

void wf_tar_index_done(wf_tar_index *index)
{
    wf_free(index->samples);
    wf_free(index->text);
    *index = (wf_tar_index){0};
}
