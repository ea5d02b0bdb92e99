/* One character of UTF-8 text. */
#ifndef WF_BASE_UTF8_H
#define WF_BASE_UTF8_H

#include <stdbool.h>
#include <stdint.h>

/* The length in bytes of the character at the start of `text`, and its code in *code; 0 where it is
 * no valid character. `text` ends with a zero. RFC 3629. */
static inline int wf_utf8(const char *text, uint32_t *code)
{
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *s = (const unsigned char *)text;
    int n = s[0] < 0x80 ? 1 : s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (n <= 1) {
        *code = s[0];
        return n;
    }
    uint32_t c = s[0] & (0xffu >> (n + 1));
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    *code = c;
    bool good = c >= lowest[n] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) && s[0] < 0xf8;
    return good ? n : 0;
}

#endif
