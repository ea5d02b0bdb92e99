/* Text inside HTML and SVG: everything that comes from outside goes through here.
 *
 * Writes to a stream whose errors the owner of the stream finds. Any thread, a stream each. */
#ifndef WF_REPORT_MARKUP_H
#define WF_REPORT_MARKUP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "weft/status.h"

/* Writes text as character data, fit for attribute values too. What is not UTF-8, what neither
 * HTML nor XML allows and private characters become U+FFFD. NULL: nothing. */
void wf_markup_text(FILE *out, const char *text);
/* The same, cut after so many characters, with an ellipsis then. */
void wf_markup_text_cut(FILE *out, const char *text, int most);
/* JSON knows no NaN and no infinity: null. */
json_t *wf_json_number(double value);
/* NaN for what is no number. */
double wf_json_value(const json_t *object, const char *key);
/* "" for what is no string. */
const char *wf_json_string(const json_t *object, const char *key);

/* "data:image/png;base64,...", owned by the caller (wf_free); NULL when memory is out. */
char *wf_data_uri(const unsigned char *png, size_t size);
/* Whether text is such an URI and nothing else. */
bool wf_is_data_uri(const char *text);

/* "92.65", "0.2080", "12,345"; an en dash for NaN. */
void wf_markup_fixed(FILE *out, double value, int decimals);
void wf_markup_count(FILE *out, double value);
/* A table's cell, "<td class="n">92.65</td>"; decimals < 0: a count. */
void wf_markup_cell(FILE *out, double value, int decimals);
/* "1:02:33" */
void wf_markup_duration(FILE *out, double seconds);

#endif
