/* SIGINT and SIGTERM: noted, and acted on between two steps. */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

/* Catches both from now on; a second signal ends the process as usual. */
void signals_catch(void);
/* The signal that came, or 0. */
int signals_seen(void);

#endif
