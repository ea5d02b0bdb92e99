/* Layer normalisation: the references, f32 and f64, and the choice. */
#include "kernels/norm/layer_norm.h"

#include <math.h>

#define T float
#define FN(name) name##_f32
#include "kernels/norm/layer_norm_ref_body.h"
#undef T
#undef FN
#define T double
#define FN(name) name##_f64
#include "kernels/norm/layer_norm_ref_body.h"
#undef T
#undef FN

static const wf_layer_norm_fns ref_f32 = {"layer_norm:ref:f32", WEFT_ISA_SCALAR, WEFT_F32,
                                          forward_f32, backward_f32};
static const wf_layer_norm_fns ref_f64 = {"layer_norm:ref:f64", WEFT_ISA_SCALAR, WEFT_F64,
                                          forward_f64, backward_f64};
extern const wf_layer_norm_fns wf_layer_norm_avx2, wf_layer_norm_avx512;

const wf_layer_norm_fns *const wf_layer_norm_list[] = {&wf_layer_norm_avx512, &wf_layer_norm_avx2,
                                                       &ref_f32, &ref_f64, NULL};

const wf_layer_norm_fns *wf_layer_norm_find(weft_isa isa, weft_dtype dtype)
{
    for (int i = 0; wf_layer_norm_list[i]; i++) {
        const wf_layer_norm_fns *f = wf_layer_norm_list[i];
        if (f->isa <= isa && f->dtype == dtype)
            return f;
    }
    return NULL;
}
