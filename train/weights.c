/* Writes a module's state with metadata. Single-threaded, as its context. */
#include <math.h>

#include "engine/context/error.h"
#include "engine/memory/alloc.h"
#include "train/feed.h"
#include "train/trainer.h"

static bool all_finite(weft_tensor *t)
{
    int64_t n = weft_shape_count(weft_tensor_shape(t));
    const void *data = weft_tensor_data(t);
    bool finite = data != NULL;
    if (weft_tensor_dtype(t) == WEFT_F32)
        for (int64_t i = 0; i < n && finite; i++)
            finite = isfinite(((const float *)data)[i]);
    else if (weft_tensor_dtype(t) == WEFT_F64)
        for (int64_t i = 0; i < n && finite; i++)
            finite = isfinite(((const double *)data)[i]);
    return finite;
}

bool wf_weights_finite(weft_module *model)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    bool finite = weft_state_dict(model, &list) == WEFT_OK;
    for (int i = 0; i < list.n && finite; i++)
        finite = all_finite(list.item[i].tensor);
    weft_tensor_list_done(&list);
    return finite;
}

weft_status weft_weights_save(weft_module *model, const char *path,
                              const weft_safetensors_meta *meta, int64_t n_meta, weft_error *err)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_safetensors_entry *entries = NULL;
    weft_safetensors_meta *all_meta = NULL;
    weft_status status = weft_state_dict(model, &list);
    if (status != WEFT_OK) {
        wf_take_error(model->ctx, status, path, err);
        goto done;
    }
    entries = wf_zalloc_array((size_t)list.n + 1, sizeof(*entries));
    all_meta = wf_zalloc_array((size_t)n_meta + 1, sizeof(*all_meta));
    if (!entries || !all_meta) {
        status = wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
        goto done;
    }
    for (int i = 0; i < list.n; i++) {
        weft_tensor *t = list.item[i].tensor;
        entries[i] = (weft_safetensors_entry){.name = list.item[i].name,
                                              .dtype = weft_tensor_dtype(t),
                                              .shape = weft_tensor_shape(t),
                                              .data = weft_tensor_data(t)};
        if (!entries[i].data) {
            status = wf_take_error(model->ctx, WEFT_ERR_INTERNAL, path, err);
            goto done;
        }
    }
    all_meta[0] = (weft_safetensors_meta){"format", "pt"};
    for (int64_t i = 0; i < n_meta; i++)
        all_meta[i + 1] = meta[i];
    status = weft_safetensors_write(path, entries, list.n, all_meta, n_meta + 1, err);
done:
    wf_free(all_meta);
    wf_free(entries);
    weft_tensor_list_done(&list);
    return status;
}
