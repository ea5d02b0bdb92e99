/* Functions of two or three operands over contiguous ranges: one list, pointwise.def.
 *
 * Threading: pure functions, any thread. f32 is one source over kernels/simd for every ISA, one
 * lane included; f64 is plain C; bf16 is f32's arithmetic, rounded where it is stored. Each element
 * sees one IEEE operation or a choice between operands, in f32 powers and logarithms of
 * kernels/simd/math.h, so every implementation of a type gives the same bits. Ranges may start on any
 * element boundary. The output may be one of the operands, never overlap it otherwise. */
#ifndef WF_KERNELS_POINTWISE_H
#define WF_KERNELS_POINTWISE_H

#include "kernels/types.h"

typedef enum wf_pointwise {
#define WF_POINTWISE(name, operands, zero) WF_PW_##name,
#include "kernels/eltwise/pointwise.def"
#undef WF_POINTWISE
    WF_N_POINTWISE
} wf_pointwise;

/* y = f(a, b) or f(a, b, c); c is not read by functions of two operands. */
typedef void (*wf_pointwise_fn)(size_t n, const void *a, const void *b, const void *c, void *y);

/* The kernels of one element type (f32, f64 or bf16; every operand has that type). */
typedef struct wf_pointwise_table {
    const char *name;
    weft_isa isa; /* the least it needs */
    weft_dtype dtype;
    wf_pointwise_fn fn[WF_N_POINTWISE];
} wf_pointwise_table;

/* All of them, best first, ending in NULL. */
extern const wf_pointwise_table *const wf_pointwise_list[];
/* The best for dtype that runs on isa; NULL for types without any. */
const wf_pointwise_table *wf_pointwise_get(weft_dtype dtype, weft_isa isa);

const char *wf_pointwise_name(wf_pointwise f);
int wf_pointwise_operands(wf_pointwise f);
bool wf_pointwise_keeps_zero(wf_pointwise f);

#endif
