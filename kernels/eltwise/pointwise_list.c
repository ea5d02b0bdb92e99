/* Which implementation of the pointwise functions runs, and what the list says of each. Read-only
 * tables: any thread. */
#include "kernels/eltwise/pointwise.h"

extern const wf_pointwise_table wf_pointwise_f32_avx512, wf_pointwise_f32_avx2,
    wf_pointwise_f32_scalar, wf_pointwise_bf16_avx512, wf_pointwise_bf16_avx2,
    wf_pointwise_bf16_scalar, wf_pointwise_f64;

const wf_pointwise_table *const wf_pointwise_list[] = {
    &wf_pointwise_f32_avx512, &wf_pointwise_f32_avx2,
    &wf_pointwise_f32_scalar, &wf_pointwise_bf16_avx512,
    &wf_pointwise_bf16_avx2,  &wf_pointwise_bf16_scalar,
    &wf_pointwise_f64,        NULL};

static const struct {
    const char *name;
    int operands, results;
    bool keeps_zero;
} facts[] = {
#define WF_POINTWISE(name, operands, results, zero) {#name, operands, results, zero},
#include "kernels/eltwise/pointwise.def"
#undef WF_POINTWISE
};

const wf_pointwise_table *wf_pointwise_get(weft_dtype dtype, weft_isa isa)
{
    for (int i = 0; wf_pointwise_list[i]; i++)
        if (wf_pointwise_list[i]->dtype == dtype && wf_pointwise_list[i]->isa <= isa)
            return wf_pointwise_list[i];
    return NULL;
}

const char *wf_pointwise_name(wf_pointwise f)
{
    return facts[f].name;
}

int wf_pointwise_operands(wf_pointwise f)
{
    return facts[f].operands;
}

int wf_pointwise_results(wf_pointwise f)
{
    return facts[f].results;
}

bool wf_pointwise_keeps_zero(wf_pointwise f)
{
    return facts[f].keeps_zero;
}
