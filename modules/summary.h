/* What a forward calls, as a tree, and its totals; the table is summary_table.c's. */
#ifndef WF_MODULES_SUMMARY_H
#define WF_MODULES_SUMMARY_H

#include "modules/internal.h"

/* A call of a module, or a module that is not called. Indices are -1 for none. */
typedef struct wf_summary_node {
    int module; /* in `modules` */
    int parent, first, last, next, caller;
    bool called; /* false: a list that only holds what is called, or spare */
    bool spare;  /* neither it nor what it holds is called */
    weft_shape in, out;
    int64_t macs; /* its own */
} wf_summary_node;

typedef struct wf_summary_place wf_summary_place; /* what a module's hooks know */

typedef struct wf_summary {
    weft_named_modules modules; /* the first is the network itself, node 0 */
    wf_summary_place *places;   /* one a module */
    int hooked;
    wf_summary_node *nodes; /* in the order of the calls */
    int n, capacity;
    int top; /* the call that is running */
    weft_shape input;
    weft_dtype dtype; /* of the parameters and of all that is computed */
    weft_totals totals;
} wf_summary;

/* On failure *s needs no done. */
weft_status wf_summary_make(wf_summary *s, weft_module *m, weft_shape input);
void wf_summary_done(wf_summary *s);

#endif
