/* A heap of numbered things: the one with the greatest key is on top; of equal keys, the lowest
 * number. One thread at a time. */
#ifndef WF_BASE_HEAP_H
#define WF_BASE_HEAP_H

#include <stdbool.h>

typedef struct wf_heap_entry {
    double key;
    int id;
} wf_heap_entry;

typedef struct wf_heap {
    wf_heap_entry *entry; /* entry[0] is the top one */
    int n, cap;
} wf_heap;

/* The same id may be there several times. false: memory is out, and the heap is as it was. */
bool wf_heap_push(wf_heap *h, double key, int id);
/* Takes the top entry away; the heap must not be empty. */
wf_heap_entry wf_heap_pop(wf_heap *h);
void wf_heap_done(wf_heap *h); /* leaves an empty heap */

#endif
