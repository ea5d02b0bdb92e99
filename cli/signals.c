/* The one piece of global state: handlers cannot be given any. */
#include "signals.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t seen;

static void note(int signal)
{
    seen = signal;
}

void signals_catch(void)
{
    /* Reset on entry: whoever presses ^C twice means it. */
    struct sigaction action = {.sa_handler = note, .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int signals_seen(void)
{
    return seen;
}
