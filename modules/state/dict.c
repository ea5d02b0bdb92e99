/* State dictionaries out: what a module tree is made of, by name. Threading rule: the context's. */
#include "modules/state/state.h"

static weft_status add_joined(weft_tensor_list *list, const char *path, const char *name,
                              weft_tensor *t)
{
    char *joined = wf_join_path(path, name);
    weft_status status = joined != NULL ? weft_tensor_list_add(list, joined, t) : WEFT_ERR_NOMEM;
    wf_free(joined);
    return status;
}

bool wf_part_saved(const wf_part *p, wf_part_kind kind)
{
    return p->kind == kind && (kind == WF_PARAMETER || p->persistent) && wf_part_tensor(p) != NULL;
}

static weft_status add_state(void *user, const char *path, weft_module *m)
{
    weft_tensor_list *list = user;
    for (wf_part_kind kind = WF_PARAMETER; kind <= WF_BUFFER; kind++) {
        for (int i = 0; i < m->state->n_parts; i++) {
            const wf_part *p = &m->state->parts[i];
            if (wf_part_saved(p, kind))
                WF_TRY(add_joined(list, path, p->name, wf_part_tensor(p)));
        }
    }
    if (m->cls->get_extra_state == NULL)
        return WEFT_OK;
    weft_tensor *extra = NULL;
    WF_TRY(m->cls->get_extra_state(m, &extra));
    weft_status status = extra != NULL ? add_joined(list, path, WF_EXTRA_STATE, extra) : WEFT_OK;
    weft_tensor_unref(extra);
    return status;
}

weft_status weft_state_dict(weft_module *m, weft_tensor_list *list)
{
    WF_TRY(wf_module_check_with(m, list, "weft_state_dict"));
    weft_tensor_list all = WEFT_TENSOR_LIST_INIT;
    weft_status status = wf_walk(m, WEFT_WALK_DUPLICATES, add_state, &all);
    for (int i = 0; i < all.n && status == WEFT_OK && list->n > 0; i++)
        status = weft_tensor_list_add(list, all.item[i].name, all.item[i].tensor);
    if (status != WEFT_OK) {
        weft_tensor_list_done(&all);
        return wf_fail(m->ctx, status, "%s: cannot list the state: %s", m->cls->name,
                       weft_status_string(status));
    }
    if (list->n == 0) {
        weft_tensor_list_done(list);
        *list = all;
    } else {
        weft_tensor_list_done(&all);
    }
    return WEFT_OK;
}
