/* 2-D convolution: forward, backward-data, backward-weights, in f32 and f64, and over bf16 images.
 *
 * A convolution is planned once (wf_conv2d_create, one thread at a time: libraries generate code
 * there) and then run by any number of workers at once. Every call below names its worker, which
 * owns that worker's scratch; nothing else is shared for writing. Runs allocate nothing.
 *
 * Letters: N minibatch; C, H, W input; K, P, Q output; R, S kernel; G groups. Pointers are to one
 * image in the layout the descriptor names (kernels/types.h). Plain weights are K, C/G, R, S.
 *
 * The order of every sum follows from the descriptor, the class of machine and the kernel, never from the number
 * of workers: see Note [Weight gradient slots]. */
#ifndef WF_CONV2D_H
#define WF_CONV2D_H

#include "kernels/types.h"

typedef enum wf_conv2d_pass {
    WF_CONV2D_FORWARD,
    WF_CONV2D_BACKWARD_DATA,
    WF_CONV2D_BACKWARD_WEIGHTS
} wf_conv2d_pass;
const char *wf_conv2d_pass_name(wf_conv2d_pass pass); /* "forward", ... */

typedef struct wf_conv2d_desc {
    int N, C, H, W, K, R, S, P, Q;
    int stride[2], padding[2], dilation[2]; /* height, width; 1 is dense */
    int groups;
    int bias;                                    /* forward adds a bias (K) */
    int src_block, dst_block;                    /* channels per block; 1 is plain */
    weft_dtype src_type, weights_type, dst_type; /* bias and table are of weights_type */
} wf_conv2d_desc;

static inline wf_act wf_conv2d_src(const wf_conv2d_desc *d)
{
    return (wf_act){d->C, d->H, d->W, d->src_block};
}

static inline wf_act wf_conv2d_dst(const wf_conv2d_desc *d)
{
    return (wf_act){d->K, d->P, d->Q, d->dst_block};
}

/* Elements of the plain weights. */
static inline size_t wf_conv2d_weights_count(const wf_conv2d_desc *d)
{
    return (size_t)d->K * (size_t)(d->C / d->groups) * (size_t)d->R * (size_t)d->S;
}

/* Fills in P and Q; false when the output would be empty. */
bool wf_conv2d_output(wf_conv2d_desc *d);

/* The problem in words, benchdnn's descriptor with the pass in front and layouts and types behind:
 * "forward g1mb64ic3ih28iw28oc32oh28ow28kh3kw3sh1sw1dh0dw0ph1pw1 bias nchw:f32 f32 nChw8c:f32".
 * Different problems have different texts: wisdom is keyed by it. Returns text. */
#define WF_CONV2D_TEXT 256
const char *wf_conv2d_describe(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *text,
                               size_t size);

/* 2 multiply-adds for every weight and output pixel, padding counted as if it were data. */
double wf_conv2d_flops(const wf_conv2d_desc *d);

/* The outputs [*begin, *end) along one dimension for which kernel tap t meets the input. */
static inline void wf_conv2d_range(int in, int out, int stride, int padding, int dilation, int t,
                                   int *begin, int *end)
{
    int offset = t * dilation - padding; /* input index of output 0 */
    int first = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
    int last = in - 1 - offset; /* input index of the last meeting output, relative */
    int stop = last < 0 ? 0 : last / stride + 1;
    *end = stop < out ? stop : out;
    *begin = first < *end ? first : *end;
}

typedef struct wf_conv2d wf_conv2d;

/* Note [Images of bf16]
 * src_type and dst_type may be WEFT_BF16, each by itself; weights, bias and weight gradients are f32
 * then. Sums are f32, and an output of bf16 is rounded once, to nearest even, from its whole sum. An
 * implementation may round the weights to bf16 as it packs them: one that multiplies bf16 must, one
 * that multiplies f32 need not. */

/* Note [Bytes and what they stand for]
 * Where src_type is u8, src is an image as files have it: a byte v of channel c stands for
 * element (c, v) of a table (C, WF_BYTE_VALUES), and padding for zero, not for what a byte 0
 * stands for. So a kernel that reads u8 normalises as it loads, with the bits of whatever
 * arithmetic made the table, and knows nothing of means and deviations. Forward and
 * backward-weights only: bytes have no gradient. */

/* Operands of a forward or backward-data pass; strides in bytes, from image to image. */
typedef struct wf_conv2d_io {
    const void *in; /* images read: src, or ddst in backward-data */
    size_t in_stride;
    const void *table;   /* (C, WF_BYTE_VALUES): what the bytes of a u8 src stand for; else NULL */
    const void *weights; /* packed ones, or plain ones where packed_bytes is 0 */
    const void *bias;    /* NULL unless the descriptor says so */
    void *out;           /* images written */
    size_t out_stride;
} wf_conv2d_io;

/* Operands of a backward-weights pass but the slots: images read. */
typedef struct wf_conv2d_gradient_io {
    const void *src;
    size_t src_stride;
    const void *table; /* as above */
    const void *ddst;
    size_t ddst_stride;
} wf_conv2d_gradient_io;

/* Of F(4x4, 3x3): the square of the largest row sum of |AT| ((|G| 1) * (|BT| 1)), winograd/winograd.h; and of
 * its weight gradient: |GT| ((|A| 1) * (|BT| 1)). */
#define WF_WINOGRAD_AMPLIFICATION 625.0
#define WF_WINOGRAD_WEIGHTS_AMPLIFICATION 945.0

/* One implementation. The list is kernels.def; the reference is last and fits all. */
typedef struct wf_conv2d_impl {
    const char *name;
    weft_isa isa; /* the least that it needs */
    /* 0: plain sums of products, exact where they can be. Else the kernel works in a transformed
     * domain, and tests bound its error by 3 sqrt(n + 24) u * amplification * the sum of n terms
     * max |a| max |b|: n channels, or tiles of a weight gradient, and 24 roundings in transforms; u is
     * half an epsilon, and roundings are taken as independent (Higham and Mary, "A New Approach to
     * Probabilistic Rounding Error Analysis", 2019, with lambda = 3). */
    double amplification;
    /* Whether the implementation can run this pass; where not, why (at most size bytes). */
    bool (*fits)(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size);
    /* What a pass that fits is expected to take, Note [Expected cost]; cheap, since everything that
     * fits is asked; isa is the machine's, at least the implementation's own. NULL: WF_EXPECT_SHARE of the peak. */
    double (*expect)(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa);
    /* Completes k, whose desc, pass, workers and defaults are set; may raise k->cycles when it finds
     * out that the kernel is slower than expected. On failure says why and leaves nothing behind. */
    bool (*create)(wf_conv2d *k, char *why, size_t size);
    void (*destroy)(wf_conv2d *k); /* may be NULL */
    /* Only those of its passes need be there. What is not WEFT_OK fails the run: nothing that was
     * computed counts. */
    weft_status (*pack)(const wf_conv2d *k, int worker, const void *weights, void *packed,
                        int tile);
    weft_status (*forward)(const wf_conv2d *k, int worker, const void *src, const void *weights,
                           const void *bias, void *dst, void *scratch);
    weft_status (*backward_data)(const wf_conv2d *k, int worker, const void *ddst,
                                 const void *weights, void *dsrc, void *scratch);
    /* In place of the two by kernels that take several images at once or part of the channels: part
     * `part` of the outputs of images [0, n) at io. */
    weft_status (*batch)(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n, int part,
                         void *scratch);
    /* Images [0, n) at io into one part of a slot, whose old content is ignored. */
    weft_status (*backward_weights)(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io,
                                    int n, void *slot, int part, void *scratch);
    weft_status (*reduce)(const wf_conv2d *k, int worker, void *slots, size_t slot_stride,
                          void *dweights, int tile);
} wf_conv2d_impl;

/* Note [Staged images]: how a tile does it. */
typedef struct wf_conv2d_stage {
    wf_conv2d *inner;           /* the pass over f32 images; NULL: nothing is staged */
    size_t scratch;             /* bytes of its own; the f32 images are behind */
    size_t in_bytes, out_bytes; /* of an f32 image of in or src, out or ddst; 0: it is not staged */
} wf_conv2d_stage;

/* A planned pass. Read-only once created. */
struct wf_conv2d {
    const wf_conv2d_impl *impl;
    wf_conv2d_desc desc;
    wf_conv2d_pass pass;
    weft_isa isa;
    int workers;
    char name[48];        /* "onednn:jit:avx2", "ref": for explain and traces */
    double cycles;        /* expected, Note [Expected cost] */
    bool preferred;       /* the caller asked for it by name */
    size_t scratch_bytes; /* for each worker, 64-byte aligned */
    /* forward and backward-data */
    size_t packed_bytes; /* of the packed weights; 0: the pass reads the plain ones */
    int pack_tiles;
    int images; /* that a tile takes at once; 1 unless the implementation has `batch` */
    /* backward-weights, Note [Weight gradient slots] */
    int slots;
    int slot_images; /* images per slot; the last may have fewer */
    int parts;       /* a slot, or a tile's images, are filled by this many independent tiles */
    size_t slot_bytes;
    int reduce_tiles;
    wf_conv2d_stage stage;
    void *state; /* the implementation's */
};

/* Note [Staged images]
 * Images of bf16 are read and written by kernels that know f32 only, too: a tile converts its images
 * to f32 in its scratch, runs the kernel on them, and rounds what comes out. So every kernel serves both
 * types, at the cost of a pass over an image in cache. A kernel that reads and writes bf16 itself fits
 * the descriptor as it is, and is not staged. A tile runs all parts of its images, since only the
 * kernel knows which outputs a part has. */

/* Note [Weight gradient slots]
 * A weight gradient is a sum over N*P*Q pixels. It is cut into `slots` sums over fixed ranges of
 * images, each in the kernel's own format; a second task adds the slots pairwise in a fixed tree
 * and writes plain weights. How many slots there are depends on the shape alone: enough images in
 * each that writing and adding the slots costs little beside filling them (about 1000 pixels each),
 * and no more than about 512 tiles. So the bits never depend on who ran which tile. */
int wf_conv2d_slot_images(const wf_conv2d_desc *d);

/* The implementation named `prefer` (NULL: none) if it fits, else the one of the least expected cost,
 * for a machine of this ISA. NULL only when memory runs out. With WEFT_VERBOSE=select in the
 * environment the choice and the rejections go to stderr. */
wf_conv2d *wf_conv2d_create(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa, int workers,
                            const char *prefer);
/* The same with one implementation only; NULL and a reason where it does not fit. */
wf_conv2d *wf_conv2d_create_impl(const wf_conv2d_impl *impl, const wf_conv2d_desc *d,
                                 wf_conv2d_pass pass, weft_isa isa, int workers, char *why,
                                 size_t size);
void wf_conv2d_destroy(void *k); /* NULL: no effect */

/* Whether an implementation can run it on a machine of this ISA, as far as can be told without creating
 * it; where not, why. And Note [Expected cost] of one that can. */
bool wf_conv2d_fits(const wf_conv2d_impl *impl, const wf_conv2d_desc *d, wf_conv2d_pass pass,
                    weft_isa isa, char *why, size_t size);
/* The same without Note [Staged images]. */
bool wf_conv2d_fits_itself(const wf_conv2d_impl *impl, const wf_conv2d_desc *d, wf_conv2d_pass pass,
                           weft_isa isa, char *why, size_t size);
double wf_conv2d_cycles(const wf_conv2d_impl *impl, const wf_conv2d_desc *d, wf_conv2d_pass pass,
                        weft_isa isa);
/* The share of the machine's multiply-add peak that k is expected to reach; Winograd may pass 1. */
double wf_conv2d_expected_share(const wf_conv2d *k);
/* What a pass of few tiles loses to idle workers, as a factor: as two workers would wait for each
 * other, however many there are. */
double wf_conv2d_idle(const wf_conv2d *k);
/* For implementations: cycles to pass over all operands once; */
double wf_conv2d_expect_traffic(const wf_conv2d_desc *d);
/* and cycles of a kernel that reaches `share` of impl_isa's peak on every product of
 * the pass, and passes over its operands once. */
double wf_conv2d_expect(const wf_conv2d_desc *d, weft_isa impl_isa, double share);

/* All implementations. */
extern const wf_conv2d_impl *const wf_conv2d_impls[];
extern const int wf_conv2d_n_impls;

/* What runs returns WEFT_OK, or why the pass could not run: a kernel of a library may refuse.
 *
 * Tile `tile` of k->pack_tiles: plain weights into the packed format. */
WF_MUST_CHECK weft_status wf_conv2d_pack(const wf_conv2d *k, int worker, const void *weights,
                                         void *packed, int tile);
/* Tile `tile` of wf_conv2d_tiles(k) of a forward or backward-data pass; io is the whole batch. Where
 * k->images and k->parts are 1, tile n reads and writes image n. */
WF_MUST_CHECK weft_status wf_conv2d_run(const wf_conv2d *k, int worker, const wf_conv2d_io *io,
                                        void *scratch, int tile);
int wf_conv2d_tiles(const wf_conv2d *k);
/* Tile `tile` of slots * parts; io is the whole batch, slot_stride bytes between slots (at least
 * slot_bytes). */
WF_MUST_CHECK weft_status wf_conv2d_backward_weights(const wf_conv2d *k, int worker,
                                                     const wf_conv2d_gradient_io *io, void *slots,
                                                     size_t slot_stride, void *scratch, int tile);
/* staged.c, for dispatch.c and select.c. The descriptor with f32 in place of bf16 images; false where
 * there are none. */
bool wf_conv2d_staged(const wf_conv2d_desc *d, wf_conv2d_desc *staged);
/* What conversions add to the expected cycles. */
double wf_conv2d_stage_cycles(const wf_conv2d_desc *d);
/* The pass of descriptor d by way of `inner`, which it owns from now on; NULL when memory runs out. */
wf_conv2d *wf_conv2d_stage_create(const wf_conv2d_desc *d, wf_conv2d *inner);
/* Part `part` of images [0, n) at io, in scratch of k->scratch_bytes. */
weft_status wf_conv2d_run_images(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n,
                                 int part, void *scratch);
/* The runs of a staged one: images [0, n) at io, as wf_conv2d_impl.batch and backward_weights have them. */
weft_status wf_conv2d_stage_run(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n,
                                void *scratch);
weft_status wf_conv2d_stage_weights(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io,
                                    int n, void *slot, int part, void *scratch);

/* Tile `tile` of reduce_tiles. The slots are used up. */
WF_MUST_CHECK weft_status wf_conv2d_reduce(const wf_conv2d *k, int worker, void *slots,
                                           size_t slot_stride, void *dweights, int tile);

/* For implementations: adds the `slots` arrays of `count` elements, slot_stride bytes apart, into
 * the first, pairwise (0+1, 2+3, ..., then 0+2, ...). */
void wf_conv2d_sum_slots(weft_dtype type, void *first, size_t slot_stride, int slots, size_t count);

#endif
