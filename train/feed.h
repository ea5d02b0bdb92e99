/* From loader batches to the stored tensors that a step reads. */
#ifndef WF_TRAIN_FEED_H
#define WF_TRAIN_FEED_H

#include "weft/context.h"
#include "weft/data.h"

/* Input tensors of one batch size. A full batch and a short last one have their own, so that
 * neither is made anew each epoch. */
typedef struct wf_feed_slot {
    weft_tensor *images; /* (N, C, H, W), of the loader's type */
    weft_tensor *labels; /* (N) i64 */
} wf_feed_slot;

typedef struct wf_feed {
    weft_context *ctx;
    weft_loader *loader;
    wf_feed_slot slot[2];
    weft_tensor *mean, *std; /* (C) f32; NULL until images come as bytes */
    const int64_t *samples;  /* (count) of the last batch: the numbers of its images */
} wf_feed;

/* The next batch of the loader: what the model reads in *slot, its size in *count (0: the epoch is
 * over). Images that come as bytes are normalised by the step itself: this records it, and
 * slot->images is recorded, too. */
weft_status wf_feed_next(wf_feed *feed, wf_feed_slot *slot, int64_t *count, weft_error *err);
void wf_feed_done(wf_feed *feed);

/* Copies the context's first error into err; `what` (may be NULL) goes in front of it. Returns its
 * status, or `otherwise` when the context has none. */
weft_status wf_take_error(const weft_context *ctx, weft_status otherwise, const char *what,
                          weft_error *err);

#endif
