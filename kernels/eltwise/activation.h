/* Activation functions and their derivatives over contiguous ranges: one list, activation.def.
 *
 * Threading: pure functions, any thread. f32 is one source over kernels/simd for every ISA, one
 * lane included, and gives the same bits on all of them; f64 is plain C with libm. bf16
 * is f32's arithmetic, rounded once where it is stored. Results are
 * within a few ulp of the largest term of the formula. NaN stays NaN. Ranges may start on any
 * element boundary. An output may be one of the inputs, never overlap it otherwise. */
#ifndef WF_KERNELS_ACTIVATION_H
#define WF_KERNELS_ACTIVATION_H

#include "kernels/types.h"

typedef enum wf_activation {
#define WF_ACTIVATION(name, from, zero, flat) WF_ACT_##name,
#include "kernels/eltwise/activation.def"
#undef WF_ACTIVATION
    WF_N_ACTIVATIONS
} wf_activation;

/* y = f(x) */
typedef void (*wf_activation_fn)(size_t n, double a, double b, const void *x, void *y);
/* dx = dy f', and 0 where f' is, whatever dy; saved is x or y, as the list says. */
typedef void (*wf_activation_backward_fn)(size_t n, double a, double b, const void *saved,
                                          const void *dy, void *dx);

/* The kernels of one element type (f32, f64 or bf16; every operand has that type). */
typedef struct wf_activations {
    const char *name;
    weft_isa isa; /* the least it needs */
    weft_dtype dtype;
    struct {
        wf_activation_fn forward;
        wf_activation_backward_fn backward;
    } fn[WF_N_ACTIVATIONS];
} wf_activations;

/* All of them, best first, ending in NULL. */
extern const wf_activations *const wf_activation_list[];
/* The best for dtype that runs on isa; NULL for types without any. */
const wf_activations *wf_activation_get(weft_dtype dtype, weft_isa isa);

const char *wf_activation_name(wf_activation f);
bool wf_activation_saves_output(wf_activation f);
bool wf_activation_keeps_zero(wf_activation f);
/* Whether backward gives 0 where dy and what was saved are 0. */
bool wf_activation_backward_keeps_zero(wf_activation f);

/* Zeroes the padding channels of one image; `size` bytes an element. */
void wf_clear_padding(wf_act a, size_t size, void *y);

#endif
