/* NULL where something is needed: no function crashes, and what cannot do its work says so, without a
 * context in weft_error_text(NULL). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "weft/weft.h"

/* The call said `part` as this thread's error without a context. What is said then is of another
 * call, so that the next one must speak for itself. */
static void said(const char *part)
{
    if (!strstr(weft_error_text(NULL), part))
        fail_msg("\"%s\" has no \"%s\"", weft_error_text(NULL), part);
    weft_explain(NULL, NULL);
    assert_non_null(strstr(weft_error_text(NULL), "explain"));
}

typedef weft_tensor *(*op_fn)(void);
#define OP(name, call)                                                                             \
    static weft_tensor *name(void)                                                                 \
    {                                                                                              \
        return call;                                                                               \
    }
OP(dropout, weft_dropout(NULL, 0.5, true))
OP(alpha_dropout, weft_alpha_dropout(NULL, 0.5, true))
OP(stochastic_depth, weft_stochastic_depth(NULL, 0.5, true))
OP(expand, weft_expand(NULL, WEFT_SHAPE(2)))
OP(flatten, weft_flatten(NULL, 1))
OP(max_pool2d, weft_max_pool2d(NULL, NULL))
OP(concat, weft_concat(NULL, 2, 0))
OP(stack, weft_stack(NULL, 2, 0))
OP(custom, weft_custom(NULL, NULL, NULL, NULL))

static void ops_of_no_tensor_say_so(void **state)
{
    static const struct {
        const char *name;
        op_fn call;
    } all[] = {{"dropout", dropout},        {"alpha_dropout", alpha_dropout},
               {"expand", expand},          {"stochastic_depth", stochastic_depth},
               {"flatten", flatten},        {"max_pool2d", max_pool2d},
               {"concat: all its", concat}, {"stack", stack},
               {"custom op", custom}};
    weft_tensor *parts[2];
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_null(all[i].call());
        said(all[i].name);
    }
    assert_int_not_equal(weft_chunk(NULL, 2, 0, parts), WEFT_OK);
    said("chunk");
    assert_int_not_equal(weft_split_with_sizes(NULL, 1, (int64_t[]){1}, 0, parts), WEFT_OK);
    said("split_with_sizes");
}

static void functions_without_a_context_or_a_tensor_say_so(void **state)
{
    (void)state;
    assert_null(weft_tensor_create(NULL, WEFT_F32, WEFT_SHAPE(1)));
    said("tensor_create: the context is NULL");
    assert_null(weft_linear_create(NULL, 1, 1, NULL));
    said("weft_linear_create: the context is NULL");
    assert_null(weft_adam_create(NULL, NULL, NULL));
    said("the context is NULL");
    assert_int_equal(weft_sync(NULL), WEFT_ERR_INVALID);
    said("sync: the context is NULL");
    assert_int_equal(weft_register_global_forward_hook(NULL, NULL, NULL, 0), 0);
    said("weft_register_global_forward_hook");
    assert_int_not_equal(weft_read(NULL, NULL, 0), WEFT_OK);
    said("read: the tensor is NULL");
    assert_int_not_equal(weft_init_constant(NULL, 1), WEFT_OK);
    said("weft_init_constant: the tensor is NULL");
    assert_int_not_equal(weft_init_uniform(NULL, 0, 1), WEFT_OK);
    said("weft_init_uniform: the tensor is NULL");
    assert_int_not_equal(weft_init_kaiming_normal(NULL, 0, WEFT_FAN_IN, WEFT_GAIN_RELU), WEFT_OK);
    said("weft_init_kaiming_normal: the tensor is NULL");
    assert_null(weft_call(NULL, NULL));
    said("weft_call: the module is NULL");
    assert_null(weft_sequential_create(NULL, 1, NULL));
    said("Sequential: the context is NULL");
    assert_null(weft_module_list_create(NULL, -1, NULL));
    said("ModuleList: the context is NULL");
}

static void a_module_that_is_none_has_no_averages(void **state)
{
    weft_ema *ema = NULL;
    weft_module raw = {0};
    (void)state;
    assert_int_equal(weft_ema_create(&raw, 0.9, &ema), WEFT_ERR_STATE);
    said("weft_ema_create: the module is not initialised");
    assert_null(ema);
}

static void functions_of_files_data_and_time_take_null(void **state)
{
    weft_error err = WEFT_ERROR_INIT;
    int64_t n = 0;
    (void)state;
    assert_int_equal(weft_quote("abc", NULL, 10), 3);
    assert_int_equal(weft_info_line(NULL, NULL, 10), 0);
    assert_int_equal(weft_dataset_check_splits(NULL, NULL, 0, &err), WEFT_ERR_INVALID);
    assert_string_equal(err.text, "the training data set is NULL");
    err = (weft_error)WEFT_ERROR_INIT;
    assert_int_equal(weft_dataset_follow_names(NULL, NULL, 0, "", NULL, &err), WEFT_ERR_INVALID);
    assert_string_equal(err.text, "the data set is NULL");
    assert_int_equal(weft_dataset_check_training(NULL, NULL, NULL, NULL, NULL), WEFT_ERR_INVALID);
    assert_null(weft_inspection_findings(NULL, NULL));
    assert_null(weft_inspection_findings(NULL, &n));
    assert_int_equal(weft_inspection_describe(NULL, NULL, NULL, 10), 0);
    weft_job_get(NULL);
    weft_wall_time_init(NULL, 0, 1, -1, 0);
    weft_wall_time_step(NULL, 1);
    weft_wall_time_write(NULL, 1);
    weft_wall_time_evaluation(NULL, 1);
    assert_true(weft_wall_time_margin(NULL) == 0);
    assert_int_equal(weft_wall_time_may_step(NULL, 0, true), WEFT_WALL_GO);
    assert_int_equal(weft_wall_time_may_evaluate(NULL, 0, 1), WEFT_WALL_GO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops_of_no_tensor_say_so),
        cmocka_unit_test(functions_without_a_context_or_a_tensor_say_so),
        cmocka_unit_test(a_module_that_is_none_has_no_averages),
        cmocka_unit_test(functions_of_files_data_and_time_take_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
