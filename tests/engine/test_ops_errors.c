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
        "flatten: dimension 2 of a tensor of rank 2",
        "concat: input 1 is [2, 4], input 0 is [2, 3]: they may differ in dimension 0 only",
        "narrow: 3 elements from 1 on of dimension 1, which has 3",
        "narrow: dimension 5 of a tensor of rank 2",
        "dropout: probability 1 is outside [0, 1)",
        "softmax: dimension -3 of a tensor of rank 2",
        "log_softmax: dimension 2 of a tensor of rank 2",
        "cross_entropy: labels are f32, expected i64",
        "cross_entropy: logits are [2, 3] and labels [4], expected (N, K) and (N)",
        "cross_entropy: label smoothing 1.5 is outside [0, 1]",
        "count_correct: logits are [2, 3] and labels [4], expected (N, K) and (N)",
        "sum: dimension 2 of a tensor of rank 2",
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
        "chunk: [2, 3] in 2 equal parts along dimension 1 (1 to 4 parts)",
        "stochastic_depth: probability -1 is outside [0, 1)",
        "where: [2, 3] and [2, 4] do not broadcast (3 and 4)",
        "maximum: input 1 is f64, input 0 is f32",
        "pow: exponent inf is not finite",
        "clamp: bounds 0 and nan",
        "sum: 0 dimensions; WEFT_ALL_DIMS names all",
        "mean: dimension 1 is named twice",
        "softmax: 7 dimensions",
        "log_softmax: dimension -2 of a tensor of rank 0",
        "max: dimension 2 of a tensor of rank 2",
        "min: input 0 is i64, expected f32 or f64",
        "argmax: 2 dimensions, expected one or WEFT_ALL_DIMS",
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
        case 11: y = weft_dropout(a, 1.0, true); break;
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
        case 29: y = weft_chunk(a, 2, 1, &y) == WEFT_ERR_SHAPE ? NULL : a; break;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_the_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
