/* The reference, f32 and f64, and the merging of partial sums. Pure functions, any thread. */
#include "kernels/reduce/reduce.h"

#include "kernels/reduce/extreme_key.h"

#define T float
#define FN(name) name##_f32
#include "kernels/reduce/ref_body.h"
#undef T
#undef FN
#define T double
#define FN(name) name##_f64
#include "kernels/reduce/ref_body.h"
#undef T
#undef FN

extern const wf_reduce wf_reduce_f32_ref, wf_reduce_f64_ref;
const wf_reduce wf_reduce_f32_ref = {"reduce:ref:f32", run_f32,     columns_f32, channels_f32,
                                     channels_dot_f32, extreme_f32, wf_arg_f32};
const wf_reduce wf_reduce_f64_ref = {"reduce:ref:f64", run_f64,     columns_f64, channels_f64,
                                     channels_dot_f64, extreme_f64, arg_f64};

void wf_arg_f32(wf_strides s, bool least, const void *x, int64_t *y)
{
    arg_f32(s, least, x, y);
}

void wf_merge(size_t n, size_t stride, size_t width, const double *x, double *y)
{
    for (size_t j = 0; j < width; j++) {
        wf_tree tree;
        wf_tree_init(&tree);
        for (size_t i = 0; i < n; i++)
            wf_tree_push(&tree, x[i * stride + j]);
        y[j] = wf_tree_sum(&tree);
    }
}
