/* Owns the input tensors of training and evaluation. Single-threaded, as its context. */
#include "train/feed.h"

#include <string.h>

#include "engine/base/error.h"
#include "weft/ops.h"

weft_status wf_take_error(const weft_context *ctx, weft_status otherwise, const char *what,
                          weft_error *err)
{
    weft_status status = weft_error_status(ctx);
    if (status == WEFT_OK)
        return wf_error_set(err, otherwise, "%s%s%s", what ? what : "", what ? ": " : "",
                            weft_status_string(otherwise));
    return wf_error_set(err, status, "%s%s%s", what ? what : "", what ? ": " : "",
                        weft_error_text(ctx));
}

static void slot_done(wf_feed_slot *slot)
{
    weft_tensor_unref(slot->images);
    weft_tensor_unref(slot->labels);
    weft_tensor_unref(slot->targets);
    *slot = (wf_feed_slot){0};
}

void wf_feed_done(wf_feed *feed)
{
    slot_done(&feed->slot[0]);
    slot_done(&feed->slot[1]);
    weft_tensor_unref(feed->mean);
    weft_tensor_unref(feed->std);
    feed->mean = feed->std = NULL;
}

static bool slot_fits(const wf_feed_slot *slot, int64_t count)
{
    return slot->images && slot->labels && weft_tensor_shape(slot->images).dim[0] == count;
}

/* The slot for this batch size: one that fits, or an empty one; else the second slot gets new
 * tensors. */
static wf_feed_slot *slot_for(wf_feed *feed, weft_dtype dtype, int64_t count, int64_t classes)
{
    for (int i = 0; i < 2; i++)
        if (slot_fits(&feed->slot[i], count))
            return &feed->slot[i];
    wf_feed_slot *slot = &feed->slot[feed->slot[0].images != NULL];
    slot_done(slot);
    const weft_dataset_info *info = weft_loader_get_info(feed->loader);
    slot->images = weft_tensor_create(feed->ctx, dtype,
                                      WEFT_SHAPE(count, info->channels, info->height, info->width));
    slot->labels = weft_tensor_create(feed->ctx, WEFT_I64, WEFT_SHAPE(count));
    if (classes > 0)
        slot->targets = weft_tensor_create(feed->ctx, WEFT_F32, WEFT_SHAPE(count, classes));
    return slot_fits(slot, count) && (slot->targets || classes == 0) ? slot : NULL;
}

static weft_tensor *normalized(wf_feed *feed, weft_tensor *images)
{
    if (!feed->mean || !feed->std) {
        const float *mean, *std;
        const weft_shape channels = WEFT_SHAPE(weft_loader_get_info(feed->loader)->channels);
        weft_loader_get_normalization(feed->loader, &mean, &std);
        weft_tensor_unref(feed->mean);
        feed->mean = weft_tensor_from(feed->ctx, WEFT_F32, channels, mean);
        feed->std = weft_tensor_from(feed->ctx, WEFT_F32, channels, std);
    }
    return weft_normalize_images(images, feed->mean, feed->std);
}

/* Records the normalisation of images that come as bytes. */
static weft_status make_ready(wf_feed *feed, const wf_feed_slot *s, weft_dtype dtype,
                              wf_feed_slot *slot, weft_error *err)
{
    wf_feed_slot ready = *s;
    if (dtype == WEFT_U8)
        ready.images = normalized(feed, s->images);
    if (!ready.images)
        return wf_take_error(feed->ctx, WEFT_ERR_NOMEM, NULL, err);
    *slot = ready;
    return WEFT_OK;
}

weft_status wf_feed_next(wf_feed *feed, wf_feed_slot *slot, int64_t *count, weft_error *err)
{
    weft_batch batch;
    WF_TRY(weft_loader_next(feed->loader, &batch, err));
    *count = batch.count;
    if (batch.count == 0)
        return WEFT_OK;
    const int64_t classes = weft_loader_classes(feed->loader);
    wf_feed_slot *s = slot_for(feed, batch.dtype, batch.count, classes);
    if (!s)
        return wf_take_error(feed->ctx, WEFT_ERR_NOMEM, NULL, err);
    size_t pixels = (size_t)weft_shape_count(weft_tensor_shape(s->images));
    weft_status status = weft_write(s->images, batch.images, pixels * weft_dtype_size(batch.dtype));
    if (status == WEFT_OK)
        status = weft_write(s->labels, batch.labels, (size_t)batch.count * sizeof(int64_t));
    if (status == WEFT_OK && batch.targets)
        status =
            weft_write(s->targets, batch.targets, (size_t)(batch.count * classes) * sizeof(float));
    if (status != WEFT_OK)
        return wf_take_error(feed->ctx, status, NULL, err);
    feed->samples = batch.samples;
    return make_ready(feed, s, batch.dtype, slot, err);
}

weft_status wf_feed_blank(wf_feed *feed, int64_t count, wf_feed_slot *slot, weft_error *err)
{
    const weft_dtype dtype = weft_loader_dtype(feed->loader);
    wf_feed_slot *s = slot_for(feed, dtype, count, weft_loader_classes(feed->loader));
    if (!s)
        return wf_take_error(feed->ctx, WEFT_ERR_NOMEM, NULL, err);
    return make_ready(feed, s, dtype, slot, err);
}
