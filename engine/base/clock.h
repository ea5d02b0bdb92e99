/* The one monotonic clock. Any thread. */
#ifndef WF_BASE_CLOCK_H
#define WF_BASE_CLOCK_H

double wf_seconds(void); /* since some fixed moment before the program started */

#endif
