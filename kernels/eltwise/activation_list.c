/* Which implementation of the activations runs, and what the list says of each. Read-only tables:
 * any thread. */
#include <string.h>

#include "kernels/eltwise/activation.h"

extern const wf_activations wf_activations_f32_avx512, wf_activations_f32_avx2,
    wf_activations_f32_scalar, wf_activations_bf16_avx512, wf_activations_bf16_avx2,
    wf_activations_bf16_scalar, wf_activations_f64;

const wf_activations *const wf_activation_list[] = {
    &wf_activations_f32_avx512, &wf_activations_f32_avx2,
    &wf_activations_f32_scalar, &wf_activations_bf16_avx512,
    &wf_activations_bf16_avx2,  &wf_activations_bf16_scalar,
    &wf_activations_f64,        NULL};

enum { IN, OUT };
static const struct {
    const char *name;
    bool saves_output, keeps_zero, flat;
} facts[] = {
#define WF_ACTIVATION(name, from, zero, flat) {#name, from == OUT, zero, flat},
#include "kernels/eltwise/activation.def"
#undef WF_ACTIVATION
};

const wf_activations *wf_activation_get(weft_dtype dtype, weft_isa isa)
{
    for (int i = 0; wf_activation_list[i]; i++)
        if (wf_activation_list[i]->dtype == dtype && wf_activation_list[i]->isa <= isa)
            return wf_activation_list[i];
    return NULL;
}

const char *wf_activation_name(wf_activation f)
{
    return facts[f].name;
}

bool wf_activation_saves_output(wf_activation f)
{
    return facts[f].saves_output;
}

bool wf_activation_keeps_zero(wf_activation f)
{
    return facts[f].keeps_zero;
}

bool wf_activation_backward_keeps_zero(wf_activation f)
{
    return facts[f].flat;
}

void wf_clear_padding(wf_act a, size_t size, void *y)
{
    int real = a.C % a.block;
    if (real == 0)
        return;
    size_t pixels = (size_t)a.H * (size_t)a.W, width = (size_t)a.block * size;
    char *p = (char *)y + (size_t)(a.C / a.block) * pixels * width;
    for (size_t i = 0; i < pixels; i++, p += width)
        memset(p + (size_t)real * size, 0, width - (size_t)real * size);
}
