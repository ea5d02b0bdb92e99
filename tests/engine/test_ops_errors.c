/* What ops refuse: one text each, with the numbers that do not fit. */
#include "tests/engine/values.h"

static weft_tensor *ints(weft_context *ctx, int64_t n)
{
    return weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(n));
}

static void errors_name_the_numbers(void **state)
{
    static const char *const texts[] = {
        "add: [2, 3] and [2, 4] do not broadcast (3 and 4)",
        "mul: [2, 3] and [5] do not broadcast (3 and 5)",
        "add: input 1 is f64, input 0 is f32",
        "relu: input 0 is i64, expected f32 or f64",
        "bias: input has 3 channels, bias has 4",
        "expand: [2, 3] does not broadcast to [2, 4]",
        "reshape: [2, 3] has 6 elements, which do not fit [4, -1]",
        "flatten: dimension 2 is out of range for a tensor of rank 2",
        "concat: input 1 is [2, 4], input 0 is [2, 3]: they may differ in dimension 0 only",
        "narrow: 3 elements from 1 on are not all in dimension 1, which has 3",
        "narrow: dimension 5 is out of range for a tensor of rank 2",
        "dropout: probability 1.5 is outside [0, 1]",
        "softmax: dimension -3 is out of range for a tensor of rank 2",
        "log_softmax: dimension 2 is out of range for a tensor of rank 2",
        "cross_entropy: labels are f32, expected i64",
        "cross_entropy: logits are [2, 3] and labels [4], expected (N, K) and (N)",
        "cross_entropy: label smoothing 1.5 is outside [0, 1]",
        "count_correct: logits are [2, 3] and labels [4], expected (N, K) and (N)",
        "sum: dimension 2 is out of range for a tensor of rank 2",
        "gelu: input 0 is i64, expected f32 or f64",
        "mse_loss: input is [2, 3], target is [2, 4]",
        "bce_with_logits: input is [2, 3], target is [2, 4]",
        "l1_loss: no reduction has the number 7",
        "nll_loss: labels are f32, expected i64",
        "cross_entropy: the weight is f32 [4], expected f32 [3]",
        "cross_entropy: input is [2, 3], target is [2, 4]",
        "group_norm: 3 channels do not divide by 2 groups",
        "group_norm: the weight is f32 [4], expected f32 [3]",
        "channel_shuffle: 3 channels do not divide by 2 groups",
        "chunk: [2, 3] in 0 parts along dimension 1, at least 1 is needed",
        "stochastic_depth: probability -1 is outside [0, 1]",
        "where: [2, 3] and [2, 4] do not broadcast (3 and 4)",
        "maximum: input 1 is f64, input 0 is f32",
        "pow: exponent inf is not finite",
        "clamp: bounds 0 and nan, neither may be NaN",
        "sum: 0 dimensions; WEFT_ALL_DIMS names all",
        "mean: dimension 1 is named twice",
        "softmax: 7 dimensions",
        "log_softmax: dimension -2 is out of range for a tensor of rank 0",
        "max: dimension 2 is out of range for a tensor of rank 2",
        "min: input 0 is i64, expected f32 or f64",
        "argmax: 2 dimensions, expected one or WEFT_ALL_DIMS",
        "pow_tensor: [2, 3] and [5] do not broadcast (3 and 5)",
    };
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    weft_tensor *a = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3));
    weft_tensor *b = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 4));
    weft_tensor *d = weft_tensor_create(ctx, WEFT_F64, WEFT_SHAPE(2, 3));
    weft_tensor *five = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(5));
    weft_tensor *four = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(4));
    weft_tensor *i2 = ints(ctx, 2), *i4 = ints(ctx, 4);
    weft_tensor *one = weft_tensor_create(ctx, WEFT_F32, WEFT_SCALAR);
    weft_cross_entropy_opts too_smooth = {.label_smoothing = 1.5};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        weft_tensor *y = a;
        weft_error_clear(ctx);
        switch (i) {
        case 0: y = weft_add(a, b); break;
        case 1: y = weft_mul(a, five); break;
        case 2: y = weft_add(a, d); break;
        case 3: y = weft_relu(i2); break;
        case 4: y = weft_bias(a, four); break;
        case 5: y = weft_expand(a, WEFT_SHAPE(2, 4)); break;
        case 6: y = weft_reshape(a, WEFT_SHAPE(4, -1)); break;
        case 7: y = weft_flatten(a, 2); break;
        case 8: y = weft_concat((weft_tensor *[]){a, b}, 2, 0); break;
        case 9: y = weft_narrow(a, 1, 1, 3); break;
        case 10: y = weft_narrow(a, 5, 0, 1); break;
        case 11: y = weft_dropout(a, 1.5, true); break;
        case 12: y = weft_softmax(a, WEFT_DIMS(-3)); break;
        case 13: y = weft_log_softmax(a, WEFT_DIMS(2)); break;
        case 14: y = weft_cross_entropy(a, four, NULL); break;
        case 15: y = weft_cross_entropy(a, i4, NULL); break;
        case 16: y = weft_cross_entropy(a, i2, &too_smooth); break;
        case 17: y = weft_count_correct(a, i4, NULL, NULL); break;
        case 18: y = weft_sum(a, WEFT_DIMS(2), false); break;
        case 19: y = weft_gelu(i2); break;
        case 20: y = weft_mse_loss(a, b, WEFT_MEAN); break;
        case 21: y = weft_bce_with_logits(a, b, NULL); break;
        case 22: y = weft_l1_loss(a, a, (weft_reduction)7); break;
        case 23: y = weft_nll_loss(a, four, NULL); break;
        case 24: y = weft_cross_entropy(a, i2, &(weft_cross_entropy_opts){.weight = four}); break;
        case 25: y = weft_cross_entropy(a, b, NULL); break;
        case 26: y = weft_group_norm(a, 2, NULL, NULL, 1e-5); break;
        case 27: y = weft_group_norm(a, 3, four, NULL, 1e-5); break;
        case 28: y = weft_channel_shuffle(a, 2); break;
        case 29: y = weft_chunk(a, 0, 1, &y) == WEFT_ERR_SHAPE ? NULL : a; break;
        case 30: y = weft_stochastic_depth(a, -1, true); break;
        case 31: y = weft_where(a, a, b); break;
        case 32: y = weft_maximum(a, d); break;
        case 33: y = weft_pow(a, INFINITY); break;
        case 34: y = weft_clamp(a, 0, (double)NAN); break;
        case 35: y = weft_sum(a, (weft_dims){0}, false); break;
        case 36: y = weft_mean(a, WEFT_DIMS(1, -1), true); break;
        case 37: y = weft_softmax(a, (weft_dims){.n = 7}); break;
        case 39: y = weft_max(a, WEFT_DIMS(2), false); break;
        case 40: y = weft_min(i2, WEFT_ALL_DIMS, false); break;
        case 42: y = weft_pow_tensor(a, five); break;
        case 41: y = weft_argmax(a, WEFT_DIMS(0, 1), false); break;
        case 38: y = weft_log_softmax(one, WEFT_DIMS(-2)); break;
        }
        assert_null(y);
        assert_string_equal(weft_error_text(ctx), texts[i]);
    }
    weft_tensor *all[] = {a, b, d, five, four, i2, i4, one};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        weft_tensor_unref(all[i]);
    weft_context_destroy(ctx);
}

/* x (2, 4, 3, 3), w (4, 2, 2, 2), b (3), the same in f64 */
static weft_tensor *transpose(weft_context *ctx, int i, weft_tensor *x, weft_tensor *w,
                              weft_tensor *b, weft_tensor *d)
{
    typedef weft_conv_transpose2d_opts opts;
    switch (i) {
    case 0: return weft_conv_transpose2d(b, w, NULL, NULL);
    case 1: return weft_conv_transpose2d(x, x, NULL, NULL);
    case 2: return weft_conv_transpose2d(x, w, NULL, &(opts){.groups = 3});
    case 3: return weft_conv_transpose2d(x, w, b, NULL);
    case 4: return weft_conv_transpose2d(x, w, d, NULL);
    case 5: return weft_conv_transpose2d(x, w, NULL, &(opts){.stride = {1, -2}});
    case 6: return weft_conv_transpose2d(x, w, NULL, &(opts){.output_padding = {0, 1}});
    case 7: return weft_conv_transpose2d(x, w, NULL, &(opts){.padding = {2, 2}});
    case 8: return weft_conv_transpose2d(x, w, NULL, &(opts){.stride = {1 << 30, 1}});
    default: return weft_conv_transpose2d(x, d, NULL, NULL);
    }
}

/* x (2, 3), y (3, 2) */
static weft_tensor *slices(int i, weft_tensor *x, weft_tensor *y, weft_tensor *labels)
{
    weft_tensor *parts[4] = {NULL}, *deep = weft_reshape(x, WEFT_SHAPE(1, 1, 1, 1, 2, 3));
    switch (i) {
    case 0: weft_split_with_sizes(x, 2, (const int64_t[]){1, 3}, 1, parts); break;
    case 1: weft_split_with_sizes(x, 2, (const int64_t[]){1, 1}, -1, parts); break;
    case 2: weft_split_with_sizes(x, 2, (const int64_t[]){-1, 4}, 1, parts); break;
    case 3: weft_split_with_sizes(x, 1, (const int64_t[]){3}, 2, parts); break;
    case 4: weft_split_with_sizes(x, 0, NULL, 0, parts); break;
    case 5: weft_chunk(x, 2, -3, parts); break;
    case 6: return weft_slice(x, 2, 0, 1, 1);
    case 7: return weft_slice(x, -1, 0, 3, 0);
    case 8: return weft_slice(x, 1, 0, 3, -2);
    case 9: return weft_stack((weft_tensor *[]){x, y}, 2, 0);
    case 10: return weft_stack((weft_tensor *[]){x, x}, 2, 3);
    case 11: return weft_stack(&deep, 1, 0);
    case 12: return weft_one_hot(x, 4, WEFT_F32);
    case 13: return weft_one_hot(labels, 0, WEFT_F32);
    case 14: return weft_one_hot(labels, 4, WEFT_BF16);
    case 15: return weft_layer_norm(x, 1, labels, NULL, 1e-5);
    case 16: return weft_layer_norm(x, 2, NULL, y, 1e-5);
    case 17: return weft_layer_norm(x, 3, NULL, NULL, 1e-5);
    case 18: return weft_prelu(x, y);
    case 19: return weft_prelu(x, labels);
    case 20: return weft_softplus(x, 0, 20);
    default: return weft_alpha_dropout(x, 2, false);
    }
    return parts[0];
}

static void errors_of_slices(void **state)
{
    static const char *const texts[] = {
        "split_with_sizes: part 1 has 3 elements, where dimension 1 of [2, 3] has 2 left",
        "split_with_sizes: 2 parts leave 1 elements of dimension 1 of [2, 3]",
        "split_with_sizes: part 0 has -1 elements, where dimension 1 of [2, 3] has 3 left",
        "split_with_sizes: dimension 2 is out of range for a tensor of rank 2",
        "split_with_sizes: 0 parts, without sizes",
        "chunk: dimension -3 is out of range for a tensor of rank 2",
        "slice: dimension 2 is out of range for a tensor of rank 2",
        "slice: [0:3:0] of dimension 1 of [2, 3]: the step must be at least 1",
        "slice: [0:3:-2] of dimension 1 of [2, 3]: the step must be at least 1",
        "stack: input 1 is [3, 2], input 0 is [2, 3]",
        "stack: dimension 3 is out of range for tensors of rank 2, which may be at most 5",
        "stack: dimension 0 is out of range for tensors of rank 6, which may be at most 5",
        "one_hot: labels are f32, expected i64",
        "one_hot: 0 classes, at least 1 is needed",
        "one_hot: the result cannot be bf16",
        "layer_norm: the weight is i64 [5], expected f32 [3]",
        "layer_norm: the bias is f32 [3, 2], expected f32 [2, 3]",
        "layer_norm: eps 1e-05, the last 3 dimensions of rank 2: eps must be above 0, the dimensions "
        "1 to the rank",
        "prelu: input [2, 3] and weight [3, 2], expected (N, C, ...) and (C), or (1)",
        "prelu: input is f32, weight is i64",
        "softplus: beta 0, threshold 20: beta must be above 0 and finite",
        "alpha_dropout: probability 2 is outside [0, 1]",
    };
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3));
    weft_tensor *y = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(3, 2));
    weft_tensor *labels = ints(ctx, 5);
    for (int i = 0; i < (int)(sizeof(texts) / sizeof(*texts)); i++) {
        weft_error_clear(ctx);
        assert_null(slices(i, x, y, labels));
        assert_string_equal(weft_error_text(ctx), texts[i]);
    }
    weft_tensor_unref(x);
    weft_tensor_unref(y);
    weft_tensor_unref(labels);
    weft_context_destroy(ctx);
}

static void errors_of_transposed_convolutions(void **state)
{
    static const char *const texts[] = {
        "conv_transpose2d: input [3] and weight [4, 2, 2, 2], expected (N, C, H, W) or "
        "(C, H, W), and (C, K/groups, R, S)",
        "conv_transpose2d: input has 4 channels, weight expects 2",
        "conv_transpose2d: 3 groups do not divide 4 input channels",
        "conv_transpose2d: bias has shape [3], the output 2 channels",
        "conv_transpose2d: the bias is f64, the input f32",
        "conv_transpose2d: stride -2, dilation 1 and groups 1 must be at least 1, padding 0 at "
        "least 0",
        "conv_transpose2d: output padding 1 must be at least 0 and below stride 1 or dilation 1",
        "conv_transpose2d: the output is empty: height 3 with kernel 2, stride 1 and padding 2",
        "conv_transpose2d: height 3 with kernel 2, stride 1073741824, padding 0 and dilation 1 is "
        "too large",
        "conv_transpose2d: the second input is f64, the first input is f32",
    };
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 4, 3, 3));
    weft_tensor *w = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(4, 2, 2, 2));
    weft_tensor *b = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(3));
    weft_tensor *d = weft_tensor_create(ctx, WEFT_F64, WEFT_SHAPE(4, 2, 2, 2));
    for (int i = 0; i < (int)(sizeof(texts) / sizeof(*texts)); i++) {
        weft_error_clear(ctx);
        assert_null(transpose(ctx, i, x, w, b, d));
        assert_string_equal(weft_error_text(ctx), texts[i]);
    }
    weft_tensor *all[] = {x, w, b, d};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        weft_tensor_unref(all[i]);
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_the_numbers),
        cmocka_unit_test(errors_of_transposed_convolutions),
        cmocka_unit_test(errors_of_slices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
