/* How kernels are chosen, in every family with a list; told on request: WEFT_VERBOSE=select.
 *
 * Note [Expected cost]
 * Each implementation says whether it can run a problem, and what it expects that to take: cycles
 * of one core that runs the whole problem (packing, every tile, adding up partial sums) at two vector
 * multiply-adds a cycle. The least expected cost is chosen; of equals the first of the list. The
 * estimate follows from the shape and the class of machine alone, Note [Machine classes] in machine.h,
 * never from clock or threads: the choice decides about bits, and bits must not depend on those. Its
 * constants are the class's column in costs.def. It is a comparison, not a promise: where it is wrong
 * by more than a few per cent, weft-bench shows it, and fitting or tuning corrects it. */
#ifndef WF_KERNELS_SELECT_H
#define WF_KERNELS_SELECT_H

#include "kernels/machine.h"

/* Whether WEFT_VERBOSE names `select` (a comma-separated list). */
bool wf_select_verbose(void);
/* Whether WEFT_AVOID names the kernel: a comma-separated list of how names begin ("winograd,gemm").
 * For comparisons; the reference is never avoided. */
bool wf_select_avoids(const char *kernel);
/* Lines on stderr: the problem, "weft: select: <what>"; then "weft: select:   <kernel>: ..." for
 * the choice and "weft: select:   not <kernel>: ..." for the rest, each with the cycles it expects
 * (0: it does not fit), the share of the peak that they mean, and why. */
void wf_select_log_problem(const char *what);
void wf_select_log(const char *kernel, bool chosen, double cycles, double share, const char *why);

/* f32 multiply-adds that a core of this ISA does in a cycle at most: two vectors. */
static inline double wf_peak_fmas(weft_isa isa)
{
    return isa == WEFT_ISA_AVX512 ? 32 : isa == WEFT_ISA_AVX2 ? 16 : 8;
}

/* Cycles for `fmas` multiply-adds by vectors of `isa` at a share of the peak (0 to 1). */
static inline double wf_expect_fmas(double fmas, weft_isa isa, double share)
{
    return fmas / (wf_peak_fmas(isa) * share);
}

/* Cycles for bytes that come from, or go to, memory once. */
static inline double wf_expect_bytes(double bytes)
{
    return bytes / wf_machine_class_now()->cost->traffic_bytes;
}

/* Where an implementation does not know better: this share of the peak. */
#define WF_EXPECT_SHARE 0.6

#endif
