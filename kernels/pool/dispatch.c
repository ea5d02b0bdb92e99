/* Chooses an implementation of pooling. */
#include "kernels/pool/pool.h"

#define WF_POOL(table) extern const wf_pool_fns table;
#include "kernels/pool/kernels.def"
#undef WF_POOL

const wf_pool_fns *const wf_pool_list[] = {
#define WF_POOL(table) &table,
#include "kernels/pool/kernels.def"
#undef WF_POOL
    NULL};

static bool geometry_fits(const wf_pool_fns *f, const wf_pool *g)
{
    if (f->lanes == 0)
        return true;
    return g->in.block == f->lanes &&
           (g->average || wf_pool_index_dtype(g->kernel[0], g->kernel[1]) == WEFT_U8);
}

const wf_pool_fns *wf_pool_find(weft_isa isa, weft_dtype dtype, const wf_pool *g)
{
    for (int i = 0; wf_pool_list[i]; i++) {
        const wf_pool_fns *f = wf_pool_list[i];
        if (f->isa <= isa && f->dtype == dtype && geometry_fits(f, g))
            return f;
    }
    return NULL;
}
