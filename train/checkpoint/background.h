/* A thread that takes the time that training leaves. */
#ifndef WF_CHECKPOINT_BACKGROUND_H
#define WF_CHECKPOINT_BACKGROUND_H

#include <pthread.h>
#include <stdbool.h>

/* Starts fn(arg) at the lowest priority, with all signals blocked: they are for the program. False
 * where no thread can be started. */
bool wf_ckpt_background(pthread_t *thread, void *(*fn)(void *), void *arg);

#endif
