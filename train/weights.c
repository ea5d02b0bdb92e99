/* Whether weights are worth saving. Single-threaded, as their context. */
#include "train/weights.h"

#include <math.h>

#include "kernels/types.h"

static bool all_finite(weft_tensor *t)
{
    int64_t n = weft_shape_count(weft_tensor_shape(t));
    const void *data = weft_tensor_const_data(t);
    bool finite = data != NULL;
    if (weft_tensor_dtype(t) == WEFT_F32)
        for (int64_t i = 0; i < n && finite; i++)
            finite = isfinite(((const float *)data)[i]);
    else if (weft_tensor_dtype(t) == WEFT_F64)
        for (int64_t i = 0; i < n && finite; i++)
            finite = isfinite(((const double *)data)[i]);
    else if (weft_tensor_dtype(t) == WEFT_BF16)
        for (int64_t i = 0; i < n && finite; i++)
            finite = isfinite(wf_bf16_value(((const uint16_t *)data)[i]));
    return finite;
}

bool wf_weights_finite(weft_module *model)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    bool finite = weft_state_dict(model, &list) == WEFT_OK;
    for (int i = 0; i < list.n && finite; i++)
        finite = all_finite(list.item[i].tensor);
    weft_tensor_list_done(&list);
    return finite;
}
