/* State dictionaries in safetensors files.
 *
 * Threading rule: the context's. */
#include "modules/internal.h"
#include "weft/safetensors.h"

weft_status weft_module_save(weft_module *m, const char *path)
{
    if (!wf_module_valid(m))
        return WEFT_ERR_STATE;
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    WF_TRY(weft_state_dict(m, &list));
    weft_status status = WEFT_OK;
    weft_safetensors_entry *entries = wf_zalloc_array((size_t)list.n, sizeof(*entries));
    if (entries == NULL)
        status = wf_module_nomem(m);
    for (int i = 0; i < list.n && status == WEFT_OK; i++) {
        weft_tensor *t = list.item[i].tensor;
        entries[i] = (weft_safetensors_entry){.name = list.item[i].name,
                                              .dtype = weft_tensor_dtype(t),
                                              .shape = weft_tensor_shape(t),
                                              .data = weft_tensor_data(t)};
        if (entries[i].data == NULL)
            status = wf_fail(m->ctx, WEFT_ERR_STATE, "%s: cannot read '%s'", m->cls->name,
                             list.item[i].name);
    }
    if (status == WEFT_OK) {
        weft_error err = WEFT_ERROR_INIT;
        const weft_safetensors_meta meta = {"format", "pt"}; /* what other readers look for */
        status = weft_safetensors_write(path, entries, list.n, &meta, 1, &err);
        if (status != WEFT_OK)
            wf_fail(m->ctx, status, "%s", err.text);
    }
    wf_free(entries);
    weft_tensor_list_done(&list);
    return status;
}

static weft_status read_entry(weft_context *ctx, const weft_safetensors_entry *e,
                              weft_tensor_list *list)
{
    for (int k = 0; k < e->shape.rank; k++) {
        if (e->shape.dim[k] == 0)
            return wf_fail(ctx, WEFT_ERR_UNSUPPORTED, "'%s' is an empty tensor", e->name);
    }
    weft_tensor *t = weft_tensor_from(ctx, e->dtype, e->shape, e->data);
    weft_status status = t != NULL ? weft_tensor_list_add(list, e->name, t)
                                   : weft_error_status(ctx);
    weft_tensor_unref(t);
    return status;
}

weft_status weft_module_load(weft_module *m, const char *path, bool strict)
{
    if (!wf_module_valid(m))
        return WEFT_ERR_STATE;
    weft_error err = WEFT_ERROR_INIT;
    weft_safetensors *file = NULL;
    weft_status status = weft_safetensors_open(path, &file, &err);
    if (status != WEFT_OK)
        return wf_fail(m->ctx, status, "%s", err.text);
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    for (int64_t i = 0; i < weft_safetensors_count(file) && status == WEFT_OK; i++)
        status = read_entry(m->ctx, weft_safetensors_at(file, i), &list);
    weft_safetensors_close(file);
    if (status == WEFT_OK)
        status = weft_load_state_dict(m, &list, strict);
    else
        wf_fail(m->ctx, status, "%s: cannot be loaded: %s", path, weft_status_string(status));
    weft_tensor_list_done(&list);
    return status;
}
