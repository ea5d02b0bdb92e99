/* The random scheduler: runs a random tile of a random ready task group, on one thread. It finds
 * edges that a plan lacks: the arena starts filled with NaN, and bytes that are shared too early
 * get overwritten. */
#include <omp.h>

#include "engine/base/alloc.h"
#include "engine/run/run.h"

static uint64_t next(uint64_t *state) /* xorshift64 (Marsaglia 2003): only for the order */
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

typedef struct group_state {
    int preds;
    int64_t left;   /* tiles that have not run: the first `left` of `tiles` */
    int64_t *tiles; /* the tiles, in random order */
} group_state;

static bool ready(const wf_plan *p, group_state *s, int u)
{
    return s[u].preds == 0 && (p->groups[u].tiles == 0 || s[u].left > 0) && s[u].preds != -1;
}

static void finish(const wf_plan *p, group_state *s, int u)
{
    s[u].preds = -1;
    for (int i = 0; i < p->groups[u].n_succ; i++)
        s[p->groups[u].succ[i]].preds--;
}

static void run_groups(wf_run *run, group_state *s, uint64_t *state)
{
    const wf_plan *p = run->plan;
    for (;;) {
        int n_ready = 0, pick = -1;
        for (int u = 0; u < p->n_groups; u++)
            if (ready(p, s, u) && next(state) % (uint64_t)++n_ready == 0)
                pick = u;
        if (pick < 0 || wf_run_failed(run))
            return;
        const wf_task_group *group = &p->groups[pick];
        if (group->tiles > 0) {
            int64_t i = (int64_t)(next(state) % (uint64_t)s[pick].left);
            int64_t tile = s[pick].tiles[i];
            s[pick].tiles[i] = s[pick].tiles[--s[pick].left];
            wf_run_tile(run, group, tile, (int)(next(state) % (uint64_t)run->ctx->threads));
        }
        if (s[pick].left == 0)
            finish(p, s, pick);
    }
}

weft_status wf_random_run(wf_run *run, uint64_t *state)
{
    const wf_plan *p = run->plan;
    weft_status status = WEFT_OK;
    group_state *s = wf_zalloc_array((size_t)p->n_groups + 1, sizeof *s);
    if (!s)
        return wf_nomem(&run->ctx->error, 0, "the random scheduler");
    for (int u = 0; u < p->n_groups && status == WEFT_OK; u++) {
        s[u].preds = p->groups[u].n_preds;
        s[u].left = p->groups[u].tiles;
        s[u].tiles = wf_alloc_array((size_t)s[u].left, sizeof *s[u].tiles);
        if (!s[u].tiles)
            status = wf_nomem(&run->ctx->error, 0, "the random scheduler");
        else
            for (int64_t i = 0; i < s[u].left; i++)
                s[u].tiles[i] = i;
    }
    if (status == WEFT_OK) {
        unsigned denormals = wf_denormals_off();
        int threads = omp_get_max_threads();
        omp_set_num_threads(1);
        run_groups(run, s, state);
        omp_set_num_threads(threads);
        wf_denormals_restore(denormals);
    }
    for (int u = 0; u < p->n_groups; u++)
        wf_free(s[u].tiles);
    wf_free(s);
    return status;
}
