/* Changes types in place: f32 to f64 and back. A tensor stays the same object, so an optimizer that
 * holds it can go on. Threading rule: the context's. */
#include "engine/step/execute.h"
#include "modules/internal.h"

/* A tensor and its new content. */
typedef struct change {
    weft_tensor *tensor; /* a reference is held */
    wf_block block;
} change;

typedef struct changes {
    weft_context *ctx;
    weft_dtype dtype;
    wf_pointer_map seen;
    change *item;
    int n, capacity;
} changes;

static weft_status add(changes *c, weft_tensor *t)
{
    if (t == NULL || !wf_floating(t->type.dtype) || t->type.dtype == c->dtype ||
        wf_pointer_map_find(&c->seen, t) != NULL)
        return WEFT_OK;
    if (c->n == c->capacity) {
        int capacity = c->capacity == 0 ? 64 : 2 * c->capacity;
        change *item = wf_realloc_array(c->item, (size_t)capacity, sizeof(*item));
        if (item == NULL)
            return WEFT_ERR_NOMEM;
        c->item = item;
        c->capacity = capacity;
    }
    if (!wf_pointer_map_add(&c->seen, t, NULL))
        return WEFT_ERR_NOMEM;
    c->item[c->n++] = (change){.tensor = weft_tensor_ref(t)};
    return add(c, t->grad);
}

static weft_status convert(changes *c, change *item)
{
    weft_tensor *t = item->tensor;
    wf_type type = {c->dtype, t->type.shape};
    wf_block_request request = {.size = wf_type_bytes(type),
                                .kind = WF_MEM_STORED,
                                .placement = WF_PLACE_INTERLEAVED,
                                .what = "a tensor's other type"};
    WF_TRY(wf_memory_alloc(c->ctx->memory, &request, &item->block, &c->ctx->error));
    wf_convert(item->block.data, c->dtype, t->block.data, t->type.dtype,
               weft_shape_count(t->type.shape));
    return WEFT_OK;
}

/* Fails inside a backward hook for tensors that the recorded step uses: the backward pass still
 * walks this step. */
static weft_status check_free(const changes *c)
{
    const wf_graph *g = c->ctx->graph;
    for (int i = 0; i < c->n && g->in_backward; i++)
        if (c->item[i].tensor->gen == c->ctx->gen)
            return wf_fail(c->ctx, WEFT_ERR_STATE,
                           "weft_module_to: a hook cannot change the type of what the step uses");
    return WEFT_OK;
}

/* Runs the recorded work that reads the tensors, makes all new contents, then sets them. On failure
 * no tensor has changed. Ends c. */
static weft_status commit(changes *c, weft_status status)
{
    if (status == WEFT_OK)
        status = check_free(c);
    for (int i = 0; i < c->n && status == WEFT_OK; i++)
        status = wf_execute_readers(c->ctx, c->item[i].tensor);
    for (int i = 0; i < c->n && status == WEFT_OK; i++)
        status = convert(c, &c->item[i]);
    for (int i = 0; i < c->n; i++) {
        if (status == WEFT_OK)
            wf_tensor_set_content(c->item[i].tensor, c->dtype, &c->item[i].block);
        wf_memory_free(&c->item[i].block);
        weft_tensor_unref(c->item[i].tensor);
    }
    wf_free(c->item);
    wf_pointer_map_done(&c->seen);
    if (status == WEFT_ERR_NOMEM)
        wf_fail(c->ctx, status, "out of memory changing tensors' type");
    return status;
}

weft_status wf_tensors_change_type(weft_context *ctx, weft_tensor *const *t, int n,
                                   weft_dtype dtype)
{
    changes c = {.ctx = ctx, .dtype = dtype};
    weft_status status = WEFT_OK;
    for (int i = 0; i < n && status == WEFT_OK; i++)
        status = add(&c, t[i]);
    return commit(&c, status);
}

static weft_status add_parts(void *user, const char *path, weft_module *m)
{
    for (int i = 0; i < m->state->n_parts; i++) {
        const wf_part *p = &m->state->parts[i];
        if (p->kind != WF_CHILD)
            WF_TRY(add(user, wf_part_tensor(p)));
    }
    return WEFT_OK;
}

weft_status weft_module_to(weft_module *m, weft_dtype dtype)
{
    if (wf_module_check(m, NULL, "weft_module_to") != WEFT_OK)
        return WEFT_ERR_STATE;
    if (!wf_floating(dtype))
        return wf_fail(m->ctx, WEFT_ERR_DTYPE, "weft_module_to: %s is not f32 or f64",
                       weft_dtype_name(dtype));
    changes c = {.ctx = m->ctx, .dtype = dtype};
    return commit(&c, wf_walk(m, 0, add_parts, &c));
}
