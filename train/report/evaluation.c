/* Evaluations as documents. See evaluation.h. Shape letters: C channels, H height, W width. */
#include "train/report/evaluation.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/error.h"
#include "engine/files/json_text.h"
#include "engine/base/alloc.h"
#include "train/report/markup.h"
#include "train/report/png.h"

enum { MOST_SIDE = 128 }; /* largest side of a picture; larger images are averaged down */

static weft_status no_memory(weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for an evaluation's document");
}

/* ---- pictures -------------------------------------------------------------------------------- */

/* An image, and how its values become numbers in 0..255. f32 pixels are the network's input: only
 * the image itself can tell which values are black and white. */
typedef struct pixels {
    const void *data; /* (C, H, W) */
    bool u8;
    double low, scale;
} pixels;

static double at(const pixels *p, size_t i)
{
    if (p->u8)
        return ((const uint8_t *)p->data)[i];
    return ((double)((const float *)p->data)[i] - p->low) * p->scale;
}

static pixels look(const void *data, const weft_dataset_info *info)
{
    pixels p = {.data = data, .u8 = info->dtype == WEFT_U8};
    size_t n = (size_t)info->channels * (size_t)info->height * (size_t)info->width;
    const float *x = data;
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; !p.u8 && i < n; i++)
        if (isfinite(x[i])) {
            low = fmin(low, x[i]);
            high = fmax(high, x[i]);
        }
    if (low >= 0 && high <= 1) { /* not normalised */
        low = 0;
        high = 1;
    }
    p.low = low;
    p.scale = high > low ? 255 / (high - low) : 0;
    return p;
}

/* The mean of a box of f x f pixels, or fewer at the edges. */
static uint8_t box(const pixels *p, const weft_dataset_info *info, int c, int y, int x, int f)
{
    double sum = 0;
    int n = 0;
    for (int i = y * f; i < (y + 1) * f && i < info->height; i++)
        for (int j = x * f; j < (x + 1) * f && j < info->width; j++, n++)
            sum += at(p, ((size_t)c * (size_t)info->height + (size_t)i) * (size_t)info->width +
                             (size_t)j);
    double mean = n ? sum / n : 0;
    return (uint8_t)(mean > 0 ? lround(fmin(mean, 255)) : 0); /* a NaN becomes black */
}

/* Draws three or more channels as RGB, fewer as grey. */
static weft_status draw(const void *data, const weft_dataset_info *info, char **uri, int *width,
                        int *height, weft_error *err)
{
    pixels p = look(data, info);
    int channels = info->channels >= 3 ? 3 : 1;
    int side = info->height > info->width ? info->height : info->width;
    int f = (side + MOST_SIDE - 1) / MOST_SIDE;
    int H = (info->height + f - 1) / f, W = (info->width + f - 1) / f;
    uint8_t *out = wf_alloc_array((size_t)H * (size_t)W, (size_t)channels), *to = out;
    unsigned char *png = NULL;
    size_t size = 0;
    if (!out)
        return no_memory(err);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            for (int c = 0; c < channels; c++)
                *to++ = box(&p, info, c, y, x, f);
    weft_status status = wf_png_encode(W, H, channels, out, &png, &size, err);
    if (status == WEFT_OK) {
        *uri = wf_data_uri("image/png", png, size);
        *width = W;
        *height = H;
        if (!*uri)
            status = no_memory(err);
    }
    wf_free(png);
    wf_free(out);
    return status;
}

/* A picture that cannot be read any more is left out: the figures are there, and hours of training
 * were spent on them. */
static weft_status add_picture(json_t *mistake, const weft_dataset *ds, int64_t sample,
                               void *scratch, weft_error *err)
{
    char *uri = NULL;
    int width = 0, height = 0;
    weft_error why = WEFT_ERROR_INIT;
    if (weft_dataset_get(ds, sample, scratch, NULL, &why) != WEFT_OK)
        return why.status == WEFT_ERR_NOMEM ? no_memory(err) : WEFT_OK;
    WF_TRY(draw(scratch, weft_dataset_get_info(ds), &uri, &width, &height, err));
    int failed = json_object_set_new(mistake, "image", json_string(uri)) |
                 json_object_set_new(mistake, "width", json_integer(width)) |
                 json_object_set_new(mistake, "height", json_integer(height));
    wf_free(uri);
    return failed ? no_memory(err) : WEFT_OK;
}

/* ---- the document ---------------------------------------------------------------------------- */

static json_t *class_json(const weft_eval_result *r, const weft_dataset_info *info, int k)
{
    const weft_class_score *c = &r->per_class[k];
    char number[32];
    snprintf(number, sizeof(number), "class %d", k);
    const char *name = info->class_names && k < info->classes ? info->class_names[k] : number;
    return json_pack("{s:o, s:I, s:I, s:I, s:o, s:o, s:o}", "name", wf_json_text(name), "support",
                     (json_int_t)c->support, "predicted", (json_int_t)c->predicted, "correct",
                     (json_int_t)c->correct, "precision", wf_json_number(c->precision), "recall",
                     wf_json_number(c->recall), "f1", wf_json_number(c->f1));
}

static json_t *classes_json(const weft_eval_result *r, const weft_dataset_info *info)
{
    json_t *list = r->per_class ? json_array() : json_null();
    for (int k = 0; r->per_class && k < r->classes; k++)
        if (json_array_append_new(list, class_json(r, info, k)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *confusion_json(const weft_eval_result *r)
{
    int K = r->classes;
    json_t *rows = r->confusion ? json_array() : json_null(), *zero = json_integer(0);
    for (int row = 0; r->confusion && row < K; row++) {
        json_t *counts = json_array();
        int failed = !counts || !zero;
        for (int k = 0; k < K && !failed; k++) {
            int64_t n = r->confusion[(int64_t)row * K + k];
            failed = json_array_append_new(counts, n ? json_integer(n) : json_incref(zero));
        }
        failed |= json_array_append_new(rows, counts);
        if (failed) {
            json_decref(rows);
            rows = NULL;
            break;
        }
    }
    json_decref(zero);
    return rows;
}

static json_t *worst_json(const weft_eval_result *r, const weft_dataset *ds, bool pictures,
                          weft_error *err)
{
    const weft_dataset_info *info = weft_dataset_get_info(ds);
    json_t *list = json_array();
    void *scratch = NULL;
    if (pictures && r->n_worst)
        scratch = wf_alloc_array((size_t)info->channels * (size_t)info->height,
                                 (size_t)info->width * weft_dtype_size(info->dtype));
    bool good = list && (scratch || !pictures || r->n_worst == 0);
    for (int i = 0; i < r->n_worst && good; i++) {
        const weft_mistake *m = &r->worst[i];
        json_t *o =
            json_pack("{s:I, s:I, s:o, s:o, s:o, s:o}", "sample", (json_int_t)m->sample, "label",
                      (json_int_t)m->label, "predicted",
                      m->predicted >= 0 ? json_integer(m->predicted) : json_null(), "probability",
                      wf_json_number(m->probability), "label_probability",
                      wf_json_number(m->label_probability), "loss", wf_json_number(m->loss));
        good = o && (!pictures || add_picture(o, ds, m->sample, scratch, err) == WEFT_OK);
        good = json_array_append_new(list, o) == 0 && good; /* takes over o, also on failure */
    }
    wf_free(scratch);
    if (!good) {
        json_decref(list);
        return NULL;
    }
    return list;
}

json_t *wf_evaluation_json(const weft_eval_result *r, const weft_dataset *ds, int64_t epoch,
                           bool pictures, weft_error *err)
{
    const weft_dataset_info *info = weft_dataset_get_info(ds);
    json_t *document = json_pack(
        "{s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "epoch",
        epoch ? json_integer(epoch) : json_null(), "images", (json_int_t)r->images, "nan_images",
        (json_int_t)r->nan_images, "loss", wf_json_number(r->loss), "acc1", wf_json_number(r->acc1),
        "acc5", wf_json_number(r->acc5), "seconds", wf_json_number(r->seconds), "img_per_s",
        wf_json_number(r->img_per_s), "data",
        json_pack("{s:o, s:i, s:i, s:i, s:s, s:b}", "source", wf_json_text(info->source),
                  "channels", info->channels, "height", info->height, "width", info->width, "split",
                  info->split == WEFT_SPLIT_VAL ? "validation" : "test", "only_split",
                  info->only_split),
        "mean",
        json_pack("{s:o, s:o, s:o}", "precision", wf_json_number(r->mean.precision), "recall",
                  wf_json_number(r->mean.recall), "f1", wf_json_number(r->mean.f1)),
        "classes", classes_json(r, info), "confusion", confusion_json(r), "worst",
        worst_json(r, ds, pictures, err));
    if (!document)
        no_memory(err); /* the first error stays */
    return document;
}

bool wf_evaluation_of_validation(const json_t *evaluation)
{
    const json_t *data = json_object_get(evaluation, "data");
    return strcmp(wf_json_string(data, "split"), "validation") == 0;
}
