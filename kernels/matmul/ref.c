/* Reference matrix product, f32 and f64: each element starts at the bias, or at what C holds, and
 * adds its products in the order of k, in its own type. Stateless. */
#include "kernels/matmul/matmul.h"
#include "kernels/select.h"

static bool fits(const wf_matmul_desc *d, char *why, size_t size)
{
    return true;
}

static double expect(const wf_matmul_desc *d, weft_isa isa)
{
    return wf_matmul_expect(d, WEFT_ISA_SCALAR, 0.02);
}

static void run_f32(const wf_matmul_desc *d, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                    const float *a, const float *b, const float *bias, float *c)
{
    int64_t a_row = d->transpose_a ? 1 : d->K, a_col = d->transpose_a ? d->M : 1;
    int64_t b_row = d->transpose_b ? 1 : d->N, b_col = d->transpose_b ? d->K : 1;
    for (int64_t m = m0; m < m1; m++)
        for (int64_t n = n0; n < n1; n++) {
            float sum = d->add ? c[m * d->N + n] : bias ? bias[n] : 0;
            for (int64_t k = 0; k < d->K; k++)
                sum += a[m * a_row + k * a_col] * b[k * b_row + n * b_col];
            c[m * d->N + n] = sum;
        }
}

static void run_f64(const wf_matmul_desc *d, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                    const double *a, const double *b, const double *bias, double *c)
{
    int64_t a_row = d->transpose_a ? 1 : d->K, a_col = d->transpose_a ? d->M : 1;
    int64_t b_row = d->transpose_b ? 1 : d->N, b_col = d->transpose_b ? d->K : 1;
    for (int64_t m = m0; m < m1; m++)
        for (int64_t n = n0; n < n1; n++) {
            double sum = d->add ? c[m * d->N + n] : bias ? bias[n] : 0;
            for (int64_t k = 0; k < d->K; k++)
                sum += a[m * a_row + k * a_col] * b[k * b_row + n * b_col];
            c[m * d->N + n] = sum;
        }
}

static weft_status run(const wf_matmul_desc *d, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                       const void *a, const void *b, const void *bias, void *c, void *scratch)
{
    if (d->type == WEFT_F64)
        run_f64(d, m0, m1, n0, n1, a, b, bias, c);
    else
        run_f32(d, m0, m1, n0, n1, a, b, bias, c);
    return WEFT_OK;
}

static void tile(const wf_matmul_desc *d, int *m, int *n)
{
    *m = 16;
    *n = 64;
}

const wf_matmul_impl wf_matmul_ref = {
    .name = "ref",
    .isa = WEFT_ISA_SCALAR,
    .tile = tile,
    .fits = fits,
    .expect = expect,
    .run = run,
};
