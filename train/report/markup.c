/* Escaping, data URIs and numbers. See markup.h. */
#include "train/report/markup.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/base/alloc.h"
#include "weft/train.h"

#define REPLACEMENT "\xef\xbf\xbd"
#define ELLIPSIS "\xe2\x80\xa6"
#define EN_DASH "\xe2\x80\x93"
static const char uri_start[] = "data:image/png;base64,";
static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Whether XML's Char and HTML allow it: no controls, no noncharacters. Nor private characters,
 * which stand for bytes that are not UTF-8 (engine/files/json_text.h). */
static bool printable(uint32_t c)
{
    return c == '\t' || c == '\n' ||
           (c >= 0x20 && !(c >= 0x7f && c <= 0x9f) && (c & 0xfffe) != 0xfffe &&
            !(c >= 0xfdd0 && c <= 0xfdef) && c < 0xf0000);
}

void wf_markup_text_cut(FILE *out, const char *text, int most)
{
    const char *s = text ? text : "";
    for (int i = 0; *s; i++) {
        uint32_t c;
        int n = wf_utf8(s, &c);
        if (i == most - 1 && s[n ? n : 1]) {
            fputs(ELLIPSIS, out);
            return;
        }
        if (n == 0 || !printable(c))
            fputs(REPLACEMENT, out);
        else if (strchr("&<>\"'", (int)c) && c < 0x80)
            fprintf(out, "&#%u;", (unsigned)c);
        else
            fwrite(s, 1, (size_t)n, out);
        s += n ? n : 1;
    }
}

void wf_markup_text(FILE *out, const char *text)
{
    wf_markup_text_cut(out, text, INT_MAX);
}

json_t *wf_json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

double wf_json_value(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

const char *wf_json_string(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

char *wf_data_uri(const char *type, const unsigned char *bytes, size_t size)
{
    char *uri = wf_alloc(strlen(type) + 32 + (size + 2) / 3 * 4);
    if (!uri)
        return NULL;
    char *at = stpcpy(stpcpy(stpcpy(uri, "data:"), type), ";base64,");
    for (size_t i = 0; i < size; i += 3) {
        size_t n = size - i < 3 ? size - i : 3;
        uint32_t v = (uint32_t)bytes[i] << 16 | (n > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                     (n > 2 ? bytes[i + 2] : 0);
        *at++ = digits[v >> 18];
        *at++ = digits[v >> 12 & 63];
        *at++ = n > 1 ? digits[v >> 6 & 63] : '=';
        *at++ = n > 2 ? digits[v & 63] : '=';
    }
    *at = '\0';
    return uri;
}

bool wf_is_data_uri(const char *text)
{
    size_t start = sizeof(uri_start) - 1;
    if (!text || strncmp(text, uri_start, start) != 0)
        return false;
    text += start;
    text += strspn(text, digits);
    return text[strspn(text, "=")] == '\0';
}

void wf_markup_fixed(FILE *out, double value, int decimals)
{
    if (isnan(value))
        fputs(EN_DASH, out);
    else if (fabs(value) >= 1e6)
        fprintf(out, "%.3e", value);
    else
        fprintf(out, "%.*f", decimals, value);
}

void wf_markup_count(FILE *out, double value)
{
    char text[32];
    if (!isfinite(value) || fabs(value) >= 1e15) {
        wf_markup_fixed(out, value, 0);
        return;
    }
    int n = snprintf(text, sizeof(text), "%.0f", value);
    for (int i = 0; i < n; i++) {
        fputc(text[i], out);
        if (i + 1 < n && (n - i - 1) % 3 == 0 && text[i] != '-')
            fputc(',', out);
    }
}

void wf_markup_cell(FILE *out, double value, int decimals)
{
    fputs("<td class=\"n\">", out);
    if (decimals < 0)
        wf_markup_count(out, value);
    else
        wf_markup_fixed(out, value, decimals);
    fputs("</td>", out);
}

void wf_markup_duration(FILE *out, double seconds)
{
    if (!isfinite(seconds)) {
        fputs(EN_DASH, out);
        return;
    }
    char text[32];
    fputs(weft_duration_format(seconds, text, sizeof(text)), out);
}
