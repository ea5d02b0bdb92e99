/* Text inside HTML and SVG. Everything that comes from outside must go through these functions.
 *
 * They write to a stream; the owner of the stream checks it for errors. Any thread, each with a
 * stream of its own. */
#ifndef WF_REPORT_MARKUP_H
#define WF_REPORT_MARKUP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "weft/status.h"

/* Writes text as character data, which is also safe in attribute values. U+FFFD replaces what is
 * not UTF-8, characters that HTML or XML do not allow, and private characters. NULL writes
 * nothing. */
void wf_markup_text(FILE *out, const char *text);
/* The same, cut after `most` characters, with an ellipsis. */
void wf_markup_text_cut(FILE *out, const char *text, int most);
/* A JSON number; null for NaN and infinity, which JSON does not have. */
json_t *wf_json_number(double value);
/* The number under `key`; NaN where there is none. */
double wf_json_value(const json_t *object, const char *key);
/* The string under `key`; "" where there is none. */
const char *wf_json_string(const json_t *object, const char *key);

/* "data:<type>;base64,...", which the caller frees with wf_free; NULL: out of memory. type: such as
 * "image/png". */
char *wf_data_uri(const char *type, const unsigned char *bytes, size_t size);
/* Whether text is such a URI of type image/png and nothing else. */
bool wf_is_data_uri(const char *text);

/* Write "92.65" or "0.2080", and "12,345"; an en dash for NaN. */
void wf_markup_fixed(FILE *out, double value, int decimals);
void wf_markup_count(FILE *out, double value);
/* Writes a table cell, <td class="n">92.65</td>. decimals < 0: a count. */
void wf_markup_cell(FILE *out, double value, int decimals);
/* "1:02:33" */
void wf_markup_duration(FILE *out, double seconds);

#endif
