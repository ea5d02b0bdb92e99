/* Signals: which of them stop a command between two steps, and which it ignores.
 *
 * SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 and SIGXCPU ask a command to stop: batch systems send
 * any of them before the time is up. After the first, the command stops at the next step (of an
 * evaluation, at the next batch), saves, and exits. Further signals change nothing, so that an
 * impatient second SIGTERM does not lose what is just being saved. Only a second SIGINT, from a
 * person at a terminal, ends the process at once, as SIGKILL does; no file is torn. A signal that
 * the parent ignored (nohup) stays ignored. */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

#include <stdbool.h>

/* For every command, first of all: a write over the limit of a file's size (RLIMIT_FSIZE) fails
 * with EFBIG, which is an error with a message, in place of SIGXFSZ, which is a death without; a
 * SIGBUS is a death with a message. */
void signals_begin(void);
/* Catches the signals that ask to stop, from now on, and ignores SIGPIPE: the work goes on where
 * nobody reads its output any more. */
void signals_catch(void);
/* The first signal that came, or 0. */
int signals_seen(void);
/* The exit status for it: 128 and its number if a person has sent it (SIGINT and SIGTERM: ^C, kill,
 * scancel), else 75 (EX_TEMPFAIL), which tells a batch system to start the command again. */
int signals_status(void);

#endif
