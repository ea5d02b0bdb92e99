/* Collects the documents of a report, and writes the files. See include/weft/report.h. */
#include "train/report/report.h"

#include <unistd.h>

#include "engine/base/error.h"
#include "engine/files/json_text.h"
#include "engine/base/alloc.h"
#include "train/report/config.h"
#include "train/report/evaluation.h"
#include "train/report/figures.h"
#include "train/report/file_hash.h"
#include "train/report/markup.h"
#include "train/report/page.h"
#include "train/report/page_parts.h"

static weft_status no_memory(weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a report");
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Takes over `document`; where it is NULL, err has the reason. */
static weft_status write_json(const char *path, json_t *document, weft_error *err)
{
    if (!document)
        return err && err->status != WEFT_OK ? err->status : no_memory(err);
    weft_status status = wf_json_write(path, document, JSON_COMPACT | JSON_REAL_PRECISION(9), err);
    json_decref(document);
    return status;
}

/* Reads the document directory/name. NULL where there is none or it is damaged. */
static weft_status load(const char *directory, const char *name, json_t **document, weft_error *err)
{
    char *path = wf_asprintf("%s/%s", directory, name);
    if (!path)
        return no_memory(err);
    json_t *loaded = wf_json_load_file(path);
    wf_free(path);
    if (json_is_object(loaded))
        *document = loaded;
    else
        json_decref(loaded);
    return WEFT_OK;
}

/* Reads a run's history, and whether its evaluations were of validation images. */
static weft_status read_run(const char *directory, wf_history *history, weft_error *err)
{
    json_t *evaluation = NULL;
    WF_TRY(wf_history_read(directory, history, err));
    weft_status status = load(directory, "evaluation.json", &evaluation, err);
    if (status != WEFT_OK)
        wf_history_done(history);
    history->validation = wf_evaluation_of_validation(evaluation);
    json_decref(evaluation);
    return status;
}

/* ---- an evaluation --------------------------------------------------------------------------- */

static weft_status check(const char *path, const weft_eval_result *r, const weft_report_opts *o,
                         weft_error *err)
{
    if (!path || !r || !o || !o->ctx || !o->ds || (o->n_settings && !o->settings))
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "a report needs a file, a result, a context and a data set");
    return WEFT_OK;
}

weft_status weft_eval_write_report(const char *path, const weft_eval_result *result,
                                   const weft_report_opts *opts, weft_error *err)
{
    weft_error local = WEFT_ERROR_INIT;
    char hash[WF_FILE_HASH_TEXT];
    wf_history history = {0};
    err = err ? err : &local;
    WF_TRY(check(path, result, opts, err));
    if (opts->weights)
        WF_TRY(wf_file_hash(opts->weights, hash, err));
    if (opts->run)
        WF_TRY(read_run(opts->run, &history, err));
    json_t *config =
        wf_config_json(opts->ctx, opts->command, opts->settings, opts->n_settings, err);
    json_t *evaluation = config ? wf_evaluation_json(result, opts->ds, 0, true, err) : NULL;
    const wf_page page = {.config = config,
                          .evaluation = evaluation,
                          .history = opts->run ? &history : NULL,
                          .weights = opts->weights,
                          .hash = opts->weights ? hash : NULL};
    weft_status status = evaluation ? wf_page_file(path, wf_page_write, &page, err) : err->status;
    json_decref(evaluation);
    json_decref(config);
    wf_history_done(&history);
    return status;
}

weft_status weft_eval_write_json(const char *path, const weft_eval_result *result,
                                 const weft_report_opts *opts, weft_error *err)
{
    weft_error local = WEFT_ERROR_INIT;
    char hash[WF_FILE_HASH_TEXT];
    err = err ? err : &local;
    WF_TRY(check(path, result, opts, err));
    if (opts->weights)
        WF_TRY(wf_file_hash(opts->weights, hash, err));
    json_t *document =
        wf_config_json(opts->ctx, opts->command, opts->settings, opts->n_settings, err);
    json_t *evaluation = document ? wf_evaluation_json(result, opts->ds, 0, false, err) : NULL;
    json_t *weights =
        opts->weights ? json_pack("{s:o, s:s}", "file", wf_json_text(opts->weights), "hash", hash)
                      : json_null();
    int failed = json_object_set_new(document, "weights", weights) |
                 json_object_set_new(document, "evaluation", evaluation);
    if (failed) {
        json_decref(document);
        document = NULL;
    }
    return write_json(path, document, err);
}

/* ---- a run ----------------------------------------------------------------------------------- */

weft_status wf_evaluation_write(const char *directory, const weft_eval_result *result,
                                const weft_dataset *ds, int64_t epoch, weft_error *err)
{
    weft_error local = WEFT_ERROR_INIT;
    char *path = wf_asprintf("%s/evaluation.json", directory);
    err = err ? err : &local;
    weft_status status =
        path ? write_json(path, wf_evaluation_json(result, ds, epoch, true, err), err)
             : no_memory(err);
    wf_free(path);
    return status;
}

static weft_status write_curve(FILE *out, const void *user, weft_error *err)
{
    const wf_page *page = user;
    char *title = wf_page_title(page);
    weft_status status =
        title ? wf_curves_write(out, page->history, title, true, err) : no_memory(err);
    wf_free(title);
    return status;
}

/* Reads everything for a page from the directory's files, except the history. The weights are those
 * of the last epoch; without them the page does not mention weights. */
static weft_status gather(const char *directory, wf_page *page, char hash[WF_FILE_HASH_TEXT],
                          weft_error *err)
{
    static const char name[] = "weights.safetensors";
    json_t *config = NULL, *evaluation = NULL;
    char *weights = wf_asprintf("%s/%s", directory, name);
    weft_status status = weights ? WEFT_OK : no_memory(err);
    if (status == WEFT_OK && access(weights, F_OK) == 0) {
        status = wf_file_hash(weights, hash, err);
        page->weights = name;
        page->hash = hash;
    }
    if (status == WEFT_OK)
        status = load(directory, "config.json", &config, err);
    if (status == WEFT_OK)
        status = load(directory, "evaluation.json", &evaluation, err);
    page->config = config;
    page->evaluation = evaluation;
    wf_free(weights);
    return status;
}

static weft_status write_in(const char *directory, const char *name, wf_page_write_fn write,
                            const wf_page *page, weft_error *err)
{
    char *path = wf_asprintf("%s/%s", directory, name);
    weft_status status = path ? wf_page_file(path, write, page, err) : no_memory(err);
    wf_free(path);
    return status;
}

weft_status weft_run_write_report(const char *directory, weft_error *err)
{
    weft_error local = WEFT_ERROR_INIT;
    char hash[WF_FILE_HASH_TEXT];
    wf_history history = {0};
    wf_page page = {.history = &history, .run = true};
    err = err ? err : &local;
    if (!directory)
        return wf_error_set(err, WEFT_ERR_INVALID, "a report needs a run's directory");
    WF_TRY(read_run(directory, &history, err));
    weft_status status = gather(directory, &page, hash, err);
    if (status == WEFT_OK)
        status = write_in(directory, "curve.svg", write_curve, &page, err);
    if (status == WEFT_OK)
        status = write_in(directory, "report.html", wf_page_write, &page, err);
    json_decref((json_t *)page.config);
    json_decref((json_t *)page.evaluation);
    wf_history_done(&history);
    return status;
}
