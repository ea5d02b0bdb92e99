/* A run's numbers, read from its directory: summary.csv has the epochs; log.jsonl has the steps
 * between and how the run ended; resumed.jsonl has where it was resumed. Any thread. */
#ifndef WF_REPORT_HISTORY_H
#define WF_REPORT_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "weft/status.h"

/* NaN: not known. Accuracies are percentages. */
typedef struct wf_history_epoch {
    double epoch, train_loss, train_acc1, test_loss, test_acc1, lr, img_per_s, seconds;
    double ema_loss, ema_acc1; /* of the averages of the weights */
    double at; /* epochs trained by then: less than `epoch` if the last one ended early */
} wf_history_epoch;

typedef struct wf_history_step {
    double at; /* epochs trained by then, such as 1.25; rises */
    double loss, acc1, lr, img_per_s;
} wf_history_step;

typedef struct wf_history {
    wf_history_epoch *epochs; /* sorted by epoch */
    int n_epochs, cap_epochs;
    wf_history_step *steps;
    int n_steps, cap_steps;
    double *resumed; /* epochs trained when the run was resumed, sorted */
    int n_resumed, cap_resumed;
    char status[16];   /* "finished", "interrupted", "failed"; "": the log has no last line */
    char message[512]; /* why, or "" */
    bool validation;   /* what is called test was measured on validation images */
} wf_history;

/* Reads what is there. Each file may be missing, or its last line may be cut. Lines that make no
 * sense are ignored. WEFT_ERR_NOT_FOUND: neither file has anything. */
weft_status wf_history_read(const char *directory, wf_history *history, weft_error *err);
void wf_history_done(wf_history *history);

#endif
