/* Numbers of bytes that users type. No state. */
#include "sizes.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <strings.h>

bool sizes_read(const char *text, size_t *bytes)
{
    static const char *const units[][2] = {
        {"", "B"}, {"K", "KiB"}, {"M", "MiB"}, {"G", "GiB"}, {"T", "TiB"}};
    char *end;
    if (!isdigit((unsigned char)text[0]) && text[0] != '.')
        return false; /* strtod would take signs, spaces, "inf" */
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        return false;
    double number = strtod(text, &end);
    if (end == text)
        return false;
    while (*end == ' ')
        end++;
    double factor = 0, power = 1;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++, power *= 1024)
        if (strcasecmp(end, units[i][0]) == 0 || strcasecmp(end, units[i][1]) == 0)
            factor = power;
    number *= factor;
    if (!(number >= 1) || number > (double)(SIZE_MAX / 2))
        return false;
    *bytes = (size_t)number;
    return true;
}
