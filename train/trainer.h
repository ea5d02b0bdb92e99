/* What the trainer's files share. */
#ifndef WF_TRAIN_TRAINER_H
#define WF_TRAIN_TRAINER_H

#include "train/metrics.h"
#include "weft/ops.h"
#include "weft/train.h"

bool wf_weights_finite(weft_module *model);

/* Evaluation inside training: the epoch, and where its progress records say all will end. */
typedef struct wf_eval_place {
    int64_t epoch, epochs;
    double lr;
    double seconds_after; /* what is left to do after this evaluation, in seconds */
} wf_eval_place;
weft_status wf_evaluate(weft_module *model, weft_loader *loader, const weft_eval_opts *opts,
                        const wf_eval_place *place, weft_eval_result *result, weft_error *err);

#endif
