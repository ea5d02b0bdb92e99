/* Scores of a model's outputs: counts and losses, image by image in the given order.
 *
 * Pure arithmetic on plain arrays, single-threaded. A score depends only on the outputs, the labels
 * and their order: cutting them into other batches changes no bit. Letters: N images, K classes.
 * Note [Outputs that are not numbers] is in score.c. */
#ifndef WF_TRAIN_SCORE_H
#define WF_TRAIN_SCORE_H

#include "weft/train.h"

typedef struct wf_score {
    int64_t classes; /* K; 0: nothing added yet */
    int64_t images, correct, correct5, nan_images;
    double loss_sum;
    bool want_classes, want_confusion;
    int n_worst, want_worst;
    weft_class_score *per_class; /* (K) */
    int64_t *confusion;          /* (K, K) */
    weft_mistake *worst;         /* (want_worst), the worst first */
} wf_score;

/* wf_score_start: an empty score. wf_score_done frees its arrays. */
wf_score wf_score_start(const weft_eval_opts *opts);
void wf_score_done(wf_score *s);
/* Adds N images: logits (N, K), labels (N) in 0 .. K-1, and samples (N), the images' numbers in the
 * data set. K must be the same in every call. */
weft_status wf_score_add(wf_score *s, int64_t N, int64_t K, const float *logits,
                         const int64_t *labels, const int64_t *samples, weft_error *err);
double wf_score_loss(const wf_score *s); /* mean over the images; NaN without images */
double wf_score_percent(const wf_score *s, int64_t count);
/* Fills in the result's figures and moves the arrays to it. `seconds` and `img_per_s` stay as they
 * are. */
void wf_score_finish(wf_score *s, weft_eval_result *result);

#endif
