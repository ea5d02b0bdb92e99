/* Every module's own training flag, kept while a pass over the data sets them as it needs. */
#ifndef WF_TRAIN_MODES_H
#define WF_TRAIN_MODES_H

#include "weft/module.h"

typedef struct wf_modes {
    weft_named_modules modules; /* of the whole model; references are held */
    bool *training;             /* as each was */
} wf_modes;

weft_status wf_modes_save(weft_module *model, wf_modes *modes, weft_error *err);
/* Sets the flags back and ends *modes. */
void wf_modes_restore(wf_modes *modes);

#endif
