/* Parts of a page: see page.h. */
#ifndef WF_REPORT_PAGE_PARTS_H
#define WF_REPORT_PAGE_PARTS_H

#include <jansson.h>
#include <stdio.h>

#include "weft/status.h"

/* Everything up to the page's first element, and what follows its last one. */
void wf_page_begin(FILE *out, const char *title);
void wf_page_end(FILE *out);

/* Writes a file that appears whole or not at all, with what `write` puts into it, in the C locale. */
typedef weft_status (*wf_page_write_fn)(FILE *out, const void *user, weft_error *err);
weft_status wf_page_file(const char *path, wf_page_write_fn write, const void *user,
                         weft_error *err);

/* Classes, confusion, mistakes. */
weft_status wf_page_evaluation(FILE *out, const json_t *evaluation, weft_error *err);

/* The style of pages, in CSS. */
extern const char wf_page_style[];

#endif
