/* See modes.h. Threading rule: the context's. */
#include "train/modes.h"

#include "engine/base/error.h"
#include "engine/base/alloc.h"
#include "train/feed.h"

weft_status wf_modes_save(weft_module *model, wf_modes *modes, weft_error *err)
{
    *modes = (wf_modes){.modules = WEFT_NAMED_MODULES_INIT};
    weft_status status = weft_modules(model, 0, &modes->modules);
    if (status != WEFT_OK)
        return wf_take_error(model->ctx, status, NULL, err);
    modes->training = wf_alloc_array((size_t)modes->modules.n, sizeof(*modes->training));
    if (modes->training == NULL) {
        weft_named_modules_done(&modes->modules);
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for the modes of %d modules",
                            modes->modules.n);
    }
    for (int i = 0; i < modes->modules.n; i++)
        modes->training[i] = modes->modules.item[i].module->training;
    return WEFT_OK;
}

void wf_modes_restore(wf_modes *modes)
{
    for (int i = 0; i < modes->modules.n; i++)
        modes->modules.item[i].module->training = modes->training[i];
    weft_named_modules_done(&modes->modules);
    wf_free(modes->training);
    modes->training = NULL;
}
