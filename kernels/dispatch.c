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

void wf_select_log(const char *what, const char *kernel, const char *why)
{
    if (why)
        fprintf(stderr, "weft: select: %s: %s does not fit: %s\n", what, kernel, why);
    else
        fprintf(stderr, "weft: select: %s: %s\n", what, kernel);
}
