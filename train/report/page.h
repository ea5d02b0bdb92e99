/* A report as one HTML page, without scripts or anything from other servers.
 *
 * It is made of three documents, each of which may be missing: config.json ("command", "options",
 * "environment", "started"), an evaluation (evaluation.h), and a run's history. Writes to a stream;
 * the owner of the stream checks it for errors. Any thread. */
#ifndef WF_REPORT_PAGE_H
#define WF_REPORT_PAGE_H

#include <jansson.h>
#include <stdio.h>

#include "train/report/history.h"

typedef struct wf_page {
    const json_t *config;
    const json_t *evaluation;
    const wf_history *history;
    bool run;            /* a report of a run; else of an evaluation of weights */
    const char *weights; /* the file with the evaluated weights; NULL: not known */
    const char *hash;    /* hash of this file; NULL: not known */
} wf_page;

/* "fmnist_cnn on fashion-mnist", which the caller frees with wf_free; NULL: out of memory. */
char *wf_page_title(const wf_page *page);
weft_status wf_page_write(FILE *out, const void *page, weft_error *err); /* a wf_page */

#endif
