/* The timeline of replays, in Chrome's trace event format (JSON), which Perfetto reads too.
 *
 * Beside "traceEvents" the file has an object "weft" for tools/trace.py and weft explain: the plans
 * that ran (plan_json.c), and the runs in their order,
 *     {"plan": NUMBER, "start": MICROSECONDS, "end": MICROSECONDS}
 * A slice's "run" counts these from 0, its "task" is the number of a plan's task.
 *
 * Threading rule: each worker adds slices to its own row; everything else is the context's thread's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/c_locale.h"
#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/files/json_text.h"
#include "engine/base/alloc.h"
#include "engine/run/run.h"

#define SLICES_PER_WORKER 100000 /* then the trace is full: its memory is bounded */
#define RUNS 100000

typedef struct slice {
    const char *op, *path;
    int64_t tile;
    int task, run;
    double start, end;
} slice;

typedef struct traced_run {
    int plan;
    double start, end;
} traced_run;

typedef struct row {
    slice *slices;
    int n;
} row;

struct wf_trace {
    double origin;
    int workers;
    int written; /* number of slices in the file plus 1; 0: no file yet */
    traced_run *runs;
    int n_runs, cap_runs;
    json_t *plans; /* array; sorted by number, because a context counts its plans */
    row rows[];
};

wf_trace *wf_trace_create(int workers)
{
    wf_trace *t = wf_zalloc(sizeof *t + (size_t)workers * sizeof t->rows[0]);
    if (!t)
        return NULL;
    t->workers = workers;
    if (!(t->plans = json_array())) {
        wf_trace_destroy(t);
        return NULL;
    }
    t->origin = wf_seconds();
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
    wf_free(t->runs);
    json_decref(t->plans);
    wf_free(t);
}

static bool knows(const wf_trace *t, int plan)
{
    for (size_t i = 0; i < json_array_size(t->plans); i++)
        if (json_integer_value(json_object_get(json_array_get(t->plans, i), "plan")) == plan)
            return true;
    return false;
}

weft_status wf_trace_begin(wf_trace *t, const wf_plan *plan, weft_error *err)
{
    if (t->n_runs >= RUNS)
        return WEFT_OK;
    if (!wf_grow(&t->runs, &t->cap_runs, t->n_runs, 1, sizeof *t->runs))
        return wf_nomem(err, 0, "the trace");
    if (!knows(t, plan->number) && json_array_append_new(t->plans, wf_plan_json(plan)) != 0)
        return wf_nomem(err, 0, "the trace");
    t->runs[t->n_runs++] = (traced_run){plan->number, wf_seconds() - t->origin, 0};
    return WEFT_OK;
}

void wf_trace_end(wf_trace *t)
{
    if (t->n_runs > 0)
        t->runs[t->n_runs - 1].end = wf_seconds() - t->origin;
}

/* Stores pointers to the names: op names are static, and paths live as long as the context. The
 * kernel's name is not stored: it belongs to the plan, which the cache may drop while the trace
 * goes on. */
void wf_trace_slice(wf_trace *t, int worker, const wf_plan *plan, int task, int64_t tile,
                    double start, double end)
{
    row *r = &t->rows[worker];
    const wf_task *k = plan->tasks[task];
    if (r->n < SLICES_PER_WORKER)
        r->slices[r->n++] = (slice){.op = k->op ? k->op->name : "copy",
                                    .path = k->path,
                                    .tile = tile,
                                    .task = task,
                                    .run = t->n_runs - 1,
                                    .start = start - t->origin,
                                    .end = end - t->origin};
}

/* Writes text as a JSON string. False: out of memory. */
static bool put_text(FILE *f, const char *text)
{
    json_t *json = wf_json_text(text);
    char *string = json ? wf_json_dumps(json, JSON_ENCODE_ANY) : NULL;
    if (string)
        fputs(string, f);
    free(string);
    json_decref(json);
    return string != NULL;
}

static bool put_slice(FILE *f, int worker, const slice *s)
{
    fputs(",\n{\"name\": ", f);
    bool good = put_text(f, s->op);
    fprintf(f,
            ", \"ph\": \"X\", \"pid\": 1, \"tid\": %d, \"ts\": %.3f, \"dur\": %.3f, "
            "\"args\": {\"module\": ",
            worker, s->start * 1e6, (s->end - s->start) * 1e6);
    good = put_text(f, s->path) && good;
    fprintf(f, ", \"tile\": %lld, \"task\": %d, \"run\": %d}}", (long long)s->tile, s->task,
            s->run);
    return good;
}

/* The runs and their plans. False: out of memory. */
static bool put_runs(FILE *f, const wf_trace *t)
{
    fputs("\"weft\": {\"runs\": [", f);
    for (int i = 0; i < t->n_runs; i++)
        fprintf(f, "%s\n{\"plan\": %d, \"start\": %.3f, \"end\": %.3f}", i ? "," : "",
                t->runs[i].plan, t->runs[i].start * 1e6, t->runs[i].end * 1e6);
    char *plans =
        wf_json_dumps(t->plans, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    if (plans)
        fprintf(f, "],\n\"plans\": %s}", plans);
    free(plans);
    return plans != NULL;
}

/* False: out of memory. */
static bool put_rows(FILE *f, const wf_trace *t)
{
    bool good = true;
    fputs("{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n", f);
    for (int w = 0; w < t->workers; w++) {
        fprintf(f,
                "%s{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": 1, \"tid\": %d, "
                "\"args\": {\"name\": \"worker %d\"}}",
                w ? ",\n" : "", w, w);
        for (int i = 0; i < t->rows[w].n && good; i++)
            good = put_slice(f, w, &t->rows[w].slices[i]);
    }
    fputs("\n],\n", f);
    good = good && put_runs(f, t);
    fputs("}\n", f);
    return good;
}

weft_status wf_trace_write(wf_trace *t, const char *path, weft_error *err)
{
    wf_c_locale locale;
    int slices = 0;
    for (int w = 0; w < t->workers; w++)
        slices += t->rows[w].n;
    if (t->written == slices + 1)
        return WEFT_OK;
    FILE *f = fopen(path, "we");
    if (!f)
        return wf_error_set(err, WEFT_ERR_IO, "trace: cannot write %s: %s", path, strerror(errno));
    bool good = wf_c_locale_begin(&locale);
    if (good) {
        good = put_rows(f, t);
        wf_c_locale_end(&locale);
    }
    errno = 0;
    bool failed = fflush(f) != 0 || ferror(f);
    int error = errno;
    if (fclose(f) != 0 && !failed) {
        failed = true;
        error = errno;
    }
    if (!good)
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for the trace %s", path);
    if (failed)
        return wf_error_set(err, WEFT_ERR_IO, "trace: cannot write %s: %s", path,
                            strerror(error ? error : EIO));
    t->written = slices + 1;
    return WEFT_OK;
}
