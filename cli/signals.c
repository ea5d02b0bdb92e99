/* Holds the command's only global state: a signal handler takes no argument for any. See
 * signals.h. */
#include "signals.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

enum { INTERRUPTS_MEANT = 2, REQUEUE = 75 };

static volatile sig_atomic_t seen, interrupts;

/* Only what is async-signal-safe: two flags, signal and raise. */
static void note(int number)
{
    if (!seen)
        seen = number;
    if (number == SIGINT && interrupts < INTERRUPTS_MEANT)
        interrupts = interrupts + 1;
    if (interrupts == INTERRUPTS_MEANT) {
        signal(SIGINT, SIG_DFL);
        raise(SIGINT); /* blocked here: it ends the process when this returns */
    }
}

/* Whoever started this process may have wanted it to go on after a signal. */
static bool ignored_by_parent(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static void ignore(int number)
{
    struct sigaction action = {.sa_handler = SIG_IGN};
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

/* Weft maps no file; a library that it uses, or a program file on a failing disk, may still end
 * so. */
static void tell_cut_off(int number)
{
    static const char text[] = "weft: a file was cut off while it was read, or its disk failed\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)written;
    raise(number); /* SA_RESETHAND: it ends the process when this returns */
}

void signals_begin(void)
{
    struct sigaction cut_off = {.sa_handler = tell_cut_off, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&cut_off.sa_mask);
    sigaction(SIGBUS, &cut_off, NULL);
    ignore(SIGXFSZ);
}

void signals_catch(void)
{
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU};
    struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
    sigset_t
        blocked; /* by a parent that waits for them itself; nobody means that for its children */
    sigemptyset(&action.sa_mask);
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
        if (!ignored_by_parent(stops[i]))
            sigaction(stops[i], &action, NULL);
        sigaddset(&blocked, stops[i]);
    }
    sigprocmask(SIG_UNBLOCK, &blocked, NULL);
    ignore(SIGPIPE);
}

int signals_seen(void)
{
    return seen;
}

int signals_status(void)
{
    return seen == SIGINT || seen == SIGTERM ? 128 + (int)seen : REQUEUE;
}
