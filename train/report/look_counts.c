/* Figures of data on a page. See look_counts.h. */
#include "train/report/look_counts.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "data/load/stage.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "train/report/markup.h"

enum { PROBED_MOST = 4096, WHOLE_TABLE = 30 };

static weft_status no_memory(weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a page of pictures");
}

/* ---- classes --------------------------------------------------------------------------------- */

/* The place of a sample's class in the lists. */
static weft_status class_of(const weft_dataset *ds, int n, int64_t sample, int64_t *class_number,
                            weft_error *err)
{
    WF_TRY(weft_dataset_get(ds, sample, NULL, class_number, err));
    if (*class_number < 0 || *class_number >= n)
        *class_number = 0;
    return WEFT_OK;
}

weft_status wf_look_classes_of(const weft_dataset *ds, wf_look_classes *classes, weft_error *err)
{
    const weft_dataset_info *info = weft_dataset_get_info(ds);
    const int n = info->classes > 0 ? info->classes : 1;
    *classes = (wf_look_classes){.n = n};
    classes->first = wf_zalloc_array((size_t)n + 1, sizeof *classes->first);
    classes->samples = wf_alloc_array((size_t)info->count, sizeof *classes->samples);
    int64_t *at = wf_alloc_array((size_t)n, sizeof *at), k = 0;
    weft_status status = classes->first && classes->samples && at ? WEFT_OK : no_memory(err);
    for (int64_t i = 0; status == WEFT_OK && i < info->count; i++) {
        status = class_of(ds, n, i, &k, err);
        classes->first[k + 1] += status == WEFT_OK;
    }
    for (int c = 0; status == WEFT_OK && c < n; c++) {
        classes->first[c + 1] += classes->first[c];
        at[c] = classes->first[c];
    }
    for (int64_t i = 0; status == WEFT_OK && i < info->count; i++) {
        status = class_of(ds, n, i, &k, err);
        if (status == WEFT_OK)
            classes->samples[at[k]++] = i;
    }
    wf_free(at);
    if (status != WEFT_OK)
        wf_look_classes_done(classes);
    return status;
}

void wf_look_classes_done(wf_look_classes *classes)
{
    wf_free(classes->first);
    wf_free(classes->samples);
    *classes = (wf_look_classes){0};
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void start_table(FILE *out, const char *caption, const char *heading)
{
    fprintf(out,
            "<table>\n<caption>%s</caption>\n<thead><tr><th scope=\"col\">%s</th>"
            "<th scope=\"col\" class=\"n\">images</th></tr></thead>\n<tbody>\n",
            caption, heading);
}

/* A row whose heading is already written. */
static void end_row(FILE *out, int64_t images, int64_t most)
{
    fprintf(out, "</th><td class=\"n bar\" style=\"--v:%.1f%%\">",
            most > 0 ? 100.0 * (double)images / (double)most : 0.0);
    wf_markup_count(out, (double)images);
    fputs("</td></tr>\n", out);
}

void wf_look_write_counts(FILE *out, const weft_dataset_info *info, const wf_look_classes *classes)
{
    int64_t most = 0;
    for (int k = 0; k < classes->n; k++) {
        const int64_t images = classes->first[k + 1] - classes->first[k];
        most = images > most ? images : most;
    }
    const bool folded = classes->n > WHOLE_TABLE;
    if (folded)
        fprintf(out, "<details><summary>images of each of the %d classes</summary>\n", classes->n);
    start_table(out, "", "class");
    for (int k = 0; k < classes->n; k++) {
        fputs("<tr><th scope=\"row\">", out);
        if (info->class_names)
            wf_markup_text_cut(out, info->class_names[k], 48);
        else
            fprintf(out, "%d", k);
        end_row(out, classes->first[k + 1] - classes->first[k], most);
    }
    fputs("</tbody>\n</table>\n", out);
    if (folded)
        fputs("</details>\n", out);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

/* Bounds of the shorter side in pixels: a row for each range between two of them. */
static const int sides[] = {1,   32,  64,  96,   128,  160,  192,  224,  256,  320,  384,
                            448, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192, 65536};
enum { SIDES = sizeof sides / sizeof *sides - 1 };
/* Bounds of width divided by height. */
static const double shapes[] = {0, 1.0 / 3, 0.5, 0.66, 0.74, 0.99, 1.01, 1.34, 1.51, 2, 3, 1e9};
enum { SHAPES = sizeof shapes / sizeof *shapes - 1 };

typedef struct sizes {
    int64_t probed, failed, by_side[SIDES], by_shape[SHAPES];
    int low[2], high[2]; /* height and width */
} sizes;

static void count_size(sizes *s, int height, int width)
{
    const int side = height < width ? height : width;
    const double shape = (double)width / height;
    int i = 0, j = 0;
    while (i < SIDES - 1 && side >= sides[i + 1])
        i++;
    while (j < SHAPES - 1 && shape >= shapes[j + 1])
        j++;
    s->by_side[i]++;
    s->by_shape[j]++;
    const int size[2] = {height, width};
    for (int d = 0; d < 2; d++) {
        s->low[d] = s->probed == 0 || size[d] < s->low[d] ? size[d] : s->low[d];
        s->high[d] = size[d] > s->high[d] ? size[d] : s->high[d];
    }
    s->probed++;
}

static weft_status probe_some(const weft_dataset *ds, sizes *s, weft_error *err)
{
    const int64_t count = weft_dataset_get_info(ds)->count;
    const int64_t most = count < PROBED_MOST ? count : PROBED_MOST;
    wf_stage *stage = wf_stage_create(ds);
    if (!stage)
        return no_memory(err);
    for (int64_t i = 0; i < most; i++) {
        wf_picture_info file;
        const int64_t sample = (int64_t)((double)i * (double)count / (double)most);
        if (wf_stage_probe(stage, sample, &file, NULL) == WEFT_OK)
            count_size(s, file.height, file.width);
        else
            s->failed++;
    }
    wf_stage_destroy(stage);
    return WEFT_OK;
}

static int64_t largest(const int64_t *counts, int n)
{
    int64_t most = 0;
    for (int i = 0; i < n; i++)
        most = counts[i] > most ? counts[i] : most;
    return most;
}

weft_status wf_look_write_sizes(FILE *out, const weft_dataset *ds, weft_error *err)
{
    sizes s = {0};
    if (!ds->read)
        return WEFT_OK;
    WF_TRY(probe_some(ds, &s, err));
    fputs("<h3>Sizes</h3>\n<p class=\"mute\">Of ", out);
    wf_markup_count(out, (double)s.probed);
    fprintf(out, " pictures: height %d to %d, width %d to %d pixels.", s.low[0], s.high[0],
            s.low[1], s.high[1]);
    if (s.failed) {
        fputs(" The headers of ", out);
        wf_markup_count(out, (double)s.failed);
        fputs(" could not be read.", out);
    }
    fputs("</p>\n<div class=\"pair\">\n", out);
    start_table(out, "", "shorter side, pixels");
    for (int i = 0; i < SIDES; i++)
        if (s.by_side[i]) {
            fprintf(out, "<tr><th scope=\"row\">%d to %d", sides[i], sides[i + 1] - 1);
            end_row(out, s.by_side[i], largest(s.by_side, SIDES));
        }
    fputs("</tbody>\n</table>\n", out);
    start_table(out, "", "width / height");
    for (int i = 0; i < SHAPES; i++)
        if (s.by_shape[i]) {
            if (i == SHAPES - 1)
                fprintf(out, "<tr><th scope=\"row\">%.2f and more", shapes[i]);
            else
                fprintf(out, "<tr><th scope=\"row\">%.2f to %.2f", shapes[i], shapes[i + 1]);
            end_row(out, s.by_shape[i], largest(s.by_shape, SHAPES));
        }
    fputs("</tbody>\n</table>\n</div>\n", out);
    return WEFT_OK;
}
