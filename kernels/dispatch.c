/* What the kernel families' dispatchers share. The library is silent, but for these lines, which
 * only a user who sets WEFT_VERBOSE=select sees. Thread-safe. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/select.h"

/* Whether one of the words of a comma-separated list is `name`, or its
 * beginning where `part` says so. */
static bool lists(const char *list, const char *name, bool part)
{
    while (list && *list) {
        size_t n = strcspn(list, ",");
        if (n > 0 && strncmp(list, name, n) == 0 && (part || !name[n]))
            return true;
        list += n + (list[n] == ',');
    }
    return false;
}

bool wf_select_verbose(void)
{
    return lists(getenv("WEFT_VERBOSE"), "select", false);
}

bool wf_select_avoids(const char *kernel)
{
    return lists(getenv("WEFT_AVOID"), kernel, true);
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
