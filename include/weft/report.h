/* Reports: an evaluation or a run as one HTML page that needs nothing else, and as JSON for
 * machines.
 *
 * Nothing is taken from elsewhere when a page is shown and no script runs in it; images are inside.
 * Files appear whole. One thread at a time uses a context and so what reports on it. */
#ifndef WEFT_REPORT_H
#define WEFT_REPORT_H

#include "weft/train.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a report says besides the figures. */
typedef struct weft_report_opts {
    weft_context *ctx;            /* its machine is named; needed */
    const weft_dataset *ds;       /* what was evaluated; needed: names, the mistakes' images */
    const char *command;          /* the command line; NULL: not known */
    const weft_setting *settings; /* as config.json's; "model" and "data-path" make the title */
    int n_settings;
    const char *weights; /* the file evaluated, whose hash is given; NULL: not known */
    const char *run;     /* the directory of the run that made them: its curves; NULL: none */
} weft_report_opts;

/* Writes an evaluation as a page: headline figures and whatever the result holds of classes,
 * confusion matrix and worst mistakes. err may be NULL. */
weft_status weft_eval_write_report(const char *path, const weft_eval_result *result,
                                   const weft_report_opts *opts, weft_error *err);
/* The same as JSON: "options", "environment", "weights" and "evaluation", which
 * train/report/evaluation.h describes. Without images. */
weft_status weft_eval_write_json(const char *path, const weft_eval_result *result,
                                 const weft_report_opts *opts, weft_error *err);

/* Writes report.html and curve.svg into a run's directory, from the files there: summary.csv,
 * log.jsonl, config.json, evaluation.json. Those that are missing leave gaps, but one of the first
 * two must be there. weft_train does this at its end. */
weft_status weft_run_write_report(const char *directory, weft_error *err);

#ifdef __cplusplus
}
#endif
#endif
