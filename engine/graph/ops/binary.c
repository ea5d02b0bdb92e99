/* See binary.h. */
#include "engine/graph/ops/binary.h"

bool wf_binary_sample(weft_context *ctx, int index, wf_sample *s,
                      weft_tensor *(*apply)(void *user, weft_tensor *const *in, int n))
{
    const wf_sample_case cases[] = {
        {"same shape", 2, {{2, {2, 3}}, {2, {2, 3}}}, apply, NULL},
        {"with itself", 1, {{4, {2, 3, 2, 2}}}, apply, NULL},
        {"broadcast both ways", 2, {{3, {2, 1, 3}}, {2, {4, 1}}}, apply, NULL},
        {"scalar", 2, {{0, {0}}, {2, {2, 3}}}, apply, NULL},
    };
    return wf_sample_from(ctx, cases, sizeof(cases) / sizeof(*cases), index, s);
}
