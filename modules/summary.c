/* Describes a network layer by layer. Records a forward pass, in which hooks note which module
 * calls which, with which shapes. Nothing runs.
 *
 * The calls form a tree of nodes. A module that is called twice has two nodes. A module that is
 * never called but has parameters has one node, without shapes. Totals are counted as in torchinfo:
 * modules/README.md says how. Threading rule: the context's. */
#include <string.h>

#include "modules/summary.h"

#include "engine/graph/graph.h"

/* ---- nodes ---- */

static int new_node(wf_summary *s, int module, int parent)
{
    if (s->n == s->capacity) {
        int capacity = s->capacity == 0 ? 64 : 2 * s->capacity;
        wf_summary_node *nodes = wf_realloc_array(s->nodes, (size_t)capacity, sizeof(*nodes));
        if (nodes == NULL)
            return -1;
        s->nodes = nodes;
        s->capacity = capacity;
    }
    int i = s->n++;
    s->nodes[i] = (wf_summary_node){.module = module, .parent = parent};
    s->nodes[i].first = s->nodes[i].last = s->nodes[i].next = -1;
    if (parent < 0)
        return i;
    wf_summary_node *p = &s->nodes[parent];
    if (p->last >= 0)
        s->nodes[p->last].next = i;
    else
        p->first = i;
    p->last = i;
    return i;
}

static int find_module(const wf_summary *s, const char *path, size_t length)
{
    for (int i = 0; i < s->modules.n; i++) {
        const char *name = s->modules.item[i].name;
        if (strncmp(name, path, length) == 0 && name[length] == '\0')
            return i;
    }
    return -1;
}

/* The node below which a call of `module` from node `caller` belongs: containers that are never
 * called themselves, such as a ModuleList, get nodes in between. -1: out of memory. */
static int place(wf_summary *s, int caller, int module)
{
    const char *path = s->modules.item[module].name;
    const char *from = caller >= 0 ? s->modules.item[s->nodes[caller].module].name : "";
    size_t n = strlen(from);
    if (caller < 0 || strncmp(path, from, n) != 0 || (n > 0 && path[n] != '.'))
        return caller; /* another module shares it */
    n += n > 0;
    for (const char *dot; (dot = strchr(path + n, '.')) != NULL; n = (size_t)(dot - path) + 1) {
        int between = find_module(s, path, (size_t)(dot - path));
        int last = s->nodes[caller].last;
        bool there = last >= 0 && s->nodes[last].module == between && !s->nodes[last].called;
        caller = between < 0 ? caller : there ? last : new_node(s, between, caller);
        if (caller < 0)
            return -1;
    }
    return caller;
}

/* ---- hooks ---- */

struct wf_summary_place {
    wf_summary *summary;
    int module;
    bool training; /* the flag before */
    uint64_t pre, post;
};

static weft_status enter(void *user, weft_module *m, int n_in, weft_tensor **in)
{
    wf_summary_place *at = user;
    wf_summary *s = at->summary;
    int parent = place(s, s->top, at->module);
    int i = parent >= 0 || s->top < 0 ? new_node(s, at->module, parent) : -1;
    if (i < 0)
        return wf_module_nomem(m);
    wf_summary_node *node = &s->nodes[i];
    node->called = true;
    node->caller = s->top;
    if (n_in > 0 && in[0] != NULL)
        node->in = weft_tensor_shape(in[0]);
    s->top = i;
    return WEFT_OK;
}

static weft_status leave(void *user, weft_module *m, int n_in, weft_tensor *const *in, int n_out,
                         weft_tensor **out)
{
    wf_summary *s = ((wf_summary_place *)user)->summary;
    wf_summary_node *node = &s->nodes[s->top];
    s->top = node->caller;
    if (n_out < 1)
        return WEFT_OK;
    node->out = weft_tensor_shape(out[0]);
    if (m->cls->macs != NULL && n_in > 0 && in[0] != NULL)
        node->macs = m->cls->macs(m, weft_tensor_shape(in[0]), node->out);
    return WEFT_OK;
}

/* ---- the forward ---- */

static weft_status add_hooks(wf_summary *s)
{
    for (int i = 0; i < s->modules.n; i++) {
        weft_module *m = s->modules.item[i].module;
        wf_summary_place *at = &s->places[i];
        *at = (wf_summary_place){.summary = s, .module = i, .training = m->training};
        m->training = false; /* so that the forward changes no buffer */
        at->pre = weft_register_forward_pre_hook(m, enter, at, 0);
        at->post = at->pre != 0 ? weft_register_forward_hook(m, leave, at, 0) : 0;
        if (at->post == 0) {
            s->hooked = i + 1;
            return WEFT_ERR_NOMEM;
        }
    }
    s->hooked = s->modules.n;
    return WEFT_OK;
}

static void remove_hooks(wf_summary *s)
{
    for (int i = 0; i < s->hooked; i++) {
        weft_module *m = s->modules.item[i].module;
        weft_hook_remove(m, s->places[i].pre);
        weft_hook_remove(m, s->places[i].post);
        m->training = s->places[i].training;
    }
}

static weft_status record(wf_summary *s, weft_module *m)
{
    weft_context *ctx = m->ctx;
    WF_TRY(wf_step_status(ctx));
    weft_status status = add_hooks(s);
    if (status == WEFT_OK) {
        bool was = weft_no_grad_begin(ctx);
        weft_tensor *x = weft_tensor_create(ctx, s->dtype, s->input);
        if (weft_call(m, x) == NULL)
            status = wf_step_status(ctx);
        weft_no_grad_end(ctx, was);
        if (status == WEFT_OK)
            status = weft_sync(ctx); /* this runs nothing: all recorded work is dead code */
        else
            weft_discard(ctx);
        weft_tensor_unref(x);
    }
    remove_hooks(s);
    return status;
}

/* The first node of the module that holds `module`; -1: none. */
static int node_above(const wf_summary *s, int module)
{
    const char *path = s->modules.item[module].name, *dot = strrchr(path, '.');
    int above = find_module(s, path, dot != NULL ? (size_t)(dot - path) : 0);
    for (int i = 0; i < s->n; i++) {
        if (s->nodes[i].module == above)
            return i;
    }
    return -1;
}

/* Adds the modules that were not called but have parameters. */
static weft_status add_uncalled(wf_summary *s)
{
    for (int i = 1; i < s->modules.n; i++) {
        bool seen = false;
        for (int k = 0; k < s->n && !seen; k++)
            seen = s->nodes[k].module == i;
        int above = seen ? -1 : node_above(s, i);
        if (above < 0 || s->nodes[above].spare)
            continue; /* one row stands for everything below it */
        int64_t parameters = weft_parameter_count(s->modules.item[i].module, false);
        int node = parameters > 0 ? new_node(s, i, above) : -1;
        if (parameters < 0 || (parameters > 0 && node < 0))
            return WEFT_ERR_NOMEM;
        if (node >= 0)
            s->nodes[node].spare = true;
    }
    return WEFT_OK;
}

/* ---- totals ---- */

static bool has_parameters(const weft_module *m)
{
    for (int i = 0; i < m->state->n_parts; i++) {
        if (m->state->parts[i].kind == WF_PARAMETER && wf_part_tensor(&m->state->parts[i]) != NULL)
            return true;
    }
    return false;
}

static void add_up(wf_summary *s, weft_module *m)
{
    weft_totals *t = &s->totals;
    const int64_t size = (int64_t)weft_dtype_size(s->dtype);
    t->parameters = weft_parameter_count(m, false);
    t->trainable = weft_parameter_count(m, true);
    t->input_bytes = weft_shape_count(s->input) * size;
    t->parameter_bytes = t->parameters * size;
    for (int i = 0; i < s->n; i++) {
        const wf_summary_node *node = &s->nodes[i];
        weft_module *layer = s->modules.item[node->module].module;
        t->macs += node->macs;
        if (node->called && wf_child_count(layer) == 0 && has_parameters(layer))
            t->activation_bytes += 2 * weft_shape_count(node->out) * size;
    }
}

weft_status wf_summary_make(wf_summary *s, weft_module *m, weft_shape input)
{
    weft_tensor_list parameters = WEFT_TENSOR_LIST_INIT;
    *s = (wf_summary){.modules = WEFT_NAMED_MODULES_INIT, .input = input, .top = -1};
    WF_TRY(wf_may_end_step(m->ctx, "summary"));
    char text[160];
    if (weft_shape_count(input) == 0)
        return wf_fail(m->ctx, WEFT_ERR_SHAPE, "summary: the input %s is empty",
                       weft_shape_format(input, text, sizeof(text)));
    WF_TRY(weft_parameters(m, 0, &parameters));
    s->dtype = parameters.n > 0 ? weft_tensor_dtype(parameters.item[0].tensor) : WEFT_F32;
    weft_tensor_list_done(&parameters);
    weft_status status = weft_modules(m, 0, &s->modules);
    s->places = wf_zalloc_array((size_t)s->modules.n + 1, sizeof(*s->places));
    if (status == WEFT_OK)
        status = s->places != NULL ? record(s, m) : WEFT_ERR_NOMEM;
    if (status == WEFT_OK)
        status = add_uncalled(s);
    if (status == WEFT_OK)
        add_up(s, m);
    if (status == WEFT_ERR_NOMEM || s->totals.parameters < 0 || s->totals.trainable < 0)
        status = wf_module_nomem(m);
    if (status != WEFT_OK)
        wf_summary_done(s);
    return status;
}

void wf_summary_done(wf_summary *s)
{
    weft_named_modules_done(&s->modules);
    wf_free(s->places);
    wf_free(s->nodes);
    *s = (wf_summary){.modules = WEFT_NAMED_MODULES_INIT};
}

weft_status weft_module_totals(weft_module *m, weft_shape input, weft_totals *totals)
{
    WF_TRY(wf_module_check_with(m, totals, "weft_module_totals"));
    wf_summary s;
    WF_TRY(wf_summary_make(&s, m, input));
    *totals = s.totals;
    wf_summary_done(&s);
    return WEFT_OK;
}
