/* What the files of this folder share: the geometry of a convolution as a matrix product, and the packed
 * input. README.md works through an example with small numbers.
 *
 * The product's left matrix would be im2col's: a row for each output pixel; a column for each input
 * channel and tap, of which a channel vector and a tap have a vector's channels together. Nobody builds
 * it. The kernels read the input itself where a tap's
 * inputs lie there in order, or else a *packed input*: packed_input.c copies the input rows that a few
 * output rows need, with zeros for the padding and the inputs of each residue class side by side. There
 * every tap is one constant offset, and neighbouring outputs read neighbouring inputs, whatever the
 * stride, padding, dilation and groups. One copy serves all taps and all output channels.
 *
 * A pass is a list of residue classes (Note [Residue classes]); each is the product of two *axes*, its
 * rows and its columns. "Input" and "output" are the pass's: backward-data reads ddst and writes dsrc.
 * L is the number of channels in a vector.
 *
 * Note [How channels meet]. There are four ways, and the shape alone decides:
 *   DENSE  All channels of a vector of outputs belong to one group. The kernel broadcasts each input
 *          channel of the group to all lanes. A channel vector holds L input channels.
 *   PLAIN  The same from a plain input (src_block 1). A channel vector holds one input channel.
 *   LANES  A vector of outputs spans several groups, or a group ends inside it. Lane l is multiplied by
 *          input channel j of its own group. Channel vector j is made for one vector of outputs: its
 *          lane l holds that channel. So no product is wasted on the zeros between groups.
 *   ROTATE As LANES, where groups have as many inputs as outputs and a vector holds whole groups, as in
 *          ResNeXt. The kernel reads the input where the image has it, without a packed input, and
 *          rotates the lanes of each group by j, in a register, once for up to three taps of a row.
 *          Backward-weights rotates ddst instead, once for all taps.
 *
 * Note [Residue classes]. With stride s, tap t connects output q with input q s - padding + t dilation,
 * so all inputs of a tap have the same remainder modulo s.
 *   Forward and backward-weights read inputs in strides. The packed input therefore holds the inputs of
 *   each remainder side by side: a residue class of the *input*.
 *   Backward-data writes inputs. Those with remainder a get something from the taps of that remainder
 *   only. So backward-data is s dense convolutions of ddst along an axis, one for each residue class of
 *   its *outputs*, which lie s apart. All of them read one packed input. Forward and backward-weights
 *   have one residue class of outputs: all. */
#ifndef WF_CONV2D_GEMM_H
#define WF_CONV2D_GEMM_H

#include "kernels/conv2d/conv2d.h"
#include "kernels/machine.h"
#include "kernels/simd/simd.h"

/* The bounds of a subblock: the sums that registers hold at once, pixels by output vectors. */
enum {
    L = WF_LANES,
    GEMM_MAX_SUMS = L == 16 ? 28 : 12,   /* vectors of sums */
    GEMM_MAX_PIXELS = L == 16 ? 14 : 12, /* pixels */
    GEMM_MAX_OUTPUT_VECTORS = 4,         /* output vectors */
    GEMM_MAX_ROTATIONS = L / 2           /* ROTATE: a vector holds two groups at least */
};

/* The machine class's block sizes, kernels/blocking.def; and floats of a size in KiB. */
static inline const wf_blocking *gemm_blocking(void)
{
    return wf_machine_class_of(WF_CLASS_ISA)->blocking;
}
static inline int64_t gemm_floats(int kib)
{
    return (int64_t)kib * 1024 / (int64_t)sizeof(float);
}

/* Note [How channels meet]. */
typedef enum gemm_kind { GEMM_DENSE, GEMM_PLAIN, GEMM_LANES, GEMM_ROTATE } gemm_kind;

/* The rows or the columns of a residue class. Output i lies at first_output + i * output_step of the
 * image. Through tap t it meets input offset[t] + i * input_step. In a packed input that is position
 * position[t] + i of input class input_class[t]; position 0 of class z is input origin[z]. Taps that
 * never meet the input are left out. */
typedef struct gemm_axis {
    int outputs, first_output, output_step;
    int inputs, input_step;
    int room; /* outputs that a packed input has room for: the most of all residue classes */
    int taps;
    int input_classes; /* residue classes of the input */
    int last_position; /* the largest position of a tap */
    int *tap;          /* which tap of the filter; the same index leads into the next three */
    int *offset, *input_class, *position;
    int *origin; /* by input class */
} gemm_axis;

/* What a pass multiplies, without how it goes about it. */
typedef struct gemm_geometry {
    gemm_kind kind;
    wf_act in, out; /* what the pass reads and writes; backward-weights: src and dst */
    int groups, group_inputs, group_outputs; /* channels of a group */
    /* Channel sets: a set's output vectors are summed over the same channel vectors. A set is a group;
     * of LANES and ROTATE it is an output vector. */
    int sets, output_vectors, input_vectors; /* the last two: of a set */
    int vector_channels; /* input channels of a channel vector that are summed up: L; LANES, PLAIN: 1 */
    size_t pixel_floats; /* from pixel to pixel of a packed input: L; PLAIN: 1 */
    int row_classes,
        column_classes; /* numbers of axes: class (a, b) is row_axis[a] by column_axis[b] */
    gemm_axis *row_axis, *column_axis;
} gemm_geometry;

/* An image that a pass reads, of floats; with a table, Note [Bytes and what they stand for]. */
typedef struct gemm_input {
    const void *x;
    const float *table;
} gemm_input;

/* What a packed input holds at one time: what `rows` output rows from row_begin on read of channel
 * vectors [vector_begin, vector_end) of a set. */
typedef struct gemm_region {
    int set, vector_begin, vector_end, row_begin, rows;
} gemm_region;

/* ---- geometry.c ---- */

/* Whether the kernels read images of these types. */
bool WF_ISA_FN(wf_gemm_reads)(const wf_conv2d_desc *d, wf_conv2d_pass pass);
/* Of all pairs of an output and a tap, the share that meets the input. The others meet padding. */
double WF_ISA_FN(wf_gemm_share_met)(const wf_conv2d_desc *d);
#define gemm_share_met WF_ISA_FN(wf_gemm_share_met)
#define GEMM_TYPES "f32 only, or a plain src of u8 in whole groups"
gemm_kind WF_ISA_FN(wf_gemm_kind)(const wf_conv2d_desc *d, wf_conv2d_pass pass);
/* False when memory runs out; then nothing is left to clean up. */
bool WF_ISA_FN(wf_gemm_geometry_init)(gemm_geometry *g, const wf_conv2d_desc *d,
                                      wf_conv2d_pass pass);
void WF_ISA_FN(wf_gemm_geometry_done)(gemm_geometry *g);
/* The input channel at place c of channel vector v (PLAIN: 0; LANES, ROTATE: the lane); -1: none. */
int WF_ISA_FN(wf_gemm_channel)(const gemm_geometry *g, int set, int v, int c);

/* The first output channel of output vector b of a set; the end of the set's output channels. */
static inline int gemm_first_output(const gemm_geometry *g, int set, int b)
{
    return set * (g->kind >= GEMM_LANES ? L : g->group_outputs) + b * L;
}
static inline int gemm_end_output(const gemm_geometry *g, int set)
{
    return g->kind >= GEMM_LANES ? g->out.C : (set + 1) * g->group_outputs;
}
/* ROTATE: the output channel that input channel i meets in rotation j. */
static inline int gemm_rotated_output(const gemm_geometry *g, int i, int j)
{
    return i / g->group_outputs * g->group_outputs +
           (i % g->group_outputs + g->group_outputs - j) % g->group_outputs;
}
/* ROTATE: for each lane the one that lies `by` lanes further in its group. */
static inline void gemm_rotation(int group_outputs, int by, int32_t from[L])
{
    for (int l = 0; l < L; l++)
        from[l] = l / group_outputs * group_outputs + (l + by) % group_outputs;
}

/* The taps [*begin, *end) of a row (column) axis between which all those lie that output i meets in the
 * input; all taps where it meets none. */
static inline void gemm_taps_met(const gemm_axis *a, int i, int *begin, int *end)
{
    *begin = a->taps;
    *end = 0;
    for (int t = 0; t < a->taps; t++) {
        const int at = a->offset[t] + i * a->input_step;
        if (at < 0 || at >= a->inputs)
            continue;
        *begin = t < *begin ? t : *begin;
        *end = t + 1;
    }
    if (*end == 0) {
        *begin = 0;
        *end = a->taps;
    }
}

/* ---- subblock.c ---- */

/* The number of subblocks, all about equal, into which `pixels` in a row are cut, with so many output
 * vectors each. */
int WF_ISA_FN(wf_gemm_pixel_subblocks)(int pixels, int output_vectors);
/* How many output vectors a subblock should have, of a set's output_vectors, for so many pixels in a
 * row. */
int WF_ISA_FN(wf_gemm_best_output_vectors)(int64_t pixels, int output_vectors);
/* The share of the peak that the inner loops of forward or backward-data are expected to reach on
 * products that count. across_rows: a subblock may go on in the next row. */
double WF_ISA_FN(wf_gemm_share)(const wf_conv2d_desc *d, wf_conv2d_pass pass, bool across_rows);

/* ---- packed_input.c; h and w are the axes of a residue class ---- */

/* Whether the input itself serves as packed input: one tap, no stride, no padding, channels in order. */
bool WF_ISA_FN(wf_gemm_reads_in_place)(const gemm_geometry *g, const gemm_axis *h,
                                       const gemm_axis *w);
/* Whether an output row follows on the one before as pixel follows on pixel, in input and output. */
bool WF_ISA_FN(wf_gemm_contiguous)(const gemm_axis *h, const gemm_axis *w);
/* The output rows whose packed input, of input_vectors_block_size channel vectors, fits its share of
 * the L2 cache. */
int WF_ISA_FN(wf_gemm_packed_rows)(const gemm_geometry *g, const gemm_axis *h, const gemm_axis *w,
                                   int input_vectors_block_size);
/* Floats from channel vector to channel vector, for a packed input of `rows` output rows; and from one
 * output row to the next. */
size_t WF_ISA_FN(wf_gemm_vector_stride)(const gemm_geometry *g, const gemm_axis *h,
                                        const gemm_axis *w, int rows);
size_t WF_ISA_FN(wf_gemm_row_stride)(const gemm_geometry *g, const gemm_axis *h,
                                     const gemm_axis *w);
/* Where output (0, 0) of a region meets tap (r, s) of the axes' lists in the first channel vector. */
size_t WF_ISA_FN(wf_gemm_tap_offset)(const gemm_geometry *g, const gemm_axis *h, const gemm_axis *w,
                                     int rows, int r, int s);
/* Fills a packed input that has room for `rows` output rows, of which the region may have fewer.
 * Returns it; or the place in the image, if that serves as packed input. */
const float *WF_ISA_FN(wf_gemm_pack_input)(const gemm_geometry *g, const gemm_axis *h,
                                           const gemm_axis *w, gemm_region region, int rows,
                                           gemm_input in, float *packed);

#define gemm_reads WF_ISA_FN(wf_gemm_reads)
#define gemm_kind_of WF_ISA_FN(wf_gemm_kind)
#define gemm_geometry_init WF_ISA_FN(wf_gemm_geometry_init)
#define gemm_geometry_done WF_ISA_FN(wf_gemm_geometry_done)
#define gemm_channel WF_ISA_FN(wf_gemm_channel)
#define gemm_pixel_subblocks WF_ISA_FN(wf_gemm_pixel_subblocks)
#define gemm_best_output_vectors WF_ISA_FN(wf_gemm_best_output_vectors)
#define gemm_share WF_ISA_FN(wf_gemm_share)
#define gemm_reads_in_place WF_ISA_FN(wf_gemm_reads_in_place)
#define gemm_contiguous WF_ISA_FN(wf_gemm_contiguous)
#define gemm_packed_rows WF_ISA_FN(wf_gemm_packed_rows)
#define gemm_vector_stride WF_ISA_FN(wf_gemm_vector_stride)
#define gemm_row_stride WF_ISA_FN(wf_gemm_row_stride)
#define gemm_tap_offset WF_ISA_FN(wf_gemm_tap_offset)
#define gemm_pack_input WF_ISA_FN(wf_gemm_pack_input)

#endif
