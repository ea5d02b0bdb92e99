/* A problem: what a kernel is chosen for. One pass of a convolution or one matrix product, with
 * everything that decides how it is computed. Plain data. */
#ifndef WF_TUNE_PROBLEM_H
#define WF_TUNE_PROBLEM_H

#include "kernels/conv2d/conv2d.h"
#include "kernels/matmul/matmul.h"

typedef enum wf_family { WF_FAMILY_CONV2D, WF_FAMILY_MATMUL } wf_family;

typedef struct wf_problem {
    wf_family family;
    wf_conv2d_desc conv2d;
    wf_conv2d_pass pass; /* conv2d only */
    wf_matmul_desc matmul;
} wf_problem;

static inline wf_problem wf_problem_conv2d(const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    return (wf_problem){.family = WF_FAMILY_CONV2D, .conv2d = *d, .pass = pass};
}

static inline wf_problem wf_problem_matmul(const wf_matmul_desc *d)
{
    return (wf_problem){.family = WF_FAMILY_MATMUL, .matmul = *d};
}

/* "conv2d forward g1mb64ic3...", "matmul m64n10k512 bt f32": the key of wisdom.
 * Convolutions of bf16 images end in the level of bf16 arithmetic, "avx512_bf16". Returns text. */
#define WF_PROBLEM_TEXT (WF_CONV2D_TEXT + 32)
const char *wf_problem_text(const wf_problem *p, char *text, size_t size);

/* Floating-point operations, 2 a multiply-add. */
double wf_problem_flops(const wf_problem *p);

/* The family's list of implementations. */
int wf_problem_n_impls(const wf_problem *p);
const char *wf_problem_impl_name(const wf_problem *p, int i);
/* The expected cost of implementation i in cycles: Note [Expected cost]. 0 where it does not fit,
 * with the reason in `why`. */
double wf_problem_expects(const wf_problem *p, int i, weft_isa isa, char *why, size_t size);

#endif
