/* Who waits for whom in a replay: for a test whose run hangs. See wf_scheduler_dump. */
#include "engine/run/scheduler_state.h"

enum { MOST_GROUPS = 24 }; /* then "..." */

/* "3 (layer1.conv: conv2d)" */
static void print_group(const wf_plan *p, int u, FILE *out)
{
    const wf_task_group *g = &p->groups[u];
    fprintf(out, "%d", u);
    if (g->barrier || g->n_tasks == 0) {
        fputs(g->barrier ? " (the commit barrier)" : "", out);
        return;
    }
    const wf_task *t = p->tasks[g->tasks[0]];
    const char *path = t->path ? t->path : "";
    fprintf(out, " (%s%s%s)", path, *path ? ": " : "", t->op ? t->op->name : "no op");
}

static void print_worker(const wf_scheduler *s, int worker, FILE *out)
{
    const int group = atomic_load(&s->states[worker].group);
    fprintf(out, "  worker %d ", worker);
    if (group >= 0) {
        fprintf(out, "runs tile %lld of group ", (long long)atomic_load(&s->states[worker].tile));
        print_group(s->run->plan, group, out);
    } else {
        fputs(group == LOOKING  ? "looks for work"
              : group == ASLEEP ? "sleeps"
                                : "has left the loop",
              out);
    }
    fputc('\n', out);
}

/* Tiles that no worker has claimed. */
static int64_t unclaimed(const wf_scheduler *s, int u)
{
    const segment *seg = s->segments + (size_t)u * (size_t)s->ctx->threads;
    int64_t n = 0;
    for (int i = 0; i < s->workers; i++) {
        const int64_t next = atomic_load(&seg[i].next), end = seg[i].end;
        n += next < end ? end - next : 0;
    }
    return n;
}

/* The groups before u that have not ended, if the counters agree with the plan. */
static void print_waits(const wf_scheduler *s, int u, int preds, FILE *out)
{
    const wf_plan *p = s->run->plan;
    int named = 0;
    fprintf(out, "waits for %d of %d groups:", preds, p->groups[u].n_preds);
    for (int v = 0; v < p->n_groups; v++)
        for (int i = 0; i < p->groups[v].n_succ; i++)
            if (p->groups[v].succ[i] == u &&
                (atomic_load(&s->groups[v].preds) > 0 || atomic_load(&s->groups[v].left) > 0) &&
                named++ < 4) {
                fputc(' ', out);
                print_group(p, v, out);
            }
    fputs(named == 0 ? " none that the plan knows\n" : named > 4 ? " ...\n" : "\n", out);
}

void wf_scheduler_dump(const wf_scheduler *s, FILE *out)
{
    if (!s->run) {
        fputs("scheduler: no replay\n", out);
        return;
    }
    const wf_plan *p = s->run->plan;
    fprintf(out, "scheduler: %d workers, %d of %d groups left, %d asleep%s%s\n", s->workers,
            atomic_load(&s->groups_left), p->n_groups, atomic_load(&s->sleepers),
            wf_run_failed(s->run) ? ", a tile has failed" : "",
            atomic_load(&s->finished) ? ", finished" : "");
    for (int w = 0; w < s->workers; w++)
        print_worker(s, w, out);
    int shown = 0;
    for (int i = 0; i < p->n_groups && shown <= MOST_GROUPS; i++) {
        const int u = p->order[i], preds = atomic_load(&s->groups[u].preds);
        const long long left = atomic_load(&s->groups[u].left);
        if (preds <= 0 && left <= 0)
            continue;
        if (shown++ == MOST_GROUPS) {
            fputs("  ...\n", out);
            break;
        }
        fputs("  group ", out);
        print_group(p, u, out);
        fputs(": ", out);
        if (preds > 0 && !s->in_sequence)
            print_waits(s, u, preds, out);
        else if (preds > 0)
            fputs("waits for its turn\n", out);
        else
            fprintf(out, "%lld of %lld tiles have not ended, %lld are not claimed\n", left,
                    (long long)p->groups[u].tiles, (long long)unclaimed(s, u));
    }
}
