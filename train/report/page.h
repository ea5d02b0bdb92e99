/* A report as one HTML page: no script, nothing from elsewhere.
 *
 * Everything on it comes from three documents, each of which may be missing: what config.json holds
 * ("command", "options", "environment", "started"), an evaluation (evaluation.h) and a run's
 * history. Writes to a stream whose errors its owner finds. Any thread. */
#ifndef WF_REPORT_PAGE_H
#define WF_REPORT_PAGE_H

#include <jansson.h>
#include <stdio.h>

#include "train/report/history.h"

typedef struct wf_page {
    const json_t *config;
    const json_t *evaluation;
    const wf_history *history;
    bool run;            /* of a run, rather than of weights evaluated */
    const char *weights; /* the file with what was evaluated; NULL: not known */
    const char *hash;    /* of that file; NULL: not known */
} wf_page;

/* "fmnist_cnn on fashion-mnist", owned by the caller (wf_free); NULL when memory is out. */
char *wf_page_title(const wf_page *page);
weft_status wf_page_write(FILE *out, const wf_page *page, weft_error *err);

#endif
