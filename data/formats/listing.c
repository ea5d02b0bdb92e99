/* Lists class folders as torchvision's ImageFolder does, hidden files aside: classes in the order
 * of their names; in a class, folders in the order of their paths, then files in the order of
 * theirs; symbolic links are followed. See listing.h. */
#include "data/formats/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/dataset.h"
#include "data/formats/name_order.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"

enum {
    DEEPEST = 64,        /* folders inside folders */
    MOST_LINKS = 1 << 14 /* to folders, below classes: links that fork again and again end here */
};
#define NOT_BELOW SIZE_MAX

/* A growing array. */
typedef struct vec {
    void *at;
    size_t n, cap;
} vec;

static void *vec_add(vec *v, size_t more, size_t size)
{
    if (v->n + more > v->cap) {
        size_t cap = v->cap ? 2 * v->cap : 64;
        cap = cap < v->n + more ? v->n + more : cap;
        void *at = wf_realloc_array(v->at, cap, size);
        if (!at)
            return NULL;
        v->at = at;
        v->cap = cap;
    }
    void *place = (char *)v->at + v->n * size;
    v->n += more;
    return place;
}

typedef struct lister {
    const char *root;
    int flat;
    weft_error *err;
    vec text;                               /* char */
    vec classes, folders, names, folder_of; /* as in wf_listing */
    vec sub;                                /* uint64_t: folders of this class, to be listed */
    vec places;                             /* location, of each folder in sub */
    int64_t left_out, links;
} lister;

/* Which folder it is, whatever its path, and in which it lies. */
typedef struct location {
    dev_t device;
    ino_t inode;
    size_t above; /* its number; its own for the class folder */
} location;

static weft_status no_memory(const lister *l)
{
    return wf_error_set(l->err, WEFT_ERR_NOMEM, "%s: out of memory for the list of its files",
                        l->root);
}

static const char *text_at(const lister *l, uint64_t offset)
{
    return (const char *)l->text.at + offset;
}

static weft_status add_text(lister *l, const char *before, const char *text, uint64_t *offset)
{
    size_t a = strlen(before), slash = a > 0, b = strlen(text) + 1;
    char *to = vec_add(&l->text, a + slash + b, 1);
    if (!to)
        return no_memory(l);
    memcpy(to, before, a);
    memcpy(to + a, "/", slash);
    memcpy(to + a + slash, text, b);
    *offset = (uint64_t)(to - (char *)l->text.at);
    return WEFT_OK;
}

/* ---- sorting: qsort_r's argument is the lister ---------------------------------------------- */

static int by_text(const void *a, const void *b, void *arg)
{
    const lister *l = arg;
    return wf_compare_names(text_at(l, *(const uint64_t *)a), text_at(l, *(const uint64_t *)b));
}

static void sort_texts(lister *l, vec *v, size_t from)
{
    if (v->n - from > 1)
        qsort_r((uint64_t *)v->at + from, v->n - from, sizeof(uint64_t), by_text, l);
}

/* ---- one folder ----------------------------------------------------------------------------- */

typedef enum kind { FILE_KIND, FOLDER_KIND, OTHER_KIND } kind;

static kind kind_of(int dir, const struct dirent *e)
{
    struct stat st;
    if (e->d_type == DT_REG)
        return FILE_KIND;
    if (e->d_type == DT_DIR)
        return FOLDER_KIND;
    if (e->d_type != DT_LNK && e->d_type != DT_UNKNOWN)
        return OTHER_KIND;
    if (fstatat(dir, e->d_name, &st, 0) != 0) /* a link to nothing is told when it is read */
        return e->d_type == DT_LNK ? FILE_KIND : OTHER_KIND;
    return S_ISREG(st.st_mode) ? FILE_KIND : S_ISDIR(st.st_mode) ? FOLDER_KIND : OTHER_KIND;
}

static int depth_of(const char *path)
{
    int n = *path != '\0';
    for (; *path; path++)
        n += *path == '/';
    return n;
}

static weft_status add_file(lister *l, const char *name)
{
    uint64_t *at = vec_add(&l->names, 1, sizeof *at);
    uint32_t *folder = at ? vec_add(&l->folder_of, 1, sizeof *folder) : NULL;
    if (!folder)
        return no_memory(l);
    *folder = (uint32_t)(l->folders.n - 1);
    uint64_t offset;
    WF_TRY(add_text(l, "", name, &offset));
    ((uint64_t *)l->names.at)[l->names.n - 1] = offset;
    return WEFT_OK;
}

static weft_status add_entry(lister *l, int dir, const struct dirent *e, uint64_t path,
                             vec *folders)
{
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
        return WEFT_OK;
    kind k = e->d_name[0] == '.' ? OTHER_KIND : kind_of(dir, e);
    if (k == FOLDER_KIND) {
        char before[PATH_MAX];
        snprintf(before, sizeof before, "%s", text_at(l, path));
        if (depth_of(before) >= DEEPEST)
            return wf_error_set(l->err, WEFT_ERR_FORMAT,
                                "%s/%s: lies %d folders deep, which is more than a class may have",
                                l->root, before, DEEPEST);
        if (path != 0 && e->d_type == DT_LNK && ++l->links > MOST_LINKS)
            return wf_error_set(l->err, WEFT_ERR_FORMAT,
                                "%s/%s: more than %d links to folders, which may fork again and "
                                "again",
                                l->root, before, MOST_LINKS);
        uint64_t offset, *at;
        WF_TRY(add_text(l, before, e->d_name, &offset));
        if (!(at = vec_add(folders, 1, sizeof *at)))
            return no_memory(l);
        *at = offset;
        return WEFT_OK;
    }
    bool in_class = path != 0 || l->flat; /* offset 0 is the directory itself */
    if (k == FILE_KIND && in_class && wf_is_picture_name(e->d_name))
        return add_file(l, e->d_name);
    l->left_out++;
    return WEFT_OK;
}

/* Notes where folder i of the class lies. Links that lead back to a folder above are refused: they
 * would be followed for ever. */
static weft_status note_place(lister *l, size_t i, uint64_t path, const struct stat *st)
{
    location *p = (location *)l->places.at, *at = &p[i];
    at->device = st->st_dev;
    at->inode = st->st_ino;
    for (size_t k = i; k != p[k].above;) {
        k = p[k].above;
        if (p[k].device == at->device && p[k].inode == at->inode)
            return wf_error_set(l->err, WEFT_ERR_FORMAT,
                                "%s/%s: is a link back to a folder above it", l->root,
                                text_at(l, path));
    }
    return WEFT_OK;
}

/* Lists one folder; those inside it go to *folders. `number` is the folder's in l->sub; NOT_BELOW:
 * it is not there, or has been listed before. */
static weft_status list_folder(lister *l, uint64_t path, int64_t class_number, size_t number,
                               vec *folders)
{
    char whole[PATH_MAX];
    const char *below = text_at(l, path);
    struct stat st;
    if (snprintf(whole, sizeof whole, "%s%s%s", l->root, *below ? "/" : "", below) >= PATH_MAX)
        return wf_error_set(l->err, WEFT_ERR_FORMAT, "%s/%s: the path is too long", l->root, below);
    DIR *dir = opendir(whole);
    if (!dir || fstat(dirfd(dir), &st) != 0) {
        if (dir)
            closedir(dir);
        return wf_error_set(l->err, errno == ENOENT ? WEFT_ERR_NOT_FOUND : WEFT_ERR_IO,
                            "%s: cannot be listed: %s", whole, strerror(errno));
    }
    wf_listed_folder *f = vec_add(&l->folders, 1, sizeof *f);
    weft_status status = f ? WEFT_OK : no_memory(l);
    if (f)
        *f = (wf_listed_folder){path, st.st_mtim.tv_sec, st.st_mtim.tv_nsec, class_number};
    if (status == WEFT_OK && number != NOT_BELOW)
        status = note_place(l, number, path, &st);
    size_t first = l->names.n;
    for (struct dirent *e; status == WEFT_OK && (errno = 0, e = readdir(dir)) != NULL;)
        status = add_entry(l, dirfd(dir), e, path, folders);
    if (status == WEFT_OK && errno)
        status =
            wf_error_set(l->err, WEFT_ERR_IO, "%s: cannot be listed: %s", whole, strerror(errno));
    closedir(dir);
    sort_texts(l, &l->names, first);
    return status;
}

/* ---- all of them ---------------------------------------------------------------------------- */

/* A class folder and the folders in it. They are listed as they are met and put in the order of
 * their paths afterwards, files and all. */
static weft_status list_below(lister *l, uint64_t path, int64_t class_number)
{
    uint64_t *first = vec_add(&l->sub, 1, sizeof *first);
    location *top = vec_add(&l->places, 1, sizeof *top);
    if (!first || !top)
        return no_memory(l);
    *first = path;
    *top = (location){0};
    size_t begin = l->sub.n - 1;
    /* Gather the paths first, so that files come in the order of their folders. A folder is read
     * twice only if it has folders in it. */
    size_t names = l->names.n, folders = l->folders.n;
    int64_t left_out = l->left_out, links = l->links;
    for (size_t i = begin; i < l->sub.n; i++) {
        WF_TRY(list_folder(l, ((uint64_t *)l->sub.at)[i], class_number, i, &l->sub));
        while (l->places.n < l->sub.n) {
            location *p = vec_add(&l->places, 1, sizeof *p);
            if (!p)
                return no_memory(l);
            *p = (location){.above = i};
        }
    }
    size_t n = l->sub.n - begin;
    if (n > 1) {
        vec ignored = {0};
        sort_texts(l, &l->sub, begin);
        l->names.n = l->folder_of.n = names;
        l->folders.n = folders;
        l->left_out = left_out;
        l->links = links;
        weft_status status = WEFT_OK;
        for (size_t i = begin; i < begin + n && status == WEFT_OK; i++) {
            status = list_folder(l, ((uint64_t *)l->sub.at)[i], class_number, NOT_BELOW, &ignored);
            ignored.n = 0;
        }
        wf_free(ignored.at);
        WF_TRY(status);
    }
    l->sub.n = l->places.n = begin;
    return WEFT_OK;
}

static weft_status list_classes(lister *l, int64_t *empty)
{
    WF_TRY(list_folder(l, 0, -1, NOT_BELOW, &l->classes));
    sort_texts(l, &l->classes, 0);
    *empty = 0;
    for (size_t k = 0; k < l->classes.n; k++) {
        size_t before = l->names.n;
        WF_TRY(list_below(l, ((uint64_t *)l->classes.at)[k], (int64_t)k));
        *empty += l->names.n == before;
    }
    return WEFT_OK;
}

/* Copies an array to *at, which moves on. */
static void *put(char **at, const void *array, size_t bytes)
{
    char *place = *at;
    if (bytes > 0)
        memcpy(place, array, bytes);
    *at += bytes;
    return place;
}

/* Puts all arrays into one block. */
static weft_status pack(lister *l, wf_listing *list)
{
    size_t classes = l->classes.n * sizeof(uint64_t);
    size_t folders = l->folders.n * sizeof(wf_listed_folder);
    size_t names = l->names.n * sizeof(uint64_t);
    size_t folder_of = l->folder_of.n * sizeof(uint32_t);
    char *block = wf_alloc(classes + folders + names + folder_of + l->text.n), *at = block;
    if (!block)
        return no_memory(l);
    *list = (wf_listing){.n_classes = (int64_t)l->classes.n,
                         .n_folders = (int64_t)l->folders.n,
                         .count = (int64_t)l->names.n,
                         .left_out = l->left_out,
                         .text_bytes = l->text.n,
                         .block = block};
    list->classes = put(&at, l->classes.at, classes);
    list->folders = put(&at, l->folders.at, folders);
    list->names = put(&at, l->names.at, names);
    list->folder_of = put(&at, l->folder_of.at, folder_of);
    list->text = put(&at, l->text.at, l->text.n);
    return WEFT_OK;
}

weft_status wf_listing_make(const char *path, int flat, wf_listing *list, int64_t *empty,
                            weft_error *err)
{
    lister l = {.root = path, .flat = flat, .err = err};
    uint64_t root = 0;
    *empty = 0;
    weft_status status = add_text(&l, "", "", &root);
    if (status == WEFT_OK)
        status = flat ? list_below(&l, root, -1) : list_classes(&l, empty);
    if (status == WEFT_OK)
        status = pack(&l, list);
    wf_free(l.text.at);
    wf_free(l.classes.at);
    wf_free(l.folders.at);
    wf_free(l.names.at);
    wf_free(l.folder_of.at);
    wf_free(l.sub.at);
    wf_free(l.places.at);
    return status;
}

void wf_listing_done(wf_listing *list)
{
    wf_free(list->block);
    *list = (wf_listing){0};
}
