/* An evaluation as a JSON document: what `weft eval --json` writes, what a run keeps as
 * evaluation.json and what a page is made of.
 *
 *   images, nan_images, loss, acc1, acc5, seconds, img_per_s, epoch (null outside training)
 *   data: source, channels, height, width, split ("test" or "validation"),
 *     only_split (the training images are the test images)
 *   mean: precision, recall, f1
 *   classes: of each: name, support, predicted, correct, precision, recall, f1
 *   confusion: rows of counts, or null
 *   worst: of each: sample, label, predicted (or null), probability, label_probability, loss and,
 *     with pictures, image (a data URI), width, height
 *
 * Accuracies, precision, recall and F1 are percentages; null stands for NaN and infinity. */
#ifndef WF_REPORT_EVALUATION_H
#define WF_REPORT_EVALUATION_H

#include <jansson.h>

#include "weft/train.h"

/* epoch 0: not part of a training. With `pictures`, also has the images of the worst mistakes. NULL
 * on failure. */
json_t *wf_evaluation_json(const weft_eval_result *result, const weft_dataset *ds, int64_t epoch,
                           bool pictures, weft_error *err);

/* Whether such a document (NULL: false) is of validation images, and not of test images. */
bool wf_evaluation_of_validation(const json_t *evaluation);

#endif
