/* What the tests of states and files share: a small network, its state, values that all differ. */
#ifndef TESTS_MODULES_STATE_H
#define TESTS_MODULES_STATE_H

#include "tests/modules/fixture.h"

static inline weft_module *net(void)
{
    weft_module *m = WEFT_SEQUENTIAL(ctx, weft_conv2d_create(ctx, 1, 2, 3, NULL),
                                     weft_batch_norm2d_create(ctx, 2, NULL), weft_relu_create(ctx),
                                     weft_linear_create(ctx, 2, 3, NULL));
    assert_non_null(m);
    return m;
}

static inline weft_tensor_list state_of(weft_module *m)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_state_dict(m, &list), WEFT_OK);
    return list;
}

/* Makes every element of every entry different: entry number + element/1000. */
static inline void number(weft_tensor_list *list, double offset)
{
    for (int i = 0; i < list->n; i++) {
        weft_tensor *t = list->item[i].tensor;
        int64_t n = weft_shape_count(weft_tensor_shape(t));
        for (int64_t k = 0; k < n; k++) {
            if (weft_tensor_dtype(t) == WEFT_I64)
                ((int64_t *)weft_tensor_data(t))[k] = (int64_t)offset + 100 * i;
            else
                ((float *)weft_tensor_data(t))[k] = (float)(offset + i + (double)k / 1000);
        }
    }
}

static inline void assert_same_values(const weft_tensor_list *a, const weft_tensor_list *b)
{
    assert_int_equal(a->n, b->n);
    for (int i = 0; i < a->n; i++) {
        weft_tensor *s = a->item[i].tensor, *t = b->item[i].tensor;
        size_t bytes =
            (size_t)weft_shape_count(weft_tensor_shape(s)) * weft_dtype_size(weft_tensor_dtype(s));
        assert_string_equal(a->item[i].name, b->item[i].name);
        assert_memory_equal(weft_tensor_data(s), weft_tensor_data(t), bytes);
    }
}

#endif
