/* How a command opens its data, and how pictures become images of one size: from the flags, the
 * weights' metadata, and what the data are. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"

#define TRANSFORM "weft.transform" /* of weights: "224x224 resize 256 bilinear" */
#define CHANNELS "weft.channels"   /* of weights that were trained on pictures */

enum { USUAL_CROP = 224, SMALLEST_CROP_OF_MODEL = 64 };

static const char *const interpolations[] = {"bilinear", "bicubic", "nearest"};

/* ---- opening --------------------------------------------------------------------------------- */

/* Opens what opts names, as the flags and the weights say. */
static weft_status try_data(session *s, weft_dataset_opts opts, weft_dataset **ds, weft_error *err)
{
    const cli_options *o = s->options;
    opts.val_split = o->val_split;
    opts.seed = (uint64_t)o->seed;
    opts.channels = (int)(o->channels ? o->channels : session_meta_int(s, CHANNELS, 0));
    opts.exif = o->exif;
    opts.max_pixels = o->max_pixels;
    opts.coarse = o->coarse_labels;
    opts.cache = o->cache;
    return weft_dataset_open_with(&opts, ds, err);
}

weft_status session_try_data(session *s, const char *path, weft_split split, weft_dataset **ds,
                             weft_error *err)
{
    return try_data(s, (weft_dataset_opts){.path = path, .split = split}, ds, err);
}

static int open_data(session *s, weft_dataset_opts opts, weft_dataset **ds)
{
    if (s->options->channels == 2)
        return session_usage(s, "--channels 2: expected 1 (grey) or 3 (RGB)");
    return try_data(s, opts, ds, &s->err) ? session_fail(s) : 0;
}

int session_open_data(session *s, const char *path, weft_split split, weft_dataset **ds)
{
    return open_data(s, (weft_dataset_opts){.path = path, .split = split}, ds);
}

int session_open_files(session *s, const char *const *files, int64_t n, weft_dataset **ds)
{
    return open_data(
        s,
        (weft_dataset_opts){.files = files,
                            .n_files = n,
                            .split = WEFT_SPLIT_PREDICT,
                            .files_may_miss = s->options->bad_images &&
                                              strcmp(s->options->bad_images, "skip") == 0},
        ds);
}

/* ---- the transform of evaluation ------------------------------------------------------------- */

/* What the weights were evaluated with; false: they do not say. */
static bool parse_transform(const char *text, weft_transform *t)
{
    char name[16] = "";
    if (!text ||
        sscanf(text, "%5dx%5d resize %5d %15s", &t->height, &t->width, &t->resize, name) != 4)
        return false;
    for (int i = 0; i < 3; i++)
        if (strcmp(name, interpolations[i]) == 0)
            t->interpolation = (weft_interpolation)i;
    return t->height > 0 && t->width > 0;
}

void session_format_transform(const weft_transform *t, char *text, size_t size)
{
    snprintf(text, size, "%dx%d resize %d %s", t->height, t->width, t->resize,
             interpolations[t->interpolation]);
}

weft_interpolation session_interpolation(const session *s)
{
    const char *name = s->options->interpolation;
    for (int i = 0; name && i < 3; i++)
        if (strcmp(name, interpolations[i]) == 0)
            return (weft_interpolation)i;
    return WEFT_INTERPOLATE_BILINEAR;
}

int session_model_size(const session *s)
{
    const weft_model_info *info = weft_model_find(s->model_name);
    int size = info ? info->defaults.height : 0;
    return size >= SMALLEST_CROP_OF_MODEL ? size : USUAL_CROP;
}

bool session_eval_transform(const session *s, const weft_dataset_info *info, int crop,
                            weft_transform *t)
{
    const cli_options *o = s->options;
    const weft_transform begin = WEFT_TRANSFORM_INIT;
    *t = begin;
    bool known = parse_transform(session_meta(s, TRANSFORM), t);
    bool asked = o->val_crop_size || o->val_resize_size;
    if (crop || o->val_crop_size || !known) {
        int size = o->val_crop_size ? (int)o->val_crop_size : crop ? crop : session_model_size(s);
        t->height = t->width = size;
        t->resize = (int)lround(size * 8.0 / 7.0); /* 224: 256 */
    }
    if (o->val_resize_size)
        t->resize = (int)o->val_resize_size;
    if (!known || flags_given(&cli_table, CMD_TRAIN | CMD_EVAL, o, "interpolation"))
        t->interpolation = session_interpolation(s);
    return info->sizes_vary || asked || crop ||
           (known && info->pictures && (info->height != t->height || info->width != t->width));
}

int session_look_through(session *s, weft_dataset *ds, const weft_transform *t)
{
    if (!weft_dataset_get_info(ds)->pictures)
        return 0;
    return weft_dataset_look_through(ds, t, &s->err) ? session_fail(s) : 0;
}

void session_note_pictures(const session *s, const weft_dataset_info *info)
{
    if (info->left_out > 0)
        cli_print(stdout, "note  %s: %lld %s hidden or no picture%s, and left out\n", info->source,
                  (long long)info->left_out, info->left_out == 1 ? "file is" : "files are",
                  info->left_out == 1 ? "" : "s");
    if (info->oriented > 0)
        cli_print(
            stdout,
            "note  %s: %lld of %lld pictures looked at have an EXIF orientation, which is %s\n",
            info->source, (long long)info->oriented, (long long)info->looked_at,
            s->options->exif ? "applied" : "ignored, as torchvision does (--exif applies it)");
}

void session_note_bad(const session *s, const weft_loader *loader)
{
    const char *first;
    int64_t n = weft_loader_left_out(loader, &first);
    if (n > 0)
        cli_print(stdout, "note  %lld damaged picture%s left out; the first: %s\n", (long long)n,
                  n == 1 ? "" : "s", first);
}
