/* Modules whose feature maps the backward pass computes again. Threading rule: the context's. */
#include <fnmatch.h>

#include "engine/graph/lint.h"
#include "modules/internal.h"

weft_status weft_module_set_recompute(weft_module *m, bool on)
{
    WF_TRY(wf_module_check(m, NULL, "weft_module_set_recompute"));
    m->state->recompute = on;
    return WEFT_OK;
}

typedef struct marker {
    const char *pattern;
    int n;
} marker;

static weft_status mark(void *user, const char *path, weft_module *m)
{
    marker *r = user;
    if (path[0] == '\0' || fnmatch(r->pattern, path, 0) != 0)
        return WEFT_OK;
    r->n++;
    m->state->recompute = true;
    return WEFT_OK;
}

weft_status weft_module_recompute(weft_module *m, const char *pattern, int *n)
{
    if (wf_module_check(m, NULL, "weft_module_recompute") != WEFT_OK)
        return WEFT_ERR_STATE;
    if (pattern == NULL)
        return wf_fail(m->ctx, WEFT_ERR_INVALID, "weft_module_recompute: no pattern");
    marker r = {.pattern = pattern};
    /* A shared module is marked when any of its names matches. */
    weft_status status = wf_walk(m, WEFT_WALK_DUPLICATES, mark, &r);
    if (status == WEFT_ERR_NOMEM)
        return wf_module_nomem(m);
    if (status == WEFT_OK && n != NULL)
        *n = r.n;
    if (status == WEFT_OK && r.n == 0 && n == NULL)
        status = wf_lint(m->ctx, "weft_module_recompute: '%s' matches no module in %s", pattern,
                         m->cls->name);
    return status;
}
