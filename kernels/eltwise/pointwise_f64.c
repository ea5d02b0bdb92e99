/* The pointwise functions in double: what the gradient check and double networks run. Formulas of
 * pointwise.def. Pure functions, any thread. */
#include <math.h>

#include "kernels/eltwise/pointwise.h"

#define VALUE_sub(a, b, c) a - b
#define VALUE_div(a, b, c) a / b
#define VALUE_maximum(a, b, c) isnan(a) || a > b ? a : b
#define VALUE_minimum(a, b, c) isnan(a) || a < b ? a : b
#define VALUE_maximum_share(a, b, c) a < b ? 0 : a == b ? c * 0.5 : c
#define VALUE_minimum_share(a, b, c) a > b ? 0 : a == b ? c * 0.5 : c
#define VALUE_pow(a, b, c) pow(a, b)
#define VALUE_pow_base(a, b, c) b == 0 ? 0 : c *(b * pow(a, b - 1))
#define VALUE_pow_log(a, b, c) a == 0 && b >= 0 ? 0 : c *log(a)
#define VALUE_eq(a, b, c) a == b
#define VALUE_ne(a, b, c) a != b
#define VALUE_lt(a, b, c) a < b
#define VALUE_le(a, b, c) a <= b
#define VALUE_gt(a, b, c) a > b
#define VALUE_ge(a, b, c) a >= b
#define VALUE_where(a, b, c) a != 0 ? b : c
#define VALUE_where_true(a, b, c) a != 0 ? b : 0
#define VALUE_where_false(a, b, c) a != 0 ? 0 : b

#define WF_POINTWISE(name, operands, zero)                                                         \
    static void name##_run(size_t n, const void *va, const void *vb, const void *vc, void *vy)     \
    {                                                                                              \
        const double *pa = va, *pb = vb, *pc = operands > 2 ? vc : va;                             \
        double *y = vy;                                                                            \
        for (size_t i = 0; i < n; i++) {                                                           \
            const double a = pa[i], b = pb[i], c = pc[i];                                          \
            y[i] = VALUE_##name(a, b, c);                                                          \
            (void)c;                                                                               \
        }                                                                                          \
    }
#include "kernels/eltwise/pointwise.def"
#undef WF_POINTWISE

extern const wf_pointwise_table wf_pointwise_f64;
const wf_pointwise_table wf_pointwise_f64 = {
    .name = "pointwise:ref:f64",
    .isa = WEFT_ISA_SCALAR,
    .dtype = WEFT_F64,
    .fn =
        {
#define WF_POINTWISE(name, operands, zero) name##_run,
#include "kernels/eltwise/pointwise.def"
#undef WF_POINTWISE
        },
};
