/* What a model's outputs are worth: counts and losses, image by image in the order given.
 *
 * Pure arithmetic on plain arrays, single-threaded. A score is a function of the outputs, the
 * labels and their order alone: how they are cut into batches changes no bit. Shape letters: N
 * images, K classes. Note [Outputs that are not numbers] is in score.c. */
#ifndef WF_TRAIN_SCORE_H
#define WF_TRAIN_SCORE_H

#include "weft/train.h"

typedef struct wf_score {
    int64_t classes; /* K; 0: nothing was added yet */
    int64_t images, correct, correct5, nan_images;
    double loss_sum;
    bool want_classes, want_confusion;
    int n_worst, want_worst;
    weft_class_score *per_class; /* (K) */
    int64_t *confusion;          /* (K, K) */
    weft_mistake *worst;         /* (want_worst), the worst first */
} wf_score;

/* Nothing added yet; wf_score_done frees what comes. */
wf_score wf_score_start(const weft_eval_opts *opts);
void wf_score_done(wf_score *s);
/* logits (N, K), labels (N) in 0 .. K-1, samples (N): the numbers the images have in their data
 * set. K is the same in every call. */
weft_status wf_score_add(wf_score *s, int64_t N, int64_t K, const float *logits,
                         const int64_t *labels, const int64_t *samples, weft_error *err);
double wf_score_loss(const wf_score *s); /* means over the images; NaN for none */
double wf_score_percent(const wf_score *s, int64_t count);
/* Fills the result's figures and gives it the arrays; `seconds` and
 * `img_per_s` stay as they are. */
void wf_score_finish(wf_score *s, weft_eval_result *result);

#endif
