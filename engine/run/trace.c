/* The timeline of replays, written in Chrome's trace event format (JSON; Perfetto reads it too). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/context/c_locale.h"
#include "engine/context/error.h"
#include "engine/memory/alloc.h"
#include "engine/run/run.h"

#define SLICES_PER_WORKER 100000 /* then the trace is full: it must not grow without bound */

typedef struct slice {
    const char *op, *path;
    int64_t tile;
    double start, end;
} slice;

typedef struct row {
    slice *slices;
    int n;
} row;

struct wf_trace {
    double origin;
    int workers;
    row rows[];
};

double wf_trace_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

wf_trace *wf_trace_create(int workers)
{
    wf_trace *t = wf_zalloc(sizeof *t + (size_t)workers * sizeof t->rows[0]);
    if (!t)
        return NULL;
    t->workers = workers;
    t->origin = wf_trace_now();
    for (int w = 0; w < workers; w++)
        if (!(t->rows[w].slices = wf_alloc_array(SLICES_PER_WORKER, sizeof(slice)))) {
            wf_trace_destroy(t);
            return NULL;
        }
    return t;
}

void wf_trace_destroy(wf_trace *t)
{
    if (!t)
        return;
    for (int w = 0; w < t->workers; w++)
        wf_free(t->rows[w].slices);
    wf_free(t);
}

/* Names are copied by pointer: op names are static, paths live with the context, and kernel names
 * with the plan, whose eviction while tracing costs but a name; so they are not kept. */
void wf_trace_slice(wf_trace *t, int worker, const wf_task *task, int64_t tile, double start,
                    double end)
{
    row *r = &t->rows[worker];
    if (r->n < SLICES_PER_WORKER)
        r->slices[r->n++] = (slice){task->op ? task->op->name : "copy", task->path, tile,
                                    start - t->origin, end - t->origin};
}

weft_status wf_trace_write(const wf_trace *t, const char *path, weft_error *err)
{
    wf_c_locale locale;
    FILE *f = fopen(path, "w");
    if (!f)
        return wf_error_set(err, WEFT_ERR_IO, "trace: cannot write %s: %s", path, strerror(errno));
    if (!wf_c_locale_begin(&locale)) {
        fclose(f);
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for the trace %s", path);
    }
    fputs("{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n", f);
    for (int w = 0; w < t->workers; w++) {
        fprintf(f,
                "%s{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": 1, \"tid\": %d, "
                "\"args\": {\"name\": \"worker %d\"}}",
                w ? ",\n" : "", w, w);
        for (int i = 0; i < t->rows[w].n; i++) {
            const slice *s = &t->rows[w].slices[i];
            fprintf(f,
                    ",\n{\"name\": \"%s\", \"ph\": \"X\", \"pid\": 1, \"tid\": %d, "
                    "\"ts\": %.3f, \"dur\": %.3f, \"args\": {\"module\": \"%s\", \"tile\": %lld}}",
                    s->op, w, s->start * 1e6, (s->end - s->start) * 1e6, s->path,
                    (long long)s->tile);
        }
    }
    fputs("\n]}\n", f);
    wf_c_locale_end(&locale);
    if (fclose(f) != 0)
        return wf_error_set(err, WEFT_ERR_IO, "trace: cannot write %s: %s", path, strerror(errno));
    return WEFT_OK;
}
