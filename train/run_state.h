/* What a run's open directory is inside, for the files that write there. Single-threaded. */
#ifndef WF_TRAIN_RUN_STATE_H
#define WF_TRAIN_RUN_STATE_H

#include "train/run_place.h"

struct weft_run {
    wf_run_place place;
    int log;     /* log.jsonl */
    int summary; /* summary.csv */
    bool keep;   /* a training step has run */
};

/* Appends a line to an open file of the run. If the disk is full in the middle of it, appends
 * nothing. */
weft_status wf_run_append(const weft_run *run, int fd, const char *name, const char *line,
                          size_t size, weft_error *err);
/* The first line of summary.csv. */
weft_status wf_run_append_header(const weft_run *run, weft_error *err);
/* "cannot write <folder>/<name>: why". */
weft_status wf_run_fail_write(const weft_run *run, const char *name, int error, weft_error *err);

#endif
