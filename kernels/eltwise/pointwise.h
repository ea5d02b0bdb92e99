/* Functions of two to four operands, element by element: one list, pointwise.def.
 *
 * Threading: pure functions, any thread. f32 is one source over kernels/simd for every ISA, one
 * lane included; f64 is plain C; bf16 is f32's arithmetic, rounded where it is stored. Each element
 * sees a few IEEE operations or a choice between operands, in f32 powers and logarithms of
 * kernels/simd/math.h, so every implementation of a type gives the same bits. Operands may start on
 * any element boundary. A result may be one of the operands that have an element for each of its
 * own, never overlap an operand otherwise. */
#ifndef WF_KERNELS_POINTWISE_H
#define WF_KERNELS_POINTWISE_H

#include "kernels/types.h"

typedef enum wf_pointwise {
#define WF_POINTWISE(name, operands, results, zero) WF_PW_##name,
#include "kernels/eltwise/pointwise.def"
#undef WF_POINTWISE
    WF_N_POINTWISE
} wf_pointwise;

enum { WF_PW_OPERANDS = 4, WF_PW_RESULTS = 2 }; /* the most that a function has */

/* Which elements go together. Results are `rows` rows of n elements, one behind the other. Row r of
 * operand k begins row[k] r elements behind the operand's start (0: each row is the same one). It has n
 * elements side by side, or one that serves the whole row. */
typedef struct wf_pointwise_rows {
    size_t rows, n;
    size_t row[WF_PW_OPERANDS];
    bool one[WF_PW_OPERANDS];
} wf_pointwise_rows;

/* n elements of each operand, side by side. */
static inline wf_pointwise_rows wf_pointwise_run(size_t n)
{
    return (wf_pointwise_rows){.rows = 1, .n = n};
}

/* Computes the results of all elements; reads as many operands, and writes as many results, as the
 * list says. */
typedef void (*wf_pointwise_fn)(const wf_pointwise_rows *r, const void *const *in,
                                void *const *out);

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
int wf_pointwise_results(wf_pointwise f);
bool wf_pointwise_keeps_zero(wf_pointwise f);

#endif
