/* See sweep_ops.h. Each function says which options it reads, in order. */
#include "tests/parity/sweep_ops.h"

#include <string.h>

static int integer(const sweep_call *c, int i)
{
    return (int)c->option[i];
}

/* Options [from, from + count). */
static weft_dims dims(const sweep_call *c, int from, int count)
{
    weft_dims d = {.n = count};
    for (int i = 0; i < count; i++)
        d.dim[i] = integer(c, from + i);
    return d;
}

/* All options from `from` on. */
static weft_shape shape(const sweep_call *c, int from)
{
    weft_shape s = {.rank = c->n_options - from};
    for (int i = 0; i < s.rank; i++)
        s.dim[i] = (int64_t)c->option[from + i];
    return s;
}

/* ---- one function each where options or inputs are more than tensors --------------------------- */

#define CALL(name) static weft_tensor *call_##name(const sweep_call *c)
#define O(i) c->option[i]

CALL(scale)
{
    return weft_scale(c->in[0], O(0));
}
CALL(add_scalar)
{
    return weft_add_scalar(c->in[0], O(0));
}
CALL(leaky_relu)
{
    return weft_leaky_relu(c->in[0], O(0));
}
CALL(elu)
{
    return weft_elu(c->in[0], O(0));
}
CALL(pow)
{
    return weft_pow(c->in[0], O(0));
}
CALL(clamp)
{
    return weft_clamp(c->in[0], O(0), O(1));
}
CALL(softplus)
{
    return weft_softplus(c->in[0], O(0), O(1));
}
CALL(where)
{
    return weft_where(c->in[0], c->in[1], c->in[2]);
}
CALL(expand)
{
    return weft_expand(c->in[0], shape(c, 0));
}

/* Reductions: keep, then the dimensions (none: all). */
#define REDUCTION(name)                                                                            \
    CALL(name)                                                                                     \
    {                                                                                              \
        return weft_##name(                                                                        \
            c->in[0], c->n_options > 1 ? dims(c, 1, c->n_options - 1) : WEFT_ALL_DIMS, O(0) != 0); \
    }
REDUCTION(sum)
REDUCTION(mean)
REDUCTION(max)
REDUCTION(min)
REDUCTION(argmax)
REDUCTION(argmin)
CALL(softmax)
{
    return weft_softmax(c->in[0], c->n_options ? dims(c, 0, c->n_options) : WEFT_ALL_DIMS);
}
CALL(log_softmax)
{
    return weft_log_softmax(c->in[0], c->n_options ? dims(c, 0, c->n_options) : WEFT_ALL_DIMS);
}

CALL(permute)
{
    return weft_permute(c->in[0], dims(c, 0, c->n_options));
}
CALL(transpose)
{
    return weft_transpose(c->in[0], integer(c, 0), integer(c, 1));
}
CALL(reshape)
{
    return weft_reshape(c->in[0], shape(c, 0));
}
CALL(flatten)
{
    return weft_flatten(c->in[0], integer(c, 0));
}
CALL(concat)
{
    return weft_concat(c->in, c->n, integer(c, 0));
}
CALL(stack)
{
    return weft_stack(c->in, c->n, integer(c, 0));
}
CALL(channel_shuffle)
{
    return weft_channel_shuffle(c->in[0], integer(c, 0));
}
/* dim, start, stop (1e18: to the end), step */
CALL(slice)
{
    int64_t stop = O(2) >= 1e18 ? INT64_MAX : (int64_t)O(2);
    return weft_slice(c->in[0], integer(c, 0), (int64_t)O(1), stop, (int64_t)O(3));
}
CALL(narrow)
{
    return weft_narrow(c->in[0], integer(c, 0), (int64_t)O(1), (int64_t)O(2));
}
CALL(one_hot)
{
    return weft_one_hot(c->in[0], integer(c, 0), WEFT_I64);
}

/* The last input is the bias where there are three. */
static weft_tensor *bias_of(const sweep_call *c)
{
    return c->n > 2 ? c->in[2] : NULL;
}
CALL(linear)
{
    return weft_linear(c->in[0], c->in[1], bias_of(c));
}
/* strides, paddings, dilations, groups */
CALL(conv2d)
{
    return weft_conv2d(c->in[0], c->in[1], bias_of(c),
                       &(weft_conv2d_opts){.stride = {integer(c, 0), integer(c, 1)},
                                           .padding = {integer(c, 2), integer(c, 3)},
                                           .dilation = {integer(c, 4), integer(c, 5)},
                                           .groups = integer(c, 6)});
}
/* the same, and output_padding */
CALL(conv_transpose2d)
{
    return weft_conv_transpose2d(
        c->in[0], c->in[1], bias_of(c),
        &(weft_conv_transpose2d_opts){.stride = {integer(c, 0), integer(c, 1)},
                                      .padding = {integer(c, 2), integer(c, 3)},
                                      .dilation = {integer(c, 4), integer(c, 5)},
                                      .groups = integer(c, 6),
                                      .output_padding = {integer(c, 7), integer(c, 8)}});
}
/* kernel, strides, paddings, dilations, ceil_mode, count_include_pad */
static weft_pool2d_opts pool(const sweep_call *c)
{
    return (weft_pool2d_opts){.kernel = {integer(c, 0), integer(c, 1)},
                              .stride = {integer(c, 2), integer(c, 3)},
                              .padding = {integer(c, 4), integer(c, 5)},
                              .dilation = {integer(c, 6), integer(c, 7)},
                              .ceil_mode = O(8) != 0,
                              .exclude_padding = O(9) == 0};
}
CALL(max_pool2d)
{
    weft_pool2d_opts o = pool(c);
    return weft_max_pool2d(c->in[0], &o);
}
CALL(avg_pool2d)
{
    weft_pool2d_opts o = pool(c);
    return weft_avg_pool2d(c->in[0], &o);
}
CALL(adaptive_avg_pool2d)
{
    return weft_adaptive_avg_pool2d(c->in[0], integer(c, 0), integer(c, 1));
}
/* height, width, bilinear, align_corners */
CALL(upsample2d)
{
    return weft_upsample2d(c->in[0], integer(c, 0), integer(c, 1),
                           O(2) != 0 ? WEFT_UPSAMPLE_BILINEAR : WEFT_UPSAMPLE_NEAREST, O(3) != 0);
}

/* eps, number of dimensions */
CALL(layer_norm)
{
    return weft_layer_norm(c->in[0], integer(c, 1), c->n > 1 ? c->in[1] : NULL, bias_of(c), O(0));
}
/* eps, groups */
CALL(group_norm)
{
    return weft_group_norm(c->in[0], integer(c, 1), c->n > 1 ? c->in[1] : NULL, bias_of(c), O(0));
}
/* eps, momentum, training, affine; inputs x [gamma beta] mean var */
CALL(batch_norm)
{
    const bool affine = O(3) != 0;
    weft_tensor *const *rest = c->in + (affine ? 3 : 1);
    return weft_batch_norm(
        c->in[0], affine ? c->in[1] : NULL, affine ? c->in[2] : NULL, rest[0], rest[1], NULL,
        &(weft_batch_norm_opts){.eps = O(0), .momentum = O(1), .training = O(2) != 0});
}

/* Losses: reduction, then what each says. */
CALL(mse_loss)
{
    return weft_mse_loss(c->in[0], c->in[1], (weft_reduction)integer(c, 0));
}
CALL(l1_loss)
{
    return weft_l1_loss(c->in[0], c->in[1], (weft_reduction)integer(c, 0));
}
/* has a weight, has a pos_weight */
CALL(bce_with_logits)
{
    const bool weight = O(1) != 0, positive = O(2) != 0;
    return weft_bce_with_logits(c->in[0], c->in[1],
                                &(weft_bce_opts){weight ? c->in[2] : NULL,
                                                 positive ? c->in[weight ? 3 : 2] : NULL,
                                                 (weft_reduction)integer(c, 0)});
}
/* ignore_index */
CALL(nll_loss)
{
    int64_t ignore = (int64_t)O(1);
    return weft_nll_loss(c->in[0], c->in[1],
                         &(weft_nll_opts){(weft_reduction)integer(c, 0), bias_of(c), &ignore});
}
/* ignore_index, label_smoothing */
CALL(cross_entropy)
{
    int64_t ignore = (int64_t)O(1);
    bool labels = weft_tensor_dtype(c->in[1]) == WEFT_I64;
    return weft_cross_entropy(c->in[0], c->in[1],
                              &(weft_cross_entropy_opts){O(2), (weft_reduction)integer(c, 0),
                                                         bias_of(c), labels ? &ignore : NULL});
}

/* ---- the table --------------------------------------------------------------------------------*/

typedef struct entry {
    const char *name;
    weft_tensor *(*unary)(weft_tensor *x);
    weft_tensor *(*binary)(weft_tensor *a, weft_tensor *b);
    weft_tensor *(*call)(const sweep_call *c);
} entry;
#define UNARY(f)                                                                                   \
    {                                                                                              \
#f, weft_##f, NULL, NULL                                                                   \
    }
#define BINARY(f)                                                                                  \
    {                                                                                              \
#f, NULL, weft_##f, NULL                                                                   \
    }
#define OTHER(f)                                                                                   \
    {                                                                                              \
#f, NULL, NULL, call_##f                                                                   \
    }
static const entry entries[] = {
    UNARY(relu),
    UNARY(relu6),
    UNARY(sigmoid),
    UNARY(tanh),
    UNARY(silu),
    UNARY(gelu),
    UNARY(gelu_tanh),
    UNARY(hardsigmoid),
    UNARY(hardswish),
    UNARY(mish),
    UNARY(neg),
    UNARY(abs),
    UNARY(exp),
    UNARY(log),
    UNARY(sqrt),
    UNARY(rsqrt),
    UNARY(reciprocal),
    BINARY(prelu),
    BINARY(bias),
    BINARY(add),
    BINARY(sub),
    BINARY(mul),
    BINARY(div),
    BINARY(maximum),
    BINARY(minimum),
    BINARY(pow_tensor),
    BINARY(eq),
    BINARY(ne),
    BINARY(lt),
    BINARY(le),
    BINARY(gt),
    BINARY(ge),
    OTHER(scale),
    OTHER(add_scalar),
    OTHER(leaky_relu),
    OTHER(elu),
    OTHER(pow),
    OTHER(clamp),
    OTHER(softplus),
    OTHER(where),
    OTHER(expand),
    OTHER(sum),
    OTHER(mean),
    OTHER(max),
    OTHER(min),
    OTHER(argmax),
    OTHER(argmin),
    OTHER(softmax),
    OTHER(log_softmax),
    OTHER(permute),
    OTHER(transpose),
    OTHER(reshape),
    OTHER(flatten),
    OTHER(concat),
    OTHER(stack),
    OTHER(channel_shuffle),
    OTHER(slice),
    OTHER(narrow),
    OTHER(one_hot),
    OTHER(linear),
    OTHER(conv2d),
    OTHER(conv_transpose2d),
    OTHER(max_pool2d),
    OTHER(avg_pool2d),
    OTHER(adaptive_avg_pool2d),
    OTHER(upsample2d),
    OTHER(layer_norm),
    OTHER(group_norm),
    OTHER(batch_norm),
    OTHER(mse_loss),
    OTHER(l1_loss),
    OTHER(bce_with_logits),
    OTHER(nll_loss),
    OTHER(cross_entropy),
};

/* dim, then the sizes of split_with_sizes or the number of parts of chunk */
static int parts(const char *name, const sweep_call *c, weft_tensor **out)
{
    int64_t sizes[SWEEP_MAX_OUT];
    const bool split = strcmp(name, "split") == 0;
    int n = split ? c->n_options - 1 : integer(c, 1);
    for (int i = 0; split && i < n; i++)
        sizes[i] = (int64_t)c->option[1 + i];
    weft_status status = split ? weft_split_with_sizes(c->in[0], n, sizes, integer(c, 0), out)
                               : weft_chunk(c->in[0], n, integer(c, 0), out);
    if (status != WEFT_OK)
        return 0;
    while (n > 0 && !out[n - 1])
        n--;
    return n;
}

int sweep_record(const char *name, const sweep_call *c, weft_tensor **out)
{
    if (strcmp(name, "split") == 0 || strcmp(name, "chunk") == 0)
        return parts(name, c, out);
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        const entry *e = &entries[i];
        if (strcmp(e->name, name) != 0)
            continue;
        out[0] = e->unary    ? e->unary(c->in[0])
                 : e->binary ? e->binary(c->in[0], c->in[1])
                             : e->call(c);
        return out[0] ? 1 : 0;
    }
    return -1;
}
