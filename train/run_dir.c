/* The run's directory: config.json, log.jsonl, summary.csv, result.json.
 *
 * Documents appear whole (engine/files); line files grow by one write(2) a line, so a reader never
 * sees half a line. Single-threaded. */
#include "train/run_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/context/c_locale.h"
#include "engine/context/error.h"
#include "engine/files/atomic_file.h"
#include "engine/memory/alloc.h"
#include "train/config.h"

struct weft_run {
    char *path;
    int dir;     /* the directory, so that cleaning up needs no memory */
    int log;     /* log.jsonl */
    int summary; /* summary.csv */
    bool made;   /* the directory is ours to remove */
    bool keep;   /* a step was trained */
};

/* Everything a run may leave, result.json first: without it the rest is an unfinished run. */
static const char *const run_files[] = {"result.json",         "config.json",
                                        "log.jsonl",           "summary.csv",
                                        "weights.safetensors", "weights_best.safetensors",
                                        "evaluation.json",     "report.html",
                                        "curve.svg",           "wisdom.json"};
enum { N_RUN_FILES = sizeof(run_files) / sizeof(run_files[0]) };

static weft_status fail_io(weft_error *err, const char *what, const char *path)
{
    return wf_error_set(err, WEFT_ERR_IO, "cannot %s %s: %s", what, path, strerror(errno));
}

static weft_status fail_nomem(weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory while writing the run's directory");
}

char *wf_run_file(const weft_run *run, const char *name)
{
    return wf_asprintf("%s/%s", run->path, name);
}

/* ---- writing --------------------------------------------------------------------------------- */

static bool write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

/* Takes over `document` (NULL: memory was out). */
static weft_status write_json(const weft_run *run, const char *name, json_t *document,
                              weft_error *err)
{
    wf_atomic_file *file = NULL;
    char *path = wf_run_file(run, name);
    weft_status status = path && document ? wf_atomic_create(path, &file, err) : fail_nomem(err);
    if (status == WEFT_OK) {
        FILE *out = wf_atomic_stream(file);
        int failed = json_dumpf(document, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        fputc('\n', out);
        /* A failed write is the commit's to find; memory that is out is not. */
        if (failed && !ferror(out)) {
            wf_atomic_abort(file);
            status = fail_nomem(err);
        } else {
            status = wf_atomic_commit(file, err);
        }
    }
    json_decref(document);
    wf_free(path);
    return status;
}

/* Takes over `object`. */
static weft_status append_json(weft_run *run, json_t *object, weft_error *err)
{
    char line[8192]; /* the longest text in it is an error's */
    size_t length =
        object ? json_dumpb(object, line, sizeof(line) - 1, JSON_COMPACT | JSON_REAL_PRECISION(9))
               : 0;
    json_decref(object);
    if (length == 0 || length > sizeof(line) - 1)
        return fail_nomem(err);
    line[length++] = '\n';
    if (!write_all(run->log, line, length))
        return wf_error_set(err, WEFT_ERR_IO, "cannot write %s/log.jsonl: %s", run->path,
                            strerror(errno));
    return WEFT_OK;
}

/* JSON knows no NaN and no infinity. */
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* ---- the directory --------------------------------------------------------------------------- */

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

static weft_status check_free(const weft_run *run, const weft_run_opts *opts, weft_error *err)
{
    for (int i = 0; i < N_RUN_FILES; i++) {
        if (!opts->overwrite && faccessat(run->dir, run_files[i], F_OK, 0) == 0)
            return wf_error_set(
                err, WEFT_ERR_STATE,
                "%s already holds a run (%s); choose another directory, or overwrite it", run->path,
                run_files[i]);
        if (opts->overwrite && unlinkat(run->dir, run_files[i], 0) != 0 && errno != ENOENT)
            return wf_error_set(err, WEFT_ERR_IO, "cannot replace %s/%s: %s", run->path,
                                run_files[i], strerror(errno));
    }
    return WEFT_OK;
}

static weft_status open_lines(const weft_run *run, const char *name, int *fd, weft_error *err)
{
    *fd = openat(run->dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
    if (*fd < 0)
        return wf_error_set(err, WEFT_ERR_IO, "cannot write %s/%s: %s", run->path, name,
                            strerror(errno));
    return WEFT_OK;
}

/* The directory of opts, or, numbered, the first of path, path-2, ... that did not exist. */
static weft_status make_directory(weft_run *run, const weft_run_opts *opts, weft_error *err)
{
    for (int i = 1; i < 10000; i++) {
        wf_free(run->path);
        run->path = i == 1 ? wf_strdup(opts->path) : wf_asprintf("%s-%d", opts->path, i);
        if (!run->path)
            return fail_nomem(err);
        size_t n = strlen(run->path);
        while (n > 1 && run->path[n - 1] == '/')
            run->path[--n] = '\0';
        if (make_directories(run->path, &run->made) != 0)
            return fail_io(err, "make the directory", run->path);
        if (!run->made && opts->numbered)
            continue;
        run->dir = open(run->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return run->dir < 0 ? fail_io(err, "open the directory", run->path) : WEFT_OK;
    }
    return wf_error_set(err, WEFT_ERR_STATE, "%s and 9999 numbers after it exist", opts->path);
}

weft_status weft_run_create(const weft_run_opts *opts, weft_run **run, weft_error *err)
{
    static const char header[] =
        "epoch,train_loss,train_acc1,test_loss,test_acc1,lr,img_per_s,seconds\n";
    if (!opts || !opts->path || !*opts->path)
        return wf_error_set(err, WEFT_ERR_INVALID, "a run needs a directory");
    weft_run *r = wf_zalloc(sizeof(*r));
    if (!r)
        return fail_nomem(err);
    r->dir = r->log = r->summary = -1;
    weft_status status = make_directory(r, opts, err);
    if (status == WEFT_OK)
        status = check_free(r, opts, err);
    if (status != WEFT_OK) {
        /* What the directory holds is not this run's: only an empty one may go. */
        if (r->made)
            rmdir(r->path);
        if (r->dir >= 0)
            close(r->dir);
        wf_free(r->path);
        wf_free(r);
        return status;
    }
    status = open_lines(r, "log.jsonl", &r->log, err);
    if (status == WEFT_OK)
        status = open_lines(r, "summary.csv", &r->summary, err);
    if (status == WEFT_OK && !write_all(r->summary, header, sizeof(header) - 1))
        status = wf_error_set(err, WEFT_ERR_IO, "cannot write %s/summary.csv: %s", r->path,
                              strerror(errno));
    if (status != WEFT_OK) {
        weft_run_destroy(r);
        return status;
    }
    *run = r;
    return WEFT_OK;
}

const char *weft_run_path(const weft_run *run)
{
    return run->path;
}

void wf_run_keep(weft_run *run)
{
    run->keep = true;
}

void weft_run_destroy(weft_run *run)
{
    if (!run)
        return;
    if (run->log >= 0)
        close(run->log);
    if (run->summary >= 0)
        close(run->summary);
    for (int i = 0; i < N_RUN_FILES && !run->keep; i++)
        unlinkat(run->dir, run_files[i], 0);
    close(run->dir);
    if (!run->keep && run->made)
        rmdir(run->path);
    wf_free(run->path);
    wf_free(run);
}

/* ---- documents and lines --------------------------------------------------------------------- */

weft_status weft_run_write_config(weft_run *run, weft_context *ctx, const char *command,
                                  const weft_setting *settings, int n, weft_error *err)
{
    weft_error local = WEFT_ERROR_INIT;
    err = err ? err : &local;
    json_t *config = wf_config_json(ctx, command, settings, n, err);
    return config ? write_json(run, "config.json", config, err) : err->status;
}

weft_status wf_run_log_step(weft_run *run, const weft_progress *p, int64_t total_steps,
                            double epochs_done, weft_error *err)
{
    run->keep = true;
    return append_json(run,
                       json_pack("{s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "event", "step",
                                 "epoch", (json_int_t)p->epoch, "step", (json_int_t)p->step,
                                 "total_steps", (json_int_t)total_steps, "epochs_done",
                                 number(epochs_done), "loss", number(p->loss), "acc1",
                                 number(p->acc1), "lr", number(p->lr), "img_per_s",
                                 number(p->img_per_s)),
                       err);
}

/* An empty field where there is no number, as CSV readers expect. */
static void csv_number(char *text, size_t size, double value)
{
    if (isfinite(value))
        snprintf(text, size, "%.6g", value);
    else
        text[0] = '\0';
}

weft_status wf_run_log_epoch(weft_run *run, const weft_epoch *e, weft_error *err)
{
    run->keep = true;
    weft_status status = append_json(
        run,
        json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "event", "epoch",
                  "epoch", (json_int_t)e->epoch, "total_steps", (json_int_t)e->steps, "train_loss",
                  number(e->train_loss), "train_acc1", number(e->train_acc1), "test_loss",
                  number(e->test_loss), "test_acc1", number(e->test_acc1), "test_acc5",
                  number(e->test_acc5), "lr", number(e->lr), "img_per_s", number(e->img_per_s),
                  "seconds", number(e->seconds)),
        err);
    if (status != WEFT_OK)
        return status;
    const double values[] = {e->train_loss, e->train_acc1, e->test_loss, e->test_acc1,
                             e->lr,         e->img_per_s,  e->seconds};
    wf_c_locale locale;
    if (!wf_c_locale_begin(&locale))
        return fail_nomem(err);
    char line[256];
    int n = snprintf(line, sizeof(line), "%lld", (long long)e->epoch);
    for (int i = 0; i < 7; i++) {
        char text[32];
        csv_number(text, sizeof(text), values[i]);
        n += snprintf(line + n, sizeof(line) - (size_t)n, ",%s", text);
    }
    wf_c_locale_end(&locale);
    line[n++] = '\n';
    if (!write_all(run->summary, line, (size_t)n))
        return wf_error_set(err, WEFT_ERR_IO, "cannot write %s/summary.csv: %s", run->path,
                            strerror(errno));
    return WEFT_OK;
}

weft_status wf_run_log_end(weft_run *run, const char *status, const char *message, weft_error *err)
{
    return append_json(
        run, json_pack("{s:s, s:s, s:s?}", "event", "end", "status", status, "message", message),
        err);
}

weft_status wf_run_write_result(weft_run *run, const weft_train_result *r, weft_error *err)
{
    return write_json(run, "result.json",
                      json_pack("{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:o}", "test_acc1",
                                number(r->test_acc1), "test_acc5", number(r->test_acc5),
                                "test_loss", number(r->test_loss), "best_test_acc1",
                                number(r->best_acc1), "best_epoch",
                                r->best_epoch ? json_integer(r->best_epoch) : json_null(), "epochs",
                                (json_int_t)r->epochs, "steps", (json_int_t)r->steps, "seconds",
                                number(r->seconds), "img_per_s", number(r->img_per_s)),
                      err);
}
