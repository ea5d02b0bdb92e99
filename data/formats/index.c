/* The index of a directory of class folders: a listing as a file, so that a million files are
 * listed once.
 *
 * It is one header and the listing's arrays as they lie in memory, of this machine's byte order;
 * what was written elsewhere does not fit and is made again. It fits as long as no folder's
 * modification time has changed: adding, removing and renaming a file changes its folder's. The
 * file is treated as hostile input. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "data/formats/listing.h"
#include "engine/base/alloc.h"
#include "engine/files/atomic_file.h"
#include "engine/files/regular_file.h"

#define MAGIC "WEFTLST1"
#define MOST_BYTES ((int64_t)8 << 30)
enum { SETTLED_SECONDS = 2 };

typedef struct header {
    char magic[8];
    uint64_t path_hash, payload_hash;
    int64_t n_classes, n_folders, count, left_out;
    uint64_t text_bytes;
} header;

/* ---- where ---------------------------------------------------------------------------------- */

char *wf_index_folder(void)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *folder = cache && *cache == '/' ? wf_asprintf("%s/weft/index", cache)
                   : home && *home == '/' ? wf_asprintf("%s/.cache/weft/index", home)
                                          : NULL;
    for (char *p = folder ? strchr(folder + 1, '/') : NULL; p; p = strchr(p + 1, '/')) {
        *p = '\0';
        mkdir(folder, 0700);
        *p = '/';
    }
    if (folder)
        mkdir(folder, 0700);
    return folder;
}

/* The directory without links, so that all its names have one index. */
static uint64_t hash_path(const char *path)
{
    char whole[PATH_MAX];
    const char *name = realpath(path, whole) ? whole : path;
    return XXH3_64bits(name, strlen(name));
}

static char *file_in(const char *folder, uint64_t hash)
{
    return wf_asprintf("%s/%016" PRIx64 ".list", folder, hash);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Whether the arrays lie within the text, and name only what is there. */
static int consistent(const wf_listing *l)
{
    if (l->text_bytes == 0 || l->text[l->text_bytes - 1] != '\0')
        return 0;
    for (int64_t i = 0; i < l->n_classes; i++)
        if (l->classes[i] >= l->text_bytes)
            return 0;
    for (int64_t i = 0; i < l->n_folders; i++)
        if (l->folders[i].path >= l->text_bytes || l->folders[i].class_number < -1 ||
            l->folders[i].class_number >= l->n_classes)
            return 0;
    for (int64_t i = 0; i < l->count; i++)
        if (l->names[i] >= l->text_bytes || l->folder_of[i] >= l->n_folders ||
            l->folders[l->folder_of[i]].class_number < 0)
            return 0;
    return 1;
}

int wf_index_parse(void *bytes, size_t size, const char *path, wf_listing *list)
{
    header h;
    if (size < sizeof h)
        return 0;
    memcpy(&h, bytes, sizeof h);
    const int64_t most = MOST_BYTES / (int64_t)sizeof(wf_listed_folder);
    if (memcmp(h.magic, MAGIC, sizeof h.magic) != 0 || h.path_hash != hash_path(path) ||
        h.n_classes < 0 || h.n_classes > most || h.n_folders < 1 || h.n_folders > most ||
        h.count < 0 || h.count > most || h.left_out < 0 || h.text_bytes > (uint64_t)MOST_BYTES)
        return 0;
    size_t classes = (size_t)h.n_classes * sizeof(uint64_t);
    size_t folders = (size_t)h.n_folders * sizeof(wf_listed_folder);
    size_t names = (size_t)h.count * sizeof(uint64_t);
    size_t folder_of = (size_t)h.count * sizeof(uint32_t);
    size_t payload = classes + folders + names + folder_of + h.text_bytes;
    char *at = (char *)bytes + sizeof h;
    if (size - sizeof h != payload || XXH3_64bits(at, payload) != h.payload_hash)
        return 0;
    *list = (wf_listing){.n_classes = h.n_classes,
                         .n_folders = h.n_folders,
                         .count = h.count,
                         .left_out = h.left_out,
                         .text_bytes = h.text_bytes};
    list->classes = (uint64_t *)at;
    list->folders = (wf_listed_folder *)(at += classes);
    list->names = (uint64_t *)(at += folders);
    list->folder_of = (uint32_t *)(at += names);
    list->text = at + folder_of;
    return consistent(list);
}

/* Whether the folders are as they were listed. */
static int unchanged(const char *path, const wf_listing *l)
{
    int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), same = root >= 0;
    for (int64_t i = 0; i < l->n_folders && same; i++) {
        const wf_listed_folder *f = &l->folders[i];
        const char *name = l->text + f->path;
        struct stat st;
        same = fstatat(root, *name ? name : ".", &st, 0) == 0 && S_ISDIR(st.st_mode) &&
               st.st_mtim.tv_sec == f->mtime_s && st.st_mtim.tv_nsec == f->mtime_ns;
    }
    if (root >= 0)
        close(root);
    return same;
}

int wf_index_read(const char *folder, const char *path, wf_listing *list)
{
    int fd = -1, good = 0;
    int64_t size = 0;
    char *file = file_in(folder, hash_path(path)), *bytes = NULL;
    if (file && wf_open_own(file, MOST_BYTES, &fd, &size, NULL) == WEFT_OK)
        bytes = wf_alloc((size_t)size);
    if (bytes && wf_read_at(fd, file, bytes, size, 0, NULL) == WEFT_OK)
        good = wf_index_parse(bytes, (size_t)size, path, list) && unchanged(path, list);
    if (fd >= 0)
        close(fd);
    if (good)
        list->block = bytes;
    else
        wf_free(bytes);
    wf_free(file);
    return good;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* The name is Weft's own: a link under it is none of Weft's, and is not followed to what it would
 * overwrite. */
static int is_free(const char *file)
{
    struct stat st;
    return lstat(file, &st) != 0 || S_ISREG(st.st_mode);
}

static int settled(const wf_listing *l)
{
    time_t now = time(NULL);
    for (int64_t i = 0; i < l->n_folders; i++)
        if (l->folders[i].mtime_s + SETTLED_SECONDS > now)
            return 0;
    return 1;
}

void wf_index_write(const char *folder, const char *path, const wf_listing *l)
{
    header h = {.path_hash = hash_path(path),
                .n_classes = l->n_classes,
                .n_folders = l->n_folders,
                .count = l->count,
                .left_out = l->left_out,
                .text_bytes = l->text_bytes};
    memcpy(h.magic, MAGIC, sizeof h.magic);
    /* The arrays lie in one block, in this order. */
    const char *payload = (const char *)l->classes;
    size_t bytes = (size_t)(l->text + l->text_bytes - payload);
    h.payload_hash = XXH3_64bits(payload, bytes);
    char *file = file_in(folder, h.path_hash);
    wf_atomic_file *out = NULL;
    if (!file || !is_free(file) || !settled(l) || wf_atomic_create(file, &out, NULL) != WEFT_OK) {
        wf_free(file);
        return;
    }
    if (wf_atomic_write(out, &h, sizeof h, NULL) == WEFT_OK &&
        wf_atomic_write(out, payload, bytes, NULL) == WEFT_OK)
        wf_atomic_commit(out, NULL);
    else
        wf_atomic_abort(out);
    wf_free(file);
}
