/* Creates, locks and cleans a run's directory. See run_place.h. Single-threaded. */
#include "train/run_place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/files/atomic_file.h"
#include "engine/files/file_lock.h"
#include "engine/base/alloc.h"
#include "train/checkpoint/disk.h"

#define WEIGHTS "weights.safetensors"
#define CONFIG "config.json"

/* All files that a run may leave. result.json comes first: without it the others are an unfinished
 * run. log.jsonl comes last: it is made first and removed last, so that never_stepped() knows what a
 * kill has left of a run that began. */
static const char *const run_files[] = {"result.json",
                                        CONFIG,
                                        "summary.csv",
                                        WEIGHTS,
                                        "weights_best.safetensors",
                                        "evaluation.json",
                                        "report.html",
                                        "curve.svg",
                                        "wisdom.json",
                                        "resumed.jsonl",
                                        "weights_ema.safetensors",
                                        WF_RUN_CHECKPOINTS,
                                        "log.jsonl"};
enum { N_RUN_FILES = sizeof(run_files) / sizeof(run_files[0]) };

#define LOCK ".weft-lock"
#define NEW_RUN ".weft-new"
#define SWAP ".weft-swap"
#define MOVE ".weft-move"

static weft_status fail_io(weft_error *err, const char *what, const char *path)
{
    return wf_error_set(err, WEFT_ERR_IO, "cannot %s %s: %s", what, path, strerror(errno));
}

static weft_status fail_nomem(weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory while making the run's directory");
}

static int open_folder(int dir, const char *name)
{
    return openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool exists(int dir, const char *name)
{
    return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Removes a file of a run, or its folder of checkpoints with all that is in it. Returns 0, or -1 with
 * errno. */
static int remove_one(int dir, const char *name)
{
    if (unlinkat(dir, name, 0) == 0)
        return 0;
    if (errno != EISDIR && errno != EPERM) /* POSIX says EPERM for a folder */
        return -1;
    int inner = open_folder(dir, name), error = 0;
    DIR *d = inner >= 0 ? fdopendir(inner) : NULL;
    if (!d && inner >= 0)
        close(inner);
    if (!d)
        return -1;
    for (struct dirent *e; !error && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            remove_one(dirfd(d), e->d_name) != 0)
            error = errno;
    closedir(d);
    errno = error;
    return error ? -1 : unlinkat(dir, name, AT_REMOVEDIR);
}

/* ---- making ---------------------------------------------------------------------------------- */

/* Sets *made when the last component did not exist before. */
static int make_directories(char *path, bool *made)
{
    for (char *c = path + 1; *c; c++) {
        if (*c != '/')
            continue;
        *c = '\0';
        int failed = mkdir(path, 0777);
        *c = '/';
        if (failed && errno != EEXIST)
            return -1;
    }
    *made = mkdir(path, 0777) == 0;
    struct stat st;
    if (!*made && errno != EEXIST)
        return -1;
    if (stat(path, &st) != 0)
        return -1;
    if (!S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return -1;
    }
    return 0;
}

/* Creates the directory of opts; with numbering, the first of path, path-2, ... that did not
 * exist. */
static weft_status make_directory(wf_run_place *p, const weft_run_opts *opts, weft_error *err)
{
    for (int i = 1; i < 10000; i++) {
        wf_free(p->path);
        p->path = i == 1 ? wf_strdup(opts->path) : wf_asprintf("%s-%d", opts->path, i);
        if (!p->path)
            return fail_nomem(err);
        size_t n = strlen(p->path);
        while (n > 1 && p->path[n - 1] == '/')
            p->path[--n] = '\0';
        if (make_directories(p->path, &p->made) != 0)
            return fail_io(err, "make the directory", p->path);
        if (!p->made && opts->numbered)
            continue;
        p->top = open(p->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return p->top < 0 ? fail_io(err, "open the directory", p->path) : WEFT_OK;
    }
    return wf_error_set(err, WEFT_ERR_STATE, "%s and 9999 numbers after it exist", opts->path);
}

/* ---- locking --------------------------------------------------------------------------------- */

/* Writes into the lock file who holds the lock, for the error of the next process. */
static void sign(int fd)
{
    char host[65] = "", text[128];
    gethostname(host, sizeof(host) - 1);
    int n = snprintf(text, sizeof(text), "process %ld on %s", (long)getpid(), host);
    if (ftruncate(fd, 0) != 0 || write(fd, text, (size_t)n) != n)
        return; /* we have the lock anyway */
}

static weft_status in_use(const wf_run_place *p, int fd, weft_error *err)
{
    char holder[128];
    ssize_t n = pread(fd, holder, sizeof(holder) - 1, 0);
    holder[n > 0 ? n : 0] = '\0';
    return wf_error_set(err, WEFT_ERR_STATE,
                        "%s is in use by a run that is still going%s%s%s; choose another directory",
                        p->path, *holder ? " (" : "", holder, *holder ? ")" : "");
}

/* If no lock is possible (on some network file systems; or in a read-only directory, where the
 * first file will report the error), the run goes on without one. */
static weft_status lock(wf_run_place *p, weft_error *err)
{
    for (int tries = 0; tries < 1000; tries++) {
        int fd = openat(p->top, LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (fd < 0)
            return WEFT_OK;
        wf_lock_result result = wf_lock_file(fd);
        if (result == WF_LOCKED && wf_lock_is_named(fd, p->top, LOCK)) {
            sign(fd);
            p->lock = fd;
            return WEFT_OK;
        }
        weft_status status = result == WF_LOCK_BUSY ? in_use(p, fd, err) : WEFT_OK;
        if (result == WF_LOCK_NONE)
            unlinkat(p->top, LOCK, 0);
        close(fd);
        if (result != WF_LOCKED)
            return status;
    }
    return wf_error_set(err, WEFT_ERR_STATE, "%s is in use by other runs", p->path);
}

static void unlock(wf_run_place *p)
{
    if (p->lock < 0)
        return;
    unlinkat(p->top, LOCK, 0); /* while we hold the lock: see wf_lock_is_named */
    close(p->lock);
    p->lock = -1;
}

/* ---- cleaning and replacing ------------------------------------------------------------------ */

static void remove_folder(int top, const char *name)
{
    int dir = open_folder(top, name);
    if (dir < 0)
        return;
    for (int i = 0; i < N_RUN_FILES; i++)
        remove_one(dir, run_files[i]);
    close(dir);
    unlinkat(top, name, AT_REMOVEDIR);
}

/* Finishes what wf_run_place_publish began. Returns 0, or -1 with errno. */
static int finish_swap(int top)
{
    int dir = open_folder(top, SWAP), failed = 0;
    if (dir >= 0) {
        for (int i = 0; i < N_RUN_FILES && !failed; i++)
            if (!exists(dir, run_files[i]) || strcmp(run_files[i], WF_RUN_CHECKPOINTS) == 0)
                failed = remove_one(top, run_files[i]) != 0 && errno != ENOENT;
        close(dir);
        failed = failed || renameat(top, SWAP, top, MOVE) != 0;
    }
    dir = failed ? -1 : open_folder(top, MOVE);
    if (dir >= 0) {
        for (int i = 0; i < N_RUN_FILES && !failed; i++)
            failed = renameat(dir, run_files[i], top, run_files[i]) != 0 && errno != ENOENT;
        close(dir);
        if (!failed)
            remove_folder(top, MOVE);
    }
    return failed ? -1 : 0;
}

/* Whether a file of a run is there. A folder for checkpoints that has none in it, which the user may
 * have made or linked to another disk, is no run. */
static bool holds(int top, const char *name)
{
    if (!exists(top, name) || strcmp(name, WF_RUN_CHECKPOINTS) != 0)
        return exists(top, name);
    int folder = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), others = 0;
    DIR *d = folder >= 0 ? fdopendir(folder) : NULL;
    for (struct dirent *e; d && (e = readdir(d));)
        others += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (d)
        closedir(d);
    else if (folder >= 0)
        close(folder);
    return !d || others > 0;
}

/* Whether all files here are of a run that was killed before it logged a step: then it has no
 * weights. */
static bool never_stepped(int top)
{
    static const char *const beginnings[] = {CONFIG, "log.jsonl", "summary.csv", "wisdom.json",
                                             "resumed.jsonl"};
    struct stat log;
    int others = 0;
    for (int i = 0; i < N_RUN_FILES; i++)
        others += holds(top, run_files[i]);
    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++)
        others -= exists(top, beginnings[i]);
    return others == 0 && fstatat(top, "log.jsonl", &log, AT_SYMLINK_NOFOLLOW) == 0 &&
           log.st_size == 0;
}

/* Whether .weft-swap is not of a run: it has neither weights nor checkpoints. Finishing the swap would delete the old
 * run for it. */
static bool is_strange_swap(int top)
{
    int dir = open_folder(top, SWAP);
    bool strange = dir >= 0 && !exists(dir, WEIGHTS) && !exists(dir, WF_RUN_CHECKPOINTS);
    if (dir >= 0)
        close(dir);
    return strange;
}

/* Removes what a killed run left. Only with the lock held, so that it is not a live run's. */
static void clean(const wf_run_place *p)
{
    char *inside = wf_asprintf("%s/" NEW_RUN, p->path);
    wf_atomic_clean(p->path, run_files, N_RUN_FILES);
    if (inside)
        wf_atomic_clean(inside, run_files, N_RUN_FILES);
    wf_free(inside);
    remove_folder(p->top, NEW_RUN);
    if (!is_strange_swap(p->top))
        finish_swap(p->top);
    char *checkpoints = wf_asprintf("%s/" WF_RUN_CHECKPOINTS, p->path);
    if (checkpoints)
        wf_ckpt_clean(checkpoints);
    wf_free(checkpoints);
    for (int i = 0, all = never_stepped(p->top); i < N_RUN_FILES && all; i++)
        unlinkat(p->top, run_files[i], 0); /* not the folder of checkpoints */
}

/* Fails where publishing would not work: after clean(), files stand under the names that it needs,
 * which are not of a run, or of a run that may be alive on a file system without locks. This is
 * found before training. They are not removed, because they may be someone's. */
static weft_status check_replaceable(const wf_run_place *p, weft_error *err)
{
    static const char *const needed[] = {NEW_RUN, SWAP, MOVE};
    struct stat st;
    for (int i = 0; i < 3; i++)
        if (exists(p->top, needed[i]))
            return wf_error_set(err, WEFT_ERR_STATE,
                                "cannot replace the run in %s: %s is in the way; move it elsewhere",
                                p->path, needed[i]);
    for (int i = 0; i < N_RUN_FILES; i++) {
        bool folder = strcmp(run_files[i], WF_RUN_CHECKPOINTS) == 0;
        if (fstatat(p->top, run_files[i], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            !S_ISDIR(st.st_mode) == folder)
            return wf_error_set(
                err, WEFT_ERR_STATE,
                "cannot replace the run in %s: %s is %s directory; move it elsewhere", p->path,
                run_files[i], folder ? "no" : "a");
    }
    return WEFT_OK;
}

/* Chooses where the files go: into the directory, or, where it has a run that is to be replaced,
 * into a folder inside it. */
static weft_status choose_folder(wf_run_place *p, const weft_run_opts *opts, weft_error *err)
{
    const bool overwrite = opts->overwrite;
    int held = 0;
    while (held < N_RUN_FILES && !holds(p->top, run_files[held]))
        held++;
    if (held < N_RUN_FILES && opts->resume && !overwrite) {
        if (!exists(p->top, CONFIG) && !exists(p->top, "log.jsonl") &&
            !holds(p->top, WF_RUN_CHECKPOINTS))
            return wf_error_set(err, WEFT_ERR_STATE,
                                "%s holds %s, but nothing that a run could go on from; choose "
                                "another directory, or overwrite it",
                                p->path, run_files[held]);
        p->resumed = true;
        p->finished = held == 0;
        held = N_RUN_FILES;
    }
    if (held < N_RUN_FILES && !overwrite)
        return wf_error_set(
            err, WEFT_ERR_STATE,
            "%s already holds a run (%s); choose another directory, go on with it, or overwrite it",
            p->path, run_files[held]);
    if (held < N_RUN_FILES)
        WF_TRY(check_replaceable(p, err));
    p->folder = held < N_RUN_FILES ? wf_asprintf("%s/" NEW_RUN, p->path) : wf_strdup(p->path);
    if (!p->folder)
        return fail_nomem(err);
    if (held < N_RUN_FILES && mkdirat(p->top, NEW_RUN, 0777) != 0)
        return fail_io(err, "make the directory", p->folder);
    p->dir = openat(p->top, held < N_RUN_FILES ? NEW_RUN : ".",
                    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    p->ours = p->dir >= 0 && !p->resumed;
    return p->dir >= 0 ? WEFT_OK : fail_io(err, "open the directory", p->folder);
}

weft_status wf_run_place_open(wf_run_place *p, const weft_run_opts *opts, weft_error *err)
{
    *p = (wf_run_place){.top = -1, .dir = -1, .lock = -1};
    weft_status status = make_directory(p, opts, err);
    if (status == WEFT_OK)
        status = lock(p, err);
    if (status == WEFT_OK && p->lock >= 0)
        clean(p);
    if (status == WEFT_OK)
        status = choose_folder(p, opts, err);
    if (status != WEFT_OK)
        wf_run_place_close(p, false);
    return status;
}

weft_status wf_run_place_publish(wf_run_place *p, weft_error *err)
{
    if (strcmp(p->folder, p->path) == 0)
        return WEFT_OK;
    if (renameat(p->top, NEW_RUN, p->top, SWAP) != 0)
        return fail_io(err, "replace the run in", p->path);
    p->ours = false; /* from here on its files are not removed */
    if (finish_swap(p->top) != 0)
        return fail_io(err, "replace the run in", p->path);
    strcpy(p->folder, p->path); /* the shorter of the two */
    return WEFT_OK;
}

void wf_run_place_close(wf_run_place *p, bool keep)
{
    bool waits = p->folder && strcmp(p->folder, p->path) != 0;
    for (int i = 0; i < N_RUN_FILES && p->ours && (waits || !keep); i++)
        remove_one(p->dir, run_files[i]);
    if (waits && p->ours)
        unlinkat(p->top, NEW_RUN, AT_REMOVEDIR);
    unlock(p);
    if (p->dir >= 0)
        close(p->dir);
    if (p->top >= 0)
        close(p->top);
    if (p->made && !keep)
        rmdir(p->path); /* fails where other files are in it, which is right */
    wf_free(p->folder);
    wf_free(p->path);
    *p = (wf_run_place){.top = -1, .dir = -1, .lock = -1};
}
