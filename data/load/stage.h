/* The sample stage: from a stored sample, pixels or a picture file, to an image of fixed size.
 *
 * A stage is of one thread and one data set. Its buffers grow to the largest picture and are used
 * again. */
#ifndef WF_DATA_LOAD_STAGE_H
#define WF_DATA_LOAD_STAGE_H

#include "data/dataset.h"
#include "data/transform/transform.h"

typedef struct wf_stage wf_stage;

/* NULL: no memory. The data set must outlive it. */
wf_stage *wf_stage_create(const weft_dataset *ds);
void wf_stage_destroy(wf_stage *s); /* NULL: no effect */

/* Points *pixels at a sample's pixels (C, H, W; info's sizes and type), valid until the next call
 * on `s`, and sets *label. `bytes`: of its picture file, if they were read already; else NULL. */
weft_status wf_stage_view(wf_stage *s, int64_t index, const wf_bytes *bytes, const void **pixels,
                          int64_t *label, weft_error *err);

/* Writes the image (C, t->height, t->width; u8) of a sample, and *label. fast: JPEGs may be decoded
 * at a fraction of their size. */
weft_status wf_stage_transform(wf_stage *s, const weft_transform *t, wf_transform_key key,
                               bool fast, int64_t index, const wf_bytes *bytes, uint8_t *image,
                               int64_t *label, weft_error *err);

/* What the header of a sample's picture says. */
weft_status wf_stage_probe(wf_stage *s, int64_t index, wf_picture_info *info, weft_error *err);
/* The bytes of the picture file that the stage has read last. */
size_t wf_stage_file_bytes(const wf_stage *s);
/* About what a thread's stage grows to: a file, and its pixels as decoded and as planes. */
size_t wf_stage_memory(const weft_dataset *ds);

#endif
