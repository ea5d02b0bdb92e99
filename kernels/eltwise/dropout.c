/* Dropout: the reference, over Random123's Philox, and which implementation runs. Pure functions,
 * any thread. */
#include <Random123/philox.h>
#include <string.h>

#include "kernels/eltwise/eltwise.h"

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

#define T float
#define U uint32_t
#define FN(name) name##_f32
#include "kernels/eltwise/dropout_body.h"
#undef T
#undef U
#undef FN
#define T double
#define U uint64_t
#define FN(name) name##_f64
#include "kernels/eltwise/dropout_body.h"
#undef T
#undef U
#undef FN

extern const wf_dropout_fn wf_dropout_fns_avx2[2], wf_dropout_fns_avx512[2];
static const wf_dropout_fn wf_dropout_fns_ref[2] = {dropout_f32, dropout_f64};

wf_dropout_fn wf_dropout_get(weft_dtype dtype, weft_isa isa)
{
    if (dtype != WEFT_F32 && dtype != WEFT_F64)
        return NULL;
    const wf_dropout_fn *fns = isa == WEFT_ISA_AVX512 ? wf_dropout_fns_avx512
                               : isa == WEFT_ISA_AVX2 ? wf_dropout_fns_avx2
                                                      : wf_dropout_fns_ref;
    return fns[dtype == WEFT_F64];
}
