/* The plan as text: task groups in linear order, with their tasks, kernels, tiles, layouts and
 * offsets. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/alloc.h"
#include "engine/base/c_locale.h"
#include "engine/base/quote.h"
#include "engine/files/json_text.h"
#include "engine/step/execute.h"
#include "engine/step/explain.h"
#include "kernels/select.h"
#include "weft/tune.h"

/* Prints how many kernels wisdom chose and how many expected cost chose, and which wisdom it
 * was. */
static weft_status print_wisdom(const wf_plan *p, FILE *out)
{
    int chosen = 0, by_wisdom = 0;
    weft_wisdom_info info;
    WF_TRY(weft_wisdom_get_info(p->ctx, &info));
    for (int i = 0; i < p->n_tasks; i++) {
        chosen += p->tasks[i]->cycles > 0;
        by_wisdom += p->tasks[i]->by_wisdom;
    }
    fprintf(out, "kernels: %d chosen by expected cost, %d by wisdom", chosen - by_wisdom,
            by_wisdom);
    if (info.choices) {
        fprintf(out, " (%d choices%s", info.choices, info.path ? " in " : "");
        wf_print_quoted(info.path ? info.path : "", out);
        fprintf(out, ", hash %s)", info.hash);
    }
    fputc('\n', out);
    return WEFT_OK;
}

static double mib(size_t bytes)
{
    return (double)bytes / (1024.0 * 1024.0);
}

/* Prints what the backward pass computes a second time. */
static void print_recompute(const wf_plan *p, FILE *out)
{
    int values = 0, nodes = 0, segments = 0;
    double flops = 0;
    for (int n = 0; n < p->n_nodes; n++) {
        values += p->nodes[n].copy;
        nodes += p->nodes[n].again;
        if (p->nodes[n].again && p->nodes[n].segment > segments)
            segments = p->nodes[n].segment;
    }
    for (int t = 0; t < p->n_tasks; t++)
        if (p->tasks[t]->node >= 0 && p->nodes[p->tasks[t]->node].again)
            flops += p->tasks[t]->flops;
    fprintf(out, "recompute: %d cheap ops again", values);
    if (nodes > 0)
        fprintf(out, "; %d ops of %d segments again, %.3f GFLOP", nodes, segments, flops * 1e-9);
    fputc('\n', out);
}

static void print_buffer(const wf_plan *p, int b, FILE *out)
{
    const wf_buffer *buf = &p->buffers[b];
    char shape[128] = "temporary", place[64];
    const char *layout = "";
    char block[32] = "";
    if (buf->value >= 0) {
        const wf_ir_value *v = &p->values[buf->value];
        weft_shape_format(v->type.shape, shape, sizeof shape);
        if (v->type.shape.rank == 4 && v->block > 1) {
            snprintf(block, sizeof block, " nChw%dc", v->block);
            layout = block;
        } else if (v->type.shape.rank == 4) {
            layout = " nchw";
        }
    }
    if (buf->whole >= 0)
        snprintf(place, sizeof place, "in buffer %d at %zu of each image", buf->whole, buf->at);
    else if (buf->bound)
        snprintf(place, sizeof place, "stored");
    else if (buf->over >= 0)
        snprintf(place, sizeof place, "in the place of buffer %d", buf->over);
    else if (buf->local)
        snprintf(place, sizeof place, "per worker at %zu", buf->offset);
    else
        snprintf(place, sizeof place, "arena at %zu", buf->offset);
    fprintf(out, "  %5d  %-9s %s%s, %zu bytes, %s, groups %d..%d\n", b,
            buf->value >= 0 ? weft_dtype_name(p->values[buf->value].storage) : "bytes", shape,
            layout, (size_t)buf->images * buf->stride, place, buf->first, buf->last);
}

static void print_task(const wf_plan *p, const wf_task *t, const wf_forecast *f, FILE *out)
{
    fprintf(out, "         %-24s %-22s", t->op ? t->op->name : "store", t->kernel);
    fprintf(out, " %8.2f MFLOP %8.2f MB %8.3f ms ", f->flops * 1e-6, f->dram * 1e-6,
            f->seconds * 1e3);
    if (t->cycles > 0)
        fprintf(out, " %3.0f %% of peak%s ",
                100 * t->flops / 2 / (t->cycles * wf_peak_fmas(p->ctx->isa)),
                t->by_wisdom ? " by wisdom" : "");
    if (f->converting > 0)
        fprintf(out, " (conversions %.3f ms) ", f->converting * 1e3);
    for (const wf_use *u = t->uses; u; u = u->next)
        fprintf(out, " %s%d%s", u->write ? ">" : "<", u->buf, u->access == WF_TILED ? "t" : "");
    fprintf(out, "%s%s\n", *t->path ? "  " : "", t->path);
}

weft_status wf_explain_text(const wf_plan *p, FILE *out)
{
    double flops = 0, dram = 0, seconds = 0;
    wf_forecast *f = wf_zalloc_array((size_t)p->n_tasks + 1, sizeof *f);
    if (!f || !wf_forecast_plan(p, f)) {
        wf_free(f);
        return wf_nomem(&p->ctx->error, 0, "the text of weft_explain");
    }
    for (int i = 0; i < p->n_tasks; i++) {
        flops += f[i].flops;
        dram += f[i].dram;
        seconds += f[i].seconds;
    }
    fprintf(out, "plan: %d tasks in %d task groups, %.3f GFLOP, isa %s, %d threads\n", p->n_tasks,
            p->n_groups, flops * 1e-9, weft_isa_name(p->ctx->isa), p->ctx->threads);
    fprintf(out, "memory: arena %.2f MiB (%.2f MiB without sharing), workspace %.2f MiB a worker\n",
            mib(p->arena_bytes), mib(p->unshared_bytes), mib(p->scratch_bytes));
    print_recompute(p, out);
    fprintf(out,
            "expected: %.2f MB from and to memory, %.3f ms on one core of the reference machine\n",
            dram * 1e-6, seconds * 1e3);
    weft_status status = print_wisdom(p, out);
    if (status == WEFT_OK)
        status = wf_explain_types(p, f, out);
    fprintf(
        out,
        "\ntask groups, in the order in which one worker would take them (a group runs its tasks tile "
        "by tile; MB are expected from and to memory, ms on one core; %% of peak is what a kernel "
        "expects; <n reads and >n writes buffer n, t: tile by "
        "tile)\n");
    for (int i = 0; i < p->n_groups; i++) {
        const wf_task_group *u = &p->groups[p->order[i]];
        if (u->barrier) {
            fprintf(out,
                    "  %5d  ---- commit: weights, optimizer state and statistics change after "
                    "this ----\n",
                    i);
            continue;
        }
        fprintf(out, "  %5d  %lld tile%s, priority %.1f us\n", i, (long long)u->tiles,
                u->tiles == 1 ? "" : "s", u->priority * 1e6);
        for (int t = 0; t < u->n_tasks; t++)
            print_task(p, p->tasks[u->tasks[t]], &f[u->tasks[t]], out);
    }
    wf_free(f);
    fprintf(out, "\nbuffers\n");
    for (int b = 0; b < p->n_buffers; b++)
        if (p->buffers[wf_buffer_whole(p, b)].first >= 0)
            print_buffer(p, b, out);
    return status;
}

/* One line. */
static weft_status explain_json(const wf_plan *p, FILE *out)
{
    json_t *json = wf_plan_json(p);
    char *text =
        json ? wf_json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9))
             : NULL;
    if (text)
        fprintf(out, "%s\n", text);
    json_decref(json);
    free(text);
    return text ? WEFT_OK : wf_nomem(&p->ctx->error, 0, "the text of weft_explain");
}

static weft_status explain(const wf_plan *p, const weft_explain_opts *opts, FILE *out)
{
    weft_status status = WEFT_OK;
    if (opts->measured)
        status = wf_explain_measured(p, opts->measured, out);
    else
        switch (opts->form) {
        case WEFT_EXPLAIN_TEXT: status = wf_explain_text(p, out); break;
        case WEFT_EXPLAIN_DOT: status = wf_explain_dot(p, out); break;
        case WEFT_EXPLAIN_MEMORY: status = wf_explain_memory(p, out); break;
        case WEFT_EXPLAIN_JSON: status = explain_json(p, out); break;
        }
    if (status == WEFT_OK && ferror(out))
        return wf_fail(p->ctx, WEFT_ERR_IO, "explain: cannot write");
    return status;
}

weft_status weft_explain(weft_context *ctx, FILE *out)
{
    return weft_explain_with(ctx, NULL, out);
}

weft_status weft_explain_with(weft_context *ctx, const weft_explain_opts *opts, FILE *out)
{
    static const weft_explain_opts text = {WEFT_EXPLAIN_TEXT, NULL};
    opts = opts ? opts : &text;
    if (!ctx)
        return wf_no_context("explain_with");
    if (!out || ctx->closed)
        return wf_fail(ctx, out ? WEFT_ERR_STATE : WEFT_ERR_INVALID, "explain: %s",
                       out ? "the context was destroyed" : "there is no file to write to");
    if (opts->form < WEFT_EXPLAIN_TEXT || opts->form > WEFT_EXPLAIN_JSON ||
        (opts->measured && opts->form != WEFT_EXPLAIN_TEXT))
        return wf_fail(ctx, WEFT_ERR_INVALID, "explain: %s",
                       opts->measured ? "what was measured is shown as text only"
                                      : "the form is no value of weft_explain_form");
    wf_plan *plan = NULL;
    weft_status status = wf_plan_of_recorded(ctx, &plan);
    wf_c_locale locale;
    if (status == WEFT_OK && !wf_c_locale_begin(&locale))
        status = wf_nomem(&ctx->error, 0, "the text of weft_explain");
    if (status == WEFT_OK) {
        status = explain(plan, opts, out);
        wf_c_locale_end(&locale);
    }
    wf_plan_destroy(plan);
    return status;
}
