/* The ops that the sweep against PyTorch calls, by name. */
#ifndef WF_TESTS_SWEEP_OPS_H
#define WF_TESTS_SWEEP_OPS_H

#include "weft/weft.h"

enum { SWEEP_MAX_IN = 8, SWEEP_MAX_OUT = 8, SWEEP_MAX_OPTIONS = 20 };

/* What an op is given: n inputs (stored tensors), and options whose meaning is the op's own. */
typedef struct sweep_call {
    int n;
    weft_tensor *in[SWEEP_MAX_IN];
    int n_options;
    double option[SWEEP_MAX_OPTIONS];
} sweep_call;

/* Records op `name`; sets out[] and returns how many there are, 0 when one is NULL, -1 for an
 * unknown name. */
int sweep_record(const char *name, const sweep_call *c, weft_tensor **out);

#endif
