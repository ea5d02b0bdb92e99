/* Labels that are written as text: whole numbers, or names of classes. */
#ifndef WF_DATA_FORMATS_LABEL_TEXT_H
#define WF_DATA_FORMATS_LABEL_TEXT_H

#include "data/dataset.h"

/* Where the i-th label stands, for messages: "list.csv, line 7". */
typedef void (*wf_label_place)(const void *user, int64_t i, wf_sample_name *place);

/* Sets labels, classes and class names of ds from the texts of its info.count labels. If all are
 * whole numbers, they count from 0; if one is not, all are names, in Python's order. A number with
 * a fraction, a negative one and an empty text are errors. */
weft_status wf_set_label_texts(weft_dataset *ds, const char *const *texts, wf_label_place place,
                               const void *user, weft_error *err);

#endif
