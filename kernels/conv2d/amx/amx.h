/* What the files of this folder share, private to them. They convolve bf16 images by AMX's TDPBF16PS, which adds
 * to 16 x 16 sums of f32 the products of 16 rows of 32 bf16 with 16 columns of 32: kernels/simd/tile.h.
 *
 * Note [Frames]. All shapes are brought to one: neighbouring outputs read neighbouring inputs. A *frame* is a
 * copy of some rows of one image, or of several small images, in a worker's scratch. A cell of the frame is one
 * pixel of some channels. A frame has
 *   - a plane for each phase: with stride 2 the even and the odd rows and columns lie apart, so that within a
 *     plane the stride is 1. Only phases that a tap reads are copied;
 *   - zeros where a tap meets padding. Rows share them: the zeros in front of a row stand behind the row before
 *     it as well, and those above an image below the image before it.
 * The outputs are counted through rows and images with the frame's pitch. So tap t of output o is in cell
 * tap[t] + o, and 16 neighbouring cells are a tile of 16 rows, whatever lies between: full tiles, of which the
 * outputs behind the end of a row are dropped. With 3x3 over 7x7 an image has 8 x 8 cells.
 *
 *     3x3 over a row of 4, lead 1:    0 a b c d | 0 e f g h | 0      (| marks the pitch, 5)
 *     output o of row 0 reads         a is cell 1, so o = 0, 1, 2, 3 read from cells 0, 1, 2, 3;
 *                                     o = 4 is no output
 *
 * Backward-data with stride s has s * s classes of outputs, by remainder; each is such a convolution of ddst by
 * some of the taps. All share one frame.
 *
 * Patches: a plain image, which a network's first layer reads, has few channels. There a cell is what an output
 * reads, all C * R * S numbers in the order of the plain weights, and the pass is 1x1 over as many channels.
 *
 * "Input" and "output" are the pass's: backward-data reads ddst and writes dsrc. */
#ifndef WF_CONV2D_AMX_H
#define WF_CONV2D_AMX_H

#include "kernels/conv2d/conv2d.h"
#include "kernels/machine.h"
#include "kernels/simd/bf16_emul.h"
#include "kernels/simd/simd.h"

enum {
    L = 16,          /* lanes; channels of a block; rows and columns of sums of a tile */
    AMX_STEP = 32,   /* numbers that a product sums over: channels, or pixels */
    AMX_TILE = 512,  /* bf16 of a tile: L x AMX_STEP, or L pairs x L x 2 */
    AMX_SUMS = 256,  /* f32 of a tile */
    AMX_PIXELS = 32, /* pixels of a subblock: two tiles */
    AMX_MAX_PLANE_ELEMENTS = 1 << 28 /* since places are int32_t */
};
_Static_assert(WF_LANES == L, "kernel_dot_src is compiled for 16 lanes");

static inline const wf_blocking *amx_blocking(void)
{
    return wf_machine_class_of(WEFT_ISA_AVX512)->blocking;
}

static inline const wf_costs *amx_costs(void)
{
    return wf_machine_class_of(WEFT_ISA_AVX512)->cost;
}

/* The rows or the columns of a class of outputs. Output i lies at first_output + i * output_step of the image,
 * and through tap t reads row i + offset[t] of phase plane phase[t], an index into `remainder`. Phase plane e has
 * every step-th row, from remainder[e] on. Taps that never meet the input are left out. */
typedef struct amx_axis {
    int outputs, first_output, output_step;
    int inputs, step;
    int taps, *tap, *offset, *phase;
    int phases, *remainder;
} amx_axis;

/* The axes along one dimension: for backward-data one for each remainder modulo the stride, else one. One piece
 * of memory, which the caller frees; NULL when memory runs out. */
amx_axis *WF_ISA_FN(wf_amx_axes)(wf_conv2d_pass pass, int in, int out, int kernel, int stride,
                                 int padding, int dilation);

/* Rows, or columns, of a phase plane: those that are copied, and the zeros before them and behind the last. */
typedef struct amx_extent {
    int first, count, lead;
    int least, span;  /* the smallest offset of a tap; how much larger the largest is */
    int most_outputs; /* of a class */
} amx_extent;

typedef struct amx_frame {
    wf_act in;             /* an image that is copied */
    const amx_axis *h, *w; /* of the first class, whose phases all classes have */
    amx_extent rows, columns;
    int block_rows; /* rows of outputs that it serves at most; all of them: */
    int images;     /* several images at most */
    bool whole;
    int origin;            /* the row of the first frame row, counted from the first output row */
    int pitch, image_rows; /* cells from row to row, rows from image to image */
    size_t plane_cells;    /* of a phase plane, and what tiles read behind it */
} amx_frame;

/* Plans the frame of n axes each way that serves blocks of at most `cells` cells in a plane, `rows_at_once` rows of
 * outputs, and `images` images. There are taps. */
void WF_ISA_FN(wf_amx_plan_frame)(amx_frame *f, wf_act in, const amx_axis *rows, int n_rows,
                                  const amx_axis *columns, int n_columns, int64_t cells,
                                  int rows_at_once, int images);

/* The cell of the first output through the taps at index r of h and s of w. */
static inline size_t amx_tap_cell(const amx_frame *f, const amx_axis *h, const amx_axis *w, int r,
                                  int s)
{
    const size_t plane = (size_t)(h->phase[r] * f->w->phases + w->phase[s]) * f->plane_cells;
    return plane + (size_t)(h->offset[r] - f->origin) * (size_t)f->pitch +
           (size_t)(w->offset[s] - f->columns.first + f->columns.lead);
}

/* Some rows of outputs of some images; several images only if rows is all. */
typedef struct amx_rows {
    int images, row, rows;
} amx_rows;

/* Outputs of a block, counted through rows and images, up to the last one. */
static inline int amx_outputs(const amx_frame *f, amx_rows b)
{
    return ((b.images - 1) * f->image_rows + b.rows - 1) * f->pitch + f->columns.most_outputs;
}

/* Fills the frame from b.images images at x, stride bytes apart: a channel block a cell, or, with `both`, two, of
 * which the second lies `second` elements behind x; 0: it is zero. Writes all cells of planes up to the last that is
 * copied, and zeros to `zeros` cells behind. */
void WF_ISA_FN(wf_amx_fill)(const amx_frame *f, amx_rows b, const uint16_t *x, size_t stride,
                            bool both, size_t second, int zeros, uint16_t *frame);

/* Patches of a plain image. */
typedef struct amx_patches {
    const wf_conv2d_desc *d;
    int numbers; /* C * R * S */
    int row_pixels; /* of a row of the image with its zeros, from the first column that a patch reads */
    size_t row_numbers; /* of a converted row, and what is read behind it */
} amx_patches;

void WF_ISA_FN(wf_amx_plan_patches)(amx_patches *p, const wf_conv2d_desc *d);
/* Bytes of scratch for the converted rows of `rows` rows of outputs and a patch. */
size_t WF_ISA_FN(wf_amx_patch_scratch)(const amx_patches *p, int rows);
/* Fills cells of `width` numbers, `block` elements from one block of a patch to the next, with the patches of the
 * outputs of rows b of n images; numbers behind a patch's are zero. */
void WF_ISA_FN(wf_amx_fill_patches)(const amx_patches *p, amx_rows b, const void *x, size_t stride,
                                    const float *table, int width, size_t block, void *scratch,
                                    uint16_t *frame);

/* Why no pass of this shape can run by tiles; NULL: it can. */
const char *WF_ISA_FN(wf_amx_misfit)(const wf_conv2d_desc *d, wf_conv2d_pass pass);

#define amx_axes WF_ISA_FN(wf_amx_axes)
#define amx_plan_frame WF_ISA_FN(wf_amx_plan_frame)
#define amx_fill WF_ISA_FN(wf_amx_fill)
#define amx_plan_patches WF_ISA_FN(wf_amx_plan_patches)
#define amx_patch_scratch WF_ISA_FN(wf_amx_patch_scratch)
#define amx_fill_patches WF_ISA_FN(wf_amx_fill_patches)
#define amx_misfit WF_ISA_FN(wf_amx_misfit)

/* A plain image is read in patches. */
static inline bool amx_reads_patches(const wf_conv2d_desc *d)
{
    return d->src_block == 1;
}

static inline size_t amx_aligned(size_t bytes)
{
    return (bytes + WF_ALIGN - 1) / WF_ALIGN * WF_ALIGN;
}

static inline int amx_pieces(int n, int most)
{
    return (n + most - 1) / most;
}

#endif
