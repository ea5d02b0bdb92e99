/* 2-D convolution: forward, backward-data, backward-weights, in f32 and f64, and over bf16 images.
 *
 * One thread plans a pass (wf_conv2d_create; libraries generate code there), then any number of workers
 * run its tiles at once. Every call below names the worker that makes it. That worker alone writes its
 * scratch and its tile's outputs. Runs allocate nothing.
 *
 * Letters: N minibatch; C, H, W input; K, P, Q output; R, S filter; G groups. A pointer points to one
 * image, in the layout that the descriptor names (kernels/types.h). Plain weights are K, C/G, R, S.
 *
 * The order of every sum follows from the descriptor, the machine class and the implementation, never
 * from the number of workers: Note [Splits of weight gradients]. */
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
    int bias;                                    /* 1: forward adds a bias (K) */
    int src_block, dst_block;                    /* channels in a channel block; 1: plain */
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

/* Writes the problem in words and returns text: the pass, benchdnn's descriptor, layouts and types.
 * "forward g1mb64ic3ih28iw28oc32oh28ow28kh3kw3sh1sw1dh0dw0ph1pw1 bias nchw:f32 f32 nChw8c:f32".
 * Different problems have different texts, since wisdom is keyed by it. */
#define WF_CONV2D_TEXT 256
const char *wf_conv2d_describe(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *text,
                               size_t size);

/* 2 operations for every weight and output pixel; padding counts as if it were data. */
double wf_conv2d_flops(const wf_conv2d_desc *d);

/* The outputs [*begin, *end) along one dimension for which tap t reads the input and not padding. */
static inline void wf_conv2d_range(int in, int out, int stride, int padding, int dilation, int t,
                                   int *begin, int *end)
{
    int offset = t * dilation - padding; /* the input that output 0 reads */
    int first = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
    int last = in - 1 - offset; /* the last input, counted from there */
    int stop = last < 0 ? 0 : last / stride + 1;
    *end = stop < out ? stop : out;
    *begin = first < *end ? first : *end;
}

typedef struct wf_conv2d wf_conv2d;

/* Note [Images of bf16]
 * src_type and dst_type may be WEFT_BF16, each by itself. Weights, bias and weight gradients are then
 * f32. A kernel sums in f32 and rounds an output of bf16 once, to nearest even, from its whole sum. A
 * kernel that multiplies bf16 rounds the weights to bf16 as it packs them, and what it reads of a plain
 * image of f32 or bytes as it gathers it, as autocast does; one that multiplies f32 need not. */

/* Note [Bytes and what they stand for]
 * Where src_type is u8, src is an image as files have it. A byte v of channel c stands for element
 * (c, v) of a table (C, WF_BYTE_VALUES). Padding stands for zero, not for the table's entry of byte 0.
 * The caller made the table from means and deviations, so a kernel normalises as it loads and knows
 * neither. Forward and backward-weights only: bytes have no gradient. */

/* Operands of a forward or backward-data pass. Strides are bytes from image to image. */
typedef struct wf_conv2d_io {
    const void *in; /* images that the pass reads: src, or ddst in backward-data */
    size_t in_stride;
    const void *table;   /* (C, WF_BYTE_VALUES): what the bytes of a u8 src stand for; else NULL */
    const void *weights; /* packed ones, or plain ones where packed_bytes is 0 */
    const void *bias;    /* NULL unless the descriptor says so */
    void *out;           /* images that the pass writes */
    size_t out_stride;
} wf_conv2d_io;

/* The images that a backward-weights pass reads. */
typedef struct wf_conv2d_gradient_io {
    const void *src;
    size_t src_stride;
    const void *table; /* as in wf_conv2d_io */
    const void *ddst;
    size_t ddst_stride;
} wf_conv2d_gradient_io;

/* What a part of a backward-weights pass reads: of some images some channels, from the first to before
 * the second. */
typedef struct wf_conv2d_reads {
    int images[2], src[2], dst[2];
} wf_conv2d_reads;

/* How much F(4x4, 3x3) (winograd/winograd.h) amplifies rounding: the square of the largest row sum of
 * |AT| ((|G| 1) * (|BT| 1)); for its weight gradient of |GT| ((|A| 1) * (|BT| 1)). */
#define WF_WINOGRAD_AMPLIFICATION 625.0
#define WF_WINOGRAD_WEIGHTS_AMPLIFICATION 945.0

/* One implementation. The list is kernels.def; the reference comes last and fits every problem. */
typedef struct wf_conv2d_impl {
    const char *name;
    weft_isa isa; /* the lowest instruction set that it needs */
    /* 0: the kernel computes plain sums of products, which are exact for small integers. Else it works
     * in a transformed domain, and tests bound its error by
     *     3 sqrt(n + 24) u * amplification * (n max |a| max |b|),
     * with n terms in a sum (channels, or patches of a weight gradient), 24 roundings in the
     * transforms, and u half an epsilon. Roundings are taken as independent: Higham and Mary, "A New
     * Approach to Probabilistic Rounding Error Analysis", 2019, with lambda = 3. */
    double amplification;
    /* Whether the implementation can run this pass. If not, writes why (at most size bytes). */
    bool (*fits)(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size);
    /* The expected cost of a pass that fits, Note [Expected cost]. Must be cheap, since selection asks
     * every implementation that fits. isa is the machine's, at least the implementation's own. NULL:
     * the kernel is expected to reach WF_EXPECT_SHARE of the peak. */
    double (*expect)(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa);
    /* Completes k, whose desc, pass, workers and defaults are set. May raise k->cycles when it finds
     * the kernel slower than expected. On failure writes why and leaves nothing behind. */
    bool (*create)(wf_conv2d *k, char *why, size_t size);
    void (*destroy)(wf_conv2d *k); /* may be NULL */
    /* An implementation has only the functions of its passes. Any status but WEFT_OK fails the run, and
     * then nothing that was computed counts. */
    weft_status (*pack)(const wf_conv2d *k, int worker, const void *weights, void *packed,
                        int tile);
    weft_status (*forward)(const wf_conv2d *k, int worker, const void *src, const void *weights,
                           const void *bias, void *dst, void *scratch);
    weft_status (*backward_data)(const wf_conv2d *k, int worker, const void *ddst,
                                 const void *weights, void *dsrc, void *scratch);
    /* Kernels that take several images at once, or a part of the outputs, have this in place of the two
     * above: it computes part `part` of the outputs of images [0, n) at io. */
    weft_status (*batch)(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n, int part,
                         void *scratch);
    /* Sums images [0, n) at io into part `part` of a partial sum, whose old content is ignored. */
    weft_status (*backward_weights)(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io,
                                    int n, void *partial_sum, int part, void *scratch);
    /* What backward_weights reads for a part, of images [0, n). NULL: all of them. */
    wf_conv2d_reads (*reads)(const wf_conv2d *k, int n, int part);
    weft_status (*reduce)(const wf_conv2d *k, int worker, void *partial_sums,
                          size_t partial_sum_stride, void *dweights, int tile);
} wf_conv2d_impl;

/* How a tile runs an f32 kernel over bf16 images, Note [Staged images]. */
typedef struct wf_conv2d_stage {
    wf_conv2d *inner;           /* the pass over f32 images; NULL: nothing is staged */
    size_t scratch;             /* bytes of scratch that `inner` uses; the f32 images follow them */
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
    double cycles;        /* the expected cost, Note [Expected cost] */
    bool preferred;       /* the caller asked for this implementation by name */
    size_t scratch_bytes; /* that each worker needs, 64-byte aligned */
    /* Forward and backward-data. */
    size_t packed_bytes; /* of the packed weights; 0: the pass reads the plain ones */
    int pack_tiles;      /* tiles that pack them */
    int images;          /* that a tile takes at once; 1 unless the implementation has `batch` */
    /* Backward-weights, Note [Splits of weight gradients]. */
    int splits;
    int split_images;         /* images of a split; the last one may have fewer */
    size_t partial_sum_bytes; /* of the partial sum of one split */
    int reduce_tiles;         /* tiles that add the partial sums up */
    /* All passes: this many tiles, independent of each other, share the outputs of a tile's images, or
     * one split's partial sum. */
    int parts;
    /* Of a kernel whose tiles depend on the number of workers: how many there are for two, since the
     * choice must not depend on that number (wf_conv2d_idle). Else 0. */
    int usual_tiles;
    wf_conv2d_stage stage;
    void *state; /* the implementation's */
};

/* Note [Staged images]
 * A kernel that knows only f32 can run over bf16 images, too. The tile converts its images to f32 in its
 * scratch, runs the kernel on those, and rounds the outputs to bf16. So every kernel serves both types,
 * at the cost of reading and writing an image in cache once more. A kernel that reads and writes bf16
 * itself fits the descriptor as it is, and is not staged. A staged tile runs all parts of its images,
 * since only the kernel knows which outputs a part has. In backward-weights it runs one part, and converts
 * what that part reads (wf_conv2d_impl.reads). */

/* Note [Splits of weight gradients]
 * A weight gradient is a sum over N*P*Q pixels. The batch is cut into `splits` fixed ranges of images.
 * Each split has a partial sum, in the kernel's own format; its tiles fill it. A second task adds the
 * partial sums pairwise in a fixed tree and writes plain weights.
 *
 * The number of splits depends on the shape alone, so the bits never depend on which worker ran which
 * tile. A split has about 1000 pixels or more: then filling its partial sum takes much longer than
 * writing it and adding it up. And there are not many more than 512 tiles. */
int wf_conv2d_split_images(const wf_conv2d_desc *d);

/* Creates the pass by the implementation named `prefer` (NULL: none) if that fits, else by the one of
 * the lowest expected cost, for a machine of this instruction set. NULL only when memory runs out. With
 * WEFT_VERBOSE=select in the environment it reports the choice and the rejections on stderr. */
wf_conv2d *wf_conv2d_create(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa, int workers,
                            const char *prefer);
/* Creates the pass by this implementation; NULL and a reason if it does not fit. */
wf_conv2d *wf_conv2d_create_impl(const wf_conv2d_impl *impl, const wf_conv2d_desc *d,
                                 wf_conv2d_pass pass, weft_isa isa, int workers, char *why,
                                 size_t size);
void wf_conv2d_destroy(void *k); /* NULL: no effect */

/* Whether an implementation can run the pass on a machine of this instruction set, staged or not, as far
 * as can be told without creating it. If not, writes why. */
bool wf_conv2d_fits(const wf_conv2d_impl *impl, const wf_conv2d_desc *d, wf_conv2d_pass pass,
                    weft_isa isa, char *why, size_t size);
/* The same, but only if the images need not be staged. */
bool wf_conv2d_fits_itself(const wf_conv2d_impl *impl, const wf_conv2d_desc *d, wf_conv2d_pass pass,
                           weft_isa isa, char *why, size_t size);
/* The expected cost of an implementation that fits, Note [Expected cost]. */
double wf_conv2d_cycles(const wf_conv2d_impl *impl, const wf_conv2d_desc *d, wf_conv2d_pass pass,
                        weft_isa isa);
/* The share of the machine's multiply-add peak that k is expected to reach; Winograd's may exceed 1. */
double wf_conv2d_expected_share(const wf_conv2d *k);
/* The factor by which a pass of few tiles takes longer because workers are idle: computed as if there
 * were two workers, however many there are, so that the choice does not depend on their number. */
double wf_conv2d_idle(const wf_conv2d *k);
/* For implementations: cycles to read or write all operands once. */
double wf_conv2d_expect_traffic(const wf_conv2d_desc *d);
/* For implementations: cycles of a kernel that reaches `share` of impl_isa's peak on every product of
 * the pass, and reads or writes its operands once. */
double wf_conv2d_expect(const wf_conv2d_desc *d, weft_isa impl_isa, double share);

/* All implementations. */
extern const wf_conv2d_impl *const wf_conv2d_impls[];
extern const int wf_conv2d_n_impls;

/* The run functions return WEFT_OK, or the reason why the pass could not run: a library's kernel may
 * refuse.
 *
 * Packs tile `tile` of k->pack_tiles of the plain weights. */
WF_MUST_CHECK weft_status wf_conv2d_pack(const wf_conv2d *k, int worker, const void *weights,
                                         void *packed, int tile);
/* Runs tile `tile` of wf_conv2d_tiles(k) of a forward or backward-data pass; io is the whole batch.
 * Where k->images and k->parts are 1, tile n reads and writes image n. */
WF_MUST_CHECK weft_status wf_conv2d_run(const wf_conv2d *k, int worker, const wf_conv2d_io *io,
                                        void *scratch, int tile);
int wf_conv2d_tiles(const wf_conv2d *k);
/* Runs tile `tile` of splits * parts; io is the whole batch. Partial sums lie partial_sum_stride bytes
 * apart, at least partial_sum_bytes. */
WF_MUST_CHECK weft_status wf_conv2d_backward_weights(const wf_conv2d *k, int worker,
                                                     const wf_conv2d_gradient_io *io,
                                                     void *partial_sums, size_t partial_sum_stride,
                                                     void *scratch, int tile);
/* In staged.c, for dispatch.c and select.c. Writes the descriptor with f32 in place of bf16 images;
 * false if it has no bf16 images. */
bool wf_conv2d_staged(const wf_conv2d_desc *d, wf_conv2d_desc *staged);
/* The cycles that the conversions are expected to take. */
double wf_conv2d_stage_cycles(const wf_conv2d_desc *d);
/* Creates the pass of descriptor d that runs `inner` on staged images. Takes over inner; NULL when
 * memory runs out, then the caller keeps it. */
wf_conv2d *wf_conv2d_stage_create(const wf_conv2d_desc *d, wf_conv2d *inner);
/* Runs part `part` of the outputs of images [0, n) at io, in scratch of k->scratch_bytes. */
weft_status wf_conv2d_run_images(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n,
                                 int part, void *scratch);
/* The run functions of a staged pass, with the arguments of wf_conv2d_impl.batch and
 * backward_weights. */
weft_status wf_conv2d_stage_run(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n,
                                void *scratch);
weft_status wf_conv2d_stage_weights(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io,
                                    int n, void *partial_sum, int part, void *scratch);

/* Runs tile `tile` of reduce_tiles. Overwrites the partial sums. */
WF_MUST_CHECK weft_status wf_conv2d_reduce(const wf_conv2d *k, int worker, void *partial_sums,
                                           size_t partial_sum_stride, void *dweights, int tile);

/* For implementations: adds n arrays of `count` elements, `stride` bytes apart, into the first one,
 * pairwise (0+1, 2+3, ..., then 0+2, ...). */
void wf_conv2d_add_partial_sums(weft_dtype type, void *first, size_t stride, int n, size_t count);

#endif
