/* The page: its head, headline figures, curves, and how it was made. See page.h. */
#include "train/report/page.h"

#include <math.h>
#include <string.h>

#include "engine/base/error.h"
#include "engine/base/alloc.h"
#include "train/report/evaluation.h"
#include "train/report/figures.h"
#include "train/report/markup.h"
#include "train/report/page_parts.h"
#include "train/report/plot.h"
#include "weft/context.h"

static const json_t *option(const wf_page *page, const char *name)
{
    return json_object_get(json_object_get(page->config, "options"), name);
}

static const char *option_text(const wf_page *page, const char *name)
{
    return json_is_string(option(page, name)) ? json_string_value(option(page, name)) : "";
}

char *wf_page_title(const wf_page *page)
{
    const char *model = option_text(page, "model"), *data = option_text(page, "data-path");
    size_t n = strlen(data);
    while (n > 1 && data[n - 1] == '/')
        n--;
    size_t from = n;
    while (from > 0 && data[from - 1] != '/')
        from--;
    return wf_asprintf("%s%s%.*s", *model ? model : "A model", n > from ? " on " : "",
                       (int)(n - from), data + from);
}

/* ---- the head -------------------------------------------------------------------------------- */

void wf_page_begin(FILE *out, const char *title)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<meta name=\"color-scheme\" content=\"light dark\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
          "img-src data:; style-src 'unsafe-inline'\">\n<title>",
          out);
    wf_markup_text(out, title);
    fprintf(out, "</title>\n<style>\n%s%s</style>\n</head>\n<body>\n<main>\n", wf_plot_style,
            wf_page_style);
}

void wf_page_end(FILE *out)
{
    fprintf(out, "<footer>Written by Weft %s.</footer>\n</main>\n</body>\n</html>\n",
            weft_version());
}

static void write_subtitle(FILE *out, const wf_page *page)
{
    const wf_history *h = page->history;
    const char *started = wf_json_string(page->config, "started");
    fputs("<p class=\"mute\">", out);
    fputs(page->run ? "Weft training run" : "Weft evaluation", out);
    if (*started) {
        fputs(", started ", out);
        wf_markup_text(out, started);
    }
    if (page->run && h && h->n_epochs) {
        fprintf(out, ", %.0f epoch%s in ", h->epochs[h->n_epochs - 1].epoch,
                h->epochs[h->n_epochs - 1].epoch == 1 ? "" : "s");
        wf_markup_duration(out, h->epochs[h->n_epochs - 1].seconds);
    }
    fputs("</p>\n", out);
}

/* Writes warnings that a reader must know before believing the rest. */
static void write_warnings(FILE *out, const wf_page *page)
{
    const wf_history *h = page->history;
    double nan_images = wf_json_value(page->evaluation, "nan_images");
    if (page->run && h && strcmp(h->status, "finished") != 0) {
        fputs("<p class=\"warn\" role=\"note\">", out);
        if (*h->status) {
            fputs("This run did not finish: it ", out);
            fputs(strcmp(h->status, "interrupted") == 0 ? "was interrupted" : "failed", out);
            fputs(" (", out);
            wf_markup_text(out, h->message);
            fputs("). ", out);
        } else {
            fputs("The log has no end: this run is still going on, or was killed. ", out);
        }
        fputs("Below is what there was until then.</p>\n", out);
    }
    if (json_is_true(json_object_get(json_object_get(page->evaluation, "data"), "only_split")))
        fputs("<p class=\"warn\" role=\"note\">The data have one split: the test images are the "
              "training images.</p>\n",
              out);
    if (nan_images > 0) {
        fputs("<p class=\"warn\" role=\"note\">The model's outputs for ", out);
        wf_markup_count(out, nan_images);
        fputs(" images hold a NaN. They count as wrong, and the mean loss is NaN.</p>\n", out);
    }
}

static void write_tile(FILE *out, const char *name, double value, int decimals, const char *unit,
                       const char *note)
{
    fprintf(out, "<div><dt>%s</dt><dd>", name);
    if (decimals < 0)
        wf_markup_count(out, value);
    else
        wf_markup_fixed(out, value, decimals);
    fprintf(out, "%s", isfinite(value) ? unit : "");
    if (*note)
        fprintf(out, "<small>%s</small>", note);
    fputs("</dd></div>\n", out);
}

static void write_tiles(FILE *out, const wf_page *page)
{
    const json_t *e = page->evaluation;
    const wf_history *h = page->history;
    int best = page->run && h ? wf_best_epoch(h) : -1;
    const wf_history_epoch *last =
        page->run && h && h->n_epochs ? &h->epochs[h->n_epochs - 1] : NULL;
    char after[64] = "";
    if (page->run && isfinite(wf_json_value(e, "epoch")))
        snprintf(after, sizeof(after), "after epoch %.0f", wf_json_value(e, "epoch"));
    const bool validation = wf_evaluation_of_validation(e);
    fputs("<dl class=\"tiles\">\n", out);
    if (e) {
        write_tile(out, validation ? "Validation top-1" : "Test top-1", wf_json_value(e, "acc1"), 2,
                   " %", after);
        if (isfinite(wf_json_value(e, "acc5")))
            write_tile(out, validation ? "Validation top-5" : "Test top-5",
                       wf_json_value(e, "acc5"), 2, " %", after);
        write_tile(out, validation ? "Validation loss" : "Test loss", wf_json_value(e, "loss"), 4,
                   "", after);
    }
    if (best >= 0) {
        snprintf(after, sizeof(after), "epoch %.0f", h->epochs[best].epoch);
        write_tile(out, "Best top-1", h->epochs[best].test_acc1, 2, " %", after);
    }
    if (last && isfinite(last->ema_acc1))
        write_tile(out, "Averages top-1", last->ema_acc1, 2, " %", "last epoch");
    if (last) {
        write_tile(out, "Train loss", last->train_loss, 4, "", "last epoch");
        write_tile(out, "Throughput", last->img_per_s, -1, "", "images/s, last epoch");
    } else if (e) {
        write_tile(out, "Mean F1", wf_json_value(json_object_get(e, "mean"), "f1"), 2, " %",
                   "over the classes");
        write_tile(out, "Images", wf_json_value(e, "images"), -1, "", "");
        write_tile(out, "Speed", wf_json_value(e, "img_per_s"), -1, "", "images/s");
    }
    fputs("</dl>\n", out);
}

/* ---- curves ---------------------------------------------------------------------------------- */

static bool has_averages(const wf_history *h)
{
    for (int i = 0; i < h->n_epochs; i++)
        if (isfinite(h->epochs[i].ema_loss) || isfinite(h->epochs[i].ema_acc1))
            return true;
    return false;
}

static void write_epochs(FILE *out, const wf_history *h)
{
    const char *held_out = h->validation ? "validation" : "test";
    const bool averages = has_averages(h);
    fprintf(out,
            "<details>\n<summary>The numbers, epoch by epoch</summary>\n<table>\n<thead><tr>"
            "<th scope=\"col\" class=\"n\">epoch</th><th scope=\"col\" class=\"n\">train loss</th>"
            "<th scope=\"col\" class=\"n\">train top-1, %%</th><th scope=\"col\" class=\"n\">"
            "%s loss</th><th scope=\"col\" class=\"n\">%s top-1, %%</th>%s<th scope=\"col\" "
            "class=\"n\">learning rate</th><th scope=\"col\" class=\"n\">images/s</th>"
            "<th scope=\"col\" class=\"n\">time</th></tr></thead>\n<tbody>\n",
            held_out, held_out,
            averages ? "<th scope=\"col\" class=\"n\">averages' loss</th><th scope=\"col\" "
                       "class=\"n\">averages' top-1, %</th>"
                     : "");
    for (int i = 0; i < h->n_epochs; i++) {
        const wf_history_epoch *e = &h->epochs[i];
        fprintf(out, "<tr><th scope=\"row\" class=\"n\">%.0f</th>", e->epoch);
        wf_markup_cell(out, e->train_loss, 4);
        wf_markup_cell(out, e->train_acc1, 2);
        wf_markup_cell(out, e->test_loss, 4);
        wf_markup_cell(out, e->test_acc1, 2);
        if (averages) {
            wf_markup_cell(out, e->ema_loss, 4);
            wf_markup_cell(out, e->ema_acc1, 2);
        }
        if (isfinite(e->lr))
            fprintf(out, "<td class=\"n\">%.4g</td>", e->lr);
        else
            wf_markup_cell(out, e->lr, 0);
        wf_markup_cell(out, e->img_per_s, -1);
        fputs("<td class=\"n\">", out);
        wf_markup_duration(out, e->seconds);
        fputs("</td></tr>\n", out);
    }
    fputs("</tbody>\n</table>\n</details>\n", out);
}

static weft_status write_curves(FILE *out, const wf_page *page, weft_error *err)
{
    fprintf(out, "<section>\n<h2>Course of %s</h2>\n<figure>\n",
            page->run ? "training" : "the training run that lies beside the weights");
    WF_TRY(wf_curves_write(out, page->history, "Course of training", false, err));
    fprintf(out,
            "<figcaption>Training figures are means over an epoch, while the weights changed and "
            "the images were augmented; the faint line has those of a few steps each. %s figures "
            "are taken after the epoch.</figcaption>\n</figure>\n",
            page->history->validation ? "Validation" : "Test");
    if (page->history->n_epochs)
        write_epochs(out, page->history);
    fputs("</section>\n", out);
    return WEFT_OK;
}

/* ---- how it was made ------------------------------------------------------------------------- */

static void write_fact(FILE *out, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    fprintf(out, "<tr><th scope=\"row\">%s</th><td>", name);
    wf_markup_text(out, value);
    fputs("</td></tr>\n", out);
}

static void write_data(FILE *out, const wf_page *page)
{
    const json_t *data = json_object_get(page->evaluation, "data");
    write_fact(out, "Data", option_text(page, "data-path"));
    if (!data)
        return;
    fputs("<tr><th scope=\"row\">Evaluated on</th><td>", out);
    wf_markup_text(out, wf_json_string(data, "source"));
    fputs(": ", out);
    wf_markup_count(out, wf_json_value(page->evaluation, "images"));
    fprintf(out, " images of %.0f&#215;%.0f&#215;%.0f</td></tr>\n", wf_json_value(data, "channels"),
            wf_json_value(data, "height"), wf_json_value(data, "width"));
}

static void write_option(FILE *out, const char *name, const json_t *value)
{
    fputs("<div><dt>", out);
    wf_markup_text(out, name);
    fputs("</dt><dd>", out);
    if (json_is_string(value))
        wf_markup_text(out, json_string_value(value));
    else if (json_is_integer(value))
        fprintf(out, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        fprintf(out, "%g", json_real_value(value));
    else
        fputs(json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "&#8211;", out);
    fputs("</dd></div>\n", out);
}

static void write_origin(FILE *out, const wf_page *page)
{
    const json_t *environment = json_object_get(page->config, "environment");
    const json_t *options = json_object_get(page->config, "options"), *value;
    const char *command = wf_json_string(page->config, "command"), *name;
    double threads = wf_json_value(environment, "threads");
    fputs("<section>\n<h2>How it was made</h2>\n", out);
    if (*command) {
        fputs("<pre>", out);
        wf_markup_text(out, command);
        fputs("</pre>\n", out);
    }
    fputs("<table class=\"facts\">\n<tbody>\n", out);
    write_fact(out, "Model", option_text(page, "model"));
    write_fact(out, "Weights", page->weights);
    write_fact(out, "Hash of the weights", page->hash);
    write_data(out, page);
    write_fact(out, "Started", wf_json_string(page->config, "started"));
    if (page->history && page->history->n_resumed > 0)
        fprintf(out, "<tr><th scope=\"row\">Resumed</th><td>%d time%s</td></tr>\n",
                page->history->n_resumed, page->history->n_resumed == 1 ? "" : "s");
    write_fact(out, "Weft", wf_json_string(environment, "weft"));
    write_fact(out, "oneDNN", wf_json_string(environment, "onednn"));
    write_fact(out, "CPU", wf_json_string(environment, "cpu"));
    write_fact(out, "Instruction set", wf_json_string(environment, "isa"));
    write_fact(out, "Machine class", wf_json_string(environment, "machine"));
    if (isfinite(threads))
        fprintf(out, "<tr><th scope=\"row\">Threads</th><td>%.0f</td></tr>\n", threads);
    fputs("</tbody>\n</table>\n", out);
    if (json_object_size(options)) {
        fputs("<h3>Configuration</h3>\n<div class=\"two\"><dl>\n", out);
        json_object_foreach((json_t *)options, name, value) write_option(out, name, value);
        fputs("</dl></div>\n", out);
    }
    fputs("</section>\n", out);
}

weft_status wf_page_write(FILE *out, const void *user, weft_error *err)
{
    const wf_page *page = user;
    char *title = wf_page_title(page);
    if (!title)
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a report");
    wf_page_begin(out, title);
    fputs("<header>\n<h1>", out);
    wf_markup_text(out, title);
    fputs("</h1>\n", out);
    wf_free(title);
    write_subtitle(out, page);
    fputs("</header>\n", out);
    write_warnings(out, page);
    write_tiles(out, page);
    if (page->history)
        WF_TRY(write_curves(out, page, err));
    if (page->evaluation)
        WF_TRY(wf_page_evaluation(out, page->evaluation, err));
    write_origin(out, page);
    wf_page_end(out);
    return WEFT_OK;
}
