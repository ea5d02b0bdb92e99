/* Saves every module's training flag before a pass over the data sets the flags, and restores
 * them. */
#ifndef WF_TRAIN_MODES_H
#define WF_TRAIN_MODES_H

#include "weft/module.h"

typedef struct wf_modes {
    weft_named_modules modules; /* all modules of the model, with references */
    bool *training;             /* the saved flags */
} wf_modes;

weft_status wf_modes_save(weft_module *model, wf_modes *modes, weft_error *err);
/* Restores the flags and frees what *modes holds. */
void wf_modes_restore(wf_modes *modes);

#endif
