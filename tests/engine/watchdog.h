/* A watchdog for tests whose runs may hang: if nobody calls watchdog_end in time, it prints who waits for what
 * and ends the process with status WATCHDOG_STATUS, so that a hang is a failure that says why.
 *
 * One at a time in a process. The limit is far above what a loaded machine needs. */
#ifndef TESTS_ENGINE_WATCHDOG_H
#define TESTS_ENGINE_WATCHDOG_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "engine/run/run.h"

enum { WATCHDOG_STATUS = 70 };

static struct watchdog {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t over_changed;
    bool over;
    int seconds;
    const wf_scheduler *scheduler;
} watchdog = {.lock = PTHREAD_MUTEX_INITIALIZER, .over_changed = PTHREAD_COND_INITIALIZER};

static void *watchdog_main(void *unused)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += watchdog.seconds;
    pthread_mutex_lock(&watchdog.lock);
    int status = 0;
    while (!watchdog.over && status != ETIMEDOUT)
        status = pthread_cond_timedwait(&watchdog.over_changed, &watchdog.lock, &end);
    if (!watchdog.over) {
        fprintf(stderr, "watchdog: the run has not ended after %d s\n", watchdog.seconds);
        wf_scheduler_dump(watchdog.scheduler, stderr);
        fflush(NULL);
        _exit(WATCHDOG_STATUS);
    }
    pthread_mutex_unlock(&watchdog.lock);
    return unused;
}

static inline void watchdog_begin(const wf_scheduler *scheduler, int seconds)
{
    watchdog.over = false;
    watchdog.seconds = seconds;
    watchdog.scheduler = scheduler;
    if (pthread_create(&watchdog.thread, NULL, watchdog_main, NULL) != 0)
        _exit(WATCHDOG_STATUS);
}

static inline void watchdog_end(void)
{
    pthread_mutex_lock(&watchdog.lock);
    watchdog.over = true;
    pthread_cond_signal(&watchdog.over_changed);
    pthread_mutex_unlock(&watchdog.lock);
    pthread_join(watchdog.thread, NULL);
}

#endif
