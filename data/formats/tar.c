/* Tar shards, as webdataset has them. See tar_index.h.
 *
 * The path is one .tar file, a name with a range of numbers ("train-{000000..000099}.tar"), or a
 * directory of shards. There the beginning of the names tells the split (train, val, valid,
 * validation, test), or directories of such names do. Shards are indexed when they are opened;
 * pictures are then read by offset, so shuffling is complete. classes.txt beside the shards names the
 * classes, where labels are numbers. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/dataset.h"
#include "data/formats/format.h"
#include "data/formats/label_text.h"
#include "data/formats/name_order.h"
#include "data/formats/read_file.h"
#include "data/formats/tar_index.h"
#include "data/formats/text_file.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "engine/files/regular_file.h"

enum {
    MOST_SHARDS = 1 << 20,
    KEPT_OPEN = 64 /* shards of a split; a process may have 1024 open files, of three splits */
};

/* Names of files. */
typedef struct names {
    char **item;
    int n, cap;
} names;

/* What a data set owns. */
typedef struct shards {
    names paths;
    int *fds; /* (paths.n); -1: opened for each picture */
    wf_tar_index index;
} shards;

static void names_done(names *list)
{
    for (int i = 0; i < list->n; i++)
        wf_free(list->item[i]);
    wf_free(list->item);
    *list = (names){0};
}

static weft_status names_add(names *list, const char *folder, const char *name, weft_error *err)
{
    char *path = wf_asprintf("%s%s%s", folder, *folder ? "/" : "", name);
    if (path && wf_grow(&list->item, &list->cap, list->n, 1, sizeof *list->item)) {
        list->item[list->n++] = path;
        return WEFT_OK;
    }
    wf_free(path);
    return wf_error_set(err, WEFT_ERR_NOMEM, "%s/%s: out of memory", folder, name);
}

static void release(void *owner)
{
    shards *s = owner;
    for (int i = 0; s->fds && i < s->paths.n; i++)
        if (s->fds[i] >= 0)
            close(s->fds[i]);
    wf_free(s->fds);
    names_done(&s->paths);
    wf_tar_index_done(&s->index);
    wf_free(s);
}

static void name_file(const weft_dataset *ds, int64_t index, wf_sample_name *name)
{
    const shards *s = ds->owner;
    const wf_tar_sample *t = &s->index.samples[index];
    snprintf(name->text, sizeof name->text, "%s: %s", s->paths.item[t->shard],
             s->index.text + t->name);
}

static weft_status read_file(const weft_dataset *ds, int64_t index, wf_bytes *bytes,
                             weft_error *err)
{
    const shards *s = ds->owner;
    const wf_tar_sample *t = &s->index.samples[index];
    wf_sample_name name;
    name_file(ds, index, &name);
    int fd = s->fds[t->shard];
    if (fd >= 0)
        return wf_read_picture_part(fd, name.text, t->offset, t->size, bytes, err);
    int64_t size;
    WF_TRY(wf_open_regular(s->paths.item[t->shard], 0, &fd, &size, err));
    weft_status status = wf_read_picture_part(fd, name.text, t->offset, t->size, bytes, err);
    close(fd);
    return status;
}

static void place(const void *user, int64_t i, wf_sample_name *where)
{
    const shards *s = user;
    const wf_tar_sample *t = &s->index.samples[i];
    snprintf(where->text, sizeof where->text, "%s: %s", s->paths.item[t->shard],
             s->index.text + t->name);
}

/* ---- which shards --------------------------------------------------------------------------- */

static bool is_tar_name(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && strcasecmp(name + n - 4, ".tar") == 0;
}

/* "a-{000..012}.tar" into its files. *there: it is of this form. */
static weft_status expand(const char *path, names *list, bool *there, weft_error *err)
{
    int64_t first, last;
    int begin = 0, end = 0;
    const char *open = strchr(path, '{');
    *there = open && is_tar_name(path) &&
             sscanf(open, "{%18" SCNd64 "%n..%18" SCNd64 "}%n", &first, &begin, &last, &end) == 2 &&
             end > 0;
    if (!*there)
        return WEFT_OK;
    int width = begin - 1;
    if (first < 0 || last < first || last - first >= MOST_SHARDS)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "%s: expected a range of numbers that rises, with at most %d shards",
                            path, MOST_SHARDS);
    for (int64_t i = first; i <= last; i++) {
        char *name =
            wf_asprintf("%.*s%0*" PRId64 "%s", (int)(open - path), path, width, i, open + end);
        weft_status status = name ? names_add(list, "", name, err)
                                  : wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
        wf_free(name);
        WF_TRY(status);
    }
    return WEFT_OK;
}

/* The split that a name begins with; TRAIN where it begins with none. */
static weft_split split_of(const char *name, bool *says)
{
    static const struct {
        const char *text;
        weft_split split;
    } words[] = {{"train", WEFT_SPLIT_TRAIN}, {"val", WEFT_SPLIT_VAL}, {"test", WEFT_SPLIT_TEST}};
    *says = true;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strncasecmp(name, words[i].text, strlen(words[i].text)) == 0)
            return words[i].split;
    *says = false;
    return WEFT_SPLIT_TRAIN;
}

/* The shards of a directory, without those below it: into the lists of their splits, or all into
 * one. */
static weft_status list_folder(const char *folder, bool by_split, names *lists, weft_error *err)
{
    DIR *dir = opendir(folder);
    weft_status status = WEFT_OK;
    for (struct dirent *e; dir && status == WEFT_OK && (e = readdir(dir)) != NULL;) {
        bool says;
        weft_split split = split_of(e->d_name, &says);
        if (e->d_name[0] != '.' && is_tar_name(e->d_name))
            status = names_add(&lists[by_split ? split : 0], folder, e->d_name, err);
    }
    if (dir)
        closedir(dir);
    return status;
}

static int by_name(const void *a, const void *b)
{
    return wf_compare_names(*(char *const *)a, *(char *const *)b);
}

static weft_status find(const char *path, names lists[4], weft_error *err)
{
    WF_TRY(list_folder(path, true, lists, err));
    static const struct {
        const char *name;
        weft_split split;
    } below[] = {{"train", WEFT_SPLIT_TRAIN},
                 {"val", WEFT_SPLIT_VAL},
                 {"valid", WEFT_SPLIT_VAL},
                 {"validation", WEFT_SPLIT_VAL},
                 {"test", WEFT_SPLIT_TEST}};
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        char folder[PATH_MAX];
        names *list = &lists[below[i].split];
        if (list->n == 0 &&
            snprintf(folder, sizeof folder, "%s/%s", path, below[i].name) < PATH_MAX)
            WF_TRY(list_folder(folder, false, list, err));
    }
    for (int i = 0; i < 4; i++)
        if (lists[i].n > 1)
            qsort(lists[i].item, (size_t)lists[i].n, sizeof(char *), by_name);
    return WEFT_OK;
}

/* ---- opening -------------------------------------------------------------------------------- */

static weft_status index_shards(shards *s, bool labelled, weft_error *err)
{
    s->fds = wf_alloc_array((size_t)s->paths.n, sizeof *s->fds);
    if (!s->fds)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", s->paths.item[0]);
    for (int i = 0; i < s->paths.n; i++)
        s->fds[i] = -1;
    for (int i = 0; i < s->paths.n; i++) {
        int64_t size;
        if (i < KEPT_OPEN)
            WF_TRY(wf_open_regular(s->paths.item[i], 0, &s->fds[i], &size, err));
        WF_TRY(wf_tar_index_add(&s->index, s->paths.item[i], i, labelled, err));
    }
    if (s->index.count > 0)
        return WEFT_OK;
    return wf_error_set(err, WEFT_ERR_NOT_FOUND,
                        "%s: no pictures in %d shard%s (files that end in .jpg, .jpeg, .png, .ppm, "
                        ".bmp, .pgm, .tif, .tiff or .webp)",
                        s->paths.item[0], s->paths.n, s->paths.n == 1 ? "" : "s");
}

static weft_status add_labels(weft_dataset *d, const shards *s, bool labelled, weft_error *err)
{
    const wf_tar_index *x = &s->index;
    const char **texts = wf_alloc_array((size_t)x->count, sizeof *texts);
    bool some = labelled;
    if (!texts)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", d->source);
    for (int64_t i = 0; i < x->count; i++) {
        texts[i] = x->text + x->samples[i].label;
        some = some || texts[i][0];
    }
    weft_status status = some ? wf_set_label_texts(d, texts, place, s, err) : WEFT_OK;
    wf_free(texts);
    return status;
}

/* The names that classes.txt beside the first shard has, one a line. */
static weft_status add_names(weft_dataset *d, const shards *s, weft_error *err)
{
    const char *first = s->paths.item[0], *slash = strrchr(first, '/');
    char *path = wf_asprintf("%.*sclasses.txt", slash ? (int)(slash + 1 - first) : 0, first);
    char *text = NULL;
    weft_status status =
        path ? WEFT_OK : wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", first);
    if (status == WEFT_OK && !d->info.class_names && access(path, F_OK) == 0) {
        status = wf_read_text_file(path, &text, err);
        const int64_t n = text ? wf_count_names(text) : 0;
        if (status == WEFT_OK && (n < d->info.classes || n > WF_MAX_CLASSES))
            status = wf_error_set(err, WEFT_ERR_FORMAT,
                                  "%s: has %" PRId64 " names, but the highest label of the shards "
                                  "is %d",
                                  path, n, d->info.classes - 1);
        if (status == WEFT_OK) {
            d->info.classes = (int)n;
            d->classes_declared = true;
            status = wf_dataset_set_names(d, text, path, err);
        }
    }
    wf_free(text);
    wf_free(path);
    return status;
}

/* Takes the paths over. */
static weft_status open_shards(const char *path, names *paths, bool labelled, weft_dataset **ds,
                               weft_error *err)
{
    shards *s = wf_zalloc(sizeof *s);
    if (!s)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    s->paths = *paths;
    *paths = (names){0};
    weft_status status = index_shards(s, labelled, err);
    if (status != WEFT_OK) {
        release(s);
        return status;
    }
    weft_dataset *d = NULL;
    WF_TRY(wf_dataset_of_pictures(path, s->index.count, s, release, &d, err));
    d->read = read_file;
    d->name = name_file;
    d->info.left_out = s->index.left_out;
    status = add_labels(d, s, labelled, err);
    if (status == WEFT_OK && d->labels)
        status = add_names(d, s, err);
    if (status == WEFT_OK)
        *ds = d;
    else
        weft_dataset_destroy(d);
    return status;
}

static weft_status open_split(const weft_dataset_opts *o, names lists[4], bool *there,
                              weft_dataset **ds, weft_error *err)
{
    bool val = lists[WEFT_SPLIT_VAL].n > 0, test = lists[WEFT_SPLIT_TEST].n > 0;
    bool train = lists[WEFT_SPLIT_TRAIN].n > 0, predict = o->split == WEFT_SPLIT_PREDICT;
    weft_split split = predict ? WEFT_SPLIT_TEST : o->split;
    *there = train || val || test;
    if (!*there || (split == WEFT_SPLIT_VAL && !val))
        return WEFT_OK;
    if (split == WEFT_SPLIT_TEST && !test)
        split = val ? WEFT_SPLIT_VAL : WEFT_SPLIT_TRAIN;
    if (lists[split].n == 0)
        return wf_error_set(err, WEFT_ERR_NOT_FOUND, "%s: has no shards for training", o->path);
    WF_TRY(open_shards(o->path, &lists[split], !predict, ds, err));
    (*ds)->info.split = split;
    (*ds)->info.only_split = !val && !test;
    (*ds)->has_val = val;
    (*ds)->has_test = test;
    return WEFT_OK;
}

static weft_status open_tar(const weft_dataset_opts *o, wf_path_kind kind, bool *there,
                            weft_dataset **ds, weft_error *err)
{
    names lists[4] = {{0}};
    weft_status status = WEFT_OK;
    *there = false;
    if (kind == WF_PATH_FOLDER) {
        status = find(o->path, lists, err);
    } else if (kind == WF_PATH_NOTHING) {
        status = expand(o->path, &lists[WEFT_SPLIT_TRAIN], there, err);
    } else if (is_tar_name(o->path)) {
        status = names_add(&lists[WEFT_SPLIT_TRAIN], "", o->path, err);
    }
    if (status == WEFT_OK)
        status = open_split(o, lists, there, ds, err);
    for (int i = 0; i < 4; i++)
        names_done(&lists[i]);
    return status;
}

const wf_data_format wf_format_tar = {NULL, open_tar};
