/* Notes of which nodes read a value, for passes that rewrite nodes: so they need not search all
 * nodes. */
#include "engine/base/alloc.h"
#include "engine/plan/plan.h"

/* Makes room for values that the pass has made since; they have no readers yet. */
static bool grow_first(wf_users *u, int value)
{
    if (!wf_grow(&u->first, &u->cap_first, u->n_values, value + 1 - u->n_values, sizeof *u->first))
        return false;
    while (u->n_values <= value)
        u->first[u->n_values++] = -1;
    return true;
}

weft_status wf_users_add(wf_plan *p, wf_users *u, int node, int at)
{
    const int value = p->nodes[node].in[at];
    if ((value >= u->n_values && !grow_first(u, value)) ||
        !wf_grow(&u->user, &u->cap, u->n, 1, sizeof *u->user))
        return wf_plan_nomem(p);
    u->user[u->n] = (wf_user){node, at, u->first[value]};
    u->first[value] = u->n++;
    return WEFT_OK;
}

static weft_status note_all(wf_plan *p, wf_users *u)
{
    u->assigned = wf_bump_alloc(&p->bump, (size_t)p->n_values + 1);
    if (!u->assigned || (p->n_values > 0 && !grow_first(u, p->n_values - 1)))
        return wf_plan_nomem(p);
    for (int i = 0; i < p->n_assigns; i++)
        u->assigned[p->assigns[i].value] = 1;
    for (int n = 0; n < p->n_nodes; n++)
        for (int i = 0; i < p->nodes[n].n_in; i++)
            WF_TRY(wf_users_add(p, u, n, i));
    return WEFT_OK;
}

weft_status wf_users_init(wf_plan *p, wf_users *u)
{
    *u = (wf_users){0};
    weft_status status = note_all(p, u);
    u->n_assigned_values = p->n_values;
    if (status != WEFT_OK)
        wf_users_done(u);
    return status;
}

void wf_users_done(wf_users *u)
{
    wf_free(u->first);
    wf_free(u->user);
    *u = (wf_users){0};
}

int wf_ir_users(const wf_plan *p, const wf_users *u, int value, bool *needed)
{
    int users = 0;
    *needed = p->values[value].keep || (value < u->n_assigned_values && u->assigned[value]);
    for (int i = wf_users_first(u, value); i >= 0; i = u->user[i].next)
        users += wf_user_valid(p, &u->user[i], value);
    return users;
}
