/* Where this process runs, for the records of a run: as JSON, and as one line. */
#ifndef WF_STEP_PLACE_H
#define WF_STEP_PLACE_H

#include <jansson.h>

#include "weft/context.h"

/* An object that weft/context.h describes at weft_info_json. The caller releases it. NULL: the
 * context has the error. */
json_t *wf_place_json(weft_context *ctx);

#endif
