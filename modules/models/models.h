/* The constructors behind models.def. Each gets complete, checked options: nothing is 0. */
#ifndef WF_MODELS_MODELS_H
#define WF_MODELS_MODELS_H

#include "weft/models.h"

#define WF_MODEL(name, about, classes, channels, height, width)                                    \
    weft_module *wf_model_##name(weft_context *ctx, const weft_model_opts *opts);
#include "modules/models/models.def"
#undef WF_MODEL

#endif
