/* How much stack is left. A thread whose stack is too small for Weft gets an error; otherwise it
 * would crash, far from the cause. */
#ifndef WF_BASE_STACK_H
#define WF_BASE_STACK_H

#include <stddef.h>

#include "weft/status.h"

/* Bytes that must be left on the stack of a thread that calls Weft, and of OpenMP's threads: more
 * than twice what tests/engine/test_stack.c measures. weft/context.h documents both. */
enum { WF_STACK_CALLER = 128 << 10, WF_STACK_WORKER = 64 << 10 };

/* Bytes left on the calling thread's stack; SIZE_MAX where this is unknown, as on a stack that the
 * program made itself. */
size_t wf_stack_left(void);
/* WEFT_ERR_STATE unless WF_STACK_CALLER bytes are left. */
weft_status wf_stack_check(const char *what, weft_error *err);

#endif
