/* What the kernel families' dispatchers share. The library is silent, but for these lines, which
 * only a user who sets WEFT_VERBOSE=select sees. Thread-safe. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/select.h"

bool wf_select_verbose(void)
{
    const char *list = getenv("WEFT_VERBOSE");
    const size_t length = strlen("select");
    while (list && *list) {
        size_t n = strcspn(list, ",");
        if (n == length && strncmp(list, "select", length) == 0)
            return true;
        list += n + (list[n] == ',');
    }
    return false;
}

void wf_select_log_problem(const char *what)
{
    fprintf(stderr, "weft: select: %s\n", what);
}

void wf_select_log(const char *kernel, bool chosen, double cycles, double share, const char *why)
{
    char expected[80] = "";
    if (cycles > 0)
        snprintf(expected, sizeof expected, "expects %.4g Mcycles, %.0f %% of peak%s",
                 cycles * 1e-6, 100 * share, *why ? "; " : "");
    fprintf(stderr, "weft: select:   %s%s: %s%s\n", chosen ? "" : "not ", kernel, expected, why);
}
