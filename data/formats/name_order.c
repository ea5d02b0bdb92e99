/* Python's order of file names. See name_order.h. */
#include "data/formats/name_order.h"

#include <string.h>
#include <strings.h>

#include "engine/base/utf8.h"

/* The code point at *at, which moves on. */
static uint32_t next_code(const char **at)
{
    uint32_t code;
    int n = wf_utf8(*at, &code);
    if (n == 0)
        code = 0xdc00u + (unsigned char)**at;
    *at += n ? n : 1;
    return code;
}

int wf_compare_names(const char *a, const char *b)
{
    while (*a && *b) {
        if ((signed char)*a > 0 && (signed char)*b > 0) { /* both are ASCII */
            if (*a != *b)
                return *a < *b ? -1 : 1;
            a++;
            b++;
            continue;
        }
        uint32_t x = next_code(&a), y = next_code(&b);
        if (x != y)
            return x < y ? -1 : 1;
    }
    return (*a != 0) - (*b != 0);
}

bool wf_is_picture_name(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png",  ".ppm", ".bmp",
                                          ".pgm", ".tif",  ".tiff", ".webp"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}
