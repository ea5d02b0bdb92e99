/* Random tensors. The generator is counter-based (Philox4x32-10, Salmon et al. 2011), so that a
 * tensor's numbers depend only on the seed and the tensor's stream. */
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
    /* Box and Muller 1958: two uniform numbers give two normal ones */
    for (int64_t i = 0; i < n; i += 2) {
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
