/* How many pixels by how many output vectors the registers hold at once, and what pace that allows.
 * Pure functions. */
#include "kernels/conv2d/gemm/gemm.h"

int gemm_pixel_subblocks(int pixels, int output_vectors)
{
    int most = GEMM_MAX_SUMS / output_vectors;
    most = most < GEMM_MAX_PIXELS ? most : GEMM_MAX_PIXELS;
    return (pixels + most - 1) / most;
}

/* Eighths of a cycle that one term of `pixels` in a row takes with so many output vectors: a core does
 * two multiply-adds a cycle and hardly more than three loads in two cycles, and a sum can be added to
 * every fourth cycle only. As measured on Zen 3. */
static int term_cost(int pixels, int output_vectors)
{
    int subblocks = gemm_pixel_subblocks(pixels, output_vectors), cost = 0;
    for (int size = pixels / subblocks, i = 0; i < 2; i++, size++) {
        int count = i == 0 ? subblocks - pixels % subblocks : pixels % subblocks;
        int products = 4 * size * output_vectors + 4, loads = 5 * (size + output_vectors);
        int one = products > loads ? products : loads;
        cost += count * (one > 32 ? one : 32);
    }
    return cost;
}

/* The same for all of a set's output vectors, cut into subblocks of at most so many, all about equal. */
static int64_t set_cost(int pixels, int output_vectors, int at_once)
{
    const int subblocks = (output_vectors + at_once - 1) / at_once;
    const int less = output_vectors / subblocks, more = output_vectors % subblocks;
    return (int64_t)(subblocks - more) * term_cost(pixels, less) +
           (more ? (int64_t)more * term_cost(pixels, less + 1) : 0);
}

int gemm_best_output_vectors(int64_t pixels, int output_vectors)
{
    /* Where two cost the same, the one that measured faster comes first. */
    static const int order[GEMM_MAX_OUTPUT_VECTORS] = {3, 2, 4, 1};
    const int n = pixels < 1000 ? (int)pixels : 1000;
    int best = 1;
    int64_t best_cost = INT64_MAX;
    for (int i = 0; i < GEMM_MAX_OUTPUT_VECTORS; i++) {
        int64_t cost =
            order[i] <= output_vectors ? set_cost(n, output_vectors, order[i]) : INT64_MAX;
        if (cost < best_cost) {
            best = order[i];
            best_cost = cost;
        }
    }
    return best;
}

double gemm_share(const wf_conv2d_desc *d, wf_conv2d_pass pass, bool across_rows)
{
    const bool data = pass == WF_CONV2D_BACKWARD_DATA;
    const int I = (data ? d->K : d->C) / d->groups, O = (data ? d->C : d->K) / d->groups;
    const int step = data ? d->stride[1] : 1, Q = data ? d->W : d->Q;
    const bool contiguous = across_rows || (d->S == 1 && step == 1);
    const int64_t rows = !contiguous ? 1 : data ? (d->H + step - 1) / step : d->P;
    const int64_t pixels = rows * ((Q + step - 1) / step);
    const int n = pixels < 1000 ? (int)pixels : 1000;
    const gemm_kind kind = gemm_kind_of(d, pass);
    const wf_costs *c = wf_machine_class_of(WF_CLASS_ISA)->cost;
    if (kind >= GEMM_LANES)
        return kind == GEMM_ROTATE ? c->gemm_rotate : c->gemm_lanes;
    const int output_vectors = (O + L - 1) / L;
    const int inputs = kind == GEMM_PLAIN ? I : wf_round_up(I, L);
    const double cost =
        (double)set_cost(n, output_vectors, gemm_best_output_vectors(n, output_vectors));
    const double share = kind == GEMM_PLAIN ? c->gemm_forward_plain
                         : data             ? c->gemm_data
                                            : c->gemm_forward;
    return share * 4.0 * n * O / L / cost * I / inputs;
}
