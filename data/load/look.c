/* Looks at the samples of a data set: one of them, or mean and deviation of all. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "data/load/stage.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"

weft_status weft_dataset_look_through(weft_dataset *ds, const weft_transform *transform,
                                      weft_error *err)
{
    if (!ds || !transform)
        return wf_error_set(err, WEFT_ERR_INVALID, "looking through a transform: %s is NULL",
                            ds ? "it" : "the data set");
    WF_TRY(weft_transform_check(transform, err));
    if (!ds->info.pictures)
        return wf_error_set(
            err, WEFT_ERR_INVALID,
            "%s: its images are no picture files and have one size, %dx%d; they are "
            "seen as they are",
            ds->source, ds->info.height, ds->info.width);
    weft_transform *look = ds->look ? ds->look : wf_alloc(sizeof *look);
    if (!look)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", ds->source);
    const weft_transform still = WEFT_TRANSFORM_INIT;
    *look = still;
    look->height = transform->height;
    look->width = transform->width;
    look->resize = transform->resize                      ? transform->resize
                   : transform->height < transform->width ? transform->height
                                                          : transform->width;
    look->interpolation = transform->interpolation;
    ds->look = look;
    ds->info.height = look->height;
    ds->info.width = look->width;
    ds->sample_bytes = (size_t)ds->info.channels * (size_t)look->height * (size_t)look->width;
    return WEFT_OK;
}

weft_status weft_dataset_get(const weft_dataset *ds, int64_t index, void *pixels, int64_t *label,
                             weft_error *err)
{
    if (!ds)
        return wf_error_set(err, WEFT_ERR_INVALID, "sample %" PRId64 ": the data set is NULL",
                            index);
    if (index < 0 || index >= ds->info.count)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "%s: there is no sample %" PRId64 ", expected 0 to %" PRId64,
                            ds->source, index, ds->info.count - 1);
    if (!pixels && (ds->read || ds->labels)) { /* the label needs no pixels */
        if (label)
            *label = wf_dataset_label(ds, index);
        return WEFT_OK;
    }
    wf_stage *stage = wf_stage_create(ds);
    if (!stage)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", ds->source);
    const void *source;
    int64_t value;
    weft_status status = wf_stage_view(stage, index, NULL, &source, &value, err);
    if (status == WEFT_OK && pixels)
        memcpy(pixels, source, ds->sample_bytes);
    if (status == WEFT_OK && label)
        *label = value;
    wf_stage_destroy(stage);
    return status;
}

/* ---- mean and standard deviation ------------------------------------------------------------ */

/* Sums of one channel over all samples. u8: exact, in integers. f32: in double, in the order of the
 * samples. */
typedef struct channel_sums {
    uint64_t sum, squares;
    double fsum, fsquares; /* sums of x - shift: the shift avoids cancellation in the variance */
    double shift;
} channel_sums;

static void add_u8(channel_sums *s, const uint8_t *p, size_t n)
{
    while (n > 0) {
        size_t some = n < 65536 ? n : 65536; /* 65536 * 255^2 fits 32 bits */
        uint32_t sum = 0, squares = 0;
        for (size_t i = 0; i < some; i++) {
            sum += p[i];
            squares += (uint32_t)p[i] * p[i];
        }
        s->sum += sum;
        s->squares += squares;
        p += some;
        n -= some;
    }
}

static void add_f32(channel_sums *s, const float *p, size_t n)
{
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < n; i++) {
        double x = (double)p[i] - s->shift;
        sum += x;
        squares += x * x;
    }
    s->fsum += sum;
    s->fsquares += squares;
}

/* Looks at every step-th sample; *n becomes how many these are. Damaged pictures and such as have
 * vanished are left out: the loader tells of them, or leaves them out as well. */
static weft_status sum_all(const weft_dataset *ds, int64_t step, channel_sums *sums, int64_t *n,
                           weft_error *err)
{
    size_t plane = (size_t)ds->info.height * (size_t)ds->info.width;
    wf_stage *stage = wf_stage_create(ds);
    if (!stage)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", ds->source);
    weft_status status = WEFT_OK;
    weft_error first = WEFT_ERROR_INIT;
    *n = 0;
    for (int64_t i = 0; i < ds->info.count && status == WEFT_OK; i += step) {
        const void *pixels;
        int64_t label;
        weft_error why = WEFT_ERROR_INIT;
        status = wf_stage_view(stage, i, NULL, &pixels, &label, &why);
        if (ds->read && (status == WEFT_ERR_FORMAT || status == WEFT_ERR_NOT_FOUND)) {
            wf_error_set(&first, status, "%s", why.text);
            status = WEFT_OK;
            continue;
        }
        wf_error_set(err, status, "%s", why.text);
        for (int c = 0; c < ds->info.channels && status == WEFT_OK; c++) {
            if (ds->info.dtype == WEFT_U8) {
                add_u8(&sums[c], (const uint8_t *)pixels + (size_t)c * plane, plane);
                continue;
            }
            const float *p = (const float *)pixels + (size_t)c * plane;
            if (i == 0)
                sums[c].shift = p[0];
            add_f32(&sums[c], p, plane);
        }
        *n += 1;
    }
    wf_stage_destroy(stage);
    return status == WEFT_OK && *n == 0 ? wf_error_set(err, first.status, "%s", first.text)
                                        : status;
}

/* How far apart the samples are that mean and deviation are measured on: decoding takes its
 * time. */
static int64_t step_of(const weft_dataset *ds)
{
    int64_t most = !ds->read ? ds->info.count : ds->look ? 512 : 65536;
    return (ds->info.count + most - 1) / most;
}

weft_status weft_dataset_mean_std(const weft_dataset *ds, float *mean, float *std, weft_error *err)
{
    if (!ds || !mean || !std)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "mean and standard deviation: data set, mean or std is NULL");
    int C = ds->info.channels;
    channel_sums *sums = wf_zalloc_array((size_t)C, sizeof *sums);
    weft_status status = WEFT_OK;
    int64_t images = 0;
    if (!sums)
        status = wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", ds->source);
    else
        status = sum_all(ds, step_of(ds), sums, &images, err);
    double n = (double)images * ds->info.height * ds->info.width;
    for (int c = 0; c < C && status == WEFT_OK; c++) {
        bool u8 = ds->info.dtype == WEFT_U8;
        double m = (u8 ? (double)sums[c].sum : sums[c].fsum) / n;
        double variance = (u8 ? (double)sums[c].squares : sums[c].fsquares) / n - m * m;
        double deviation = variance > 0.0 ? sqrt(variance) : 0.0;
        mean[c] = (float)(u8 ? m / 255.0 : m + sums[c].shift);
        std[c] = (float)(u8 ? deviation / 255.0 : deviation);
    }
    wf_free(sums);
    return status;
}
