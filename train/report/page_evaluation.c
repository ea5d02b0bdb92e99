/* The part of a page that shows an evaluation: classes, confusion matrix, mistakes. See page.h.
 * Letter: K classes. */
#include <math.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/alloc.h"
#include "train/report/figures.h"
#include "train/report/markup.h"
#include "train/report/page_parts.h"

enum { WHOLE_TABLE = 30, LOWEST = 10, PAIRS = 10, PICTURE = 112 };

/* ---- classes --------------------------------------------------------------------------------- */

static void start_classes(FILE *out, const char *caption)
{
    fputs("<table>\n<caption>", out);
    fputs(caption, out);
    fputs("</caption>\n<thead><tr><th scope=\"col\">class</th>"
          "<th scope=\"col\" class=\"n\">images</th><th scope=\"col\" class=\"n\">precision</th>"
          "<th scope=\"col\" class=\"n\">recall</th><th scope=\"col\" class=\"n\">F1</th></tr>"
          "</thead>\n<tbody>\n",
          out);
}

static void write_class(FILE *out, const json_t *c)
{
    double f1 = wf_json_value(c, "f1");
    fputs("<tr><th scope=\"row\">", out);
    wf_markup_text_cut(out, wf_json_string(c, "name"), 32);
    fputs("</th>", out);
    wf_markup_cell(out, wf_json_value(c, "support"), -1);
    wf_markup_cell(out, wf_json_value(c, "precision"), 2);
    wf_markup_cell(out, wf_json_value(c, "recall"), 2);
    fprintf(out, "<td class=\"n bar\" style=\"--v:%.1f%%\">", isfinite(f1) ? f1 : 0);
    wf_markup_fixed(out, f1, 2);
    fputs("</td></tr>\n", out);
}

static void end_classes(FILE *out, const json_t *e)
{
    const json_t *mean = json_object_get(e, "mean");
    fputs("</tbody>\n<tfoot><tr><th scope=\"row\">mean over classes</th>", out);
    wf_markup_cell(out, wf_json_value(e, "images"), -1);
    wf_markup_cell(out, wf_json_value(mean, "precision"), 2);
    wf_markup_cell(out, wf_json_value(mean, "recall"), 2);
    wf_markup_cell(out, wf_json_value(mean, "f1"), 2);
    fputs("</tr></tfoot>\n</table>\n", out);
}

static int by_f1(const void *a, const void *b)
{
    double x = wf_json_value(*(const json_t *const *)a, "f1");
    double y = wf_json_value(*(const json_t *const *)b, "f1");
    if (isnan(x) || isnan(y))
        return isnan(x) - isnan(y);
    return (x > y) - (x < y);
}

/* Writes the classes with the lowest F1. Classes without images have no F1 and come last. */
static weft_status write_lowest(FILE *out, const json_t *e, const json_t *classes, weft_error *err)
{
    size_t K = json_array_size(classes);
    const json_t **sorted = wf_alloc_array(K, sizeof(*sorted));
    if (!sorted)
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a report");
    for (size_t k = 0; k < K; k++)
        sorted[k] = json_array_get(classes, k);
    qsort(sorted, K, sizeof(*sorted), by_f1);
    start_classes(out, "The ten classes with the lowest F1, in percent");
    for (size_t k = 0; k < LOWEST && k < K; k++)
        write_class(out, sorted[k]);
    end_classes(out, e);
    wf_free(sorted);
    return WEFT_OK;
}

static weft_status write_classes(FILE *out, const json_t *e, weft_error *err)
{
    const json_t *classes = json_object_get(e, "classes");
    size_t K = json_array_size(classes);
    bool whole = K <= WHOLE_TABLE;
    if (K == 0)
        return WEFT_OK;
    fputs("<h3>By class</h3>\n", out);
    if (!whole) {
        WF_TRY(write_lowest(out, e, classes, err));
        fprintf(out, "<details>\n<summary>All %zu classes</summary>\n", K);
    }
    start_classes(out, "Precision, recall and F1 in percent");
    for (size_t k = 0; k < K; k++)
        write_class(out, json_array_get(classes, k));
    end_classes(out, e);
    if (!whole)
        fputs("</details>\n", out);
    return WEFT_OK;
}

/* ---- confusion ------------------------------------------------------------------------------- */

typedef struct pair {
    size_t label, predicted;
    double count;
} pair;

/* Finds the PAIRS most frequent mistakes; among equals the lower classes come first. */
static int find_pairs(const json_t *rows, pair found[PAIRS])
{
    int n = 0;
    for (size_t r = 0; r < json_array_size(rows); r++)
        for (size_t c = 0; c < json_array_size(json_array_get(rows, r)); c++) {
            double count = (double)json_integer_value(json_array_get(json_array_get(rows, r), c));
            int at = n;
            if (r == c || count <= 0)
                continue;
            while (at > 0 && count > found[at - 1].count)
                at--;
            if (at >= PAIRS)
                continue;
            n += n < PAIRS;
            for (int i = n - 1; i > at; i--)
                found[i] = found[i - 1];
            found[at] = (pair){r, c, count};
        }
    return n;
}

static void write_pairs(FILE *out, const json_t *e)
{
    const json_t *classes = json_object_get(e, "classes");
    pair found[PAIRS];
    int n = find_pairs(json_object_get(e, "confusion"), found);
    if (n == 0)
        return;
    fputs("<h3>Most frequent mistakes</h3>\n<table class=\"short\">\n<thead><tr>"
          "<th scope=\"col\">true</th><th scope=\"col\">predicted</th>"
          "<th scope=\"col\" class=\"n\">images</th>"
          "<th scope=\"col\" class=\"n\">of the class, %</th></tr></thead>\n<tbody>\n",
          out);
    for (int i = 0; i < n; i++) {
        const json_t *label = json_array_get(classes, found[i].label);
        fputs("<tr><td>", out);
        wf_markup_text_cut(out, wf_json_string(label, "name"), 32);
        fputs("</td><td>", out);
        wf_markup_text_cut(out, wf_json_string(json_array_get(classes, found[i].predicted), "name"),
                           32);
        fputs("</td>", out);
        wf_markup_cell(out, found[i].count, -1);
        wf_markup_cell(out, 100 * found[i].count / wf_json_value(label, "support"), 1);
        fputs("</tr>\n", out);
    }
    fputs("</tbody>\n</table>\n", out);
}

static weft_status write_confusion(FILE *out, const json_t *e, weft_error *err)
{
    const json_t *confusion = json_object_get(e, "confusion");
    if (!json_is_array(confusion))
        return WEFT_OK;
    /* Beside the table if both fit, else below it. */
    fprintf(out, "<div style=\"flex-basis:%dpx\">\n<h3>Confusion matrix</h3>\n<figure>\n",
            wf_heat_map_width((int)json_array_size(confusion)));
    WF_TRY(wf_heat_map_write(out, e, err));
    fputs("<figcaption>Rows are the true class, columns the predicted one. Blue is right, orange "
          "wrong; a colour's strength is the root of its share of the row.</figcaption>\n"
          "</figure>\n</div>\n",
          out);
    return WEFT_OK;
}

/* ---- the worst mistakes ---------------------------------------------------------------------- */

static void write_name(FILE *out, const json_t *e, const json_t *index)
{
    const json_t *classes = json_object_get(e, "classes");
    size_t k = (size_t)json_integer_value(index);
    const char *name = wf_json_string(json_array_get(classes, k), "name");
    if (!json_is_integer(index))
        fputs("not a number", out);
    else if (*name)
        wf_markup_text_cut(out, name, 40);
    else
        fprintf(out, "class %zu", k);
}

/* Enlarges by a whole factor, the largest that fits PICTURE. */
static void write_picture(FILE *out, const json_t *e, const json_t *m)
{
    double width = wf_json_value(m, "width"), height = wf_json_value(m, "height");
    const char *uri = wf_json_string(m, "image");
    if (!wf_is_data_uri(uri) || !(width >= 1 && height >= 1 && width < 1e4 && height < 1e4))
        return;
    double scale = floor(PICTURE / fmax(width, height));
    scale = scale < 1 ? 1 : scale;
    fprintf(out, "<img src=\"%s\" width=\"%.0f\" height=\"%.0f\" alt=\"Image %.0f: ", uri,
            width * scale, height * scale, wf_json_value(m, "sample"));
    write_name(out, e, json_object_get(m, "label"));
    fputs(" taken for ", out);
    write_name(out, e, json_object_get(m, "predicted"));
    fputs("\">\n", out);
}

static void write_mistake(FILE *out, const json_t *e, const json_t *m)
{
    double p = wf_json_value(m, "probability"), q = wf_json_value(m, "label_probability");
    fputs("<li>", out);
    write_picture(out, e, m);
    fputs("<b class=\"miss\">", out);
    write_name(out, e, json_object_get(m, "predicted"));
    fputs("</b>", out);
    if (isfinite(p))
        fprintf(out, " %.1f %%", 100 * p);
    fputs("<br>is <b>", out);
    write_name(out, e, json_object_get(m, "label"));
    fputs("</b>", out);
    if (isfinite(q))
        fprintf(out, q >= 0.001 ? " %.1f %%" : " %.2g %%", 100 * q);
    fprintf(out, "<br><span class=\"mute\">loss ");
    wf_markup_fixed(out, wf_json_value(m, "loss"), 2);
    fprintf(out, ", image %.0f</span></li>\n", wf_json_value(m, "sample"));
}

static void write_mistakes(FILE *out, const json_t *e)
{
    const json_t *worst = json_object_get(e, "worst"), *m;
    size_t i;
    if (json_array_size(worst) == 0)
        return;
    fputs("<h3>The worst mistakes</h3>\n<p class=\"mute\">The wrongly classified images with the "
          "highest loss: what the model saw in them with which probability, what they are, and "
          "the probability it gave that.</p>\n<ul class=\"mistakes\">\n",
          out);
    for (i = 0; i < json_array_size(worst); i++) {
        m = json_array_get(worst, i);
        if (json_is_integer(json_object_get(m, "sample")))
            write_mistake(out, e, m);
    }
    fputs("</ul>\n", out);
}

weft_status wf_page_evaluation(FILE *out, const json_t *e, weft_error *err)
{
    double epoch = wf_json_value(e, "epoch");
    fputs("<section>\n<h2>Evaluation", out);
    if (isfinite(epoch))
        fprintf(out, " after epoch %.0f", epoch);
    fputs("</h2>\n<div class=\"pair\">\n<div>\n", out);
    WF_TRY(write_classes(out, e, err));
    write_pairs(out, e);
    fputs("</div>\n", out);
    WF_TRY(write_confusion(out, e, err));
    fputs("</div>\n", out);
    write_mistakes(out, e);
    fputs("</section>\n", out);
    return WEFT_OK;
}
