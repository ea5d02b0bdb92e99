/* What Adam, AdamW and LAMB share: their options, which are one struct, and their state. */
#ifndef WF_TRAIN_OPTIM_ADAM_FAMILY_H
#define WF_TRAIN_OPTIM_ADAM_FAMILY_H

#include "kernels/optim/optim.h"
#include "train/optim/optimizer.h"

unsigned wf_adam_states(const weft_optimizer *o);
double wf_adam_weight_decay(const weft_optimizer *o);
double *wf_adam_momentum(weft_optimizer *o); /* beta1 */
/* The members of a rule that are the same for all of them. */
#define WF_ADAM_RULE                                                                               \
    .state_names = {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}, .states = wf_adam_states,          \
    .weight_decay = wf_adam_weight_decay, .momentum = wf_adam_momentum

/* An optimizer with this rule. `usual` stands for opts where it is NULL; `init` is the name of the
 * initialiser, for messages. */
weft_optimizer *wf_adam_family_create(weft_context *ctx, const wf_optim_rule *rule, weft_module *m,
                                      const weft_adam_opts *opts, const weft_adam_opts *usual,
                                      const char *init);

#endif
