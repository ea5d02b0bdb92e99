/* What the files of this folder share: a convolution as a product over an implicit im2col matrix; private to them.
 *
 * The matrix is never there. Its rows are output pixels, its columns the *vectors* of the input
 * channels times the taps; where the input itself does not do, packed_input.c copies the part that a
 * few output rows need into a *frame*, from which every tap is one offset and neighbouring output
 * pixels are neighbours, whatever stride, padding, dilation and groups are: zeros stand around the
 * image, and the columns (rows) of each residue of the stride stand together. One copy of the
 * input serves all taps and all output channels.
 *
 * A pass is a list of *phases* (Note [Phases of backward-data]), each the product of two *axes*,
 * rows and columns. Letters as seen by the pass: I input channels, O output channels, per group IG
 * and OG; L channels in a vector.
 *
 * Note [How channels meet]. Four ways, by shape alone:
 *   DENSE  a vector of outputs lies in one group: each of its input channels is broadcast to all
 *          lanes. A vector of inputs holds L channels of the group.
 *   PLAIN  the same from a plain input (src_block 1): a vector of inputs holds one channel.
 *   LANES  a vector of outputs spans several groups, or is cut by one: lane l meets input channel j
 *          of its own group. Vector j of the inputs is made for one vector of outputs: its lane l
 *          holds that channel. No product is wasted, as it would be on the zeros between groups.
 *   ROTATE the same where groups have as many inputs as outputs and a vector holds whole groups (as
 *          ResNeXt's): vector j of the inputs is the input itself with the lanes of each group rotated
 *          by j, in a register, once for up to three taps of a row. In backward-weights it is ddst that is
 *          rotated, once for all taps.
 *
 * Note [Phases of backward-data]. With stride s, the input pixels h = a mod s receive from other
 * taps than those of another residue: backward-data is s dense convolutions of ddst, a phase each,
 * whose outputs lie s apart, over one frame. Forward and backward-weights have one phase. */
#ifndef WF_CONV2D_GEMM_H
#define WF_CONV2D_GEMM_H

#include "kernels/conv2d/conv2d.h"
#include "kernels/machine.h"
#include "kernels/simd/simd.h"

enum {
    L = WF_LANES,
    GEMM_SUMS = L == 16 ? 28 : 12, /* vectors of sums in registers, at most */
    GEMM_N = L == 16 ? 14 : 12,    /* pixels in a group */
    GEMM_NV = 4,                   /* vectors of outputs of a pixel */
    GEMM_J = L / 2                 /* rotations: a vector holds two groups at least */
};

/* Floats of a core's caches in the class of machines, by which blocking goes: Note [Machine classes]. */
static inline int64_t gemm_l1(void)
{
    return (int64_t)(wf_machine_class_of(WF_ISA)->l1_bytes / sizeof(float));
}
static inline int64_t gemm_l2(void)
{
    return (int64_t)(wf_machine_class_of(WF_ISA)->l2_bytes / sizeof(float));
}

typedef enum gemm_kind { GEMM_DENSE, GEMM_PLAIN, GEMM_LANES, GEMM_ROTATE } gemm_kind;

/* Rows or columns of a phase. Output i of n lies at out + i * out_step and meets, with each of its
 * taps, the input at offset + i * in_step, which is position place + i of residue slot `slot` of a
 * frame; position 0 of a slot is input first[slot]. Taps that never meet the input are left out. */
typedef struct gemm_axis {
    int n, out, out_step, in, in_step;
    int room;              /* outputs that a frame has room for: the largest n of all phases */
    int taps, slots, span; /* span: the largest place */
    int *tap, *offset, *slot, *place;
    int *first;
} gemm_axis;

typedef struct gemm_plan {
    gemm_kind kind;
    wf_act in, out; /* what the pass reads and writes; backward-weights: src and dst */
    int groups, IG, OG;
    int sets;    /* of input vectors that are taken together: groups, or output vectors (LANES) */
    int blocks;  /* output vectors of a set */
    int vectors; /* input vectors of a set */
    int depth;   /* input channels of a vector that are summed up one by one: L, or 1 */
    size_t unit; /* floats between neighbouring pixels of a frame: L, or 1 */
    int rows, columns; /* numbers of axes; phase (a, b) is row[a] x column[b] */
    gemm_axis *row, *column;
    int NV;    /* output vectors that are taken at once */
    int chunk; /* input vectors that are taken at once */
} gemm_plan;

/* An image that a pass reads, of floats; with a table, Note [Bytes and what they stand for]. */
typedef struct gemm_input {
    const void *x;
    const float *table;
} gemm_input;

/* A part of a frame: `rows` output rows from `first_row` on, vectors [v0, v1) of a set. */
typedef struct gemm_part {
    int set, v0, v1, first_row, rows;
} gemm_part;

/* Whether the types are among those that frames are made from. */
bool WF_ISA_FN(wf_gemm_reads)(const wf_conv2d_desc *d, wf_conv2d_pass pass);
#define GEMM_TYPES "f32 only, or a plain src of u8 in whole groups"

/* The share of the peak that the inner loops of a pass are expected to reach on products that count;
 * through: where pixels are counted through the rows. */
double WF_ISA_FN(wf_gemm_share)(const wf_conv2d_desc *d, wf_conv2d_pass pass, bool through);
/* How many vectors of outputs to take at once, of `blocks`, for so many pixels in a row. */
int WF_ISA_FN(wf_gemm_best_vectors)(int64_t pixels, int blocks);

gemm_kind WF_ISA_FN(wf_gemm_kind)(const wf_conv2d_desc *d, wf_conv2d_pass pass);
/* NULL when memory runs out. */
gemm_plan *WF_ISA_FN(wf_gemm_plan)(const wf_conv2d_desc *d, wf_conv2d_pass pass);
void WF_ISA_FN(wf_gemm_plan_destroy)(gemm_plan *p);

/* Whether the input itself is the frame: one tap, no stride, no padding, channels as they are. */
bool WF_ISA_FN(wf_gemm_direct)(const gemm_plan *p, const gemm_axis *h, const gemm_axis *w);
/* Whether rows of outputs follow on each other as pixels do. */
bool WF_ISA_FN(wf_gemm_flat)(const gemm_axis *h, const gemm_axis *w);
/* Groups, of which each fits the registers, that n pixels in a row are cut into, for NV vectors. */
int WF_ISA_FN(wf_gemm_groups)(int n, int NV);
/* The output rows that are taken at once. */
int WF_ISA_FN(wf_gemm_rows)(const gemm_plan *p, const gemm_axis *h, const gemm_axis *w);
/* Floats from vector to vector of a frame (or of the input itself) for `rows` output rows. */
size_t WF_ISA_FN(wf_gemm_vector)(const gemm_plan *p, const gemm_axis *h, const gemm_axis *w,
                                 int rows);
/* Floats from output row to output row of it. */
size_t WF_ISA_FN(wf_gemm_row)(const gemm_plan *p, const gemm_axis *h, const gemm_axis *w);
/* Where output (0, 0) of the part meets tap (r, s) of the axes' lists, in vector v0. */
size_t WF_ISA_FN(wf_gemm_tap)(const gemm_plan *p, const gemm_axis *h, const gemm_axis *w, int rows,
                              int r, int s);
/* Fills the frame of a part, laid out for `rows` output rows, of which the part may have fewer;
 * returns it, or the place in the image. */
const float *WF_ISA_FN(wf_gemm_frame)(const gemm_plan *p, const gemm_axis *h, const gemm_axis *w,
                                      gemm_part part, int rows, gemm_input in, float *frame);
/* Output vector b of a set: its first channel; and the end of the set's. */
static inline int gemm_first(const gemm_plan *p, int set, int b)
{
    return set * (p->kind >= GEMM_LANES ? L : p->OG) + b * L;
}
static inline int gemm_end(const gemm_plan *p, int set)
{
    return p->kind >= GEMM_LANES ? p->out.C : (set + 1) * p->OG;
}
/* ROTATE: the output channel that input channel i meets in vector j. */
static inline int gemm_output(const gemm_plan *p, int i, int j)
{
    return i / p->OG * p->OG + (i % p->OG + p->OG - j) % p->OG;
}
/* ROTATE: for each lane the one that lies `by` further in its group. */
static inline void gemm_rotation(int OG, int by, int32_t from[L])
{
    for (int l = 0; l < L; l++)
        from[l] = l / OG * OG + (l + by) % OG;
}
/* Input channel of vector v, position c (PLAIN: 0, else 0..L-1, LANES: the lane); -1: none. */
int WF_ISA_FN(wf_gemm_channel)(const gemm_plan *p, int set, int v, int c);

#define gemm_reads WF_ISA_FN(wf_gemm_reads)
#define gemm_best_vectors WF_ISA_FN(wf_gemm_best_vectors)
#define gemm_share WF_ISA_FN(wf_gemm_share)
#define gemm_kind_of WF_ISA_FN(wf_gemm_kind)
#define gemm_plan_create WF_ISA_FN(wf_gemm_plan)
#define gemm_plan_destroy WF_ISA_FN(wf_gemm_plan_destroy)
#define gemm_direct WF_ISA_FN(wf_gemm_direct)
#define gemm_flat WF_ISA_FN(wf_gemm_flat)
#define gemm_groups WF_ISA_FN(wf_gemm_groups)
#define gemm_rows WF_ISA_FN(wf_gemm_rows)
#define gemm_vector WF_ISA_FN(wf_gemm_vector)
#define gemm_row WF_ISA_FN(wf_gemm_row)
#define gemm_tap WF_ISA_FN(wf_gemm_tap)
#define gemm_frame WF_ISA_FN(wf_gemm_frame)
#define gemm_channel WF_ISA_FN(wf_gemm_channel)

#endif
