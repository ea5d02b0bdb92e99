/* A temporary folder for a group of tests: scratch_create makes it before them,
 * scratch_remove takes it and all that is in it away after. scratch_clean empties it,
 * as a teardown of each test. */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static char scratch_dir[] = "/tmp/weft-scratch-XXXXXX";
static char scratch_file[64]; /* a name in it, for tests that need one file */

/* The path of `name` in the folder, until the next call. */
static inline const char *in_scratch(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", scratch_dir, name);
    return path;
}

static inline int scratch_create(void **state)
{
    if (!mkdtemp(scratch_dir))
        return -1;
    snprintf(scratch_file, sizeof scratch_file, "%s/file", scratch_dir);
    return 0;
}

static inline int scratch_remove_inner(const char *path, const struct stat *st, int type,
                                       struct FTW *at)
{
    (void)st, (void)type;
    return at->level > 0 ? remove(path) : 0;
}

static inline int scratch_clean(void **state)
{
    (void)state;
    return nftw(scratch_dir, scratch_remove_inner, 8, FTW_DEPTH | FTW_PHYS);
}

static inline int scratch_remove(void **state)
{
    return scratch_clean(state) || remove(scratch_dir);
}

#endif
