/* For LD_PRELOAD: a clock that someone sets, again and again, back by an hour and forth by a day.
 * Only the time of day is touched; a clock that cannot be set (CLOCK_MONOTONIC) goes on. */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/time.h>
#include <time.h>

static time_t jump(void)
{
    static atomic_int calls;
    const int n = atomic_fetch_add(&calls, 1);
    return n % 3 == 1 ? -3600 : n % 3 == 2 ? 86400 : -7200 * (time_t)(n % 50);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    const int failed = real(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += jump();
    return failed;
}

int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec t;
    const int failed = clock_gettime(CLOCK_REALTIME, &t);
    now->tv_sec = t.tv_sec;
    now->tv_usec = t.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *now)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (now != NULL)
        *now = t.tv_sec;
    return t.tv_sec;
}
