/* Changes types in place, between f32, f64 and bf16. A tensor stays the same object, so an optimizer
 * that holds it can go on. bf16 is for parameters alone: buffers and gradients are f32 then, so
 * that BatchNorm's running statistics are not rounded. Threading rule: the context's. */
#include "engine/step/execute.h"
#include "modules/internal.h"

/* A tensor and its new content. */
typedef struct change {
    weft_tensor *tensor; /* a reference is held */
    weft_dtype dtype;
    wf_block block;
} change;

typedef struct changes {
    weft_context *ctx;
    const char *what; /* the caller, for errors */
    wf_pointer_map seen;
    change *item;
    int n, capacity;
} changes;

static bool stores_floats(weft_dtype dtype)
{
    return wf_floating(dtype) || dtype == WEFT_BF16;
}

/* `part` is the tensor's own name; t: it or its gradient. Whether the tensor has not been freed. */
static bool alive(const changes *c, const char *part, const char *of, const weft_tensor *t)
{
    char what[256];
    snprintf(what, sizeof what, "%s: %s%s", c->what, of, part);
    return wf_tensor_check(t, what, false) != NULL;
}

static weft_status add(changes *c, const char *part, const char *of, weft_tensor *t,
                       weft_dtype dtype)
{
    if (t != NULL && !alive(c, part, of, t))
        return WEFT_ERR_STATE;
    if (t == NULL || !stores_floats(t->type.dtype) || wf_pointer_map_find(&c->seen, t) != NULL)
        return WEFT_OK;
    if (t->type.dtype == dtype)
        return add(c, part, "the gradient of ", t->grad, wf_read_as(dtype));
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
    c->item[c->n++] = (change){.tensor = weft_tensor_ref(t), .dtype = dtype};
    return add(c, part, "the gradient of ", t->grad, wf_read_as(dtype));
}

static weft_status convert(changes *c, change *item)
{
    weft_tensor *t = item->tensor;
    wf_type type = {item->dtype, t->type.shape};
    wf_block_request request = {.size = wf_type_bytes(type),
                                .kind = WF_MEM_STORED,
                                .placement = WF_PLACE_INTERLEAVED,
                                .what = "a tensor's other type"};
    WF_TRY(wf_memory_alloc(c->ctx->memory, &request, &item->block, &c->ctx->error));
    wf_convert(item->block.data, item->dtype, t->block.data, t->type.dtype,
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
                           "%s: a hook cannot change the type of what the step uses", c->what);
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
            wf_tensor_set_content(c->item[i].tensor, c->item[i].dtype, &c->item[i].block);
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
    changes c = {.ctx = ctx, .what = "weft_module_to"};
    weft_status status = WEFT_OK;
    if (dtype == WEFT_BF16)
        return wf_fail(ctx, WEFT_ERR_STATE,
                       "the model is stored as bf16, which is for inference; "
                       "weft_module_to(m, WEFT_F32) before its training goes on");
    for (int i = 0; i < n && status == WEFT_OK; i++)
        status = add(&c, "a parameter", "", t[i], dtype);
    return commit(&c, status);
}

static weft_status check_type(weft_context *ctx, const char *what, weft_dtype dtype)
{
    if (stores_floats(dtype))
        return WEFT_OK;
    return wf_fail(ctx, WEFT_ERR_DTYPE, "%s: %s is not f32, f64 or bf16", what,
                   weft_dtype_name(dtype));
}

weft_status weft_tensor_to(weft_tensor *t, weft_dtype dtype)
{
    const char *what = "weft_tensor_to";
    weft_context *ctx = wf_tensor_check(t, what, false);
    if (ctx == NULL)
        return t != NULL && wf_tensor_owner(t) != NULL ? WEFT_ERR_STATE : WEFT_ERR_INVALID;
    WF_TRY(check_type(ctx, what, dtype));
    if (!weft_tensor_is_stored(t))
        return wf_fail(ctx, WEFT_ERR_STATE, "%s: the tensor is the result of an op", what);
    if (!stores_floats(t->type.dtype))
        return wf_fail(ctx, WEFT_ERR_DTYPE, "%s: the tensor is %s, not f32, f64 or bf16", what,
                       weft_dtype_name(t->type.dtype));
    if (t->is_grad)
        return wf_fail(ctx, WEFT_ERR_STATE,
                       "%s: the tensor is a gradient; change the type of the tensor that it is of",
                       what);
    changes c = {.ctx = ctx, .what = what};
    return commit(&c, add(&c, "the tensor", "", t, dtype));
}

typedef struct module_walk {
    changes changes;
    weft_dtype dtype;
} module_walk;

static weft_status add_parts(void *user, const char *path, weft_module *m)
{
    module_walk *w = user;
    for (int i = 0; i < m->state->n_parts; i++) {
        const wf_part *p = &m->state->parts[i];
        if (p->kind == WF_CHILD)
            continue;
        char *name = wf_join_path(path, p->name);
        if (name == NULL)
            return WEFT_ERR_NOMEM;
        const weft_status status = add(&w->changes, name, "", wf_part_tensor(p),
                                       p->kind == WF_PARAMETER ? w->dtype : wf_read_as(w->dtype));
        wf_free(name);
        WF_TRY(status);
    }
    return WEFT_OK;
}

weft_status weft_module_to(weft_module *m, weft_dtype dtype)
{
    if (wf_module_check(m, NULL, "weft_module_to") != WEFT_OK)
        return WEFT_ERR_STATE;
    WF_TRY(check_type(m->ctx, "weft_module_to", dtype));
    module_walk w = {{.ctx = m->ctx, .what = "weft_module_to"}, dtype};
    return commit(&w.changes, wf_walk(m, 0, add_parts, &w));
}
