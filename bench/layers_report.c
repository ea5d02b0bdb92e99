/* What layers' measurements come to, as text, CSV and JSON; see layers.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/layers.h"
#include "engine/base/error.h"
#include "engine/files/atomic_file.h"

#define LONG_SECONDS 5e-3 /* from which on a layer must scale */

/* ---- a step ---- */

/* The end of the network that begins at row `first`. */
static int network_end(const bench_layers *l, int first)
{
    int end = first;
    while (end < l->n && strcmp(l->row[end].network, l->row[first].network) == 0)
        end++;
    return end;
}

void bench_layers_share(bench_layers *l)
{
    for (int first = 0, end; first < l->n; first = end) {
        double sum = 0;
        end = network_end(l, first);
        for (int i = first; i < end; i++)
            sum += l->row[i].chosen ? l->row[i].count * l->row[i].seconds : 0;
        for (int i = first; i < end; i++)
            l->row[i].step_share = l->row[i].count * l->row[i].seconds / sum;
    }
}

/* ---- summaries ---- */

typedef struct sums {
    double log_ratio, log_behind, ours, theirs;
} sums;

static void add_row(bench_summary *s, sums *sum, const bench_row *r, int threads)
{
    s->layers++;
    s->share += r->step_share;
    sum->log_behind += log(r->behind);
    if (r->behind > s->worst) {
        s->worst = r->behind;
        s->worst_layer = r->layer;
        s->worst_pass = r->pass;
    }
    if (r->ratio > 0) {
        s->compared++;
        s->below += r->ratio < 0.95;
        sum->log_ratio += log(r->ratio);
        sum->ours += r->count * r->seconds;
        sum->theirs += r->count * r->seconds * r->ratio;
        if (s->compared == 1 || r->ratio < s->lowest) {
            s->lowest = r->ratio;
            s->lowest_layer = r->layer;
            s->lowest_pass = r->pass;
        }
    }
    if (r->one_thread > LONG_SECONDS) {
        double scaling = r->one_thread / r->seconds;
        s->least_scaling =
            s->scaled == 0 || scaling < s->least_scaling ? scaling : s->least_scaling;
        s->scaled++;
        s->scaled_enough += scaling >= 0.95 * threads;
    }
}

int bench_layers_summarise(const bench_layers *l, int threads, bench_summary *s, int most)
{
    int n = 0;
    for (int first = 0, end; first < l->n; first = end) {
        end = network_end(l, first);
        for (int pass = 0; pass <= 3 && n < most; pass++) {
            bench_summary one = {.network = l->row[first].network, .pass = pass};
            sums sum = {0};
            for (int i = first; i < end; i++)
                if (l->row[i].chosen && (pass == 3 || (int)l->row[i].pass == pass))
                    add_row(&one, &sum, &l->row[i], threads);
            if (one.layers == 0)
                continue;
            one.geomean = one.compared ? exp(sum.log_ratio / one.compared) : 0;
            one.by_time = one.compared ? sum.theirs / sum.ours : 0;
            one.behind = exp(sum.log_behind / one.layers);
            s[n++] = one;
        }
    }
    return n;
}

static const char *pass_name(int pass)
{
    return pass == 3 ? "all" : wf_conv2d_pass_name((wf_conv2d_pass)pass);
}

/* ---- text ---- */

void bench_layers_print(const bench_row *rows, int n)
{
    for (int i = 0; i < n; i++) {
        const bench_row *r = &rows[i];
        printf("%-36s %-16s %-24s %9.3f ms %8.1f GFLOP/s %6.1f %%", r->layer,
               wf_conv2d_pass_name(r->pass),
               !r->yardstick                         ? r->kernel
               : strcmp(r->impl, "onednn-best") == 0 ? "oneDNN's best"
                                                     : "oneDNN, no Winograd",
               1e3 * r->seconds, r->flops / r->seconds * 1e-9, 100 * r->share);
        if (r->expected_share > 0)
            printf("  expected %6.1f %%", 100 * r->expected_share);
        if (r->ratio > 0 && r->expected_share > 0)
            printf("  %5.2fx", r->ratio);
        if (r->one_thread > 0)
            printf("  %4.2fx of one thread", r->one_thread / r->seconds);
        printf("%s\n", r->chosen ? "  chosen" : "");
    }
    fflush(stdout);
}

const char *bench_layers_against(bool no_winograd)
{
    return no_winograd ? "oneDNN without Winograd" : "oneDNN's best";
}

/* The end of the layer whose rows begin at `first`. */
static int layer_end(const bench_layers *l, int first)
{
    int end = first;
    while (end < l->n && strcmp(l->row[end].network, l->row[first].network) == 0 &&
           strcmp(l->row[end].layer, l->row[first].layer) == 0)
        end++;
    return end;
}

static void print_layer_shares(const bench_row *rows, int n, FILE *out)
{
    double pass[3] = {0}, all = 0, ours = 0, theirs = 0;
    for (int i = 0; i < n; i++) {
        if (!rows[i].chosen)
            continue;
        pass[rows[i].pass] += rows[i].step_share;
        all += rows[i].step_share;
        ours += rows[i].ratio > 0 ? rows[i].seconds : 0;
        theirs += rows[i].ratio * rows[i].seconds;
    }
    fprintf(out, "%-40s %4d  ", rows->layer, rows->count);
    for (int i = 0; i < 3; i++)
        fprintf(out, pass[i] > 0 ? " %6.2f" : "      -", 100 * pass[i]);
    fprintf(out, "  %6.2f", 100 * all);
    fprintf(out, ours > 0 ? "  %5.2fx\n" : "       -\n", theirs / ours);
}

void bench_layers_print_shares(const bench_layers *l, FILE *out)
{
    const char *network = "";
    for (int first = 0, end; first < l->n; first = end) {
        end = layer_end(l, first);
        if (strcmp(network, l->row[first].network) != 0) {
            network = l->row[first].network;
            fprintf(out, "\n%-40s %4s   %6s %6s %6s  %6s  %6s\n", network, "times", "fwd %",
                    "data %", "wei. %", "step %", "ratio");
        }
        print_layer_shares(&l->row[first], end - first, out);
    }
}

void bench_layers_print_summary(const bench_summary *s, int n, const bench_layers_spec *spec,
                                FILE *out)
{
    fprintf(out,
            "\nchosen kernels by %s; by time: a step's convolutions, each as often as it occurs\n",
            bench_layers_against(spec->no_winograd));
    fprintf(out, "%-22s  %-16s %6s %7s %7s  %-44s %5s  %s\n", "network", "pass", "step %",
            "by time", "geomean", "lowest", "<0.95",
            "untuned choice behind the fastest: geomean, worst");
    for (int i = 0; i < n; i++) {
        char lowest[96] = "-", worst[96];
        if (s[i].compared)
            snprintf(lowest, sizeof lowest, "%.2f %s%s%s", s[i].lowest, s[i].lowest_layer,
                     s[i].pass == 3 ? " " : "", s[i].pass == 3 ? pass_name(s[i].lowest_pass) : "");
        snprintf(worst, sizeof worst, "%.0f %% %s%s%s", 100 * (s[i].worst - 1), s[i].worst_layer,
                 s[i].pass == 3 ? " " : "", s[i].pass == 3 ? pass_name(s[i].worst_pass) : "");
        fprintf(out, "%-22s  %-16s %6.1f %7.2f %7.2f  %-44s %2d/%-2d  %.1f %%, %s\n", s[i].network,
                pass_name(s[i].pass), 100 * s[i].share, s[i].by_time, s[i].geomean, lowest,
                s[i].below, s[i].compared, 100 * (s[i].behind - 1), worst);
        if (spec->scaling && s[i].scaled)
            fprintf(out,
                    "%-22s  %-16s all threads by one, layers above 5 ms: least %.2fx, %d of %d "
                    "reach 0.95 of the threads\n",
                    "", "", s[i].least_scaling, s[i].scaled_enough, s[i].scaled);
    }
}

/* ---- CSV and JSON ---- */

static void csv_text(FILE *f, const char *text)
{
    fputc('"', f);
    for (; *text; text++)
        fprintf(f, *text == '"' ? "\"\"" : "%c", *text);
    fputs("\",", f);
}

weft_status bench_layers_write_csv(const bench_layers *l, const char *path, weft_error *err)
{
    const bool to_stdout = strcmp(path, "-") == 0;
    wf_atomic_file *file = NULL;
    if (!to_stdout)
        WF_TRY(wf_atomic_create(path, &file, err));
    FILE *f = to_stdout ? stdout : wf_atomic_stream(file);
    fputs("network,layer,pass,implementation,kernel,ms,gflops,peak_percent,expected_percent,chosen,"
          "ratio_to_onednn_best,one_thread_ms,count,step_percent\n",
          f);
    for (int i = 0; i < l->n; i++) {
        const bench_row *r = &l->row[i];
        csv_text(f, r->network);
        csv_text(f, r->layer);
        fprintf(f, "%s,%s,%s,%.6f,%.3f,%.2f,", wf_conv2d_pass_name(r->pass), r->impl, r->kernel,
                1e3 * r->seconds, r->flops / r->seconds * 1e-9, 100 * r->share);
        if (r->expected_share > 0)
            fprintf(f, "%.2f", 100 * r->expected_share);
        fprintf(f, ",%d,", r->chosen);
        if (r->ratio > 0)
            fprintf(f, "%.4f", r->ratio);
        fputc(',', f);
        if (r->one_thread > 0)
            fprintf(f, "%.6f", 1e3 * r->one_thread);
        fprintf(f, ",%d,%.4f\n", r->count, 100 * r->step_share);
    }
    if (file)
        return wf_atomic_commit(file, err);
    return fflush(f) ? wf_error_set(err, WEFT_ERR_IO, "cannot write to stdout") : WEFT_OK;
}

static json_t *number(double x)
{
    return x > 0 ? json_real(x) : json_null();
}

json_t *bench_layers_json(const bench_layers *l, const bench_summary *s, int n_summaries)
{
    json_t *rows = json_array(), *summaries = json_array();
    for (int i = 0; i < l->n; i++) {
        const bench_row *r = &l->row[i];
        json_array_append_new(
            rows,
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:f, s:f, s:f, s:o, s:b, s:o, s:o, s:i, s:f}",
                      "network", r->network, "layer", r->layer, "pass",
                      wf_conv2d_pass_name(r->pass), "implementation", r->impl, "kernel", r->kernel,
                      "ms", 1e3 * r->seconds, "gflops", r->flops / r->seconds * 1e-9,
                      "peak_percent", 100 * r->share, "expected_percent",
                      number(100 * r->expected_share), "chosen", r->chosen, "ratio_to_onednn_best",
                      number(r->ratio), "one_thread_ms", number(1e3 * r->one_thread), "count",
                      r->count, "step_percent", 100 * r->step_share));
    }
    for (int i = 0; i < n_summaries; i++)
        json_array_append_new(
            summaries,
            json_pack(
                "{s:s, s:s, s:i, s:i, s:f, s:o, s:o, s:o, s:s?, s:i, s:f, s:f, s:s, s:i, s:i, "
                "s:o}",
                "network", s[i].network, "pass", pass_name(s[i].pass), "layers", s[i].layers,
                "compared", s[i].compared, "step_percent", 100 * s[i].share, "by_time",
                number(s[i].by_time), "geomean", number(s[i].geomean), "lowest",
                number(s[i].lowest), "lowest_layer", s[i].lowest_layer, "below_0.95", s[i].below,
                "untuned_behind_geomean", s[i].behind, "untuned_behind_worst", s[i].worst,
                "untuned_worst_layer", s[i].worst_layer, "layers_above_5ms", s[i].scaled,
                "of_these_scaling", s[i].scaled_enough, "least_scaling",
                number(s[i].least_scaling)));
    return json_pack("{s:o, s:o}", "rows", rows, "summary", summaries);
}
