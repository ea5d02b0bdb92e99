/* What a task is expected to move and to take, from its own figures and from the plan.
 *
 * Note [Forecast]
 * A task's `bytes` are what its kernel reads and writes, wherever it lies. Of these, `dram` are bytes of
 * buffers that other task groups wrote or will read: those are too large for the caches in a training
 * step, so they come from memory or go there. A buffer that only this group uses (local) stays in a
 * worker's cache, and so does an image that an earlier task of the group has just touched.
 *
 * The time on one core is the longer one of arithmetic and memory:
 *
 *     max(cycles / CLOCK, dram / DRAM_BYTES)                          with a cost model
 *     flops / FLOPS + dram / DRAM_BYTES + (bytes - dram) / CACHE_BYTES   without
 *
 * `cycles` is the kernel's expected cost (Note [Expected cost] in kernels/select.h), whose cycles do two
 * vector products. The constants are those of one core of the machine that Weft is built on (Zen 4: 115
 * GFLOP/s, and 64 operations in such a cycle). On another machine all times are off by about the same
 * factor, which is why weft_explain compares them with measured ones after scaling.
 *
 * Stateless. */
#include "engine/base/alloc.h"
#include "engine/run/run.h"

#define CLOCK 1.8e9       /* such cycles a second */
#define DRAM_BYTES 20e9   /* a second */
#define CACHE_BYTES 100e9 /* a second */
#define FLOPS 15e9 /* a second, of kernels that are not products: exp, divisions, reductions */

typedef struct forecaster {
    const wf_plan *p;
    int *seen; /* per buffer: the last task group that used it, plus 1 */
} forecaster;

/* Bytes of memory that the use of a buffer moves. */
static double moved(forecaster *f, const wf_use *u, int group)
{
    const wf_buffer *b = &f->p->buffers[u->buf];
    const wf_buf whole = wf_buffer_whole(f->p, u->buf);
    const bool near = f->seen[whole] == group + 1;
    f->seen[whole] = group + 1;
    if (near || f->p->buffers[whole].local)
        return 0;
    return (double)b->images * (double)(b->whole >= 0 ? b->size : b->stride);
}

static wf_forecast forecast_task(forecaster *f, const wf_task *t)
{
    wf_forecast c = {.flops = t->flops, .converting = t->converting / CLOCK};
    for (const wf_use *u = t->uses; u; u = u->next)
        c.dram += moved(f, u, t->group);
    const double memory = c.dram / DRAM_BYTES, near = t->bytes > c.dram ? t->bytes - c.dram : 0;
    if (t->cycles > 0)
        c.seconds = t->cycles / CLOCK > memory ? t->cycles / CLOCK : memory;
    else
        c.seconds = t->flops / FLOPS + memory + near / CACHE_BYTES;
    return c;
}

bool wf_forecast_plan(const wf_plan *p, wf_forecast *forecasts)
{
    forecaster f = {.p = p, .seen = wf_zalloc_array((size_t)p->n_buffers + 1, sizeof *f.seen)};
    if (!f.seen)
        return false;
    for (int g = 0; g < p->n_groups; g++)
        for (int i = 0; i < p->groups[g].n_tasks; i++) {
            const int task = p->groups[g].tasks[i];
            forecasts[task] = forecast_task(&f, p->tasks[task]);
        }
    wf_free(f.seen);
    return true;
}
