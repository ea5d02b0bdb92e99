/* Lists of pictures: text files of lines "path,label" or "path<tab>label".
 *
 * Fields may be quoted as in RFC 4180: "a,b" with "" for a quote. Lines end as on Unix, Windows or
 * old Macs. Paths are relative to the list's folder. A first line is a heading where its path
 * neither ends as a picture's nor is a file. For prediction labels may be missing. The file is
 * hostile input. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/dataset.h"
#include "data/formats/format.h"
#include "data/formats/label_text.h"
#include "data/formats/name_order.h"
#include "data/formats/read_file.h"
#include "data/formats/text_file.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"

/* What a data set owns. */
typedef struct list {
    char *path;          /* of the list */
    int folder;          /* bytes of `path` before its last slash */
    char *text;          /* the file, cut up into fields */
    const char **paths;  /* (count) */
    const char **labels; /* (count), until they are numbers; NULL after that */
    int64_t *lines;      /* (count) */
    int64_t count;
} list;

static void release(void *owner)
{
    list *l = owner;
    wf_free(l->path);
    wf_free(l->text);
    wf_free(l->paths);
    wf_free(l->labels);
    wf_free(l->lines);
    wf_free(l);
}

static void name_path(const list *l, const char *path, wf_sample_name *name)
{
    if (path[0] == '/')
        snprintf(name->text, sizeof name->text, "%s", path);
    else
        snprintf(name->text, sizeof name->text, "%.*s%s", l->folder, l->path, path);
}

static void name_file(const weft_dataset *ds, int64_t index, wf_sample_name *name)
{
    const list *l = ds->owner;
    name_path(l, l->paths[index], name);
}

static weft_status read_file(const weft_dataset *ds, int64_t index, wf_bytes *bytes,
                             weft_error *err)
{
    wf_sample_name name;
    name_file(ds, index, &name);
    return wf_read_picture_file(name.text, bytes, err);
}

static void place(const void *user, int64_t i, wf_sample_name *where)
{
    const list *l = user;
    snprintf(where->text, sizeof where->text, "%s, line %" PRId64, l->path, l->lines[i]);
}

/* ---- lines ---------------------------------------------------------------------------------- */

/* Cuts the next field off *at, which moves behind its separator, or becomes NULL at the end of the
 * line. Returns NULL where a quote has no end. */
static char *next_field(char **at, char separator)
{
    char *field = *at + strspn(*at, " "), *end;
    if (*field == '"') {
        char *to = field;
        for (end = field + 1; *end && !(end[0] == '"' && end[1] != '"'); end++) {
            end += *end == '"';
            *to++ = *end;
        }
        if (!*end)
            return NULL;
        *to = '\0';
        end++;
        end += strspn(end, " ");
    } else {
        end = strchr(field, separator);
        end = end ? end : field + strlen(field);
    }
    bool more = *end == separator && separator;
    if (*end && !more)
        return NULL;
    *end = '\0';
    *at = more ? end + 1 : NULL;
    return field;
}

static char *trim(char *text)
{
    text += strspn(text, " ");
    for (size_t n = strlen(text); n > 0 && text[n - 1] == ' ';)
        text[--n] = '\0';
    return text;
}

static weft_status bad_line(const list *l, int64_t line, weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_FORMAT,
                        "%s, line %" PRId64 ": expected a picture's path and its label, with a "
                        "comma or a tab between",
                        l->path, line);
}

/* Whether the first line names columns. */
static bool is_heading(const list *l, const char *path, const char *label)
{
    wf_sample_name name;
    struct stat st;
    if (wf_is_picture_name(path) || strchr(path, '/') ||
        (*label && label[strspn(label, "0123456789")] == '\0'))
        return false;
    name_path(l, path, &name);
    return stat(name.text, &st) != 0 || !S_ISREG(st.st_mode);
}

static weft_status add_line(list *l, char *text, int64_t line, bool labelled, weft_error *err)
{
    char separator = strchr(text, '\t') ? '\t' : ',';
    char *path = next_field(&text, separator), *label = NULL;
    if (path && text)
        label = next_field(&text, separator);
    if (!path || text || (labelled && !label))
        return bad_line(l, line, err);
    path = trim(path);
    label = label ? trim(label) : "";
    if (!*path)
        return bad_line(l, line, err);
    if (line == 1 && is_heading(l, path, label))
        return WEFT_OK;
    l->paths[l->count] = path;
    l->labels[l->count] = label;
    l->lines[l->count++] = line;
    return WEFT_OK;
}

static weft_status parse(list *l, bool labelled, weft_error *err)
{
    int64_t lines = 1, line = 0;
    for (char *c = l->text; *c; c++) {
        if (c[0] == '\r' && c[1] != '\n')
            *c = '\n';
        lines += *c == '\n';
    }
    l->paths = wf_alloc_array((size_t)lines, sizeof *l->paths);
    l->labels = wf_alloc_array((size_t)lines, sizeof *l->labels);
    l->lines = wf_alloc_array((size_t)lines, sizeof *l->lines);
    if (!l->paths || !l->labels || !l->lines)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", l->path);
    char *rest = l->text;
    if (strncmp(rest, "\xef\xbb\xbf", 3) == 0) /* spreadsheets begin files like this */
        rest += 3;
    for (char *text; (text = strsep(&rest, "\n"));) {
        line++;
        text[strcspn(text, "\r")] = '\0';
        if (text[strspn(text, " \t,")])
            WF_TRY(add_line(l, text, line, labelled, err));
    }
    return l->count > 0 ? WEFT_OK
                        : wf_error_set(err, WEFT_ERR_FORMAT, "%s: lists no pictures", l->path);
}

/* ---- opening -------------------------------------------------------------------------------- */

static weft_status open_file(const char *path, bool labelled, weft_dataset **ds, weft_error *err)
{
    list *l = wf_zalloc(sizeof *l);
    if (!l || !(l->path = wf_strdup(path))) {
        wf_free(l);
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    }
    const char *slash = strrchr(path, '/');
    l->folder = slash ? (int)(slash - path) + 1 : 0;
    weft_status status = wf_read_text_file(path, &l->text, err);
    if (status == WEFT_OK)
        status = parse(l, labelled, err);
    if (status != WEFT_OK) {
        release(l);
        return status;
    }
    weft_dataset *d = NULL;
    WF_TRY(wf_dataset_of_pictures(path, l->count, l, release, &d, err));
    d->read = read_file;
    d->name = name_file;
    bool has_labels = false;
    for (int64_t i = 0; i < l->count; i++)
        has_labels = has_labels || l->labels[i][0];
    if (labelled || has_labels)
        status = wf_set_label_texts(d, l->labels, place, l, err);
    wf_free(l->labels);
    l->labels = NULL;
    if (status == WEFT_OK)
        *ds = d;
    else
        weft_dataset_destroy(d);
    return status;
}

static const char *const endings[] = {".csv", ".tsv", ".txt"};
enum { ENDINGS = 3 };

/* The list of a split in a folder, in `path`. */
static bool find(const char *folder, const char *split, char path[PATH_MAX])
{
    for (int i = 0; i < ENDINGS; i++)
        if (snprintf(path, PATH_MAX, "%s/%s%s", folder, split, endings[i]) < PATH_MAX &&
            access(path, F_OK) == 0)
            return true;
    return false;
}

static weft_status open_folder(const weft_dataset_opts *o, bool *there, weft_dataset **ds,
                               weft_error *err)
{
    char train[PATH_MAX], val[PATH_MAX], test[PATH_MAX];
    bool has_val = find(o->path, "val", val) || find(o->path, "valid", val);
    bool has_test = find(o->path, "test", test);
    *there = find(o->path, "train", train);
    if (!*there || (o->split == WEFT_SPLIT_VAL && !has_val))
        return WEFT_OK;
    weft_split split = o->split == WEFT_SPLIT_PREDICT ? WEFT_SPLIT_TEST : o->split;
    if (split == WEFT_SPLIT_TEST && !has_test)
        split = has_val ? WEFT_SPLIT_VAL : WEFT_SPLIT_TRAIN;
    WF_TRY(open_file(split == WEFT_SPLIT_TRAIN ? train
                     : split == WEFT_SPLIT_VAL ? val
                                               : test,
                     o->split != WEFT_SPLIT_PREDICT, ds, err));
    (*ds)->info.split = split;
    (*ds)->info.only_split = !has_val && !has_test;
    (*ds)->has_val = has_val;
    (*ds)->has_test = has_test;
    return WEFT_OK;
}

static weft_status open_list(const weft_dataset_opts *o, wf_path_kind kind, bool *there,
                             weft_dataset **ds, weft_error *err)
{
    *there = false;
    if (kind == WF_PATH_FOLDER)
        return open_folder(o, there, ds, err);
    const char *dot = strrchr(o->path, '.');
    for (int i = 0; kind == WF_PATH_FILE && dot && i < ENDINGS; i++)
        *there = *there || strcasecmp(dot, endings[i]) == 0;
    if (!*there || o->split == WEFT_SPLIT_VAL)
        return WEFT_OK;
    WF_TRY(open_file(o->path, o->split != WEFT_SPLIT_PREDICT, ds, err));
    (*ds)->info.only_split = true;
    return WEFT_OK;
}

const wf_data_format wf_format_list = {NULL, open_list};
