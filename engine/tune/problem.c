/* See problem.h. Each function is one switch over the families. Stateless. */
#include "engine/tune/problem.h"

#include <stdio.h>
#include <string.h>

#include "kernels/select.h"

const char *wf_problem_text(const wf_problem *p, char *text, size_t size)
{
    int n = snprintf(text, size, p->family == WF_FAMILY_CONV2D ? "conv2d " : "matmul ");
    if (p->family == WF_FAMILY_CONV2D)
        wf_conv2d_describe(&p->conv2d, p->pass, text + n, size - (size_t)n);
    else
        wf_matmul_describe(&p->matmul, text + n, size - (size_t)n);
    if (p->family == WF_FAMILY_CONV2D
            ? p->conv2d.src_type == WEFT_BF16 || p->conv2d.dst_type == WEFT_BF16
            : p->matmul.bf16) {
        const size_t used = strlen(text); /* it decides which kernels exist */
        snprintf(text + used, size - used, " %s", wf_bf16_name(wf_cpu_bf16()));
    }
    return text;
}

double wf_problem_flops(const wf_problem *p)
{
    const wf_matmul_desc *m = &p->matmul;
    return p->family == WF_FAMILY_CONV2D
               ? wf_conv2d_flops(&p->conv2d)
               : 2.0 * (double)wf_matmul_items(m) * (double)m->M * (double)m->N * (double)m->K;
}

int wf_problem_n_impls(const wf_problem *p)
{
    return p->family == WF_FAMILY_CONV2D ? wf_conv2d_n_impls : wf_matmul_n_impls;
}

const char *wf_problem_impl_name(const wf_problem *p, int i)
{
    return p->family == WF_FAMILY_CONV2D ? wf_conv2d_impls[i]->name : wf_matmul_impls[i]->name;
}

double wf_problem_expects(const wf_problem *p, int i, weft_isa isa, char *why, size_t size)
{
    if (p->family == WF_FAMILY_CONV2D)
        return wf_conv2d_fits(wf_conv2d_impls[i], &p->conv2d, p->pass, isa, why, size)
                   ? wf_conv2d_cycles(wf_conv2d_impls[i], &p->conv2d, p->pass, isa)
                   : 0;
    return wf_matmul_fits(wf_matmul_impls[i], &p->matmul, isa, why, size)
               ? wf_matmul_cycles(wf_matmul_impls[i], &p->matmul, isa)
               : 0;
}
