/* Looks for mistakes in data before training. Data that one cannot train on give an error; a likely
 * mistake gives a warning. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "data/dataset.h"
#include "data/load/stage.h"
#include "engine/base/error.h"
#include "engine/base/alloc.h"

/* Floating-point pixels are checked in this many bytes of images, spread over the whole data
 * set. */
#define MOST_PIXEL_BYTES ((int64_t)1 << 30)

/* ---- two splits ----------------------------------------------------------------------------- */

static weft_status check_test_labels(const weft_dataset *train, const weft_dataset *test,
                                     int classes, weft_error *err)
{
    if (test->info.classes <= classes)
        return WEFT_OK;
    for (int64_t i = 0; test->labels && i < test->info.count; i++)
        if (wf_dataset_label(test, i) >= classes)
            return wf_error_set(err, WEFT_ERR_INVALID,
                                "%s: label %" PRId64 " of test image %" PRId64
                                " is out of range: the training images (%s) have %d classes",
                                test->source, wf_dataset_label(test, i), i, train->source, classes);
    return wf_error_set(err, WEFT_ERR_INVALID,
                        "%s: the test images have %d classes, the training images (%s) %d",
                        test->source, test->info.classes, train->source, classes);
}

weft_status weft_dataset_check_splits(const weft_dataset *train, const weft_dataset *test,
                                      int classes, weft_error *err)
{
    if (!train || !test)
        return wf_error_set(err, WEFT_ERR_INVALID, "the %s data set is NULL",
                            train ? "test" : "training");
    const weft_dataset_info *a = &train->info, *b = &test->info;
    /* A transform brings pictures to one size. */
    bool sized = !(a->pictures && b->pictures) && !a->sizes_vary && !b->sizes_vary;
    if (a->channels != b->channels || (sized && (a->height != b->height || a->width != b->width)))
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "%s: the test images are %dx%dx%d, the training images (%s) %dx%dx%d",
                            test->source, b->channels, b->height, b->width, train->source,
                            a->channels, a->height, a->width);
    if (a->dtype != b->dtype)
        return wf_error_set(
            err, WEFT_ERR_INVALID,
            "%s: the test images are %s, the training images (%s) %s: u8 images are "
            "normalised, f32 images are taken as they are, so both must be alike",
            test->source, weft_dtype_name(b->dtype), train->source, weft_dtype_name(a->dtype));
    return check_test_labels(train, test, classes > a->classes ? classes : a->classes, err);
}

/* ---- training data -------------------------------------------------------------------------- */

/* Who gets the warnings. */
typedef struct notes {
    const weft_dataset *ds;
    weft_note_fn note;
    void *user;
} notes;

static void say(const notes *n, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const notes *n, const char *format, ...)
{
    char text[WEFT_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    wf_vsnprintf(text, sizeof text, format, args);
    va_end(args);
    n->note(n->user, text);
}

/* Writes "3 (cat)", or "3" where classes have no names. */
static void add_class(const weft_dataset *ds, int64_t k, char *text, size_t size)
{
    size_t at = strlen(text);
    at += (size_t)snprintf(text + at, size - at, "%s%" PRId64, at ? ", " : "", k);
    if (ds->info.class_names && at < size)
        snprintf(text + at, size - at, " (%s)", wf_quote_class(ds->info.class_names[k]).text);
}

static void note_classes(const notes *n, const int64_t *counts)
{
    const weft_dataset *ds = n->ds;
    int classes = ds->info.classes, met = 0, listed = 0;
    int64_t last = 0;
    char text[768] = "";
    for (int k = 0; k < classes; k++) {
        met += counts[k] > 0;
        last = counts[k] > 0 ? k : last;
        if (counts[k] == 0 && strlen(text) < sizeof text - 160 && listed < 8) {
            add_class(ds, k, text, sizeof text);
            listed++;
        }
    }
    if (met == 1 && classes > 1)
        say(n, "all training images are of class %" PRId64, last);
    else if (met == 1)
        say(n, "all training images are of one class");
    else if (met == classes - 1 && counts[0] == 0)
        say(n,
            "no training image has label 0: where labels begin at 1, lower them by 1 (%d classes "
            "of output, of which class 0 is never met)",
            classes);
    else if (met < classes)
        say(n, "%d of %d classes have no training image: %s%s", classes - met, classes, text,
            listed < classes - met ? ", ..." : "");
}

/* Whether so few of the labels below the highest one occur that the highest one is probably not a
 * label. Only asked where the number of classes was not declared. */
static bool is_absurd(int met, int classes)
{
    enum { FEW_CLASSES = 100, ONE_IN = 8 };
    return classes > FEW_CLASSES && (int64_t)met * ONE_IN < classes;
}

static weft_status check_classes(const notes *n, weft_error *err)
{
    const weft_dataset *ds = n->ds;
    int classes = ds->info.classes, met = 0;
    if (!ds->labels || classes < 1)
        return WEFT_OK;
    int64_t *counts = wf_zalloc_array((size_t)classes, sizeof *counts);
    if (!counts)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory for %d counts", ds->source,
                            classes);
    int64_t highest = 0;
    for (int64_t i = 0; i < ds->info.count; i++) {
        int64_t label = wf_dataset_label(ds, i);
        met += counts[label]++ == 0;
        highest = label > wf_dataset_label(ds, highest) ? i : highest;
    }
    weft_status status = WEFT_OK;
    if (!ds->classes_declared && is_absurd(met, classes))
        status = wf_error_set(err, WEFT_ERR_INVALID,
                              "%s: label %" PRId64 " of image %" PRId64
                              " would make %d classes, of which the images have %d; where that is "
                              "meant, say how many there are (metadata \"classes\", or names)",
                              ds->source, wf_dataset_label(ds, highest), highest, classes, met);
    else
        note_classes(n, counts);
    wf_free(counts);
    return status;
}

static void note_names(const notes *n)
{
    const weft_dataset_info *info = &n->ds->info;
    /* Compares the names pair by pair, where there are few. In a large data set twins are no
     * mistake: ImageNet has "crane" twice. */
    for (int i = 0; info->class_names && info->classes <= 256 && i < info->classes; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(info->class_names[i], info->class_names[k]) == 0) {
                say(n, "classes %d and %d are both named \"%s\"", k, i,
                    wf_quote_class(info->class_names[i]).text);
                return;
            }
}

/* Images (N, H, W, C) that were read as (N, C, H, W) have a width of 1, 3 or 4 and many
 * channels. */
static void note_layout(const notes *n)
{
    const weft_dataset_info *info = &n->ds->info;
    int w = info->width, c = info->channels;
    if ((w == 1 || w == 3 || w == 4) && c > 4 && info->height > 4)
        say(n,
            "the images have %d channels of %dx%d: if they are stored as (N, height, width, "
            "channels), store them as (N, channels, height, width)",
            c, info->height, w);
}

static weft_status note_pixels(const notes *n, weft_error *err)
{
    const weft_dataset *ds = n->ds;
    if (ds->info.dtype != WEFT_F32)
        return WEFT_OK;
    int64_t most = MOST_PIXEL_BYTES / (int64_t)ds->sample_bytes + 1;
    int64_t step = (ds->info.count + most - 1) / most, bad = -1, n_bad = 0;
    size_t pixels = ds->sample_bytes / sizeof(float);
    float low = INFINITY, high = -INFINITY;
    wf_stage *stage = wf_stage_create(ds);
    if (!stage)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", ds->source);
    weft_status status = WEFT_OK;
    for (int64_t i = 0; i < ds->info.count && status == WEFT_OK; i += step) {
        const void *view;
        int64_t label;
        bool finite = true;
        status = wf_stage_view(stage, i, NULL, &view, &label, err);
        const float *p = view;
        for (size_t k = 0; k < pixels && status == WEFT_OK; k++) {
            finite &= isfinite(p[k]) != 0;
            low = p[k] < low ? p[k] : low;
            high = p[k] > high ? p[k] : high;
        }
        if (!finite && n_bad++ == 0)
            bad = i;
    }
    wf_stage_destroy(stage);
    if (n_bad > 0)
        say(n,
            "%" PRId64 " images hold pixels that are NaN or infinite; the first is image %" PRId64,
            n_bad, bad);
    else if (low >= 0 && high > 16 && high <= 255)
        say(n,
            "the images are f32 from %g to %g and go into the network as they are: store u8, "
            "which is normalised, or scale them",
            (double)low, (double)high);
    return status;
}

/* Whether both hold the same images in the same order. */
static bool same_images(const weft_dataset *a, const weft_dataset *b)
{
    if (a->info.count != b->info.count || a->sample_bytes != b->sample_bytes ||
        a->sample_bytes == 0)
        return false;
    wf_stage *x = wf_stage_create(a), *y = wf_stage_create(b);
    bool same = x && y;
    for (int64_t i = 0; i < a->info.count && same; i++) {
        const void *p, *q;
        int64_t label;
        same = wf_stage_view(x, i, NULL, &p, &label, NULL) == WEFT_OK &&
               wf_stage_view(y, i, NULL, &q, &label, NULL) == WEFT_OK &&
               memcmp(p, q, a->sample_bytes) == 0;
    }
    wf_stage_destroy(x);
    wf_stage_destroy(y);
    return same;
}

weft_status weft_dataset_check_training(const weft_dataset *train, const weft_dataset *test,
                                        weft_note_fn note, void *user, weft_error *err)
{
    if (!train || !note)
        return wf_error_set(err, WEFT_ERR_INVALID, "%s is NULL",
                            train ? "the function that is told" : "the training data set");
    const notes n = {.ds = train, .note = note, .user = user};
    WF_TRY(check_classes(&n, err));
    note_names(&n);
    note_layout(&n);
    WF_TRY(note_pixels(&n, err));
    if (test && !train->info.only_split && same_images(train, test))
        say(&n, "the test images are the training images");
    return WEFT_OK;
}
