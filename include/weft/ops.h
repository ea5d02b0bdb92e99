/* Ops.
 *
 * Every function records one or more ops and returns their output, a recorded tensor that belongs
 * to the context. Shapes are inferred and checked at once; numbers are computed later. Ops nest:
 * weft_relu(weft_add(a, b)).
 *
 * Failure: the function returns NULL, the context has the first error with the module's path, and
 * the step has failed (weft_error_status in weft/context.h). An operand that is needed but NULL is
 * such a failure. Operands that may be left out are NULL then; but once the step has failed, every
 * NULL counts as a failed op, and the function returns NULL. A call whose tensors are all NULL knows no
 * context: it returns NULL, and weft_error_text(NULL) says why; weft_backward(NULL) returns
 * WEFT_ERR_INVALID. A program that may lose a tensor must look at one of these.
 *
 * Empty tensors, which have a dimension of size 0, go through every op, as in torch. A sum of no
 * elements is 0; a mean, and so the mean of no losses, is NaN; a maximum or minimum is an error. A
 * batch without images leaves batch_norm's running statistics as they are, and counts. Of images
 * (convolutions, pooling, upsample2d) only N may be 0; batch_norm and its weights need channels;
 * cross_entropy and nll_loss need classes where there are rows. Unlike torch, conv2d refuses 0
 * input channels, concat does not skip tensors of shape (0), and group_norm's gradient of gamma by
 * images without pixels is 0, not NaN.
 *
 * Shape letters: N minibatch, C input channels, H height, W width, K output channels, R S kernel
 * height and width, P Q output height and width. Types: f32 or f64 unless said otherwise. */
#ifndef WEFT_OPS_H
#define WEFT_OPS_H

#include <math.h> /* NAN and INFINITY are values of options */

#include "weft/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Element by element, NumPy broadcasting. */
weft_tensor *weft_add(weft_tensor *a, weft_tensor *b);
weft_tensor *weft_sub(weft_tensor *a, weft_tensor *b);
weft_tensor *weft_mul(weft_tensor *a, weft_tensor *b);
weft_tensor *weft_div(weft_tensor *a, weft_tensor *b);
/* The greater and the lesser of two elements; NaN where either is. The gradient goes to the
 * operand that was taken, half to each where they are equal. */
weft_tensor *weft_maximum(weft_tensor *a, weft_tensor *b);
weft_tensor *weft_minimum(weft_tensor *a, weft_tensor *b);
/* Comparisons: 1 where true, else 0, in the operands' type (there is no type for truths). As in
 * C, all but weft_ne are false where either operand is NaN. No gradient. */
weft_tensor *weft_eq(weft_tensor *a, weft_tensor *b);
weft_tensor *weft_ne(weft_tensor *a, weft_tensor *b);
weft_tensor *weft_lt(weft_tensor *a, weft_tensor *b);
weft_tensor *weft_le(weft_tensor *a, weft_tensor *b);
weft_tensor *weft_gt(weft_tensor *a, weft_tensor *b);
weft_tensor *weft_ge(weft_tensor *a, weft_tensor *b);
/* a where the condition is not 0, else b; the three broadcast. The condition, in the type of a and
 * b, takes no gradient. */
weft_tensor *weft_where(weft_tensor *condition, weft_tensor *a, weft_tensor *b);
/* x times, and plus, a number. The number may change from step to step: the plan stays the same. */
weft_tensor *weft_scale(weft_tensor *x, double factor);
weft_tensor *weft_add_scalar(weft_tensor *x, double value);
/* Activations and other functions, element by element, as torch's of the same names. */
weft_tensor *weft_relu(weft_tensor *x);
weft_tensor *weft_relu6(weft_tensor *x);
weft_tensor *weft_leaky_relu(weft_tensor *x, double negative_slope);
weft_tensor *weft_sigmoid(weft_tensor *x);
weft_tensor *weft_tanh(weft_tensor *x);
weft_tensor *weft_silu(weft_tensor *x); /* x sigmoid(x) */
/* x Phi(x), with erf; infinite at infinity, as torch's of a single number: torch's vectors have NaN there. */
weft_tensor *weft_gelu(weft_tensor *x);
/* torch's approximate='tanh'; but the gradient at infinity passes, as at large x: torch has NaN. */
weft_tensor *weft_gelu_tanh(weft_tensor *x);
/* As torch's of the same names. elu: x > 0 ? x : alpha (exp(x) - 1). But where x is NaN, the gradients of
 * hardswish and elu are NaN, so that it is not lost on the way back; torch has 1. */
weft_tensor *weft_hardsigmoid(weft_tensor *x);
weft_tensor *weft_hardswish(weft_tensor *x);
weft_tensor *weft_elu(weft_tensor *x, double alpha);
/* x tanh(log(1 + exp(x))). The gradient at infinity passes, as at large x; torch has NaN there. */
weft_tensor *weft_mish(weft_tensor *x);
/* -x, |x|, e^x. */
weft_tensor *weft_neg(weft_tensor *x);
weft_tensor *weft_abs(weft_tensor *x);
weft_tensor *weft_exp(weft_tensor *x);
weft_tensor *weft_log(weft_tensor *x);        /* natural; -infinity at 0, NaN below */
weft_tensor *weft_sqrt(weft_tensor *x);       /* NaN below 0 */
weft_tensor *weft_rsqrt(weft_tensor *x);      /* 1 / sqrt(x) */
weft_tensor *weft_reciprocal(weft_tensor *x); /* 1 / x */
/* x^exponent, a finite number, rounded to x's type: C's pow for zeros, infinities and negative x,
 * but weft_sqrt and weft_rsqrt for exponents 0.5 and -0.5, as torch. */
weft_tensor *weft_pow(weft_tensor *x, double exponent);
/* x^exponent, element by element, the two broadcast: C's pow for zeros, infinities, NaN and
 * negative x, so x^0 and 1^y are 1. Gradients as torch's: that of x is 0 where the exponent is 0;
 * that of the exponent, dy x^exponent ln x, is 0 where x is 0 and the exponent is not negative,
 * and NaN where x is negative. As torch.pow of two tensors. */
weft_tensor *weft_pow_tensor(weft_tensor *x, weft_tensor *exponent);
/* min(max(x, min), max); the bounds may be infinite, and where min > max the result is max. NaN
 * stays. The gradient passes where min <= x <= max. As torch.clamp. */
weft_tensor *weft_clamp(weft_tensor *x, double min, double max);
/* log(1 + exp(beta x)) / beta, and x itself where beta x > threshold; beta > 0, the threshold may
 * be INFINITY. torch's: 1, 20. Where torch's exp(beta x) overflows this does not: it is x there. */
weft_tensor *weft_softplus(weft_tensor *x, double beta, double threshold);
/* x where x > 0, else weight x; weight (1), or (C) along dimension 1 of x (N, C, ...). */
weft_tensor *weft_prelu(weft_tensor *x, weft_tensor *weight);
/* Adds b (C) along dimension 1 of x (N, C, ...). */
weft_tensor *weft_bias(weft_tensor *x, weft_tensor *b);
/* x broadcast to `shape` (NumPy rules). */
weft_tensor *weft_expand(weft_tensor *x, weft_shape shape);
/* The same value, cut from the gradient graph. */
weft_tensor *weft_detach(weft_tensor *x);

/* Matrix product of a (..., M, K) and b (..., K, N): (..., M, N). The flags read a as (..., K, M),
 * b as (..., N, K), where they lie. The dimensions in front broadcast as NumPy's. A vector a (K)
 * is one row, a vector b (K) one column, without that dimension in the result: of two vectors a
 * scalar. A vector has nothing to transpose. K may be summed in any order that depends on the
 * shapes alone. As torch.matmul. */
weft_tensor *weft_matmul(weft_tensor *a, weft_tensor *b, bool transpose_a, bool transpose_b);
/* The same of factors of these ranks only: a (K), b (K); a (M, K), x (K); a (B, M, K), b (B, K,
 * N). As torch.dot, torch.mv, torch.bmm. */
weft_tensor *weft_dot(weft_tensor *a, weft_tensor *b);
weft_tensor *weft_mv(weft_tensor *a, weft_tensor *x);
weft_tensor *weft_bmm(weft_tensor *a, weft_tensor *b);
/* a (M) as a column by b (N) as a row: (M, N). As torch.outer. */
weft_tensor *weft_outer(weft_tensor *a, weft_tensor *b);
/* x (..., in) times weight (out, in) transposed, plus bias (out) or NULL: (..., out). As torch's
 * F.linear. */
weft_tensor *weft_linear(weft_tensor *x, weft_tensor *weight, weft_tensor *bias);

/* Options of weft_conv2d. */
typedef struct weft_conv2d_opts {
    int stride[2];   /* 0 reads as 1; order is height, width */
    int padding[2];  /* zeros on both sides */
    int dilation[2]; /* 0 reads as 1 */
    int groups;      /* 0 reads as 1 */
} weft_conv2d_opts;
#define WEFT_CONV2D_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */
/* x (N, C, H, W), weight (K, C/groups, R, S), bias (K) or NULL, opts or NULL: (N, K, P, Q), P = (H +
 * 2*padding - dilation*(R-1) - 1)/stride + 1. An x (C, H, W) is a minibatch of one, and the result
 * (K, P, Q); so it is with weft_conv_transpose2d and pooling, as in torch. */
weft_tensor *weft_conv2d(weft_tensor *x, weft_tensor *weight, weft_tensor *bias,
                         const weft_conv2d_opts *opts);

/* Options of weft_conv_transpose2d. */
typedef struct weft_conv_transpose2d_opts {
    int stride[2];  /* 0 reads as 1; order is height, width */
    int padding[2]; /* of the convolution that this is the transpose of: shrinks the output */
    int output_padding[2]; /* extends the output; below the stride or the dilation */
    int dilation[2];       /* 0 reads as 1 */
    int groups;            /* 0 reads as 1 */
} weft_conv_transpose2d_opts;
#define WEFT_CONV_TRANSPOSE2D_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */
/* x (N, C, H, W), weight (C, K/groups, R, S), bias (K) or NULL, opts or NULL: (N, K, P, Q),
 * P = (H - 1)*stride - 2*padding + dilation*(R-1) + output_padding + 1. As torch's
 * F.conv_transpose2d: the gradient of weft_conv2d's input. */
weft_tensor *weft_conv_transpose2d(weft_tensor *x, weft_tensor *weight, weft_tensor *bias,
                                   const weft_conv_transpose2d_opts *opts);

/* Options of weft_batch_norm; begin with WEFT_BATCH_NORM_OPTS_INIT. */
typedef struct weft_batch_norm_opts {
    bool training;   /* batch statistics, and the running ones are updated */
    double eps;      /* above 0 where batch statistics are used, as torch's; else also 0 */
    double momentum; /* 0: running_* stay; < 0: cumulative average. May change without a new plan */
} weft_batch_norm_opts;
/* torch's defaults, in evaluation; to begin options with. eps and momentum both 0 are refused. */
#define WEFT_BATCH_NORM_OPTS_INIT                                                                  \
    WEFT_INIT(weft_batch_norm_opts, WEFT_SET(eps, 1e-5), WEFT_SET(momentum, 0.1))
/* x (N, C, H, W) or (N, C); gamma, beta, running_mean, running_var (C); num_batches_tracked i64
 * scalar or NULL. gamma and beta may both be NULL. running_* may both be NULL (then batch
 * statistics are always used). opts or NULL: the defaults. As torch's F.batch_norm: the running
 * variance is the unbiased one; but of a batch with an infinite x the running mean may be NaN where
 * torch's is infinite.
 * Source: Ioffe and Szegedy 2015. */
weft_tensor *weft_batch_norm(weft_tensor *x, weft_tensor *gamma, weft_tensor *beta,
                             weft_tensor *running_mean, weft_tensor *running_var,
                             weft_tensor *num_batches_tracked, const weft_batch_norm_opts *opts);

/* x (N, C, ...), C divisible by groups; gamma, beta (C), either may be NULL; eps > 0 (torch's:
 * 1e-5). As torch's F.group_norm. Source: Wu and He 2018. */
weft_tensor *weft_group_norm(weft_tensor *x, int groups, weft_tensor *gamma, weft_tensor *beta,
                             double eps);

/* What the last n_dims dimensions of x hold, normalised by its own mean and variance, times gamma
 * plus beta, which have the shape of these dimensions and may be NULL; eps > 0 (torch's: 1e-5). As
 * torch's F.layer_norm. Source: Ba, Kiros and Hinton 2016. */
weft_tensor *weft_layer_norm(weft_tensor *x, int n_dims, weft_tensor *gamma, weft_tensor *beta,
                             double eps);

/* Options of pooling. */
typedef struct weft_pool2d_opts {
    int kernel[2];        /* height, width */
    int stride[2];        /* 0 reads as the kernel */
    int padding[2];       /* at most half the kernel */
    int dilation[2];      /* max pooling only; 0 reads as 1 */
    bool ceil_mode;       /* as torch: the last window must start inside the input or left pad */
    bool exclude_padding; /* average pooling: count_include_pad=False */
} weft_pool2d_opts;
#define WEFT_POOL2D_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */
/* The greatest element, or the mean, of each window. x (N, C, H, W) or (C, H, W); the result has
 * the same rank. */
weft_tensor *weft_max_pool2d(weft_tensor *x, const weft_pool2d_opts *opts);
weft_tensor *weft_avg_pool2d(weft_tensor *x, const weft_pool2d_opts *opts);
/* (N, C, H, W) to (N, C, out_h, out_w), or the same without N; windows as torch:
 * floor(i*H/out_h) .. ceil((i+1)*H/out_h) */
weft_tensor *weft_adaptive_avg_pool2d(weft_tensor *x, int out_h, int out_w);

/* How weft_upsample2d finds a pixel. */
typedef enum weft_upsample_mode {
    WEFT_UPSAMPLE_NEAREST,
    WEFT_UPSAMPLE_BILINEAR
} weft_upsample_mode;
/* Images (N, C, H, W) at another size, larger or smaller: (N, C, out_h, out_w). As torch's
 * F.interpolate(x, size=(out_h, out_w)) without antialiasing, which does not take (C, H, W) either;
 * align_corners is for the bilinear mode. */
weft_tensor *weft_upsample2d(weft_tensor *x, int out_h, int out_w, weft_upsample_mode mode,
                             bool align_corners);

/* The same elements in another shape. One size may be -1: what the others leave. */
weft_tensor *weft_reshape(weft_tensor *x, weft_shape shape);
/* Dimensions start_dim and after become one (torch.flatten). */
weft_tensor *weft_flatten(weft_tensor *x, int start_dim);
/* Dimension i of the result is dimension dims.dim[i] of x; dims names each of x's dimensions once.
 * A copy, as torch's permute(...).contiguous(). */
weft_tensor *weft_permute(weft_tensor *x, weft_dims dims);
/* x with two dimensions swapped. */
weft_tensor *weft_transpose(weft_tensor *x, int dim0, int dim1);
/* n >= 1 tensors of equal shape but for dimension `dim`. */
weft_tensor *weft_concat(weft_tensor *const *x, int n, int dim);
/* n >= 1 tensors of equal shape along a new dimension `dim`. As torch.stack. */
weft_tensor *weft_stack(weft_tensor *const *x, int n, int dim);
/* x in n parts along dim, which have these sizes (0, too) and leave nothing over; parts[0..n) are
 * set. As torch.split with a list of sizes. */
weft_status weft_split_with_sizes(weft_tensor *x, int n, const int64_t *sizes, int dim,
                                  weft_tensor **parts);
/* The same in parts of ceil(size / n) elements, the last one smaller where n does not divide the
 * dimension's size; n >= 1. As torch.chunk, which then may return fewer parts than n: here the last
 * of parts[0..n) are NULL. */
weft_status weft_chunk(weft_tensor *x, int n, int dim, weft_tensor **parts);
/* Channel j*groups + k of the result is channel k*(C/groups) + j of x (N, C, ...): dimension 1 as
 * (groups, C/groups), transposed. groups divides C. As torch's F.channel_shuffle. */
weft_tensor *weft_channel_shuffle(weft_tensor *x, int groups);
/* Of dimension dim, elements start, start + step, ... before stop, as Python's x[start:stop:step]:
 * negative bounds count from the end, and bounds end where the dimension does (INT64_MAX: all).
 * step >= 1. Of everything: x itself; of nothing: an empty tensor. */
weft_tensor *weft_slice(weft_tensor *x, int dim, int64_t start, int64_t stop, int64_t step);
/* Elements [start, start+length) of dimension dim. */
weft_tensor *weft_narrow(weft_tensor *x, int dim, int64_t start, int64_t length);

/* u8 images (N, C, H, W) to the type of mean and std, (C) each, f32 or f64: (x / 255 - mean[c]) /
 * std[c], each operation rounded. To the bit what torchvision's ToTensor and Normalize give, and
 * what a loader gives that hands out floats. Recorded in front of a network it costs next to
 * nothing: a convolution that reads the images takes the bytes and normalises as it loads. No
 * gradient. */
weft_tensor *weft_normalize_images(weft_tensor *images, weft_tensor *mean, weft_tensor *std);

/* Keeps each element with probability 1-p and divides it by 1-p; identity when not training.
 * Random numbers: Philox keyed by seed, run (weft_random_state), op and logical element, so every
 * run drops others; a step's backward pass drops what its forward pass did. 0 <= p <= 1: 1 gives
 * zeros. */
weft_tensor *weft_dropout(weft_tensor *x, double p, bool training);
/* The same with whole rows (dimension 0): torchvision's stochastic_depth, mode "row". Source: Huang
 * et al. 2016. */
weft_tensor *weft_stochastic_depth(weft_tensor *x, double p, bool training);

/* Dropout for SELU: what is dropped becomes -1.758..., SELU's least value, then all is scaled and
 * shifted so that mean and variance stay 0 and 1. As torch's F.alpha_dropout. Source: Klambauer et
 * al. 2017. */
weft_tensor *weft_alpha_dropout(weft_tensor *x, double p, bool training);

/* What a context's random numbers depend on. A program that saves the state, and sets it when it
 * goes on, draws the numbers that it would have drawn without the interruption. */
typedef struct weft_random_state {
    uint64_t seed; /* weft_options.seed */
    /* Counts runs. The numbers of dropout and stochastic depth depend on it (its low 32 bits) and
     * on the op's place in the step. Each step that is run adds one, if it has a backward pass, an
     * update or an op that draws. So a training loop draws new numbers in each step, and so does a
     * loop of forward passes (Monte Carlo dropout), whether it ends its steps with weft_sync or
     * reads and discards. A step that fails, or is discarded after its backward pass or while the
     * context has an error, does not count: tried again, it draws the same numbers. */
    uint64_t draws;
    uint64_t streams; /* how many tensors initialisers, weft_randn and the like have filled */
} weft_random_state;
weft_random_state weft_get_random_state(const weft_context *ctx); /* of a NULL context: zeros */
/* Sets it, between steps only: if work is recorded, nothing changes and WEFT_ERR_STATE is
 * returned. */
weft_status weft_set_random_state(weft_context *ctx, weft_random_state state);

/* Over all elements along `dims` together (torch's: one dimension). Of a scalar: 1, and 0. */
weft_tensor *weft_softmax(weft_tensor *x, weft_dims dims);
weft_tensor *weft_log_softmax(weft_tensor *x, weft_dims dims);

/* What becomes of the losses of single elements: their mean, their sum, or nothing. */
typedef enum weft_reduction { WEFT_MEAN, WEFT_SUM, WEFT_NONE } weft_reduction;
/* Options of weft_cross_entropy. */
typedef struct weft_cross_entropy_opts {
    double label_smoothing;      /* 0 .. 1 */
    weft_reduction reduction;    /* mean, sum or none */
    weft_tensor *weight;         /* of the classes (K), or NULL; takes no gradient from labels */
    const int64_t *ignore_index; /* rows with this label do not count; NULL: -100 */
} weft_cross_entropy_opts;
#define WEFT_CROSS_ENTROPY_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */
/* logits (N, K), labels i64 (N) with values in [0, K): scalar, or (N) for WEFT_NONE. opts or NULL.
 * As torch's F.cross_entropy: the mean divides by the sum of the labels' weights, and is NaN when
 * every row is ignored. A row that is ignored, or whose weight is 0, takes a gradient of 0; torch's
 * is NaN there if its logits are not finite. A label out of range fails the run (ERR_INVALID) before
 * anything is committed; labels are not looked at where nothing needs the loss, which is not
 * computed then. Labels in the logits' type and shape are the classes' probabilities; then the mean
 * divides by N, labels may take a gradient, and none is ignored. */
weft_tensor *weft_cross_entropy(weft_tensor *logits, weft_tensor *labels,
                                const weft_cross_entropy_opts *opts);

/* Options of weft_nll_loss; the members are those of weft_cross_entropy_opts. */
typedef struct weft_nll_opts {
    weft_reduction reduction;    /* mean, sum or none */
    weft_tensor *weight;         /* of the classes (K), or NULL */
    const int64_t *ignore_index; /* rows with this label do not count; NULL: -100 */
} weft_nll_opts;
#define WEFT_NLL_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */
/* The same of log-probabilities, such as weft_log_softmax gives (F.nll_loss). */
weft_tensor *weft_nll_loss(weft_tensor *log_probs, weft_tensor *labels, const weft_nll_opts *opts);

/* (x - target)^2 and |x - target|; the shapes are equal. */
weft_tensor *weft_mse_loss(weft_tensor *x, weft_tensor *target, weft_reduction reduction);
weft_tensor *weft_l1_loss(weft_tensor *x, weft_tensor *target, weft_reduction reduction);

/* Options of weft_bce_with_logits. */
typedef struct weft_bce_opts {
    weft_tensor *weight;      /* of each element, or NULL; broadcasts to x */
    weft_tensor *pos_weight;  /* of the positive ones, or NULL; broadcasts to x */
    weft_reduction reduction; /* the mean is over the elements, whatever their weights */
} weft_bce_opts;
#define WEFT_BCE_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */
/* -pos_weight target log p - (1 - target) log(1 - p), p = sigmoid(x); target in x's shape, mostly
 * in 0 .. 1. opts or NULL. As torch's F.binary_cross_entropy_with_logits. */
weft_tensor *weft_bce_with_logits(weft_tensor *x, weft_tensor *target, const weft_bce_opts *opts);

/* How many rows of logits (N, K) have their maximum at the label (first maximum wins): i64 scalar.
 * Rows with the label *ignore_index (NULL: -100, as in weft_cross_entropy) are left out; *counted
 * (may be NULL) becomes how many rows are not, an i64 scalar: an accuracy is the one divided by the
 * other. Any other label outside [0, K) fails the run. No gradient. */
weft_tensor *weft_count_correct(weft_tensor *logits, weft_tensor *labels,
                                const int64_t *ignore_index, weft_tensor **counted);
/* Labels (...) i64 as (..., num_classes): 1 at the label, else 0, in f32, f64, i64, i32 or u8. As
 * torch's F.one_hot, which gives i64. A label outside [0, num_classes) fails the run. No
 * gradient. */
weft_tensor *weft_one_hot(weft_tensor *labels, int num_classes, weft_dtype dtype);
/* x itself; but a value that is NaN or infinite fails the run (ERR_NUMERIC) before anything is
 * committed. */
weft_tensor *weft_check_finite(weft_tensor *x);

/* Over `dims`, such as WEFT_DIMS(2, 3) or WEFT_ALL_DIMS. keep: these dimensions stay with size
 * 1. */
weft_tensor *weft_sum(weft_tensor *x, weft_dims dims, bool keep);
weft_tensor *weft_mean(weft_tensor *x, weft_dims dims, bool keep);
/* The greatest and the least; NaN where there is one. The gradient is shared evenly by the elements
 * that are equal to the result. As torch.amax and torch.amin. */
weft_tensor *weft_max(weft_tensor *x, weft_dims dims, bool keep);
weft_tensor *weft_min(weft_tensor *x, weft_dims dims, bool keep);
/* Where the first of them is, i64: its place along the one dimension, or, for WEFT_ALL_DIMS, in the
 * flattened x. A NaN counts as further than every number. No gradient. */
weft_tensor *weft_argmax(weft_tensor *x, weft_dims dims, bool keep);
weft_tensor *weft_argmin(weft_tensor *x, weft_dims dims, bool keep);

#ifdef __cplusplus
}
#endif
#endif
