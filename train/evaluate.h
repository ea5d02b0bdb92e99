/* Evaluation inside training. */
#ifndef WF_TRAIN_EVALUATE_H
#define WF_TRAIN_EVALUATE_H

#include "weft/train.h"

/* What progress records say: the epoch, and how long the rest takes. */
typedef struct wf_eval_place {
    int64_t epoch, epochs;
    double lr;
    double seconds_after; /* seconds of work after this evaluation */
} wf_eval_place;

/* As weft_evaluate; `place` may be NULL. */
weft_status wf_evaluate(weft_module *model, weft_loader *loader, const weft_eval_opts *opts,
                        const wf_eval_place *place, weft_eval_result *result, weft_error *err);

/* Compiles the plans of an evaluation: of a full batch, and of a shorter last one. *memory becomes
 * what they need together: the larger arena and workspace, the plans of both. */
weft_status wf_evaluate_memory(weft_module *model, weft_loader *loader, weft_step_memory *memory,
                               weft_error *err);

#endif
