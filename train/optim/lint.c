/* Warns, once each, before an optimizer's step: of tensors in the loss that no optimizer has, of
 * parameters of this optimizer that got no gradient (by name and with the reason), and of a
 * learning rate of 0 that nobody set. Threading rule: the context's. */
#include "train/optim/lint.h"

#include <stdio.h>

#include "engine/graph/autograd/autograd.h"
#include "engine/graph/lint.h"
#include "train/optim/internal.h"

enum { NAMES = 8 }; /* names in one message */

/* Warns of all parameters that have no gradient for this reason; gap[i] is parameter i's reason. */
static weft_status tell(weft_optimizer *o, const wf_gap *gap, wf_gap reason)
{
    char names[640];
    size_t length = 0;
    int n = 0;
    names[0] = '\0';
    for (int i = 0; i < o->n_params; i++) {
        if (gap[i] != reason)
            continue;
        if (n++ < NAMES && length < sizeof(names))
            length += (size_t)snprintf(names + length, sizeof(names) - length, "%s%s",
                                       n > 1 ? ", " : "", o->params[i].name);
        o->params[i].told = o->ctx->lint->mode != WEFT_LINT_ERROR;
    }
    if (n == 0)
        return WEFT_OK;
    char more[32] = "";
    if (n > NAMES)
        snprintf(more, sizeof(more), " and %d more", n - NAMES);
    return wf_lint(o->ctx, "optimizer %s: no gradient for %s%s (%s)", o->rule->name, names, more,
                   wf_gap_text[reason]);
}

/* Options that were begun without their initialiser, and not given a learning rate, train
 * nothing. */
static weft_status tell_rate(weft_optimizer *o)
{
    bool forgotten = !o->lr_set && o->n_groups > 0;
    for (int i = 0; i < o->n_groups; i++)
        forgotten = forgotten && o->groups[i].lr == 0;
    if (!forgotten)
        return WEFT_OK;
    o->lr_set = o->ctx->lint->mode != WEFT_LINT_ERROR;
    return wf_lint(o->ctx,
                   "optimizer %s: its learning rate is 0 and was never set: it trains "
                   "nothing",
                   o->rule->name);
}

weft_status wf_optimizer_lint(weft_optimizer *o)
{
    if (!wf_lint_on(o->ctx))
        return WEFT_OK;
    WF_TRY(wf_lint_tell_loose(o->ctx));
    WF_TRY(tell_rate(o));
    int missing = 0;
    for (int i = 0; i < o->n_params; i++)
        missing += !o->params[i].told && !o->params[i].tensor->grad_present;
    if (missing == 0)
        return WEFT_OK;
    wf_gap *gap = wf_alloc_array((size_t)o->n_params, sizeof(*gap));
    if (gap == NULL)
        return wf_fail(o->ctx, WEFT_ERR_NOMEM, "optimizer: out of memory");
    for (int i = 0; i < o->n_params; i++) {
        const wf_optim_param *p = &o->params[i];
        bool quiet = p->told || p->tensor->grad_present;
        gap[i] = quiet ? WF_GAPS : wf_lint_gap(o->ctx, p->tensor);
    }
    weft_status status = WEFT_OK;
    for (wf_gap reason = 0; reason < WF_GAPS && status == WEFT_OK; reason++)
        status = tell(o, gap, reason);
    wf_free(gap);
    return status;
}
