/* The optimizer of a case of parity_driver.c: {"call": "RMSprop", "lr": 0.1, ...}. */
#ifndef PARITY_OPTIMIZERS_H
#define PARITY_OPTIMIZERS_H

#include <jansson.h>

#include "weft/weft.h"

/* Without parameters; NULL on failure, and for a call that is no optimizer. */
weft_optimizer *parity_optimizer(weft_context *ctx, const json_t *c);

#endif
