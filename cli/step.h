/* The training step that `weft train` runs, recorded without data: for explain and tune. */
#ifndef CLI_STEP_H
#define CLI_STEP_H

#include "session.h"

/* Records forward, loss and backward for images of size C x H x W, then, unless it is NULL, the
 * optimizer's update, and calls `then` while the step is recorded. Nothing is run, and nothing of
 * it stays. On failure the context has the error. */
weft_status step_with(const session *s, const int size[3], weft_optimizer *optimizer,
                      weft_status (*then)(void *user), void *user);

/* Tunes kernels for that step and keeps what was found, showing progress on stderr; what cannot be
 * kept is told. Returns 0 or the exit status, once the error is printed. */
int step_tune(const session *s, const int size[3], weft_tune_result *result);

#endif
