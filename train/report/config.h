/* What config.json and a report say about how a result was made. */
#ifndef WF_REPORT_CONFIG_H
#define WF_REPORT_CONFIG_H

#include <jansson.h>

#include "weft/train.h"

/* "started" (now), "command" (may be NULL), "options" and "environment": versions, CPU, ISA,
 * threads, wisdom. NULL on failure. */
json_t *wf_config_json(weft_context *ctx, const char *command, const weft_setting *settings, int n,
                       weft_error *err);

/* The value of a setting, as in "options". NULL: out of memory. */
json_t *wf_setting_json(const weft_setting *s);

#endif
