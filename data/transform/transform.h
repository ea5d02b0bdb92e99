/* Applies a weft_transform to decoded pictures. See include/weft/transform.h.
 *
 * Threading: one state a thread; its buffers grow and are used again. */
#ifndef WF_DATA_TRANSFORM_H
#define WF_DATA_TRANSFORM_H

#include "data/picture/picture.h"
#include "weft/transform.h"

typedef struct wf_transform_state wf_transform_state;

wf_transform_state *wf_transform_state_create(void); /* NULL: no memory */
void wf_transform_state_destroy(wf_transform_state *s);

/* What the draws of a sample are keyed by. */
typedef struct wf_transform_key {
    uint64_t seed;
    int64_t epoch, sample;
    int64_t repetition; /* which of the sample's draws in this epoch, where it has several */
} wf_transform_key;

/* Writes image (C, t->height, t->width), planar, from the picture; C is the picture's. Fails only
 * when memory is out. */
weft_status wf_transform_apply(wf_transform_state *s, const weft_transform *t,
                               const wf_picture *picture, wf_transform_key key, uint8_t *image,
                               weft_error *err);

/* Whether batches get targets of their own: mixup or cutmix is on. */
bool wf_transform_mixes(const weft_transform *t);
/* Mixes the images of a batch (N, C, H, W) with one another, in place, as torchvision's RandomMixup
 * and RandomCutmix do: image i with image i-1, the first with the last. targets (N, K) f32 gets the
 * classes' shares; labels (N) are the classes of the images. `batch` is the batch's number in the
 * epoch. */
weft_status wf_transform_mix(wf_transform_state *s, const weft_transform *t, uint64_t seed,
                             int64_t epoch, int64_t batch, int64_t n, int channels, int classes,
                             uint8_t *images, const int64_t *labels, float *targets,
                             weft_error *err);

#endif
