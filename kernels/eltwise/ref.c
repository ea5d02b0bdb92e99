/* The reference element-by-element kernels, f32 and f64, and the generic
 * broadcast. Pure functions, any thread. */
#include <string.h>

#include "kernels/eltwise/eltwise.h"

#define T float
#define FN(name) name##_f32
#include "kernels/eltwise/ref_body.h"
#undef T
#undef FN
#define T double
#define FN(name) name##_f64
#include "kernels/eltwise/ref_body.h"
#undef T
#undef FN

extern const wf_eltwise wf_eltwise_f32_ref, wf_eltwise_f64_ref;
const wf_eltwise wf_eltwise_f32_ref = {
    .name = "eltwise:ref:f32",
    .add = add_f32,
    .scale = scale_f32,
    .add_scalar = add_scalar_f32,
    .relu = relu_f32,
    .relu_backward = relu_backward_f32,
    .fill = fill_f32,
    .bias = bias_f32,
    .mul_channels = mul_channels_f32,
    .prelu = prelu_f32,
    .prelu_backward = prelu_backward_f32,
};
const wf_eltwise wf_eltwise_f64_ref = {
    .name = "eltwise:ref:f64",
    .add = add_f64,
    .scale = scale_f64,
    .add_scalar = add_scalar_f64,
    .relu = relu_f64,
    .relu_backward = relu_backward_f64,
    .fill = fill_f64,
    .bias = bias_f64,
    .mul_channels = mul_channels_f64,
    .prelu = prelu_f64,
    .prelu_backward = prelu_backward_f64,
};

void wf_broadcast(size_t size, int rank, const int64_t *dim, const int64_t *stride, const void *x,
                  void *y)
{
    if (rank > 1) {
        size_t below = size; /* bytes of y behind one step of dimension 0 */
        for (int i = 1; i < rank; i++)
            below *= (size_t)dim[i];
        for (int64_t i = 0; i < dim[0]; i++) {
            char *to = (char *)y + (size_t)i * below;
            if (i > 0 && stride[0] == 0)
                memcpy(to, y, below);
            else
                wf_broadcast(size, rank - 1, dim + 1, stride + 1,
                             (const char *)x + (size_t)(i * stride[0]) * size, to);
        }
        return;
    }
    int64_t n = rank == 0 ? 1 : dim[0], step = rank == 0 ? 0 : stride[0];
    if (step == 1) {
        memcpy(y, x, (size_t)n * size);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        memcpy((char *)y + (size_t)i * size, (const char *)x + (size_t)(i * step) * size, size);
}
