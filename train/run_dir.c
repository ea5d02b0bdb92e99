/* Writes the files of a run's directory: config.json, log.jsonl, summary.csv, result.json.
 *
 * Documents appear as a whole (engine/files). Line files grow by one write(2) per line, so a reader
 * never sees half a line. run_place.c decides where the directory is and what becomes of an old run
 * in it; run_resume.c takes the lines of a resumed run back. Single-threaded. */
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

#include "engine/base/c_locale.h"
#include "engine/base/error.h"
#include "engine/files/file_calls.h"
#include "engine/files/json_text.h"
#include "engine/base/alloc.h"
#include "train/report/config.h"
#include "train/run_state.h"
#include "weft/tune.h"

static weft_status fail_nomem(weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory while writing the run's directory");
}

const char *wf_run_folder(const weft_run *run)
{
    return run->place.folder;
}

char *wf_run_file(const weft_run *run, const char *name)
{
    return wf_asprintf("%s/%s", run->place.folder, name);
}

/* ---- writing --------------------------------------------------------------------------------- */

weft_status wf_run_fail_write(const weft_run *run, const char *name, int error, weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_IO, "cannot write %s/%s: %s", run->place.folder, name,
                        strerror(error));
}

static int copy_lines(int from, int to)
{
    char block[1 << 14];
    ssize_t n;
    int error = 0;
    for (off_t at = 0; !error && (n = pread(from, block, sizeof(block), at)) != 0; at += n)
        error = n < 0 ? errno : wf_file_write(to, block, (size_t)n);
    return error;
}

/* If somebody has removed the file, its lines are still behind `fd`: a new file of that name takes
 * them over, and `fd` from then on means the new file. Where that fails all stays as it was. */
static void put_back(const weft_run *run, int fd, const char *name)
{
    struct stat file;
    if (fstat(fd, &file) != 0 || file.st_nlink > 0)
        return;
    int new = openat(run->place.dir, name, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
    if (new < 0)
        return;
    if (copy_lines(fd, new) != 0 || dup3(new, fd, O_CLOEXEC) < 0)
        unlinkat(run->place.dir, name, 0);
    close(new);
}

/* Appends a line. If the disk is full in the middle of it, appends nothing. */
weft_status wf_run_append(const weft_run *run, int fd, const char *name, const char *line,
                          size_t size, weft_error *err)
{
    put_back(run, fd, name);
    off_t before = lseek(fd, 0, SEEK_END);
    int error = wf_file_write(fd, line, size);
    if (!error)
        return WEFT_OK;
    if (before < 0 || wf_files()->ftruncate(fd, before) != 0)
        return wf_error_set(err, WEFT_ERR_IO, "cannot write %s/%s, whose last line is cut: %s",
                            run->place.folder, name, strerror(error));
    return wf_run_fail_write(run, name, error, err);
}

/* Takes over `document`; NULL means out of memory. */
static weft_status write_json(const weft_run *run, const char *name, json_t *document,
                              weft_error *err)
{
    char *path = wf_run_file(run, name);
    weft_status status =
        path && document
            ? wf_json_write(path, document, JSON_INDENT(2) | JSON_REAL_PRECISION(9), err)
            : fail_nomem(err);
    json_decref(document);
    wf_free(path);
    return status;
}

/* Takes over `object`. */
static weft_status append_json(const weft_run *run, json_t *object, weft_error *err)
{
    char *line = object ? wf_json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(object);
    if (!line)
        return fail_nomem(err);
    size_t length = strlen(line);
    line[length] = '\n'; /* in place of the zero, so that one write suffices */
    weft_status status = wf_run_append(run, run->log, "log.jsonl", line, length + 1, err);
    free(line);
    return status;
}

/* JSON has no NaN and no infinity: null. */
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* ---- the directory --------------------------------------------------------------------------- */

static weft_status open_lines(const weft_run *run, const char *name, int *fd, weft_error *err)
{
    const int begin = run->place.resumed ? 0 : O_TRUNC;
    *fd = openat(run->place.dir, name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | begin, 0666);
    return *fd < 0 ? wf_run_fail_write(run, name, errno, err) : WEFT_OK;
}

weft_status wf_run_append_header(const weft_run *run, weft_error *err)
{
    static const char header[] =
        "epoch,train_loss,train_acc1,test_loss,test_acc1,lr,img_per_s,seconds,ema_loss,ema_acc1\n";
    return wf_run_append(run, run->summary, "summary.csv", header, sizeof(header) - 1, err);
}

weft_status weft_run_create(const weft_run_opts *opts, weft_run **run, weft_error *err)
{
    if (!opts || !opts->path || !*opts->path || !run)
        return wf_error_set(err, WEFT_ERR_INVALID, "a run needs a directory");
    if (opts->resume && opts->overwrite)
        return wf_error_set(err, WEFT_ERR_INVALID, "a run is either resumed or overwritten");
    weft_run *r = wf_zalloc(sizeof(*r));
    if (!r)
        return fail_nomem(err);
    r->log = r->summary = -1;
    weft_status status = wf_run_place_open(&r->place, opts, err);
    if (status != WEFT_OK) {
        wf_free(r);
        return status;
    }
    status = open_lines(r, "log.jsonl", &r->log, err);
    if (status == WEFT_OK)
        status = open_lines(r, "summary.csv", &r->summary, err);
    if (status == WEFT_OK && !r->place.resumed)
        status = wf_run_append_header(r, err);
    r->keep = r->place.resumed;
    if (status != WEFT_OK) {
        weft_run_destroy(r);
        return status;
    }
    *run = r;
    return WEFT_OK;
}

const char *weft_run_path(const weft_run *run)
{
    return run ? run->place.path : NULL;
}

bool weft_run_resumed(const weft_run *run)
{
    return run && run->place.resumed;
}

bool weft_run_was_finished(const weft_run *run)
{
    return run && run->place.finished;
}

bool wf_run_published(const weft_run *run)
{
    return strcmp(run->place.folder, run->place.path) == 0;
}

void wf_run_keep(weft_run *run)
{
    run->keep = true;
}

weft_status wf_run_publish(weft_run *run, weft_error *err)
{
    return wf_run_place_publish(&run->place, err);
}

void weft_run_destroy(weft_run *run)
{
    if (!run)
        return;
    if (run->log >= 0)
        close(run->log);
    if (run->summary >= 0)
        close(run->summary);
    wf_run_place_close(&run->place, run->keep);
    wf_free(run);
}

/* ---- documents and lines --------------------------------------------------------------------- */

/* Results depend on wisdom, so a run keeps a copy of the wisdom that it uses. */
static weft_status write_wisdom(const weft_run *run, weft_context *ctx, weft_error *err)
{
    weft_wisdom_info info;
    weft_status status = weft_wisdom_get_info(ctx, &info);
    if (status == WEFT_OK && info.choices == 0)
        return WEFT_OK;
    char *path = wf_run_file(run, "wisdom.json");
    if (status == WEFT_OK)
        status = path ? weft_wisdom_save(ctx, path) : fail_nomem(err);
    wf_free(path);
    return status == WEFT_OK ? status : wf_error_set(err, status, "%s", weft_error_text(ctx));
}

weft_status weft_run_write_config(weft_run *run, weft_context *ctx, const char *command,
                                  const weft_setting *settings, int n, weft_error *err)
{
    weft_error local = WEFT_ERROR_INIT;
    err = err ? err : &local;
    if (!run || !ctx || n < 0 || (n > 0 && !settings))
        return wf_error_set(err, WEFT_ERR_INVALID, "config.json needs a run, a context, settings");
    json_t *config = wf_config_json(ctx, command, settings, n, err);
    weft_status status = config ? write_json(run, "config.json", config, err) : err->status;
    return status == WEFT_OK ? write_wisdom(run, ctx, err) : status;
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

/* No number gives an empty field, as CSV readers expect. */
static void csv_number(char *text, size_t size, double value)
{
    if (isfinite(value))
        snprintf(text, size, "%.6g", value);
    else
        text[0] = '\0';
}

/* The averages' figures, where there are any. */
static json_t *with_averages(json_t *line, double loss, double acc1, double acc5)
{
    if (line && !isnan(loss) &&
        (json_object_set_new(line, "ema_loss", number(loss)) ||
         json_object_set_new(line, "ema_acc1", number(acc1)) ||
         json_object_set_new(line, "ema_acc5", number(acc5)))) {
        json_decref(line);
        return NULL;
    }
    return line;
}

weft_status wf_run_log_epoch(weft_run *run, const weft_epoch *e, weft_error *err)
{
    run->keep = true;
    weft_status status = append_json(
        run,
        with_averages(json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "event",
                                "epoch", "epoch", (json_int_t)e->epoch, "total_steps",
                                (json_int_t)e->steps, "train_loss", number(e->train_loss),
                                "train_acc1", number(e->train_acc1), "test_loss",
                                number(e->test_loss), "test_acc1", number(e->test_acc1),
                                "test_acc5", number(e->test_acc5), "lr", number(e->lr), "img_per_s",
                                number(e->img_per_s), "seconds", number(e->seconds)),
                      e->ema_loss, e->ema_acc1, e->ema_acc5),
        err);
    if (status != WEFT_OK)
        return status;
    const double values[] = {e->train_loss, e->train_acc1, e->test_loss, e->test_acc1, e->lr,
                             e->img_per_s,  e->seconds,    e->ema_loss,  e->ema_acc1};
    wf_c_locale locale;
    if (!wf_c_locale_begin(&locale))
        return fail_nomem(err);
    char line[320];
    int n = snprintf(line, sizeof(line), "%lld", (long long)e->epoch);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char text[32];
        csv_number(text, sizeof(text), values[i]);
        n += snprintf(line + n, sizeof(line) - (size_t)n, ",%s", text);
    }
    wf_c_locale_end(&locale);
    line[n++] = '\n';
    return wf_run_append(run, run->summary, "summary.csv", line, (size_t)n, err);
}

/* Network file systems and quotas may report only here that lines were not written. */
static weft_status flush(const weft_run *run, int fd, const char *name, weft_error *err)
{
    return wf_files()->fsync(fd) != 0 && errno != EINVAL ? wf_run_fail_write(run, name, errno, err)
                                                         : WEFT_OK;
}

weft_status wf_run_log_end(weft_run *run, const char *status, const char *message, weft_error *err)
{
    WF_TRY(append_json(run,
                       json_pack("{s:s, s:s, s:o}", "event", "end", "status", status, "message",
                                 wf_json_text(message)),
                       err));
    WF_TRY(flush(run, run->log, "log.jsonl", err));
    return flush(run, run->summary, "summary.csv", err);
}

weft_status wf_run_write_result(weft_run *run, const weft_train_result *r, weft_error *err)
{
    json_t *result =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:o}", "test_acc1",
                  number(r->test_acc1), "test_acc5", number(r->test_acc5), "test_loss",
                  number(r->test_loss), "best_test_acc1", number(r->best_acc1), "best_epoch",
                  r->best_epoch ? json_integer(r->best_epoch) : json_null(), "epochs",
                  (json_int_t)r->epochs, "steps", (json_int_t)r->steps, "seconds",
                  number(r->seconds), "img_per_s", number(r->img_per_s));
    return write_json(run, "result.json",
                      with_averages(result, r->ema_loss, r->ema_acc1, r->ema_acc5), err);
}
