/* The plan as pictures: its task groups for Graphviz, and the memory that they hold as SVG.
 *
 * Stateless. The caller sets the C locale. */
#include <stdio.h>

#include "engine/base/alloc.h"
#include "engine/step/explain.h"

/* ---- Graphviz -------------------------------------------------------------------------------- */

/* A text inside a quoted string of Graphviz's: module paths and names may hold anything. */
static void put_quoted(const char *text, FILE *out)
{
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fputc('\\', out);
        fputc((unsigned char)*c < ' ' ? '?' : *c, out);
    }
}

static void put_node(const wf_plan *p, const wf_forecast *f, int position, FILE *out)
{
    const wf_task_group *g = &p->groups[p->order[position]];
    if (g->barrier) {
        fprintf(out, "  g%d [label=\"commit\", shape=hexagon];\n", position);
        return;
    }
    wf_forecast sum = {0};
    for (int i = 0; i < g->n_tasks; i++) {
        sum.flops += f[g->tasks[i]].flops;
        sum.dram += f[g->tasks[i]].dram;
        sum.seconds += f[g->tasks[i]].seconds;
    }
    fprintf(out, "  g%d [label=\"%d: %lld tiles\\l", position, position, (long long)g->tiles);
    for (int i = 0; i < g->n_tasks; i++) {
        const wf_task *t = p->tasks[g->tasks[i]];
        put_quoted(t->op ? t->op->name : "store", out);
        fputs(" ", out);
        put_quoted(t->path, out);
        fputs("\\l", out);
    }
    fprintf(out, "%.1f MFLOP, %.2f MB, %.3f ms\\l\"%s];\n", sum.flops * 1e-6, sum.dram * 1e-6,
            sum.seconds * 1e3,
            g->commit   ? ", style=filled, fillcolor=lightgrey"
            : g->copies ? ", style=dashed"
                        : "");
}

weft_status wf_explain_dot(const wf_plan *p, FILE *out)
{
    wf_forecast *f = wf_zalloc_array((size_t)p->n_tasks + 1, sizeof *f);
    int *position = wf_zalloc_array((size_t)p->n_groups + 1, sizeof *position);
    const bool good = f && position && wf_forecast_plan(p, f);
    for (int i = 0; i < p->n_groups && good; i++)
        position[p->order[i]] = i;
    if (good) {
        fputs("digraph plan {\n  node [shape=box, fontname=\"monospace\", fontsize=9];\n", out);
        for (int i = 0; i < p->n_groups; i++)
            put_node(p, f, i, out);
        for (int i = 0; i < p->n_groups; i++) {
            const wf_task_group *g = &p->groups[p->order[i]];
            for (int s = 0; s < g->n_succ; s++)
                fprintf(out, "  g%d -> g%d;\n", i, position[g->succ[s]]);
        }
        fputs("}\n", out);
    }
    wf_free(f);
    wf_free(position);
    return good ? WEFT_OK : wf_nomem(&p->ctx->error, 0, "the text of weft_explain");
}

/* ---- memory over time ------------------------------------------------------------------------ */

enum { WIDTH = 900, HEIGHT = 320, LEFT = 70, TOP = 30, BOTTOM = 40 };

/* Bytes of the arena that are in use while each group runs. */
static void held_bytes(const wf_plan *p, double *held)
{
    for (int b = 0; b < p->n_buffers; b++) {
        const wf_buffer *buf = &p->buffers[b];
        if (buf->bound || buf->whole >= 0 || buf->first < 0)
            continue;
        held[buf->first] += (double)buf->bytes;
        held[buf->last + 1] -= (double)buf->bytes;
    }
    for (int i = 0; i < p->n_groups; i++)
        held[i + 1] += held[i];
}

static void put_plot(const wf_plan *p, const double *held, const double *start, FILE *out)
{
    const double end = start[p->n_groups] > 0 ? start[p->n_groups] : 1;
    const double most = p->arena_bytes > 0 ? (double)p->arena_bytes : 1;
    const double x_scale = (WIDTH - LEFT - 10) / end, y_scale = (HEIGHT - TOP - BOTTOM) / most;
    const double floor = HEIGHT - BOTTOM;
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n",
            WIDTH, HEIGHT);
    fprintf(out, "<title>Memory of activations while the step runs</title>\n");
    fprintf(out, "<path fill=\"#9ecae1\" stroke=\"#3182bd\" d=\"M%d %.1f", LEFT, floor);
    for (int i = 0; i < p->n_groups; i++)
        fprintf(out, "L%.1f %.1fL%.1f %.1f", LEFT + start[i] * x_scale, floor - held[i] * y_scale,
                LEFT + start[i + 1] * x_scale, floor - held[i] * y_scale);
    fprintf(out, "L%.1f %.1fZ\"/>\n", LEFT + end * x_scale, floor);
    fprintf(out, "<path stroke=\"#888\" stroke-dasharray=\"4\" d=\"M%d %dH%d\"/>\n", LEFT, TOP,
            WIDTH - 10);
    fprintf(out, "<text x=\"%d\" y=\"%d\">arena: %.2f MiB</text>\n", LEFT, TOP - 8,
            most / (1024.0 * 1024.0));
    fprintf(out, "<text x=\"%d\" y=\"%d\">0</text>\n", LEFT, HEIGHT - BOTTOM + 16);
    fprintf(out,
            "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%.1f ms expected on one core, %d task "
            "groups in order</text>\n</svg>\n",
            WIDTH - 10, HEIGHT - BOTTOM + 16, end * 1e3, p->n_groups);
}

weft_status wf_explain_memory(const wf_plan *p, FILE *out)
{
    const size_t n = (size_t)p->n_groups + 2;
    wf_forecast *f = wf_zalloc_array((size_t)p->n_tasks + 1, sizeof *f);
    double *held = wf_zalloc_array(n, sizeof *held), *start = wf_zalloc_array(n, sizeof *start);
    const bool good = f && held && start && wf_forecast_plan(p, f);
    for (int i = 0; i < p->n_groups && good; i++) {
        const wf_task_group *g = &p->groups[p->order[i]];
        start[i + 1] = start[i];
        for (int t = 0; t < g->n_tasks; t++)
            start[i + 1] += f[g->tasks[t]].seconds;
    }
    if (good) {
        held_bytes(p, held);
        put_plot(p, held, start, out);
    }
    wf_free(f);
    wf_free(held);
    wf_free(start);
    return good ? WEFT_OK : wf_nomem(&p->ctx->error, 0, "the text of weft_explain");
}
