/* The attributes of of_nothing, which the plan inserts. */
#ifndef WF_OPS_OF_NOTHING_H
#define WF_OPS_OF_NOTHING_H

typedef struct wf_of_nothing_attrs {
    double value; /* of outputs that are not empty; integer outputs get 0 */
} wf_of_nothing_attrs;

#endif
