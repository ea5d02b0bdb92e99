/* Pass 3, precision: the storage type of each value. Without --amp every value is stored in the
 * type it was recorded with; bf16 storage of f32 activations is chosen here. */
#include "engine/plan/plan.h"

weft_status wf_pass_precision(wf_plan *p)
{
    for (int v = 0; v < p->n_values; v++)
        p->values[v].storage = p->values[v].type.dtype;
    return WEFT_OK;
}
