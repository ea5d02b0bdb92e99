/* What the pictures of a data set have in common. */
#ifndef WF_DATA_FORMATS_SETTLE_H
#define WF_DATA_FORMATS_SETTLE_H

#include "data/dataset.h"

/* Looks at the headers of some pictures, spread over the data set, and sets info's channels,
 * height, width, mirrors, oriented and looked_at. Small pictures of one size have that size; others
 * vary. `channels`: as asked for, or 0. A picture that cannot be read is no error as long as one
 * can: it is one when its turn comes. */
weft_status wf_settle_pictures(weft_dataset *ds, int channels, weft_error *err);

#endif
