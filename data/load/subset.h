/* A part of a data set, as --val-split makes: some samples of each class are kept apart. */
#ifndef WF_DATA_LOAD_SUBSET_H
#define WF_DATA_LOAD_SUBSET_H

#include "data/dataset.h"

/* Reduces ds to the samples that are kept apart (`kept`), or to the others. Of each class that has
 * two samples or more, round(share * samples) are kept, but at least one, and not all. Which ones
 * depends on the seed, the class and how many samples it has. */
weft_status wf_dataset_keep(weft_dataset *ds, double share, uint64_t seed, bool kept,
                            weft_error *err);

#endif
