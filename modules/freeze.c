/* Freezes parameters whose names match a pattern. Threading rule: the context's. */
#include <fnmatch.h>
#include <string.h>

#include "engine/graph/lint.h"
#include "modules/internal.h"

typedef struct freezer {
    const char *pattern;
    int n;
} freezer;

static bool matches(const freezer *f, const char *name)
{
    return name[0] != '\0' && fnmatch(f->pattern, name, 0) == 0;
}

/* Whether the module `path`, or a module above it, matches. Cuts the copy of the path at its
 * dots. */
static bool path_matches(const freezer *f, char *path)
{
    for (;;) {
        if (matches(f, path))
            return true;
        char *dot = strrchr(path, '.');
        if (dot == NULL)
            return false;
        *dot = '\0';
    }
}

static weft_status freeze_module(void *user, const char *path, weft_module *m)
{
    freezer *f = user;
    char *copy = wf_strdup(path);
    if (copy == NULL)
        return WEFT_ERR_NOMEM;
    bool all = path_matches(f, copy);
    wf_free(copy);
    for (int i = 0; i < m->state->n_parts; i++) {
        const wf_part *p = &m->state->parts[i];
        if (p->kind != WF_PARAMETER || wf_part_tensor(p) == NULL)
            continue;
        char *name = wf_join_path(path, p->name);
        if (name == NULL)
            return WEFT_ERR_NOMEM;
        bool match = all || matches(f, name);
        wf_free(name);
        if (!match)
            continue;
        f->n++;
        WF_TRY(weft_set_requires_grad(wf_part_tensor(p), false));
    }
    return WEFT_OK;
}

weft_status weft_module_freeze(weft_module *m, const char *pattern, int *n)
{
    if (wf_module_check(m, NULL, "weft_module_freeze") != WEFT_OK)
        return WEFT_ERR_STATE;
    if (pattern == NULL)
        return wf_fail(m->ctx, WEFT_ERR_INVALID, "weft_module_freeze: no pattern");
    freezer f = {.pattern = pattern};
    /* A shared part is frozen when any of its names matches. */
    weft_status status = wf_walk(m, WEFT_WALK_DUPLICATES, freeze_module, &f);
    if (status == WEFT_ERR_NOMEM)
        return wf_module_nomem(m);
    if (status == WEFT_OK && n != NULL)
        *n = f.n;
    if (status == WEFT_OK && f.n == 0 && n == NULL)
        status = wf_lint(m->ctx, "weft_module_freeze: '%s' matches nothing in %s", pattern,
                         m->cls->name);
    return status;
}
