/* A context's wisdom. Threading rule: the context's. */
#ifndef WF_STEP_WISDOM_H
#define WF_STEP_WISDOM_H

#include "engine/tune/wisdom.h"

weft_status wf_wisdom_create(weft_context *ctx);
void wf_wisdom_destroy(wf_wisdom *w); /* NULL: no effect */

wf_wisdom_key wf_wisdom_key_of(const weft_context *ctx);
/* Reads the context's file, once. A file that cannot be used is reported and ignored. */
weft_status wf_wisdom_load(weft_context *ctx);
/* The same for a caller that will create the file: that there is none yet is not reported. */
weft_status wf_wisdom_load_or_begin(weft_context *ctx);

#endif
