/* Batch normalisation: which implementation is found, and what all of them have in common: bits that do not
 * depend on the width of vectors, one pass that has the bits of three, NaN that passes. */
#include "norm_images.h"

/* Chains run along pixels, lanes across channels, so 8 and 16 lanes must agree to the bit. */
static void vector_width_does_not_change_the_statistics(void **state)
{
    if (wf_cpu_isa() < WEFT_ISA_AVX2)
        skip();
    for (int s = 0; s < N_SHAPES; s++) {
        const shape *sh = &SHAPES[s];
        wf_act narrow = {sh->C, sh->H, sh->W, 8}, wide = {sh->C, sh->H, sh->W, 16};
        image a = make(narrow, WEFT_F32, 5, sh->offset), b = make(wide, WEFT_F32, 5, sh->offset);
        double one[2 * 64], two[2 * 64];
        wf_norm_find(WEFT_ISA_AVX2, WEFT_F32, narrow)->stats(narrow, a.data, one);
        wf_norm_fns_emul.stats(wide, b.data, two);
        for (int c = 0; c < sh->C; c++) {
            size_t half = wf_norm_partial_count(sh->C) / 2;
            assert_true(one[c] == two[c] && one[half + (size_t)c] == two[half + (size_t)c]);
        }
        drop(&a);
        drop(&b);
    }
}

static void the_best_fitting_implementation_is_found(void **state)
{
    static const struct {
        weft_isa isa;
        weft_dtype dtype;
        wf_act act;
        const char *name;
    } CASES[] = {
        {WEFT_ISA_AVX512, WEFT_F32, {20, 4, 4, 16}, "avx512:f32"},
        {WEFT_ISA_AVX512, WEFT_F32, {20, 4, 4, 8}, "avx2:f32"},
        {WEFT_ISA_AVX512, WEFT_F32, {20, 4, 1, 20}, "avx512:f32"},
        {WEFT_ISA_AVX2, WEFT_F32, {20, 4, 4, 8}, "avx2:f32"},
        {WEFT_ISA_AVX2, WEFT_F32, {20, 4, 4, 1}, "ref:f32"},
        {WEFT_ISA_SCALAR, WEFT_F32, {20, 4, 4, 8}, "ref:f32"},
        {WEFT_ISA_AVX512, WEFT_F64, {20, 4, 4, 1}, "ref:f64"},
        {WEFT_ISA_AVX512, WEFT_BF16, {20, 4, 4, 16}, "avx512:bf16"},
        {WEFT_ISA_AVX512, WEFT_BF16, {20, 4, 1, 20}, "avx512:bf16"},
        {WEFT_ISA_AVX2, WEFT_BF16, {20, 4, 4, 8}, "avx2:bf16"},
        {WEFT_ISA_AVX2, WEFT_BF16, {20, 4, 4, 1}, "ref:bf16"},
        {WEFT_ISA_SCALAR, WEFT_BF16, {20, 4, 4, 8}, "ref:bf16"},
        {WEFT_ISA_AVX512, WEFT_U8, {20, 4, 4, 1}, NULL},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const wf_norm_fns *f = wf_norm_find(CASES[i].isa, CASES[i].dtype, CASES[i].act);
        assert_int_equal(f != NULL, CASES[i].name != NULL);
        if (f)
            assert_string_equal(f->name, CASES[i].name);
    }
}

/* BatchNorm, residual and f in one pass have the bits that three passes over stored images have. */
static void check_fusion(const wf_norm_fns *f, wf_act act, double offset)
{
    const weft_dtype t = f->dtype;
    const size_t n = wf_act_count(act), bytes = n * weft_dtype_size(t);
    params q = make_params(act.C, test_arithmetic(t), offset);
    const wf_eltwise *e = wf_eltwise_get(t, wf_cpu_isa());
    image x = make(act, t, 11, offset), res = make(act, t, 12, 0), dy = make(act, t, 13, 0);
    image z = make(act, t, 0, 0), fused = make(act, t, 0, 0), apart = make(act, t, 0, 0);
    wf_norm_apply p = {.act = act,
                       .mean = q.mean,
                       .invstd = q.invstd,
                       .gamma = q.gamma,
                       .beta = q.beta,
                       .x = x.data,
                       .y = z.data};
    f->apply(&p);
    p.f = WF_NORM_RELU;
    p.residual = res.data;
    p.y = fused.data;
    f->apply(&p);
    e->add(n, z.data, res.data, apart.data);
    e->relu(n, apart.data, apart.data);
    assert_memory_equal(fused.data, apart.data, bytes);
    p.residual = NULL;
    for (int k = 0; k < 2; k++) {
        const wf_norm_f fn = k ? WF_NORM_HARDSWISH : WF_NORM_SILU;
        const wf_activations *all = wf_activation_get(t, wf_cpu_isa());
        const wf_activation which = k ? WF_ACT_hardswish : WF_ACT_silu;
        double partial[2 * 64];
        p.f = fn;
        f->apply(&p);
        all->fn[which].forward(n, 0, 0, z.data, apart.data);
        assert_memory_equal(fused.data, apart.data, bytes);
        f->backward_reduce(&(wf_norm_reduce){.act = act,
                                             .f = fn,
                                             .mean = q.mean,
                                             .invstd = q.invstd,
                                             .gamma = q.gamma,
                                             .beta = q.beta,
                                             .dz = fused.data,
                                             .x = x.data,
                                             .dy = dy.data,
                                             .partial = partial});
        all->fn[which].backward(n, 0, 0, z.data, dy.data, apart.data);
        assert_memory_equal(fused.data, apart.data, bytes);
    }
    drop(&x);
    drop(&res);
    drop(&dy);
    drop(&z);
    drop(&fused);
    drop(&apart);
    drop_params(&q);
}
static void one_pass_has_the_bits_of_three(void **state)
{
    each(check_fusion);
}

static void check_nan(const wf_norm_fns *f, wf_act act, double offset)
{
    params q = make_params(act.C, test_arithmetic(f->dtype), 0);
    image x = make(act, f->dtype, 3, 0), y = make(act, f->dtype, 0, 0);
    const int64_t P = pixels(act);
    uint8_t *mask = calloc(1, wf_norm_mask_bytes(act.C, P));
    const int c = act.C - 1;
    const int64_t p = P / 2;
    test_set(f->dtype, x.data, at(&x, c, p), (double)NAN);
    f->apply(&(wf_norm_apply){.act = act,
                              .f = WF_NORM_RELU,
                              .mean = q.mean,
                              .invstd = q.invstd,
                              .gamma = q.gamma,
                              .beta = q.beta,
                              .x = x.data,
                              .y = y.data,
                              .mask = mask});
    read_back(&y);
    assert_true(isnan(y.value[c * P + p]));
    assert_int_equal(mask[c / 8 * P + p] >> (c % 8) & 1, 1); /* its gradient passes, as PyTorch's */
    free(mask);
    drop(&x);
    drop(&y);
    drop_params(&q);
}
static void nan_passes_relu(void **state)
{
    each(check_nan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vector_width_does_not_change_the_statistics),
        cmocka_unit_test(the_best_fitting_implementation_is_found),
        cmocka_unit_test(one_pass_has_the_bits_of_three),
        cmocka_unit_test(nan_passes_relu),
    };
    return cmocka_run_group_tests_name("norm_bits", tests, NULL, NULL);
}
