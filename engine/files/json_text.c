/* Bytes that are not UTF-8 in JSON. See json_text.h. */
#include "engine/files/json_text.h"

#include "engine/files/regular_file.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "engine/base/utf8.h"
#include "engine/files/atomic_file.h"
#include "engine/base/alloc.h"

/* the characters that stand for the bytes 0x80 to 0xff begin here */
#define FIRST_STAND_IN 0x10f780u
enum { STAND_IN_BYTES = 4, ESCAPE_BYTES = 6 /* \udc80 */ };

/* Writes U+10F7NN as UTF-8. */
static void put_stand_in(char *at, unsigned byte)
{
    at[0] = (char)0xf4;
    at[1] = (char)0x8f;
    at[2] = (char)(0x9c | byte >> 6);
    at[3] = (char)(0x80 | (byte & 0x3f));
}

/* The byte that the character at s stands for; 0: it is an ordinary character. */
static unsigned stand_in(const char *s)
{
    uint32_t c;
    bool is = (unsigned char)*s == 0xf4 && wf_utf8(s, &c) == STAND_IN_BYTES &&
              c >= FIRST_STAND_IN && c <= FIRST_STAND_IN + 0x7f;
    return is ? c & 0xff : 0;
}

json_t *wf_json_text(const char *text)
{
    if (!text)
        return json_null();
    char *clean = wf_alloc_array(strlen(text) + 1, STAND_IN_BYTES), *at = clean;
    if (!clean)
        return NULL;
    for (const char *s = text; *s;) {
        uint32_t c;
        int n = stand_in(s) ? 0 : wf_utf8(s, &c);
        if (n) {
            memcpy(at, s, (size_t)n);
            at += n;
            s += n;
            continue;
        }
        /* A character of the text that looks like a stand-in becomes four stand-ins, one for each
         * byte. */
        for (int left = stand_in(s) ? STAND_IN_BYTES : 1; left > 0; left--, at += STAND_IN_BYTES)
            put_stand_in(at, (unsigned char)*s++);
    }
    json_t *json = json_stringn(clean, (size_t)(at - clean));
    wf_free(clean);
    return json;
}

char *wf_json_dumps(const json_t *json, size_t flags)
{
    char *text = json_dumps(json, flags);
    size_t length = 0;
    if (!text)
        return NULL;
    for (const char *s = text; *s; s += stand_in(s) ? STAND_IN_BYTES : 1)
        length += stand_in(s) ? ESCAPE_BYTES : 1;
    char *escaped = malloc(length + 1), *at = escaped;
    for (const char *s = text; escaped && *s;) {
        unsigned byte = stand_in(s);
        if (byte) {
            at += snprintf(at, ESCAPE_BYTES + 1, "\\udc%02x", byte);
            s += STAND_IN_BYTES;
        } else {
            *at++ = *s++;
        }
    }
    if (escaped)
        *at = '\0';
    free(text);
    return escaped;
}

weft_status wf_json_write(const char *path, const json_t *json, size_t flags, weft_error *err)
{
    wf_atomic_file *file = NULL;
    char *text = wf_json_dumps(json, flags);
    if (!text)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    weft_status status = wf_atomic_create(path, &file, err);
    if (status == WEFT_OK)
        status = wf_atomic_write(file, text, strlen(text), err);
    if (status == WEFT_OK)
        status = wf_atomic_write(file, "\n", 1, err);
    if (status == WEFT_OK)
        status = wf_atomic_commit(file, err);
    else
        wf_atomic_abort(file);
    free(text);
    return status;
}

/* The number in the four hexadecimal digits at s; -1: they are not four digits. */
static int hex4(const char *s)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    int value = 0;
    for (int i = 0; i < 4; i++) {
        const char *digit = s[i] ? strchr(digits, s[i]) : NULL;
        if (!digit)
            return -1;
        value = value << 4 | (int)((digit - digits) & 15);
    }
    return value;
}

json_t *wf_json_loads(char *text)
{
    char *to = text;
    bool after_high = false; /* the last escape was the first half of a surrogate pair */
    for (const char *s = text; *s;) {
        int code = s[0] == '\\' && s[1] == 'u' ? hex4(s + 2) : -1;
        if (code >= 0xdc80 && code <= 0xdcff && !after_high) {
            put_stand_in(to, (unsigned)code & 0xff);
            to += STAND_IN_BYTES;
            s += ESCAPE_BYTES;
            continue;
        }
        after_high = code >= 0xd800 && code <= 0xdbff;
        int n = code >= 0 ? ESCAPE_BYTES : s[0] == '\\' && s[1] ? 2 : 1;
        memmove(to, s, (size_t)n);
        to += n;
        s += n;
    }
    *to = '\0';
    return json_loads(text, 0, NULL);
}

/* Larger than any JSON file that Weft writes. */
#define MOST_BYTES ((int64_t)256 << 20)

json_t *wf_json_load_file(const char *path)
{
    char *text = NULL;
    size_t size = 0;
    FILE *in = NULL;
    wf_fopen_regular(path, MOST_BYTES, &in, NULL);
    ssize_t length = in ? getdelim(&text, &size, '\0', in) : -1;
    json_t *json = length >= 0 ? wf_json_loads(text) : NULL;
    free(text);
    if (in)
        fclose(in);
    return json;
}
