/* Parts of a page: see page.h. */
#ifndef WF_REPORT_PAGE_PARTS_H
#define WF_REPORT_PAGE_PARTS_H

#include <jansson.h>
#include <stdio.h>

#include "weft/status.h"

/* Everything up to the page's first element, and what follows its last one. */
void wf_page_begin(FILE *out, const char *title);
void wf_page_end(FILE *out);

/* Classes, confusion, mistakes. */
weft_status wf_page_evaluation(FILE *out, const json_t *evaluation, weft_error *err);

/* The style of pages, in CSS. */
extern const char wf_page_style[];

#endif
