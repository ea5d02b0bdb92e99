/* See background.h. */
#include "train/checkpoint/background.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/base/alloc.h"

enum { LEAST_PRIORITY = 19 };

typedef struct task {
    void *(*fn)(void *);
    void *arg;
} task;

/* On Linux a priority is a thread's, not its process's. */
static void *run(void *arg)
{
    task t = *(task *)arg;
    wf_free(arg);
    setpriority(PRIO_PROCESS, (id_t)gettid(), LEAST_PRIORITY);
    return t.fn(t.arg);
}

bool wf_ckpt_background(pthread_t *thread, void *(*fn)(void *), void *arg)
{
    sigset_t all, was;
    task *t = wf_zalloc(sizeof *t);
    if (!t)
        return false;
    *t = (task){fn, arg};
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    bool started = pthread_create(thread, NULL, run, t) == 0;
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    if (!started)
        wf_free(t);
    return started;
}
