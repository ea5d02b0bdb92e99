/* A page that shows data: samples of each class as they are and as the network gets them. */
#include <inttypes.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "train/report/look_counts.h"
#include "train/report/look_sheet.h"
#include "train/report/markup.h"
#include "train/report/page_parts.h"

enum { PER_CLASS = 16, CLASSES = 50, SAMPLES_MOST = 64, ERRORS_MOST = 20 };

static int or_default(int value, int otherwise)
{
    return value > 0 ? value : otherwise;
}

static weft_status check(const char *path, const weft_look_opts *o, weft_error *err)
{
    if (!path || !o || !o->parts || o->n_parts < 1)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "a page of data: the path, the options or the parts are missing");
    if (o->per_class < 0 || o->per_class > SAMPLES_MOST || o->classes < 0)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "a page of data: per_class is %d, expected 0 to %d; classes is %d, "
                            "expected 0 or more",
                            o->per_class, SAMPLES_MOST, o->classes);
    for (int i = 0; i < o->n_parts; i++) {
        const weft_look_part *p = &o->parts[i];
        if (!p->name || !p->ds)
            return wf_error_set(err, WEFT_ERR_INVALID, "a page of data: part %d has no %s", i,
                                p->name ? "data" : "name");
        if (p->transform && (p->draws < 1 || p->draws > SAMPLES_MOST))
            return wf_error_set(err, WEFT_ERR_INVALID,
                                "a page of data: part %d has %d draws, expected 1 to %d", i,
                                p->draws, SAMPLES_MOST);
        if (p->transform)
            WF_TRY(weft_transform_check(p->transform, err));
    }
    return WEFT_OK;
}

/* ---- samples --------------------------------------------------------------------------------- */

/* The samples that could not be read. */
typedef struct errors {
    FILE *out;
    int n;
} errors;

static void note_error(void *user, const char *text)
{
    errors *e = user;
    if (e->n++ >= ERRORS_MOST)
        return;
    fputs("<p class=\"warn\" role=\"note\">", e->out);
    wf_markup_text(e->out, text);
    fputs("</p>\n", e->out);
}

static weft_status write_class(FILE *out, wf_look_sheet *sheet, const weft_look_part *part,
                               const weft_look_opts *o, const wf_look_classes *classes, int k,
                               errors *unread, weft_error *err)
{
    const weft_dataset_info *info = weft_dataset_get_info(part->ds);
    const int64_t first = classes->first[k], images = classes->first[k + 1] - first;
    const int most = or_default(o->per_class, PER_CLASS);
    const int n = images < most ? (int)images : most;
    int64_t samples[SAMPLES_MOST];
    char *uri = NULL;
    int width, height;
    for (int i = 0; i < n; i++)
        samples[i] = classes->samples[first + (int64_t)i * images / n];
    fputs("<h3>", out);
    if (info->class_names)
        wf_markup_text_cut(out, info->class_names[k], 96);
    else
        fprintf(out, info->classes ? "class %d" : "all images", k);
    fputs(" <span class=\"mute\">", out);
    wf_markup_count(out, (double)images);
    fputs(images == 1 ? " image</span></h3>\n" : " images</span></h3>\n", out);
    if (n == 0)
        return WEFT_OK;
    WF_TRY(wf_look_sheet_draw(sheet, part, o->seed, samples, n, note_error, unread, &uri, &width,
                              &height, err));
    fprintf(out,
            "<figure class=\"sheet\"><img src=\"%s\" width=\"%d\" height=\"%d\" alt=\"%d samples\">"
            "</figure>\n",
            uri, width, height, n);
    wf_free(uri);
    return WEFT_OK;
}

static void write_rows_explained(FILE *out, const weft_look_part *part)
{
    const weft_transform *t = part->transform;
    fputs("<p class=\"mute\">First row: as they are.", out);
    if (t)
        fprintf(out, " %s: as the network gets them, %dx%d pixels (height, width)%s.",
                part->draws == 1 ? "Second row" : "Further rows", t->height, t->width,
                part->draws == 1 ? "" : ", each row another draw of the random steps");
    else
        fputs(" The network gets them so.", out);
    fprintf(out, " Images of more than %d pixels are shown smaller.</p>\n", WF_LOOK_CELL);
}

/* ---- the page -------------------------------------------------------------------------------- */

static void write_heading(FILE *out, const weft_look_part *part)
{
    const weft_dataset_info *info = weft_dataset_get_info(part->ds);
    fputs("<h2>", out);
    wf_markup_text(out, part->name);
    fputs("</h2>\n<p>", out);
    wf_markup_count(out, (double)info->count);
    fputs(info->count == 1 ? " image" : " images", out);
    if (info->classes)
        fprintf(out, " of %d class%s", info->classes, info->classes == 1 ? "" : "es");
    if (!info->sizes_vary)
        fprintf(out, ", %dx%dx%d (channels, height, width)", info->channels, info->height,
                info->width);
    else
        fprintf(out, ", pictures of several sizes, read with %d channel%s", info->channels,
                info->channels == 1 ? "" : "s");
    fputs(", from <code>", out);
    wf_markup_text(out, info->source);
    fputs("</code>.</p>\n", out);
}

static weft_status write_part(FILE *out, const weft_look_part *part, const weft_look_opts *o,
                              weft_error *err)
{
    wf_look_classes classes = {0};
    wf_look_sheet sheet = {0};
    errors unread = {.out = out};
    const int most = or_default(o->classes, CLASSES);
    WF_TRY(wf_look_classes_of(part->ds, &classes, err));
    write_heading(out, part);
    wf_look_write_counts(out, weft_dataset_get_info(part->ds), &classes);
    weft_status status = wf_look_write_sizes(out, part->ds, err);
    if (status == WEFT_OK)
        status = wf_look_sheet_init(&sheet, part, err);
    write_rows_explained(out, part);
    for (int k = 0; status == WEFT_OK && k < classes.n && k < most; k++)
        status = write_class(out, &sheet, part, o, &classes, k, &unread, err);
    if (classes.n > most)
        fprintf(out, "<p class=\"mute\">The first %d of %d classes are shown.</p>\n", most,
                classes.n);
    if (unread.n > ERRORS_MOST)
        fprintf(out, "<p class=\"warn\" role=\"note\">%d more samples could not be read.</p>\n",
                unread.n - ERRORS_MOST);
    wf_look_sheet_done(&sheet);
    wf_look_classes_done(&classes);
    return status;
}

static weft_status write_page(FILE *out, const void *user, weft_error *err)
{
    const weft_look_opts *o = user;
    const char *source = weft_dataset_get_info(o->parts[0].ds)->source;
    wf_page_begin(out, source);
    fputs("<header>\n<h1>", out);
    wf_markup_text(out, source);
    fputs("</h1>\n<p class=\"mute\">The data, as they are and as the network gets them</p>\n"
          "</header>\n",
          out);
    for (int i = 0; i < o->n_parts; i++)
        WF_TRY(write_part(out, &o->parts[i], o, err));
    if (o->command) {
        fputs("<h2>Made by</h2>\n<pre>", out);
        wf_markup_text(out, o->command);
        fputs("</pre>\n", out);
    }
    wf_page_end(out);
    return WEFT_OK;
}

weft_status weft_look_write(const char *path, const weft_look_opts *opts, weft_error *err)
{
    WF_TRY(check(path, opts, err));
    return wf_page_file(path, write_page, opts, err);
}
