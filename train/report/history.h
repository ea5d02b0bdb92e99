/* A run's numbers, read back from its directory: summary.csv has the epochs, log.jsonl what lies
 * between them and how it ended. Any thread. */
#ifndef WF_REPORT_HISTORY_H
#define WF_REPORT_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "weft/status.h"

/* NaN: not there. Accuracies in percent. */
typedef struct wf_history_epoch {
    double epoch, train_loss, train_acc1, test_loss, test_acc1, lr, img_per_s, seconds;
    double at; /* epochs trained then: less than `epoch` where the last one ended early */
} wf_history_epoch;

typedef struct wf_history_step {
    double at; /* epochs trained then, as 1.25; rises */
    double loss, acc1, lr, img_per_s;
} wf_history_step;

typedef struct wf_history {
    wf_history_epoch *epochs; /* rises by epoch */
    int n_epochs, cap_epochs;
    wf_history_step *steps;
    int n_steps, cap_steps;
    char status[16];   /* "finished", "interrupted", "failed"; "": the log has no end */
    char message[512]; /* why, or "" */
} wf_history;

/* What there is: each file may be missing, or cut in its last line. Lines that make no sense are
 * passed over. WEFT_ERR_NOT_FOUND: neither file holds anything. */
weft_status wf_history_read(const char *directory, wf_history *history, weft_error *err);
void wf_history_done(wf_history *history);

#endif
