/* Reports: an evaluation or a run as one HTML page, and as JSON for programs.
 *
 * A page holds all it shows, images too: a browser loads nothing else and runs no script. A file
 * is written whole or not at all. One thread at a time may use a context, and so the functions
 * here. */
#ifndef WEFT_REPORT_H
#define WEFT_REPORT_H

#include "weft/train.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a report says besides the figures. */
typedef struct weft_report_opts {
    weft_context *ctx;            /* needed: the report names its machine */
    const weft_dataset *ds;       /* needed: what was evaluated; has names and images of mistakes */
    const char *command;          /* the command line; NULL: not known */
    const weft_setting *settings; /* as config.json's; "model" and "data-path" make the title */
    int n_settings;               /* how many */
    const char *weights;          /* the weights file, whose hash is shown; NULL: not known */
    const char *run;              /* the directory of its run, for the curves; NULL: none */
} weft_report_opts;
#define WEFT_REPORT_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */

/* Writes an evaluation as a page: the figures, and what the result holds of figures by class,
 * confusion matrix and worst mistakes. err may be NULL. */
weft_status weft_eval_write_report(const char *path, const weft_eval_result *result,
                                   const weft_report_opts *opts, weft_error *err);
/* The same as JSON, without images: an object with the members "options", "environment", "weights"
 * and "evaluation" (train/report/evaluation.h describes it). */
weft_status weft_eval_write_json(const char *path, const weft_eval_result *result,
                                 const weft_report_opts *opts, weft_error *err);

/* Writes report.html and curve.svg into a run's directory, from the files there: summary.csv,
 * log.jsonl, config.json and evaluation.json. One of the first two is needed; what other missing
 * files would tell is left out. weft_train does this at its end. */
weft_status weft_run_write_report(const char *directory, weft_error *err);

/* ---- data ------------------------------------------------------------------------------------ */

/* A data set on the page, and what becomes of its samples on their way to the network. */
typedef struct weft_look_part {
    const char *name;                /* its heading */
    const weft_dataset *ds;          /* needed */
    const weft_transform *transform; /* NULL: they reach the network as they are */
    int draws; /* how often each sample goes through the transform: 1 where nothing in it is random */
} weft_look_part;

/* What weft_look_write shows. Zeros are defaults. */
typedef struct weft_look_opts {
    const weft_look_part *parts; /* (n_parts) */
    int n_parts;                 /* at least 1 */
    int per_class;               /* samples of each class, spread evenly over it; 0: 16 */
    int classes;                 /* at most so many classes, the first; 0: 50 */
    uint64_t seed;               /* of the random steps, as a loader's */
    const char *command;         /* the command line; NULL: not known */
} weft_look_opts;
#define WEFT_LOOK_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */

/* Writes a page that shows data as they are and as the network gets them: samples of each class,
 * how many there are, and the pictures' sizes. Samples that cannot be read are listed with their
 * errors. err may be NULL. */
weft_status weft_look_write(const char *path, const weft_look_opts *opts, weft_error *err);

#ifdef __cplusplus
}
#endif
#endif
