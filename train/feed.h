/* From loader batches to the stored tensors that a step reads. */
#ifndef WF_TRAIN_FEED_H
#define WF_TRAIN_FEED_H

#include "weft/context.h"
#include "weft/data.h"

/* Input tensors of one batch size. Full batches and a shorter last batch have tensors of their own,
 * so that neither is created again each epoch. */
typedef struct wf_feed_slot {
    weft_tensor *images; /* (N, C, H, W), of the loader's type */
    weft_tensor *labels; /* (N) i64 */
    /* (N, K) f32: the classes' shares, where the loader's transform mixes images; else NULL */
    weft_tensor *targets;
} wf_feed_slot;

typedef struct wf_feed {
    weft_context *ctx;
    weft_loader *loader;
    wf_feed_slot slot[2];
    weft_tensor *mean, *std; /* (C) f32; NULL unless images come as bytes */
    const int64_t *samples;  /* (count) the numbers of the last batch's images in the data set */
} wf_feed;

/* Gets the loader's next batch. *slot has what the model reads; *count is the batch size, 0 where
 * the epoch is over. If images come as bytes, this records their normalisation as part of the step:
 * then slot->images is a recorded tensor. */
weft_status wf_feed_next(wf_feed *feed, wf_feed_slot *slot, int64_t *count, weft_error *err);
/* The same for a batch of `count` images whose content does not matter: for plans that are not
 * run. */
weft_status wf_feed_blank(wf_feed *feed, int64_t count, wf_feed_slot *slot, weft_error *err);
void wf_feed_done(wf_feed *feed);

/* Copies the context's first error to err, with `what` (may be NULL) in front. Returns its status;
 * `otherwise` where the context has no error. */
weft_status wf_take_error(const weft_context *ctx, weft_status otherwise, const char *what,
                          weft_error *err);

#endif
