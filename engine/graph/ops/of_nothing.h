/* The attributes of of_nothing, for the plan that puts it in. */
#ifndef WF_OPS_OF_NOTHING_H
#define WF_OPS_OF_NOTHING_H

typedef struct wf_of_nothing_attrs {
    double value; /* of the outputs that are not empty; whole numbers: 0 */
} wf_of_nothing_attrs;

#endif
