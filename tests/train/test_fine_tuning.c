/* Fine-tuning every model of the zoo: all is frozen but the head, and a step moves the head alone.
 * Weights are zeros that nobody writes, so that the largest network costs little memory. */
#include <stdio.h>

#include "tests/modules/fixture.h"

enum { CLASSES = 3 };

/* Freezes all of m but its heads; the names of those, with spaces between and behind. */
static void freeze_all_but(weft_module *m, const char *model, char *heads, size_t size)
{
    weft_named_modules list = WEFT_NAMED_MODULES_INIT;
    size_t n = 0;
    assert_int_equal(weft_model_heads(m, model, &list), WEFT_OK);
    assert_int_equal(weft_module_freeze(m, "*", NULL), WEFT_OK);
    heads[0] = '\0';
    for (int i = 0; i < list.n; i++) {
        n += (size_t)snprintf(heads + n, size - n, "%s ", list.item[i].name);
        assert_int_equal(weft_module_requires_grad(list.item[i].module, true), WEFT_OK);
    }
    weft_named_modules_done(&list);
}

static weft_status step(weft_module *m, weft_optimizer *optimizer, int channels, int size)
{
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(2, channels, size, size));
    weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(2), (int64_t[]){0, 2});
    weft_status status = weft_backward(weft_cross_entropy(weft_call(m, x), y, NULL));
    if (status == WEFT_OK)
        status = weft_optimizer_step(optimizer);
    weft_tensor_unref(x);
    weft_tensor_unref(y);
    return status;
}

static void the_head_of_every_model_is_trained_alone(void **state)
{
    int n;
    const weft_model_info *infos = weft_models(&n);
    for (int i = 0; i < n; i++) {
        const char *name = infos[i].name;
        /* The smallest images, but for batch normalisation: more than one pixel at the end. */
        int size = infos[i].smallest > 32 ? infos[i].smallest : 32;
        char heads[256];
        weft_model_opts opts = {
            .num_classes = CLASSES, .in_channels = 3, .height = size, .width = size};
        bool was = weft_init_skip_begin(ctx);
        weft_module *m = weft_model_create(ctx, name, &opts);
        weft_init_skip_end(ctx, was);
        assert_non_null(m);
        freeze_all_but(m, name, heads, sizeof(heads));
        weft_optimizer *sgd = weft_sgd_create(ctx, m, &(weft_sgd_opts){.lr = 1});
        if (step(m, sgd, 3, size) != WEFT_OK)
            fail_msg("%s: %s", name, weft_error_text(ctx));
        weft_tensor_list all = WEFT_TENSOR_LIST_INIT;
        assert_int_equal(weft_parameters(m, 0, &all), WEFT_OK);
        int trained = 0;
        for (int k = 0; k < all.n; k++) {
            weft_tensor *t = all.item[k].tensor;
            bool grad = weft_grad(t) != NULL;
            if (grad != weft_requires_grad(t))
                fail_msg("%s: %s: gradient: %d", name, all.item[k].name, grad);
            trained += grad;
        }
        if (trained != 2 || heads[0] == '\0') /* weight and bias */
            fail_msg("%s: heads '%s', %d tensors trained", name, heads, trained);
        weft_tensor_list_done(&all);
        weft_optimizer_destroy(sgd);
        weft_module_unref(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(the_head_of_every_model_is_trained_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
