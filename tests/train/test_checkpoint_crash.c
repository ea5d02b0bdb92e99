/* Crashes while checkpoints are written, as ALICE tries them (Pillai et al., OSDI 2014): the calls
 * that write are recorded; for each prefix of them, every disk that a crash may leave is made, and
 * what is read from it is a checkpoint that was written, or none, and never an older one than the
 * last whose writing had ended.
 *
 * The model of a disk: bytes are there once the file was fsynced; before, none of them, all, half of
 * them or as many zeros. Names are there once their folder was fsynced; before, any beginning of
 * the sequence of changes, or all changes but one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/alloc.h"
#include "engine/files/file_calls.h"
#include "tests/scratch.h"
#include "train/checkpoint/disk.h"
#include "train/checkpoint/writer.h"

enum { MOST_CALLS = 4096, MOST_FDS = 1024, MOST_NAMES = 512, CHECKPOINTS = 3, FILES = 3 };

/* ---- recording ------------------------------------------------------------------------------- */

typedef enum kind { CREATE, MAKE, WRITE, SYNC, RENAME, UNLINK, REMOVE, ENDED } kind;
typedef struct call {
    kind kind;
    char path[160], to[160]; /* below the scratch folder */
    int file;                /* of CREATE, WRITE, SYNC of a file */
    bool folder;             /* SYNC of a folder */
    size_t bytes;            /* of WRITE: the data are always those of the file's name, see fill */
    char *data;
} call;

static call calls[MOST_CALLS];
static int n_calls, n_files;
static struct {
    int file;
    char path[160];
} fds[MOST_FDS];

static const char *below(const char *path)
{
    size_t n = strlen(scratch_dir);
    assert_memory_equal(path, scratch_dir, n);
    return path[n] == '/' ? path + n + 1 : "";
}

static call *note(kind k, const char *path)
{
    assert_true(n_calls < MOST_CALLS);
    call *c = &calls[n_calls++];
    *c = (call){.kind = k};
    snprintf(c->path, sizeof c->path, "%s", path);
    return c;
}

static int rec_open(const char *path, int flags, mode_t mode)
{
    int fd = wf_files_system.open(path, flags, mode);
    if (fd < 0)
        return fd;
    assert_true(fd < MOST_FDS);
    snprintf(fds[fd].path, sizeof fds[fd].path, "%s", below(path));
    fds[fd].file = -1;
    if (flags & O_CREAT) {
        fds[fd].file = n_files++;
        note(CREATE, below(path))->file = fds[fd].file;
    }
    return fd;
}

static ssize_t rec_write(int fd, const void *data, size_t bytes)
{
    /* In pieces, so that a crash can come between them. */
    size_t part = bytes > 16 ? bytes / 2 : bytes;
    ssize_t n = wf_files_system.write(fd, data, part);
    if (n > 0) {
        call *c = note(WRITE, fds[fd].path);
        c->file = fds[fd].file;
        c->bytes = (size_t)n;
        c->data = malloc((size_t)n);
        assert_non_null(c->data);
        memcpy(c->data, data, (size_t)n);
    }
    return n;
}

static int rec_fsync(int fd)
{
    call *c = note(SYNC, fds[fd].path);
    c->file = fds[fd].file;
    c->folder = fds[fd].file < 0;
    return 0; /* the disk of this test is the model's */
}

static int rec_rename(const char *from, const char *to)
{
    int failed = wf_files_system.rename(from, to);
    if (!failed)
        snprintf(note(RENAME, below(from))->to, 160, "%s", below(to));
    return failed;
}

static int rec_mkdir(const char *path, mode_t mode)
{
    int failed = wf_files_system.mkdir(path, mode);
    if (!failed)
        note(MAKE, below(path));
    return failed;
}

static int rec_unlink(const char *path)
{
    int failed = wf_files_system.unlink(path);
    if (!failed)
        note(UNLINK, below(path));
    return failed;
}

static int rec_rmdir(const char *path)
{
    int failed = wf_files_system.rmdir(path);
    if (!failed)
        note(REMOVE, below(path));
    return failed;
}

/* ---- the disk that a crash leaves ------------------------------------------------------------ */

typedef enum loss { DROP, HALF, ZEROS, ALL } loss;

typedef struct name {
    char path[160];
    int file; /* -1: a folder */
} name;
static name names[MOST_NAMES];
static int n_names;

static int find(const char *path)
{
    for (int i = 0; i < n_names; i++)
        if (strcmp(names[i].path, path) == 0)
            return i;
    return -1;
}

static void drop_tree(const char *path)
{
    size_t n = strlen(path);
    for (int i = n_names - 1; i >= 0; i--)
        if (strncmp(names[i].path, path, n) == 0 &&
            (names[i].path[n] == '\0' || names[i].path[n] == '/'))
            names[i] = names[--n_names];
}

static bool has_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    char parent[160];
    if (!slash)
        return true;
    snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
    return find(parent) >= 0;
}

static void apply(const call *c)
{
    if (c->kind == CREATE || c->kind == MAKE) {
        assert_true(n_names < MOST_NAMES);
        if (!has_parent(c->path))
            return;
        drop_tree(c->path);
        snprintf(names[n_names].path, 160, "%s", c->path);
        names[n_names++].file = c->kind == CREATE ? c->file : -1;
    } else if (c->kind == RENAME) {
        size_t n = strlen(c->path);
        if (find(c->path) < 0)
            return;
        drop_tree(c->to);
        for (int i = 0; i < n_names; i++)
            if (strncmp(names[i].path, c->path, n) == 0 &&
                (names[i].path[n] == '\0' || names[i].path[n] == '/')) {
                char moved[320];
                snprintf(moved, sizeof moved, "%s%s", c->to, names[i].path + n);
                snprintf(names[i].path, 160, "%.159s", moved);
            }
    } else if (c->kind == UNLINK) {
        drop_tree(c->path);
    } else if (c->kind == REMOVE) {
        int at = find(c->path);
        for (int i = 0; i < n_names; i++) /* not where something in it is still there */
            if (i != at && strncmp(names[i].path, c->path, strlen(c->path)) == 0 &&
                names[i].path[strlen(c->path)] == '/')
                return;
        drop_tree(c->path);
    }
}

static bool changes_names(const call *c)
{
    return c->kind == CREATE || c->kind == MAKE || c->kind == RENAME || c->kind == UNLINK ||
           c->kind == REMOVE;
}

/* Whether call i, a change of names, is durable after the first n calls: its folder (of a rename,
 * the folder that it goes to) was fsynced since. */
static bool is_durable(int i, int n)
{
    const char *path = calls[i].kind == RENAME ? calls[i].to : calls[i].path;
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    char parent[160];
    snprintf(parent, sizeof parent, "%.*s", (int)length, path);
    for (int k = i + 1; k < n; k++) {
        if (calls[k].kind == SYNC && calls[k].folder && strcmp(calls[k].path, parent) == 0)
            return true;
        if (calls[k].kind == RENAME && strcmp(calls[k].path, parent) == 0)
            snprintf(parent, sizeof parent, "%s", calls[k].to); /* the folder has moved */
    }
    return false;
}

static void write_file(const char *root, const name *f, int n, loss l)
{
    char path[512], zeros[65536] = {0};
    size_t durable = 0, size = 0, keep;
    for (int i = 0; i < n; i++) {
        if (calls[i].kind == WRITE && calls[i].file == f->file)
            size += calls[i].bytes;
        if (calls[i].kind == SYNC && !calls[i].folder && calls[i].file == f->file)
            durable = size;
    }
    keep = l == DROP ? durable : l == HALF ? durable + (size - durable) / 2 : size;
    snprintf(path, sizeof path, "%s/%s", root, f->path);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    size_t at = 0;
    for (int i = 0; i < n && at < keep; i++) {
        if (calls[i].kind != WRITE || calls[i].file != f->file)
            continue;
        size_t bytes = calls[i].bytes < keep - at ? calls[i].bytes : keep - at;
        bool lost = l == ZEROS && at >= durable;
        assert_int_equal(fwrite(lost ? zeros : calls[i].data, 1, bytes, out), bytes);
        at += bytes;
    }
    fclose(out);
}

/* Makes the disk in the folder `root`. Names are those of the durable changes, and of the others
 * that are not `without` and come before call `until`. */
static void make_disk(const char *root, int n, int until, int without, loss l)
{
    n_names = 0;
    for (int i = 0; i < n; i++)
        if (changes_names(&calls[i]) && (is_durable(i, n) || (i < until && i != without)))
            apply(&calls[i]);
    assert_int_equal(mkdir(root, 0777), 0);
    for (bool more = true; more;) { /* folders, those above first */
        more = false;
        for (int i = 0; i < n_names; i++) {
            char path[512];
            snprintf(path, sizeof path, "%.300s/%.159s", root, names[i].path);
            if (names[i].file < 0 && mkdir(path, 0777) == 0)
                more = true;
        }
    }
    for (int i = 0; i < n_names; i++)
        if (names[i].file >= 0 && has_parent(names[i].path))
            write_file(root, &names[i], n, l);
}

/* ---- the test -------------------------------------------------------------------------------- */

static wf_memory *memory;

/* The bytes of file f of checkpoint c. */
static size_t fill(char bytes[300], int c, int f)
{
    size_t n = 40 + (size_t)(c * 37 + f * 91) % 200;
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(c * 31 + f * 7 + (int)i);
    return n;
}

static wf_ckpt_job job_of(int c)
{
    char bytes[300], file[32];
    wf_ckpt_job job = {.keep = 1, .step = c, .best = -1};
    job.image.about = json_pack("{s:i}", "steps_done", c);
    job.folder = wf_asprintf("%s/checkpoints", scratch_dir);
    for (int f = 0; f < FILES; f++) {
        snprintf(file, sizeof file, "file%d", f);
        size_t n = fill(bytes, c, f);
        assert_int_equal(wf_ckpt_image_add_copy(&job.image, memory, file, bytes, n, NULL), WEFT_OK);
    }
    return job;
}

/* The step of the newest checkpoint that can be read; 0: none. Fails where it has other bytes than
 * were written. */
static int newest(const char *root)
{
    char folder[512], path[600], bytes[300], file[32];
    wf_ckpt_list list = {0};
    int found = 0;
    snprintf(folder, sizeof folder, "%s/checkpoints", root);
    assert_int_equal(wf_ckpt_list_read(folder, &list, NULL), WEFT_OK);
    for (int i = 0; i < list.n && !found; i++) {
        wf_ckpt_image image = {0};
        snprintf(path, sizeof path, "%s/%s", folder, list.item[i].name);
        if (wf_ckpt_read(path, memory, 2, &image, NULL) != WEFT_OK)
            continue;
        found = (int)list.item[i].step;
        assert_int_equal(wf_ckpt_image_number(&image, "steps_done"), found);
        assert_int_equal(image.n, FILES);
        for (int f = 0; f < FILES; f++) {
            snprintf(file, sizeof file, "file%d", f);
            const wf_ckpt_file *got = wf_ckpt_image_find(&image, file);
            assert_non_null(got);
            assert_int_equal(got->block.size, fill(bytes, found, f));
            assert_memory_equal(got->block.data, bytes, got->block.size);
        }
        wf_ckpt_image_done(&image);
    }
    wf_ckpt_list_done(&list);
    return found;
}

static int states;
static char shm_dir[] = "/dev/shm/weft-crash-XXXXXX"; /* thousands of small files are made there */
static bool have_shm;

static void try_disk(int n, int until, int without, loss l, int ended)
{
    char root[256];
    snprintf(root, sizeof root, "%s/disk", have_shm ? shm_dir : scratch_dir);
    make_disk(root, n, until, without, l);
    int found = newest(root);
    if (found < ended || found > ended + 1)
        fail_msg("after %d calls, names until %d without %d, loss %d: checkpoint %d, expected %d "
                 "or the next",
                 n, until, without, l, found, ended);
    assert_int_equal(wf_folder_remove(root), 0);
    states++;
}

static void whatever_a_crash_leaves_is_a_checkpoint_or_none(void **state)
{
    static const wf_file_calls recording = {.open = rec_open,
                                            .write = rec_write,
                                            .ftruncate = ftruncate,
                                            .fsync = rec_fsync,
                                            .close = close,
                                            .rename = rec_rename,
                                            .mkdir = rec_mkdir,
                                            .unlink = rec_unlink,
                                            .rmdir = rec_rmdir};
    wf_files_set(&recording);
    for (int c = 1; c <= CHECKPOINTS; c++) {
        wf_ckpt_job job = job_of(c);
        wf_ckpt_writer *writer = NULL;
        assert_int_equal(wf_ckpt_writer_start(&job, &writer, NULL), WEFT_OK);
        wf_ckpt_writer_join(writer, &job);
        assert_int_equal(job.err.status, WEFT_OK);
        wf_ckpt_job_done(&job);
    }
    wf_files_set(NULL);
    int ended = 0;
    for (int n = 0; n <= n_calls; n++) {
        /* A checkpoint's writing has ended with the fsync of the folder that it was renamed into. */
        if (n > 0 && calls[n - 1].kind == SYNC && strcmp(calls[n - 1].path, "checkpoints") == 0)
            ended++;
        for (loss l = DROP; l <= ALL; l++)
            try_disk(n, n, -1, l, ended);
        for (int until = 0; until < n; until++)
            if (changes_names(&calls[until]) && !is_durable(until, n)) {
                try_disk(n, until, -1, DROP, ended); /* the later changes are lost */
                try_disk(n, n, until, DROP, ended);  /* only this one */
                try_disk(n, n, until, ALL, ended);
            }
    }
    assert_int_equal(ended, CHECKPOINTS);
    assert_true(states > 800);
    print_message("%d calls, %d disks\n", n_calls, states);
    for (int i = 0; i < n_calls; i++)
        free(calls[i].data);
}

static int open_memory(void **state)
{
    wf_topology *topology = NULL;
    if (wf_topology_create(&topology, NULL, NULL) != WEFT_OK ||
        wf_memory_create(&memory, topology, NULL, NULL) != WEFT_OK)
        return -1;
    wf_topology_unref(topology);
    have_shm = mkdtemp(shm_dir) != NULL;
    return scratch_create(state);
}

static int close_memory(void **state)
{
    wf_memory_destroy(memory);
    if (have_shm)
        rmdir(shm_dir);
    return scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_a_crash_leaves_is_a_checkpoint_or_none),
    };
    return cmocka_run_group_tests(tests, open_memory, close_memory);
}
