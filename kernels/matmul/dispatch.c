/* Matrix product: the list of implementations, the choice and the tiles. Thread-safe. */
#include <stdio.h>

#include "kernels/matmul/matmul.h"
#include "kernels/select.h"

#define WF_MATMUL(name) extern const wf_matmul_impl wf_matmul_##name;
#include "kernels/matmul/kernels.def"
#undef WF_MATMUL

const wf_matmul_impl *const wf_matmul_impls[] = {
#define WF_MATMUL(name) &wf_matmul_##name,
#include "kernels/matmul/kernels.def"
#undef WF_MATMUL
};
const int wf_matmul_n_impls = (int)(sizeof wf_matmul_impls / sizeof *wf_matmul_impls);

const wf_matmul_impl *wf_matmul_select(const wf_matmul_desc *d, weft_isa isa)
{
    bool verbose = wf_select_verbose();
    char what[120];
    snprintf(what, sizeof what, "matmul %s m%lldn%lldk%lld%s%s", weft_dtype_name(d->type),
             (long long)d->M, (long long)d->N, (long long)d->K, d->transpose_a ? " at" : "",
             d->transpose_b ? " bt" : "");
    const wf_matmul_impl *k = wf_matmul_impls[wf_matmul_n_impls - 1];
    for (int i = 0; i < wf_matmul_n_impls; i++) {
        const wf_matmul_impl *candidate = wf_matmul_impls[i];
        char why[80] = "";
        bool good = candidate->isa <= isa;
        if (!good)
            snprintf(why, sizeof why, "needs %s", weft_isa_name(candidate->isa));
        good = good && candidate->fits(d, why, sizeof why);
        if (verbose)
            wf_select_log(what, candidate->name, good ? NULL : why);
        if (good) {
            k = candidate;
            break;
        }
    }
    return k;
}

static int64_t columns(const wf_matmul_impl *k, const wf_matmul_desc *d)
{
    return (d->N + k->tile_n - 1) / k->tile_n;
}

int64_t wf_matmul_tiles(const wf_matmul_impl *k, const wf_matmul_desc *d)
{
    return (d->M + k->tile_m - 1) / k->tile_m * columns(k, d);
}

void wf_matmul_run(const wf_matmul_impl *k, const wf_matmul_desc *d, int64_t tile, const void *a,
                   const void *b, const void *bias, void *c, void *scratch)
{
    int64_t m0 = tile / columns(k, d) * k->tile_m, n0 = tile % columns(k, d) * k->tile_n;
    int64_t m1 = m0 + k->tile_m < d->M ? m0 + k->tile_m : d->M;
    int64_t n1 = n0 + k->tile_n < d->N ? n0 + k->tile_n : d->N;
    k->run(d, m0, m1, n0, n1, a, b, bias, c, scratch);
}
