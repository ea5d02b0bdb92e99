/* Moving averages of a model's state: weft/ema.h. Floating-point tensors are averaged by a node of
 * the graph, ema_update, so all threads work on them. */
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "engine/base/name_map.h"
#include "engine/graph/ops/internal.h"
#include "engine/step/execute.h"
#include "modules/internal.h"
#include "weft/ema.h"

struct weft_ema {
    weft_context *ctx;
    weft_module *model;       /* a reference */
    weft_tensor_list of;      /* its parameters, then its buffers */
    weft_tensor_list average; /* of each, under the same name */
    double decay;
    int64_t updates;
    bool swapped;
};

static size_t bytes_of(const weft_tensor *t)
{
    return (size_t)weft_shape_count(weft_tensor_shape(t)) * weft_dtype_size(weft_tensor_dtype(t));
}

static weft_status list_tensors(weft_ema *e)
{
    WF_TRY(weft_parameters(e->model, 0, &e->of));
    WF_TRY(weft_buffers(e->model, 0, &e->of));
    for (int i = 0; i < e->of.n; i++) {
        const weft_tensor *t = e->of.item[i].tensor;
        weft_tensor *average =
            weft_tensor_create(e->ctx, weft_tensor_dtype(t), weft_tensor_shape(t));
        if (average == NULL)
            return weft_error_status(e->ctx);
        weft_status status = weft_tensor_list_add(&e->average, e->of.item[i].name, average);
        weft_tensor_unref(average);
        WF_TRY(status);
        const void *from = weft_tensor_const_data(e->of.item[i].tensor);
        void *to = from != NULL ? wf_tensor_writable(average) : NULL;
        if (to == NULL)
            return weft_error_status(e->ctx);
        memcpy(to, from, bytes_of(t));
    }
    return WEFT_OK;
}

weft_status weft_ema_create(weft_module *model, double decay, weft_ema **ema)
{
    WF_TRY(wf_module_check(model, NULL, "weft_ema_create"));
    weft_context *ctx = model->ctx;
    if (ema == NULL)
        return wf_fail(ctx, WEFT_ERR_INVALID, "ema: there is no place for the result");
    if (!(decay >= 0 && decay <= 1))
        return wf_fail(ctx, WEFT_ERR_INVALID, "ema: decay %g is not in [0, 1]", decay);
    weft_ema *e = wf_zalloc(sizeof(*e));
    if (e == NULL)
        return wf_fail(ctx, WEFT_ERR_NOMEM, "out of memory for averages of the weights");
    *e = (weft_ema){.ctx = ctx,
                    .model = weft_module_ref(model),
                    .of = WEFT_TENSOR_LIST_INIT,
                    .average = WEFT_TENSOR_LIST_INIT,
                    .decay = decay};
    wf_context_ref(ctx);
    weft_status status = list_tensors(e);
    if (status == WEFT_OK) {
        *ema = e;
        return WEFT_OK;
    }
    if (weft_error_status(ctx) == WEFT_OK)
        wf_fail(ctx, status, "out of memory for averages of the weights");
    weft_ema_destroy(e);
    return status;
}

void weft_ema_destroy(weft_ema *e)
{
    if (e == NULL)
        return;
    weft_tensor_list_done(&e->of);
    weft_tensor_list_done(&e->average);
    weft_module_unref(e->model);
    wf_context_unref(e->ctx);
    wf_free(e);
}

/* ---- the update ---- */

/* As torch: a float tensor of the result, which is cut off when it is copied to an integer one. */
static int64_t average_of_ints(double decay, int64_t average, int64_t value)
{
    return (int64_t)((float)decay * (float)average + (float)(1 - decay) * (float)value);
}

/* Averages what is no floating-point tensor; everything was checked and has run, so it cannot
 * fail. */
static void update_host(weft_ema *e, int i, double decay)
{
    const weft_tensor *of = e->of.item[i].tensor;
    void *to = wf_tensor_writable(e->average.item[i].tensor);
    const void *from = weft_tensor_const_data((weft_tensor *)of);
    if (to == NULL || from == NULL)
        return;
    if (decay == 0 || weft_tensor_dtype(of) != WEFT_I64) {
        memcpy(to, from, bytes_of(of));
        return;
    }
    const int64_t n = weft_shape_count(weft_tensor_shape(of));
    for (int64_t k = 0; k < n; k++)
        ((int64_t *)to)[k] =
            average_of_ints(decay, ((const int64_t *)to)[k], ((const int64_t *)from)[k]);
}

static bool is_averaged_by_a_node(const weft_ema *e, int i)
{
    return wf_floating(weft_tensor_dtype(e->of.item[i].tensor));
}

/* Where weft_module_to has changed the model's type, the averages follow. */
static weft_status fit_types(weft_ema *e)
{
    for (int i = 0; i < e->of.n; i++) {
        const weft_dtype dtype = weft_tensor_dtype(e->of.item[i].tensor);
        weft_tensor *average = e->average.item[i].tensor;
        if (weft_tensor_dtype(average) != dtype)
            WF_TRY(wf_tensors_change_type(e->ctx, &average, 1, dtype));
    }
    return WEFT_OK;
}

weft_status weft_ema_update(weft_ema *e)
{
    if (e == NULL)
        return wf_fail_stray(WEFT_ERR_INVALID, "weft_ema_update: the averages are NULL");
    if (e->swapped)
        return wf_fail(e->ctx, WEFT_ERR_STATE,
                       "ema: the averages are in the model; swap them back before the update");
    WF_TRY(fit_types(e));
    WF_TRY(weft_sync(e->ctx)); /* what is recorded is a step of its own */
    const double decay = e->updates == 0 ? 0 : e->decay;
    /* The averages are no part of the training: its dropout draws what it would without them. */
    const weft_random_state random = weft_get_random_state(e->ctx);
    bool was = weft_no_grad_begin(e->ctx);
    weft_status status = WEFT_OK;
    for (int i = 0; i < e->of.n && status == WEFT_OK; i++)
        if (is_averaged_by_a_node(e, i))
            status = wf_record_ema_update(e->average.item[i].tensor, e->of.item[i].tensor, decay);
    weft_no_grad_end(e->ctx, was);
    if (status == WEFT_OK)
        status = weft_sync(e->ctx);
    weft_set_random_state(e->ctx, random);
    if (status != WEFT_OK) {
        weft_discard(e->ctx);
        return status;
    }
    for (int i = 0; i < e->of.n; i++)
        if (!is_averaged_by_a_node(e, i))
            update_host(e, i, decay);
    e->updates++;
    return WEFT_OK;
}

void weft_ema_restart(weft_ema *e)
{
    if (e != NULL)
        e->updates = 0;
}

int64_t weft_ema_updates(const weft_ema *e)
{
    return e != NULL ? e->updates : 0;
}

/* ---- the exchange ---- */

static void swap_bytes(char *a, char *b, size_t n)
{
    char chunk[4096];
    for (size_t at = 0; at < n; at += sizeof(chunk)) {
        const size_t size = n - at < sizeof(chunk) ? n - at : sizeof(chunk);
        memcpy(chunk, a + at, size);
        memcpy(a + at, b + at, size);
        memcpy(b + at, chunk, size);
    }
}

weft_status weft_ema_swap(weft_ema *e)
{
    if (e == NULL)
        return wf_fail_stray(WEFT_ERR_INVALID, "weft_ema_swap: the averages are NULL");
    WF_TRY(fit_types(e));
    for (int i = 0; i < e->of.n; i++) /* only this may fail: it runs what is still to read them */
        if (wf_tensor_writable(e->of.item[i].tensor) == NULL ||
            wf_tensor_writable(e->average.item[i].tensor) == NULL)
            return weft_error_status(e->ctx);
    for (int i = 0; i < e->of.n; i++)
        swap_bytes(wf_tensor_writable(e->of.item[i].tensor),
                   wf_tensor_writable(e->average.item[i].tensor), bytes_of(e->of.item[i].tensor));
    e->swapped = !e->swapped;
    return WEFT_OK;
}

/* ---- saving and loading ---- */

weft_status weft_ema_state(weft_ema *e, weft_tensor_list *list)
{
    if (e == NULL)
        return wf_fail_stray(WEFT_ERR_INVALID, "weft_ema_state: the averages are NULL");
    if (list == NULL)
        return wf_fail(e->ctx, WEFT_ERR_INVALID, "ema: there is no list");
    weft_tensor *count = weft_tensor_from(e->ctx, WEFT_I64, WEFT_SCALAR, &e->updates);
    weft_status status =
        count != NULL ? weft_tensor_list_add(list, "n_averaged", count) : weft_error_status(e->ctx);
    weft_tensor_unref(count);
    for (int i = 0; i < e->average.n && status == WEFT_OK; i++)
        status = weft_tensor_list_add(list, e->average.item[i].name, e->average.item[i].tensor);
    if (status != WEFT_OK && weft_error_status(e->ctx) == WEFT_OK)
        return wf_fail(e->ctx, status, "ema: cannot list the averages");
    return status;
}

/* The entry of this name, which has the type and shape of `like`; NULL, with the error. */
static weft_tensor *entry(const weft_ema *e, const weft_tensor_list *list, const wf_name_map *names,
                          const char *name, weft_dtype dtype, weft_shape shape)
{
    const int at = wf_name_map_find(names, name);
    if (at < 0) {
        wf_fail(e->ctx, WEFT_ERR_INVALID, "ema: the state has no '%s', nothing was loaded", name);
        return NULL;
    }
    weft_tensor *t = list->item[at].tensor;
    if (weft_tensor_dtype(t) == dtype && weft_shape_equal(weft_tensor_shape(t), shape))
        return t;
    wf_fail(e->ctx, WEFT_ERR_INVALID,
            "ema: '%s' of the state has another type or shape, nothing was loaded", name);
    return NULL;
}

static weft_status load(weft_ema *e, const weft_tensor_list *list, const wf_name_map *names)
{
    weft_tensor *count = entry(e, list, names, "n_averaged", WEFT_I64, WEFT_SCALAR);
    int64_t updates = 0;
    if (count == NULL)
        return weft_error_status(e->ctx);
    WF_TRY(weft_read(count, &updates, sizeof(updates)));
    if (updates < 0 || list->n != e->average.n + 1)
        return wf_fail(e->ctx, WEFT_ERR_INVALID,
                       "ema: the state is not this model's, nothing was loaded");
    for (int i = 0; i < e->average.n; i++) {
        weft_tensor *to = e->average.item[i].tensor;
        weft_tensor *from = entry(e, list, names, e->average.item[i].name, weft_tensor_dtype(to),
                                  weft_tensor_shape(to));
        if (from == NULL || weft_tensor_const_data(from) == NULL || wf_tensor_writable(to) == NULL)
            return weft_error_status(e->ctx);
    }
    for (int i = 0; i < e->average.n; i++) {
        weft_tensor *to = e->average.item[i].tensor;
        weft_tensor *from = list->item[wf_name_map_find(names, e->average.item[i].name)].tensor;
        if (to != from)
            memcpy(wf_tensor_writable(to), weft_tensor_const_data(from), bytes_of(to));
    }
    e->updates = updates;
    return WEFT_OK;
}

weft_status weft_ema_load_state(weft_ema *e, const weft_tensor_list *list)
{
    if (e == NULL)
        return wf_fail_stray(WEFT_ERR_INVALID, "weft_ema_load_state: the averages are NULL");
    if (list == NULL)
        return wf_fail(e->ctx, WEFT_ERR_INVALID, "ema: there is no list");
    if (e->swapped)
        return wf_fail(e->ctx, WEFT_ERR_STATE,
                       "ema: the averages are in the model; swap them back before loading");
    WF_TRY(wf_tensor_list_check(e->ctx, "ema", list));
    WF_TRY(fit_types(e));
    wf_name_map names = {0};
    weft_status status = wf_tensor_list_names(list, &names)
                             ? load(e, list, &names)
                             : wf_fail(e->ctx, WEFT_ERR_NOMEM, "out of memory loading averages");
    wf_name_map_done(&names);
    return status;
}
