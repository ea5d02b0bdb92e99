/* What of `weft train` a recipe says: optimizer, groups, schedule. docs/recipes.md has the flags
 * beside torchvision's and timm's. */
#ifndef CLI_TRAIN_RECIPE_H
#define CLI_TRAIN_RECIPE_H

#include "session.h"

typedef struct recipe {
    weft_schedule schedule;
    int64_t milestones[FLAG_LIST_TEXT / 2]; /* of the schedule */
    double warmup_epochs;                   /* as used */
    weft_ema_opts ema;                      /* as used */
    char note[256];                         /* about the warm-up; "": nothing to tell */
} recipe;

/* The optimizer that --opt and its flags ask for, with the parameters that are trained; NULL: the
 * context has the error. */
weft_optimizer *recipe_optimizer(const session *s);
/* Makes the schedule; `batches`: of an epoch. Returns 0, or the exit status once the error is
 * printed. *r must stay where it is: the schedule points into it. */
int recipe_schedule(recipe *r, const session *s, int64_t batches);

/* Sets what the recipe says in the options of a training: the schedule, accumulation, clipping,
 * averages, early stopping. They point into *r. */
void recipe_set(recipe *r, const session *s, weft_train_opts *opts);
/* Tells what of them came out. */
void recipe_print_end(const weft_train_result *result, const cli_options *options);

#endif
