/* The reference optimizer updates, f32 and f64. Pure functions, any thread. */
#include <math.h>
#include <string.h>

#include "kernels/optim/optim.h"

#define T float
#define FN(name) name##_f32
#define SQRT sqrtf
#include "kernels/optim/ref_body.h"
#undef T
#undef FN
#undef SQRT
#define T double
#define FN(name) name##_f64
#define SQRT sqrt
#include "kernels/optim/ref_body.h"
#undef T
#undef FN
#undef SQRT

extern const wf_optim wf_optim_f32_ref, wf_optim_f64_ref;
const wf_optim wf_optim_f32_ref = {"optim:ref:f32",
                                   {
#define WF_UPDATE(name) name##_f32,
#include "kernels/optim/updates.def"
#undef WF_UPDATE
                                   }};
const wf_optim wf_optim_f64_ref = {"optim:ref:f64",
                                   {
#define WF_UPDATE(name) name##_f64,
#include "kernels/optim/updates.def"
#undef WF_UPDATE
                                   }};
