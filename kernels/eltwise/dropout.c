/* Dropout: the reference, over Random123's Philox, and which implementation runs. Pure functions,
 * any thread. */
#include <Random123/philox.h>
#include <string.h>

#include "kernels/eltwise/eltwise.h"
#include "kernels/simd/bf16_emul.h"

enum { DROPOUT_CHUNK = 256 }; /* elements whose random words are made at a time */

/* Philox's words for groups [group, group + count) of four elements: Note [Dropout bits]. */
static void philox_words(const wf_dropout *d, int64_t group, int64_t count, uint32_t *words)
{
    philox4x32_key_t key = {{(uint32_t)d->seed, (uint32_t)(d->seed >> 32)}};
    for (int64_t i = 0; i < count; i++) {
        uint64_t g = (uint64_t)(group + i);
        philox4x32_ctr_t counter = {{(uint32_t)g, (uint32_t)(g >> 32), d->draw, d->op}};
        philox4x32_ctr_t r = philox4x32(counter, key);
        memcpy(words + 4 * i, r.v, sizeof(r.v));
    }
}

#include "kernels/eltwise/dropout_types.h"

extern const wf_dropout_fn wf_dropout_fns_avx2[3], wf_dropout_fns_avx512[3];
static const wf_dropout_fn wf_dropout_fns_ref[3] = {dropout_f32, dropout_f64, dropout_bf16};

wf_dropout_fn wf_dropout_get(weft_dtype dtype, weft_isa isa)
{
    if (dtype > WEFT_BF16) /* f32, f64, bf16, as in WEFT_DTYPE_LIST */
        return NULL;
    const wf_dropout_fn *fns = isa == WEFT_ISA_AVX512 ? wf_dropout_fns_avx512
                               : isa == WEFT_ISA_AVX2 ? wf_dropout_fns_avx2
                                                      : wf_dropout_fns_ref;
    return fns[dtype];
}
