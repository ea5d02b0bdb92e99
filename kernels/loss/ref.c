/* The loss kernels, f32 and f64. Pure functions, any thread. */
#include <math.h>

#include "kernels/loss/loss.h"

#define T float
#define FN(name) name##_f32
#define EXP expf
#include "kernels/loss/ref_body.h"
#undef T
#undef FN
#undef EXP
#define T double
#define FN(name) name##_f64
#define EXP exp
#include "kernels/loss/ref_body.h"
#undef T
#undef FN
#undef EXP

extern const wf_loss wf_loss_f32_ref, wf_loss_f64_ref;
const wf_loss wf_loss_f32_ref = {
    .name = "loss:ref:f32",
    .softmax = softmax_f32,
    .softmax_backward = softmax_backward_f32,
    .log_softmax = log_softmax_f32,
    .log_softmax_backward = log_softmax_backward_f32,
    .cross_entropy = cross_entropy_f32,
    .cross_entropy_backward = cross_entropy_backward_f32,
    .count_correct = count_correct_f32,
};
const wf_loss wf_loss_f64_ref = {
    .name = "loss:ref:f64",
    .softmax = softmax_f64,
    .softmax_backward = softmax_backward_f64,
    .log_softmax = log_softmax_f64,
    .log_softmax_backward = log_softmax_backward_f64,
    .cross_entropy = cross_entropy_f64,
    .cross_entropy_backward = cross_entropy_backward_f64,
    .count_correct = count_correct_f64,
};
