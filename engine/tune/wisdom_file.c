/* The wisdom file: its path, reading it, and merging into it while other processes do the same. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/files/atomic_file.h"
#include "engine/files/json_text.h"
#include "engine/files/regular_file.h"
#include "engine/base/alloc.h"
#include "engine/tune/wisdom.h"

/* ---- where ---- */

weft_status wf_wisdom_path(const char *asked, char **path, bool *asked_for, weft_error *err)
{
    const char *env = getenv("WEFT_WISDOM"), *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME"), *named = asked ? asked : env && *env ? env : NULL;
    char *made = NULL;
    *asked_for = named != NULL;
    *path = NULL;
    if (named ? strcmp(named, "none") == 0 : !(cache && *cache == '/') && !(home && *home == '/'))
        return WEFT_OK;
    if (named)
        made = wf_strdup(named);
    else if (cache && *cache == '/') /* the specification says to ignore a relative path */
        made = wf_asprintf("%s/weft/wisdom.json", cache);
    else
        made = wf_asprintf("%s/.cache/weft/wisdom.json", home);
    if (!made)
        return wf_nomem(err, 0, "the path of wisdom");
    *path = made;
    return WEFT_OK;
}

/* Creates the folders above `path`. A failure shows when the file is created. */
static void make_folders(const char *path)
{
    char *copy = wf_strdup(path);
    for (char *p = copy ? strchr(copy + 1, '/') : NULL; p; p = strchr(p + 1, '/')) {
        *p = '\0';
        mkdir(copy, 0700);
        *p = '/';
    }
    wf_free(copy);
}

/* ---- reading ---- */

/* Larger than any machine's wisdom, so not read into memory. */
#define MOST_BYTES ((int64_t)64 << 20)

weft_status wf_wisdom_read(const char *path, json_t **root, weft_error *err)
{
    json_error_t why;
    FILE *file;
    WF_TRY(wf_fopen_regular(path, MOST_BYTES, &file, err));
    const int first = getc(file);
    /* an empty file: its writer has just created and locked it */
    if (first == EOF && !ferror(file)) {
        fclose(file);
        return wf_error_set(err, WEFT_ERR_NOT_FOUND, "%s: is empty", path);
    }
    ungetc(first, file);
    json_t *read = json_loadf(file, JSON_REJECT_DUPLICATES, &why);
    /* then the text read so far says nothing about the file */
    const bool failed = ferror(file) != 0;
    fclose(file);
    if (read)
        *root = read;
    else if (failed)
        return wf_error_set(err, WEFT_ERR_IO, "%s: cannot be read to its end", path);
    else if (json_error_code(&why) == json_error_out_of_memory)
        return wf_nomem(err, 0, "reading wisdom");
    else
        return wf_error_set(err, WEFT_ERR_FORMAT, "%s: is damaged: line %d: %s", path, why.line,
                            why.text);
    return WEFT_OK;
}

weft_status wf_wisdom_read_for(const char *path, const wf_wisdom_key *key, wf_wisdom *w,
                               json_t **root, weft_error *err)
{
    weft_error why = WEFT_ERROR_INIT;
    WF_TRY(wf_wisdom_read(path, root, err));
    weft_status status = wf_wisdom_from_json(w, *root, key, &why);
    return status ? wf_error_set(err, status, "%s: %s", path, why.text) : WEFT_OK;
}

/* ---- writing ---- */

/* Locks the file; creates it where there is none. Writers replace the file, so after waiting checks
 * whether the locked file still has this name. -1 where the file system has no locks or the file
 * cannot be created: then one of two writers may lose its choices, but the file stays valid. */
static int lock(const char *path)
{
    for (int tries = 0; tries < 1000; tries++) {
        struct stat ours, named;
        int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0)
            return -1;
        int failed = flock(fd, LOCK_EX);
        if (!failed && fstat(fd, &ours) == 0 && stat(path, &named) == 0 &&
            ours.st_dev == named.st_dev && ours.st_ino == named.st_ino)
            return fd;
        bool interrupted = failed && errno == EINTR;
        close(fd);
        if (failed && !interrupted)
            return -1;
    }
    return -1;
}

static bool move_aside(const char *path)
{
    char *name = wf_asprintf("%s.damaged", path);
    bool moved = name && rename(path, name) == 0;
    wf_free(name);
    return moved;
}

static weft_status write_json(const char *path, const json_t *root, weft_error *err)
{
    return wf_json_write(path, root, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_REAL_PRECISION(6), err);
}

/* Reads the existing wisdom. *root stays NULL where there is none. */
static weft_status there(const char *path, const wf_wisdom_key *key, json_t **root, bool *moved,
                         weft_error *err)
{
    wf_wisdom ignored = {0};
    weft_error why = WEFT_ERROR_INIT;
    weft_status status = wf_wisdom_read_for(path, key, &ignored, root, &why);
    wf_wisdom_done(&ignored);
    /* not found: it is wisdom of other machines */
    if (status == WEFT_OK || status == WEFT_ERR_NOT_FOUND)
        return WEFT_OK;
    json_decref(*root);
    *root = NULL;
    if (status == WEFT_ERR_FORMAT && move_aside(path)) {
        *moved = true;
        return WEFT_OK;
    }
    return wf_error_set(err, status, "%s", why.text);
}

weft_status wf_wisdom_probe(const char *path, weft_error *err)
{
    struct stat st;
    wf_atomic_file *file;
    make_folders(path);
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return wf_error_set(err, WEFT_ERR_IO, "%s is not a regular file", path);
    WF_TRY(wf_atomic_create(path, &file, err));
    wf_atomic_abort(file);
    return WEFT_OK;
}

weft_status wf_wisdom_write(const char *path, const wf_wisdom *w, const wf_wisdom_key *key,
                            bool *moved, weft_error *err)
{
    json_t *root = NULL;
    make_folders(path);
    int fd = lock(path);
    weft_status status = there(path, key, &root, moved, err);
    if (status == WEFT_OK) {
        root = wf_wisdom_to_json(root, w, key);
        status = root ? write_json(path, root, err) : wf_nomem(err, 0, "the file of wisdom");
    }
    json_decref(root);
    if (fd >= 0)
        close(fd); /* this also unlocks it */
    return status;
}
