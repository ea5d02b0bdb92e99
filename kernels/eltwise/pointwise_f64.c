/* The pointwise functions in double: what the gradient check and double networks run. Formulas of
 * pointwise.def. Pure functions, any thread. */
#include <math.h>

#include "kernels/eltwise/pointwise.h"

#define VALUE_add(a, b, c) a + b
#define VALUE_sub(a, b, c) a - b
#define VALUE_mul(a, b, c) a *b
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

/* Of functions with two results. */
#define VALUE_mul_both(a, b, c) c *b
#define SECOND_mul_both(a, b, c, d) c *a
#define VALUE_div_both(a, b, c) c / b
#define SECOND_div_both(a, b, c, d) -(c * (a / b))
#define VALUE_maximum_both(a, b, c) VALUE_maximum_share(a, b, c)
#define SECOND_maximum_both(a, b, c, d) VALUE_maximum_share(b, a, c)
#define VALUE_minimum_both(a, b, c) VALUE_minimum_share(a, b, c)
#define SECOND_minimum_both(a, b, c, d) VALUE_minimum_share(b, a, c)
#define VALUE_pow_both(a, b, c) VALUE_pow_base(a, b, c)
#define SECOND_pow_both(a, b, c, d) c *(VALUE_pow_log(a, b, d))
#define VALUE_where_both(a, b, c) VALUE_where_true(a, b, c)
#define SECOND_where_both(a, b, c, d) VALUE_where_false(a, b, c)

#define STORE_1(name)
#define STORE_2(name) *z++ = SECOND_##name(a, b, c, d);
#define WF_POINTWISE(name, operands, results, zero)                                                \
    static void name##_rows(const wf_pointwise_rows *r, const void *const *in, void *const *out)   \
    {                                                                                              \
        double *y = out[0], *z = results > 1 ? out[1] : y;                                         \
        for (size_t row = 0; row < r->rows; row++)                                                 \
            for (size_t i = 0; i < r->n; i++, y++) {                                               \
                double x[WF_PW_OPERANDS] = {0};                                                    \
                for (int k = 0; k < operands; k++)                                                 \
                    x[k] = ((const double *)in[k])[row * r->row[k] + (r->one[k] ? 0 : i)];         \
                const double a = x[0], b = x[1], c = x[2], d = x[3];                               \
                *y = VALUE_##name(a, b, c);                                                        \
                STORE_##results(name)(void) c;                                                     \
                (void)d;                                                                           \
                (void)z;                                                                           \
            }                                                                                      \
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
#define WF_POINTWISE(name, operands, results, zero) name##_rows,
#include "kernels/eltwise/pointwise.def"
#undef WF_POINTWISE
        },
};
