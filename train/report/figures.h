/* The report's figures in SVG. Write to a stream whose errors its owner finds. Any thread. */
#ifndef WF_REPORT_FIGURES_H
#define WF_REPORT_FIGURES_H

#include <jansson.h>
#include <stdio.h>

#include "train/report/history.h"

/* Loss, accuracy, learning rate and throughput against epochs. `alone`: as a file of its own, with
 * its style, rather than inside a page that has wf_plot_style. */
weft_status wf_curves_write(FILE *out, const wf_history *history, const char *title, bool alone,
                            weft_error *err);
/* The epoch (an index) with the highest test accuracy, the first of equals; -1: none. */
int wf_best_epoch(const wf_history *history);

/* How wide the heat map of so many classes is drawn where there is room, in pixels. */
int wf_heat_map_width(int classes);
/* The confusion matrix of an evaluation document (evaluation.h) as a heat map; nothing where it has
 * none. */
weft_status wf_heat_map_write(FILE *out, const json_t *evaluation, weft_error *err);

#endif
