/* A folder of files for fuzzers of readers that open paths. One a process. */
#ifndef WF_TESTS_FUZZ_FOLDER_H
#define WF_TESTS_FUZZ_FOLDER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Made at the first call, in /dev/shm: thousands of files a second are written there. */
static const char *fuzz_folder(void)
{
    static char folder[] = "/dev/shm/weft-fuzz-XXXXXX";
    static int made;
    if (!made && !mkdtemp(folder))
        abort();
    made = 1;
    return folder;
}

/* The path of a file in the folder; valid until the next call. */
static const char *fuzz_path(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    return path;
}

static void fuzz_write(const char *name, const void *bytes, size_t size)
{
    FILE *f = fopen(fuzz_path(name), "w");
    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f) != 0)
        abort();
}

#endif
