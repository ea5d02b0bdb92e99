/* Matrix product: the list of implementations, the choice and the tiles. Thread-safe. */
#include <stdio.h>
#include <string.h>

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

const char *wf_matmul_describe(const wf_matmul_desc *d, char *text, size_t size)
{
    int n = wf_matmul_items(d) > 1 ? snprintf(text, size, "b%lld ", (long long)d->batch) : 0;
    snprintf(text + n, size - (size_t)n, "m%lldn%lldk%lld%s%s %s%s", (long long)d->M,
             (long long)d->N, (long long)d->K, d->transpose_a ? " at" : "",
             d->transpose_b ? " bt" : "", weft_dtype_name(d->type), d->bf16 ? " bf16" : "");
    return text;
}

double wf_matmul_expect(const wf_matmul_desc *d, weft_isa impl_isa, double share)
{
    double M = (double)d->M, N = (double)d->N, K = (double)d->K;
    return wf_expect_fmas(M * N * K, impl_isa, share) +
           wf_expect_bytes((M * K + K * N + M * N) * (double)weft_dtype_size(d->type));
}

static bool is_empty(const wf_matmul_desc *d)
{
    return d->M == 0 || d->N == 0 || d->K == 0;
}

double wf_matmul_cycles(const wf_matmul_impl *k, const wf_matmul_desc *d, weft_isa isa)
{
    if (is_empty(d))
        return 0;
    return (double)wf_matmul_items(d) *
           (k->expect ? k->expect(d, isa) : wf_matmul_expect(d, k->isa, WF_EXPECT_SHARE));
}

double wf_matmul_expected_share(const wf_matmul_impl *k, const wf_matmul_desc *d, weft_isa isa)
{
    double fmas = (double)wf_matmul_items(d) * (double)d->M * (double)d->N * (double)d->K;
    return is_empty(d) ? 0 : fmas / (wf_matmul_cycles(k, d, isa) * wf_peak_fmas(isa));
}

bool wf_matmul_fits(const wf_matmul_impl *k, const wf_matmul_desc *d, weft_isa isa, char *why,
                    size_t size)
{
    if (k->isa <= isa)
        return k->fits(d, why, size);
    snprintf(why, size, "needs %s", weft_isa_name(k->isa));
    return false;
}

static void log_fitting(const wf_matmul_impl *k, const wf_matmul_desc *d, weft_isa isa, bool chosen,
                        const char *why)
{
    wf_select_log(k->name, chosen, wf_matmul_cycles(k, d, isa), wf_matmul_expected_share(k, d, isa),
                  why);
}

const wf_matmul_impl *wf_matmul_select(const wf_matmul_desc *d, weft_isa isa, const char *prefer)
{
    const bool verbose = wf_select_verbose();
    const wf_matmul_impl *best = NULL;
    bool wanted = false; /* best is what was asked for */
    char text[WF_MATMUL_TEXT] = "matmul ";
    wf_matmul_describe(d, text + strlen(text), sizeof text - strlen(text));
    if (verbose)
        wf_select_log_problem(text);
    for (int i = 0; i < wf_matmul_n_impls; i++) {
        const wf_matmul_impl *k = wf_matmul_impls[i];
        char why[80] = "";
        if (!wf_matmul_fits(k, d, isa, why, sizeof why)) {
            if (verbose)
                wf_select_log(k->name, false, 0, 0, why);
            continue;
        }
        bool named = prefer && strcmp(prefer, k->name) == 0;
        bool better = !best || named ||
                      (!wanted && wf_matmul_cycles(k, d, isa) < wf_matmul_cycles(best, d, isa));
        const wf_matmul_impl *loser = better ? best : k;
        if (verbose && loser)
            log_fitting(loser, d, isa, false, "");
        best = better ? k : best;
        wanted |= named;
    }
    if (verbose)
        log_fitting(best, d, isa, true, wanted ? "by wisdom" : "");
    return best;
}

int64_t wf_matmul_tiles(const wf_matmul_impl *k, const wf_matmul_desc *d)
{
    int m, n;
    if (d->M == 0 || d->N == 0)
        return 0;
    k->tile(d, &m, &n);
    return wf_matmul_count(d, m, n) / wf_matmul_items(d);
}

/* What is left of a product where there is nothing to sum. */
static void no_products(const wf_matmul_desc *d, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                        const void *bias, void *c)
{
    for (int64_t m = m0; m < m1 && !d->add; m++)
        for (int64_t n = n0; n < n1; n++)
            wf_float_set(d->type, c, m * d->N + n, bias ? wf_float_get(d->type, bias, n) : 0);
}

weft_status wf_matmul_run(const wf_matmul_impl *k, const wf_matmul_desc *d, int64_t tile,
                          const void *a, const void *b, const void *bias, void *c, void *scratch)
{
    int m, n;
    k->tile(d, &m, &n);
    int64_t columns = (d->N + n - 1) / n;
    int64_t m0 = tile / columns * m, n0 = tile % columns * n;
    int64_t m1 = m0 + m < d->M ? m0 + m : d->M;
    int64_t n1 = n0 + n < d->N ? n0 + n : d->N;
    if (d->K > 0)
        return k->run(d, m0, m1, n0, n1, a, b, bias, c, scratch);
    no_products(d, m0, m1, n0, n1, bias, c);
    return WEFT_OK;
}
