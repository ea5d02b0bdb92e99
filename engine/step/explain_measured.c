/* The plan's tasks beside what a timeline (--trace) says that they took.
 *
 * The timeline has a description of each plan that ran (engine/run/plan_json.c). The one that has the same
 * tasks is this plan: how tasks are grouped may differ, because that depends on the number of threads. A
 * task's time is the sum over its tiles, on all workers, and the median over the runs; the first run
 * touches fresh memory and does not count where there are others. The file is not trusted.
 *
 * Stateless. The caller sets the C locale. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/files/json_text.h"
#include "engine/step/explain.h"
#include "engine/tune/measure.h"

#define FAR 2.0 /* a task that is off by more than this factor is marked */

static bool same_text(const json_t *object, const char *name, const char *want)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text && strcmp(text, want) == 0;
}

/* Whether a plan of the file has this plan's tasks. */
static bool same_plan(const wf_plan *p, const json_t *plan)
{
    const json_t *groups = json_object_get(plan, "groups");
    int tasks = 0;
    for (size_t g = 0; g < json_array_size(groups); g++) {
        const json_t *list = json_object_get(json_array_get(groups, g), "tasks");
        for (size_t i = 0; i < json_array_size(list); i++, tasks++) {
            const json_t *t = json_array_get(list, i);
            const json_int_t at = json_integer_value(json_object_get(t, "task"));
            if (at < 0 || at >= p->n_tasks)
                return false;
            const wf_task *own = p->tasks[at];
            if (!same_text(t, "op", own->op ? own->op->name : "copy") ||
                !same_text(t, "module", own->path) || !same_text(t, "kernel", own->kernel))
                return false;
        }
    }
    return tasks == p->n_tasks;
}

/* The file's number of this plan; -1: it is not there. */
static json_int_t find_plan(const wf_plan *p, const json_t *weft)
{
    const json_t *plans = json_object_get(weft, "plans");
    for (size_t i = 0; i < json_array_size(plans); i++)
        if (same_plan(p, json_array_get(plans, i)))
            return json_integer_value(json_object_get(json_array_get(plans, i), "plan"));
    return -1;
}

typedef struct measured {
    int n_runs;      /* of this plan */
    int *number;     /* per run of the file: its place among them; -1: another plan's */
    double *seconds; /* [run of this plan][task] */
    int64_t *tiles;  /* [run of this plan]: slices seen */
} measured;

static void measured_done(measured *m)
{
    wf_free(m->number);
    wf_free(m->seconds);
    wf_free(m->tiles);
}

/* False: out of memory. */
static bool measured_init(measured *m, const wf_plan *p, const json_t *runs, json_int_t plan)
{
    const size_t n = json_array_size(runs);
    *m = (measured){.number = wf_zalloc_array(n + 1, sizeof *m->number)};
    for (size_t i = 0; i < n && m->number; i++) {
        const json_t *of = json_object_get(json_array_get(runs, i), "plan");
        m->number[i] = json_integer_value(of) == plan ? m->n_runs++ : -1;
    }
    const size_t cells = (size_t)m->n_runs * (size_t)p->n_tasks + 1;
    m->seconds = wf_zalloc_array(cells, sizeof *m->seconds);
    m->tiles = wf_zalloc_array((size_t)m->n_runs + 1, sizeof *m->tiles);
    return m->number && m->seconds && m->tiles;
}

static void add_slices(measured *m, const wf_plan *p, const json_t *events, size_t n_runs)
{
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *e = json_array_get(events, i), *args = json_object_get(e, "args");
        const json_t *run = json_object_get(args, "run"), *task = json_object_get(args, "task");
        if (!json_is_integer(run) || !json_is_integer(task))
            continue;
        const json_int_t r = json_integer_value(run), t = json_integer_value(task);
        if (r < 0 || (size_t)r >= n_runs || t < 0 || t >= p->n_tasks || m->number[r] < 0)
            continue;
        const int at = m->number[r];
        m->seconds[(size_t)at * (size_t)p->n_tasks + (size_t)t] +=
            1e-6 * json_number_value(json_object_get(e, "dur"));
        m->tiles[at]++;
    }
}

typedef struct line {
    int task;
    double predicted, measured;
} line;

static int longest_first(const void *a, const void *b)
{
    const line *x = a, *y = b;
    return (y->measured > x->measured) - (y->measured < x->measured);
}

static void print_lines(const wf_plan *p, const wf_forecast *f, line *lines, int runs, FILE *out)
{
    double predicted = 0, took = 0;
    int far = 0;
    for (int i = 0; i < p->n_tasks; i++) {
        predicted += lines[i].predicted;
        took += lines[i].measured;
    }
    const double scale = predicted > 0 && took > 0 ? took / predicted : 1;
    qsort(lines, (size_t)p->n_tasks, sizeof *lines, longest_first);
    fprintf(
        out,
        "measured: %.3f ms of all workers, expected %.3f ms, %.2fx; medians of %d runs\n"
        "(off: measured by expected, after the expected times are scaled by that factor; * off by "
        "more than %.0fx)\n\n%10s %10s %7s   %10s %9s  op, module, kernel\n",
        took * 1e3, predicted * 1e3, scale, runs, FAR, "measured", "expected", "off", "MFLOP",
        "MB");
    for (int i = 0; i < p->n_tasks; i++) {
        const line *l = &lines[i];
        const wf_task *t = p->tasks[l->task];
        const double off = l->predicted > 0 ? l->measured / (l->predicted * scale) : 0;
        const bool mark = off > FAR || off < 1 / FAR;
        far += mark;
        fprintf(out, "%7.3f ms %7.3f ms %6.2fx %s %10.2f %9.2f  %s %s %s\n", l->measured * 1e3,
                l->predicted * 1e3, off, mark ? "*" : " ", f[l->task].flops * 1e-6,
                f[l->task].dram * 1e-6, t->op ? t->op->name : "store", t->path, t->kernel);
    }
    fprintf(out, "%d of %d tasks are off by more than %.0fx\n", far, p->n_tasks, FAR);
}

static weft_status tell(const wf_plan *p, const measured *m, const char *path, FILE *out)
{
    int64_t tiles = 0;
    for (int i = 0; i < p->n_tasks; i++)
        tiles += p->tasks[i]->tiles;
    wf_forecast *f = wf_zalloc_array((size_t)p->n_tasks + 1, sizeof *f);
    line *lines = wf_zalloc_array((size_t)p->n_tasks + 1, sizeof *lines);
    double *times = wf_zalloc_array((size_t)m->n_runs + 1, sizeof *times);
    weft_status status = f && lines && times && wf_forecast_plan(p, f)
                             ? WEFT_OK
                             : wf_nomem(&p->ctx->error, 0, "the text of weft_explain");
    int whole = 0;
    for (int r = 0; r < m->n_runs && status == WEFT_OK; r++)
        whole += m->tiles[r] == tiles;
    if (status == WEFT_OK && whole == 0)
        status =
            wf_fail(p->ctx, WEFT_ERR_FORMAT, "explain: %s has no whole run of this plan", path);
    int64_t n = 0;
    for (int t = 0; t < p->n_tasks && status == WEFT_OK; t++) {
        n = 0;
        for (int r = 0, seen = 0; r < m->n_runs; r++)
            if (m->tiles[r] == tiles && (seen++ > 0 || whole == 1))
                times[n++] = m->seconds[(size_t)r * (size_t)p->n_tasks + (size_t)t];
        lines[t] = (line){t, f[t].seconds, wf_median(times, n)};
    }
    if (status == WEFT_OK)
        print_lines(p, f, lines, (int)n, out);
    wf_free(f);
    wf_free(lines);
    wf_free(times);
    return status;
}

weft_status wf_explain_measured(const wf_plan *p, const char *path, FILE *out)
{
    json_t *file = wf_json_load_file(path);
    if (!file)
        return wf_fail(p->ctx, WEFT_ERR_IO, "explain: %s cannot be read as a timeline (--trace)",
                       path);
    const json_t *weft = json_object_get(file, "weft"), *runs = json_object_get(weft, "runs");
    const json_int_t plan = find_plan(p, weft);
    measured m = {0};
    weft_status status = WEFT_OK;
    if (plan < 0)
        status =
            wf_fail(p->ctx, WEFT_ERR_FORMAT,
                    "explain: %s has no plan of these %d tasks: expected a timeline of the same "
                    "model, batch and options",
                    path, p->n_tasks);
    else if (!measured_init(&m, p, runs, plan))
        status = wf_nomem(&p->ctx->error, 0, "the text of weft_explain");
    if (status == WEFT_OK) {
        add_slices(&m, p, json_object_get(file, "traceEvents"), json_array_size(runs));
        status = tell(p, &m, path, out);
    }
    measured_done(&m);
    json_decref(file);
    return status;
}
