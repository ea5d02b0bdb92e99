/* The calls of a forward as a tree, and their totals. summary_table.c writes the table. */
#ifndef WF_MODULES_SUMMARY_H
#define WF_MODULES_SUMMARY_H

#include "modules/internal.h"

/* A call of a module, or a module that is not called. Index -1: none. */
typedef struct wf_summary_node {
    int module; /* in `modules` */
    int parent, first, last, next, caller;
    bool called; /* false: a list that only contains called modules, or spare */
    bool spare;  /* neither it nor anything below it is called */
    weft_shape in, out;
    int64_t macs; /* its own multiply-adds */
} wf_summary_node;

typedef struct wf_summary_place wf_summary_place; /* what the hooks of a module get */

typedef struct wf_summary {
    weft_named_modules modules; /* the first one, node 0, is the network itself */
    wf_summary_place *places;   /* one for each module */
    int hooked;
    wf_summary_node *nodes; /* in order of the calls */
    int n, capacity;
    int top; /* the call that runs now */
    weft_shape input;
    weft_dtype dtype; /* type of the parameters and of all computed values */
    weft_totals totals;
} wf_summary;

/* On failure do not call wf_summary_done. */
weft_status wf_summary_make(wf_summary *s, weft_module *m, weft_shape input);
void wf_summary_done(wf_summary *s);

#endif
