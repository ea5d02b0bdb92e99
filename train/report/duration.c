/* Seconds as a clock shows them. No state. */
#include <math.h>
#include <stdio.h>

#include "weft/train.h"

char *weft_duration_format(double seconds, char *text, size_t size)
{
    const double most = 1e15; /* all of a double's digits; also of infinity */
    long long s = seconds > 0 ? llround(fmin(seconds, most)) : 0;
    if (s >= 3600)
        snprintf(text, size, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, size, "%lld:%02lld", s / 60, s % 60);
    return text;
}
