/* The report's figures in SVG. They write to a stream; the owner of the stream checks it for
 * errors. Any thread. */
#ifndef WF_REPORT_FIGURES_H
#define WF_REPORT_FIGURES_H

#include <jansson.h>
#include <stdio.h>

#include "train/report/history.h"

/* Loss, accuracy, learning rate and throughput against epochs. `alone`: a file of its own, with its
 * style; else part of a page that has wf_plot_style. */
weft_status wf_curves_write(FILE *out, const wf_history *history, const char *title, bool alone,
                            weft_error *err);
/* The index of the epoch with the highest test accuracy, the first among equals; -1: none. */
int wf_best_epoch(const wf_history *history);

/* The width in pixels of the heat map of so many classes, if there is room. */
int wf_heat_map_width(int classes);
/* The confusion matrix of an evaluation document (evaluation.h) as a heat map. Writes nothing where
 * there is none. */
weft_status wf_heat_map_write(FILE *out, const json_t *evaluation, weft_error *err);

#endif
