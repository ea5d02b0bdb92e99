/* A made-up /proc and /sys in a temporary folder, for tests of what reads them. */
#ifndef TESTS_ENGINE_FAKE_ROOT_H
#define TESTS_ENGINE_FAKE_ROOT_H

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct fake_root {
    char path[64];
} fake_root;

static inline void fake_root_init(fake_root *r)
{
    strcpy(r->path, "/tmp/weft-test-XXXXXX");
    assert_non_null(mkdtemp(r->path));
}

/* Writes a file, and the folders above it. */
static inline void fake_root_write(const fake_root *r, const char *name, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s%s", r->path, name);
    for (char *p = path + strlen(r->path) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = '\0';
        mkdir(path, 0700);
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static inline int fake_root_remove_one(const char *path, const struct stat *st, int type,
                                       struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline void fake_root_done(fake_root *r)
{
    nftw(r->path, fake_root_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
