/* The one monotonic clock. Any thread. */
#ifndef WF_BASE_CLOCK_H
#define WF_BASE_CLOCK_H

double wf_seconds(void); /* since a moment that stays the same while the machine is up */

#endif
