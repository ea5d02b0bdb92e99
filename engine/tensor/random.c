/* Random tensors: counter-based (Philox4x32-10, Salmon et al. 2011), so that a tensor's numbers
 * depend on the seed and its stream alone. */
#include <math.h>
#include <Random123/philox.h>

#include "engine/tensor/context.h"

weft_tensor *weft_randn(weft_context *ctx, weft_shape shape)
{
    weft_tensor *t = weft_tensor_create(ctx, WEFT_F32, shape);
    if (!t)
        return NULL;
    uint64_t seed = wf_context_seed(ctx), stream = wf_context_next_stream(ctx);
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    float *data = t->block.data;
    int64_t n = weft_shape_count(shape);
    for (int64_t i = 0; i < n; i += 2) { /* Box and Muller 1958: two normals from two uniforms */
        philox4x32_ctr_t counter = {
            {(uint32_t)i, (uint32_t)(i >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)}};
        philox4x32_ctr_t bits = philox4x32(counter, key);
        double u = (bits.v[0] + 0.5) * 0x1p-32, v = (bits.v[1] + 0.5) * 0x1p-32;
        double radius = sqrt(-2.0 * log(u)), angle = 6.283185307179586 * v;
        data[i] = (float)(radius * cos(angle));
        if (i + 1 < n)
            data[i + 1] = (float)(radius * sin(angle));
    }
    return t;
}
