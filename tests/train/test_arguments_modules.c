/* Every public function of modules, layers, training, runs and data, with NULL for each pointer and
 * other arguments that cannot be meant. The others: test_arguments.c. */
#include "tests/train/arguments.h"

static weft_status pre_hook(void *user, weft_module *m, int n_in, weft_tensor **in)
{
    return WEFT_OK;
}

static void module_functions(void **state)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_named_modules modules = WEFT_NAMED_MODULES_INIT;
    weft_module raw;
    NOTHING_QUIETLY(weft_module_create(NULL, &bare_class, NULL));
    GIVES_NOTHING(weft_module_create(ctx, NULL, NULL));
    FAILS_QUIETLY(weft_module_init(&raw, NULL, &bare_class));
    FAILS(weft_module_init(NULL, ctx, &bare_class));
    FAILS(weft_module_init(&raw, ctx, NULL));
    NOTHING_QUIETLY(weft_module_ref(NULL));
    weft_module_unref(NULL);
    NOTHING_QUIETLY(weft_module_clone(NULL));
    NOTHING_QUIETLY(weft_module_ok(NULL));
    FAILS(weft_register_parameter(NULL, "p", NULL, tensor(1)));
    FAILS(weft_register_parameter(net, NULL, NULL, tensor(1)));
    FAILS(weft_register_buffer(NULL, "p", NULL, tensor(1), true));
    FAILS(weft_register_buffer(net, NULL, NULL, tensor(1), true));
    FAILS(weft_register_module(NULL, "p", NULL, bare()));
    FAILS(weft_register_module(net, NULL, NULL, bare()));
    FAILS_QUIETLY(weft_register_parameter(NULL, NULL, NULL, NULL));
    FAILS_QUIETLY(weft_register_module(NULL, NULL, NULL, NULL));
    NOTHING_QUIETLY(weft_get_parameter(NULL, "weight"));
    GIVES_NOTHING(weft_get_parameter(net, NULL));
    NOTHING_QUIETLY(weft_get_buffer(NULL, "x"));
    GIVES_NOTHING(weft_get_buffer(net, NULL));
    NOTHING_QUIETLY(weft_get_module(NULL, ""));
    GIVES_NOTHING(weft_get_module(net, NULL));
    FAILS(weft_tensor_list_add(NULL, "x", x));
    FAILS(weft_tensor_list_add(&list, NULL, x));
    FAILS_QUIETLY(weft_tensor_list_add(&list, "x", NULL));
    NOTHING_QUIETLY(weft_tensor_list_find(NULL, "x"));
    NOTHING_QUIETLY(weft_tensor_list_find(&list, NULL));
    weft_tensor_list_done(NULL);
    weft_named_modules_done(NULL);
    FAILS_QUIETLY(weft_parameters(NULL, 0, &list));
    FAILS(weft_parameters(net, 0, NULL));
    FAILS_QUIETLY(weft_buffers(NULL, 0, &list));
    FAILS(weft_buffers(net, 0, NULL));
    FAILS_QUIETLY(weft_modules(NULL, 0, &modules));
    FAILS(weft_modules(net, 0, NULL));
    FAILS_QUIETLY(weft_children(NULL, &modules));
    FAILS(weft_children(net, NULL));
    FAILS_QUIETLY(weft_module_apply(NULL, NULL, NULL));
    FAILS(weft_module_apply(net, NULL, NULL));
    assert_int_equal(weft_parameter_count(NULL, false), -1);
    weft_module_train(NULL, true);
    weft_module_eval(NULL);
    FAILS_QUIETLY(weft_module_requires_grad(NULL, true));
    FAILS_QUIETLY(weft_module_freeze(NULL, "*", NULL));
    FAILS(weft_module_freeze(net, NULL, NULL));
    weft_module_zero_grad(NULL);
    FAILS_QUIETLY(weft_module_to(NULL, WEFT_F64));
    FAILS(weft_module_to(net, (weft_dtype)99));
    GIVES_NOTHING(weft_call(NULL, x));
    NOTHING_QUIETLY(weft_call(net, NULL));
    int n = 1;
    weft_tensor *out;
    FAILS(weft_call_many(NULL, 1, &x, &n, &out));
    FAILS(weft_call_many(net, 1, NULL, &n, &out));
    FAILS(weft_call_many(net, 1, &x, NULL, &out));
    FAILS(weft_call_many(net, 1, &x, &n, NULL));
    FAILS(weft_call_many(net, -1, &x, &n, &out));
    NOTHING_QUIETLY(weft_register_forward_pre_hook(NULL, pre_hook, NULL, 0));
    GIVES_NOTHING(weft_register_forward_pre_hook(net, NULL, NULL, 0));
    GIVES_NOTHING(weft_register_forward_hook(net, NULL, NULL, 0));
    GIVES_NOTHING(weft_register_backward_pre_hook(net, NULL, NULL, 0));
    GIVES_NOTHING(weft_register_backward_hook(net, NULL, NULL, 0));
    GIVES_NOTHING(weft_register_global_forward_pre_hook(ctx, NULL, NULL));
    GIVES_NOTHING(weft_register_global_forward_hook(ctx, NULL, NULL, 0));
    GIVES_NOTHING(weft_register_global_backward_pre_hook(ctx, NULL, NULL));
    GIVES_NOTHING(weft_register_global_backward_hook(ctx, NULL, NULL));
    NOTHING_QUIETLY(weft_register_global_forward_pre_hook(NULL, pre_hook, NULL));
    NOTHING_QUIETLY(weft_register_global_forward_hook(NULL, NULL, NULL, 0));
    NOTHING_QUIETLY(weft_register_global_backward_pre_hook(NULL, NULL, NULL));
    NOTHING_QUIETLY(weft_register_global_backward_hook(NULL, NULL, NULL));
    weft_hook_remove(NULL, 1);
    weft_hook_remove(net, 0);
    weft_global_hook_remove(NULL, 1);
    weft_global_hook_remove(ctx, UINT64_MAX);
    FAILS_QUIETLY(weft_state_dict(NULL, &list));
    FAILS(weft_state_dict(net, NULL));
    FAILS_QUIETLY(weft_load_state_dict(NULL, &list, true));
    FAILS(weft_load_state_dict(net, NULL, true));
    FAILS_QUIETLY(weft_module_save(NULL, "x"));
    FAILS(weft_module_save(net, NULL));
    FAILS(weft_module_save_with(net, "/nonexistent/x", NULL, 1));
    FAILS(weft_module_save_with(net, "/nonexistent/x", NULL, -5));
    FAILS(weft_module_save_with(net, "/nonexistent/x", &(weft_safetensors_meta){"key", NULL}, 1));
    FAILS_QUIETLY(weft_module_load(NULL, "x", true));
    FAILS(weft_module_load(net, NULL, true));
    FAILS(weft_module_load_with(net, NULL, NULL));
    assert_string_equal(weft_module_name(NULL), "");
    FAILS_QUIETLY(weft_module_print(NULL, stdout));
    FAILS(weft_module_print(net, NULL));
    FAILS_QUIETLY(weft_module_summary(NULL, WEFT_SHAPE(1, 3), stdout));
    FAILS(weft_module_summary(net, WEFT_SHAPE(1, 3), NULL));
    FAILS(weft_module_summary(net, WEFT_SHAPE(0, 3), stdout));
    FAILS(weft_module_totals(net, WEFT_SHAPE(1, 3), NULL));
    weft_totals totals;
    FAILS_QUIETLY(weft_module_totals(NULL, WEFT_SHAPE(1, 3), &totals));
}

static void containers_and_models(void **state)
{
    weft_named_modules heads = WEFT_NAMED_MODULES_INIT;
    NOTHING_QUIETLY(weft_sequential_create(NULL, 0, NULL));
    GIVES_NOTHING(weft_sequential_create(ctx, -1, NULL));
    GIVES_NOTHING(weft_sequential_create(ctx, 2, NULL));
    GIVES_NOTHING(weft_sequential_create(ctx, 1, (weft_module *[]){NULL}));
    GIVES_NOTHING(weft_module_list_create(ctx, -1, NULL));
    GIVES_NOTHING(weft_module_list_create(ctx, 1, NULL));
    NOTHING_QUIETLY(weft_sequential_create(NULL, 1, (weft_module *[]){bare()}));
    NOTHING_QUIETLY(weft_module_dict_create(NULL));
    weft_module *list = weft_sequential_create(ctx, 0, NULL);
    FAILS(weft_append(NULL, bare()));
    FAILS(weft_append(list, NULL));
    FAILS(weft_insert(list, 0, NULL));
    FAILS(weft_insert(NULL, 0, bare()));
    FAILS(weft_remove(list, 0));
    FAILS_QUIETLY(weft_remove(NULL, 0));
    NOTHING_QUIETLY(weft_at(NULL, 0));
    GIVES_NOTHING(weft_at(list, 0));
    GIVES_NOTHING(weft_at(list, INT32_MIN));
    assert_int_equal(weft_length(NULL), 0);
    FAILS_QUIETLY(weft_dict_remove(NULL, "x"));
    FAILS(weft_dict_remove(list, NULL));
    assert_non_null(weft_models(NULL));
    NOTHING_QUIETLY(weft_model_find(NULL));
    NOTHING_QUIETLY(weft_model_create(NULL, "lenet", NULL));
    GIVES_NOTHING(weft_model_create(ctx, NULL, NULL));
    GIVES_NOTHING(weft_model_create(ctx, "lenet", &(weft_model_opts){.num_classes = -1}));
    FAILS_QUIETLY(weft_model_heads(NULL, "lenet", &heads));
    FAILS(weft_model_heads(net, NULL, &heads));
    FAILS(weft_model_heads(net, "lenet", NULL));
    weft_module_unref(list);
}

static void layers_without_a_context(void **state)
{
    NOTHING_QUIETLY(weft_linear_create(NULL, 1, 1, NULL));
    NOTHING_QUIETLY(weft_conv2d_create(NULL, 1, 1, 1, NULL));
    NOTHING_QUIETLY(weft_batch_norm2d_create(NULL, 1, NULL));
    NOTHING_QUIETLY(weft_group_norm_create(NULL, 1, 1, NULL));
    NOTHING_QUIETLY(weft_relu_create(NULL));
    NOTHING_QUIETLY(weft_leaky_relu_create(NULL, 0.1));
    NOTHING_QUIETLY(weft_gelu_create(NULL, true));
    NOTHING_QUIETLY(weft_max_pool2d_create(NULL, 2, NULL));
    NOTHING_QUIETLY(weft_avg_pool2d_create(NULL, 2, NULL));
    NOTHING_QUIETLY(weft_adaptive_avg_pool2d_create(NULL, 1, 1));
    NOTHING_QUIETLY(weft_dropout_create(NULL, 0.5));
    NOTHING_QUIETLY(weft_stochastic_depth_create(NULL, 0.5));
    NOTHING_QUIETLY(weft_channel_shuffle_create(NULL, 1));
    NOTHING_QUIETLY(weft_flatten_create(NULL));
    NOTHING_QUIETLY(weft_identity_create(NULL));
    NOTHING_QUIETLY(weft_softmax_create(NULL, 0));
    GIVES_NOTHING(weft_max_pool2d_create(ctx, 0, NULL));
    GIVES_NOTHING(weft_max_pool2d_create(ctx, -1, NULL));
    GIVES_NOTHING(weft_linear_create(ctx, 0, -1, NULL));
    GIVES_NOTHING(weft_adaptive_avg_pool2d_create(ctx, 0, -3));
    GIVES_NOTHING(weft_channel_shuffle_create(ctx, -1));
    GIVES_NOTHING(weft_group_norm_create(ctx, 0, 4, NULL));
    GIVES_NOTHING(weft_batch_norm2d_create(ctx, -4, NULL));
}

static void training_functions(void **state)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_optimizer *o = weft_sgd_create(ctx, net, NULL);
    NOTHING_QUIETLY(weft_sgd_create(NULL, net, NULL));
    NOTHING_QUIETLY(weft_adamw_create(NULL, net, NULL));
    weft_optimizer_destroy(NULL);
    FAILS_QUIETLY(weft_optimizer_add_group(NULL, &list, 0.1, 0));
    FAILS(weft_optimizer_add_group(o, NULL, 0.1, 0));
    assert_int_equal(weft_optimizer_groups(NULL), 0);
    FAILS_QUIETLY(weft_optimizer_set_lr(NULL, 0, 0.1));
    FAILS(weft_optimizer_set_lr(o, 7, 0.1));
    FAILS(weft_optimizer_set_lr(o, -2, 0.1));
    assert_true(isnan(weft_optimizer_lr(NULL, 0)));
    assert_true(isnan(weft_optimizer_lr(o, 7)));
    FAILS_QUIETLY(weft_optimizer_set_weight_decay(NULL, 0, 0.1));
    assert_true(isnan(weft_optimizer_weight_decay(NULL, 0)));
    FAILS_QUIETLY(weft_optimizer_set_momentum(NULL, 0.1));
    assert_true(isnan(weft_optimizer_momentum(NULL)));
    FAILS_QUIETLY(weft_optimizer_step(NULL));
    FAILS_QUIETLY(weft_optimizer_record(NULL));
    weft_optimizer_zero_grad(NULL);
    assert_int_equal(weft_optimizer_steps(NULL), 0);
    NOTHING_QUIETLY(weft_clip_grad_norm(NULL, 1, true));
    FAILS_QUIETLY(weft_clip_grad_value(NULL, 1));
    FAILS_QUIETLY(weft_optimizer_state(NULL, &list));
    FAILS(weft_optimizer_state(o, NULL));
    FAILS_QUIETLY(weft_optimizer_load_state(NULL, &list));
    FAILS(weft_optimizer_load_state(o, NULL));
    weft_optimizer_destroy(o);
    assert_true(isnan(weft_schedule_lr(NULL, 0)));
    assert_true(isnan(weft_schedule_momentum(NULL, 0)));
    assert_int_equal(weft_schedule_parse(NULL), -1);
    assert_string_equal(weft_schedule_name((weft_schedule_kind)77), "?");
    GIVES_NOTHING(weft_training_loss(NULL, x, labels, NULL, NULL));
    GIVES_NOTHING(weft_training_loss(net, NULL, labels, NULL, NULL));
    GIVES_NOTHING(weft_training_loss(net, x, NULL, NULL, NULL));
    weft_train_opts opts = {0};
    ERR_SAYS(weft_train(NULL, &opts, NULL, &err));
    ERR_SAYS(weft_train(net, NULL, NULL, &err));
    ERR_SAYS(weft_train(net, &opts, NULL, &err));
    weft_eval_result result;
    float *out;
    weft_shape shape;
    ERR_SAYS(weft_evaluate(NULL, NULL, NULL, &result, &err));
    ERR_SAYS(weft_evaluate(net, NULL, NULL, &result, &err));
    ERR_SAYS(weft_predict(NULL, NULL, NULL, &out, &shape, &err));
    ERR_SAYS(weft_predict(net, NULL, NULL, &out, &shape, &err));
    weft_eval_result_done(NULL);
}

static void run_and_report_functions(void **state)
{
    weft_run *run = NULL;
    weft_eval_result result = {0};
    assert_int_equal(scratch_create(state), 0);
    const char *path = in_scratch("run");
    ERR_SAYS(weft_run_create(NULL, &run, &err));
    ERR_SAYS(weft_run_create(&(weft_run_opts){0}, &run, &err));
    ERR_SAYS(weft_run_create(&(weft_run_opts){.path = path}, NULL, &err));
    NOTHING_QUIETLY(weft_run_path(NULL));
    weft_run_destroy(NULL);
    assert_int_equal(weft_run_create(&(weft_run_opts){.path = path}, &run, NULL), WEFT_OK);
    ERR_SAYS(weft_run_write_config(NULL, ctx, NULL, NULL, 0, &err));
    ERR_SAYS(weft_run_write_config(run, NULL, NULL, NULL, 0, &err));
    ERR_SAYS(weft_run_write_config(run, ctx, NULL, NULL, 2, &err));
    ERR_SAYS(weft_run_write_config(run, ctx, NULL, NULL, -1, &err));
    weft_run_destroy(run);
    weft_report_opts opts = {0};
    ERR_SAYS(weft_eval_write_report(NULL, &result, &opts, &err));
    ERR_SAYS(weft_eval_write_report("x", NULL, &opts, &err));
    ERR_SAYS(weft_eval_write_report("x", &result, NULL, &err));
    ERR_SAYS(weft_eval_write_report("x", &result, &opts, &err));
    ERR_SAYS(weft_eval_write_json(NULL, &result, &opts, &err));
    ERR_SAYS(weft_run_write_report(NULL, &err));
    assert_int_equal(scratch_remove(state), 0);
}

static void data_functions(void **state)
{
    weft_dataset *ds = NULL;
    weft_loader *loader = NULL;
    weft_batch batch;
    float one[3];
    ERR_SAYS(weft_dataset_open(NULL, WEFT_SPLIT_TRAIN, &ds, &err));
    ERR_SAYS(weft_dataset_open("synthetic:1x4x4:3:64", WEFT_SPLIT_TRAIN, NULL, &err));
    ERR_SAYS(weft_dataset_from_arrays(NULL, &ds, &err));
    ERR_SAYS(weft_dataset_from_arrays(&(weft_dataset_arrays){0}, &ds, &err));
    ERR_SAYS(weft_dataset_from_arrays(&(weft_dataset_arrays){0}, NULL, &err));
    NOTHING_QUIETLY(weft_dataset_get_info(NULL));
    ERR_SAYS(weft_dataset_get(NULL, 0, NULL, NULL, &err));
    ERR_SAYS(weft_dataset_mean_std(NULL, one, one, &err));
    weft_dataset_destroy(NULL);
    assert_int_equal(weft_dataset_open("synthetic:1x4x4:3:64", WEFT_SPLIT_TRAIN, &ds, NULL),
                     WEFT_OK);
    ERR_SAYS(weft_dataset_get(ds, -1, NULL, NULL, &err));
    ERR_SAYS(weft_dataset_get(ds, INT64_MAX, NULL, NULL, &err));
    assert_int_equal(weft_dataset_get(ds, 0, NULL, NULL, NULL), WEFT_OK);
    ERR_SAYS(weft_dataset_mean_std(ds, NULL, one, &err));
    ERR_SAYS(weft_dataset_mean_std(ds, one, NULL, &err));
    const weft_loader_opts good = {.batch = 8};
    ERR_SAYS(weft_loader_create(NULL, &good, &loader, &err));
    ERR_SAYS(weft_loader_create(ds, NULL, &loader, &err));
    ERR_SAYS(weft_loader_create(ds, &good, NULL, &err));
    ERR_SAYS(weft_loader_create(ds, &(weft_loader_opts){.batch = -1}, &loader, &err));
    weft_loader_destroy(NULL);
    assert_int_equal(weft_loader_batches(NULL), 0);
    NOTHING_QUIETLY(weft_loader_get_dataset(NULL));
    NOTHING_QUIETLY(weft_loader_get_info(NULL));
    const float *mean_values = one, *std_values = one;
    weft_loader_get_normalization(NULL, &mean_values, &std_values);
    assert_null(mean_values);
    ERR_SAYS(weft_loader_start(NULL, 0, 0, &err));
    ERR_SAYS(weft_loader_next(NULL, &batch, &err));
    assert_int_equal(weft_loader_create(ds, &good, &loader, NULL), WEFT_OK);
    weft_loader_get_normalization(loader, NULL, NULL);
    ERR_SAYS(weft_loader_next(loader, NULL, &err));
    ERR_SAYS(weft_loader_start(loader, -1, 0, &err));
    weft_loader_destroy(loader);
    weft_dataset_destroy(ds);
}

static void safetensors_functions(void **state)
{
    weft_safetensors *file = NULL;
    float value = 1;
    const weft_safetensors_entry good = {"x", WEFT_F32, WEFT_SHAPE(1), &value};
    const weft_safetensors_entry nameless = {NULL, WEFT_F32, WEFT_SHAPE(1), &value};
    const weft_safetensors_entry empty = {"x", WEFT_F32, WEFT_SHAPE(1), NULL};
    const weft_safetensors_meta half = {"key", NULL}, keyless = {NULL, "value"};
    ERR_SAYS(weft_safetensors_open(NULL, &file, &err));
    ERR_SAYS(weft_safetensors_open("/nonexistent", NULL, &err));
    weft_safetensors_close(NULL);
    assert_int_equal(weft_safetensors_count(NULL), 0);
    NOTHING_QUIETLY(weft_safetensors_at(NULL, 0));
    NOTHING_QUIETLY(weft_safetensors_find(NULL, "x"));
    assert_int_equal(weft_safetensors_meta_count(NULL), 0);
    NOTHING_QUIETLY(weft_safetensors_meta_at(NULL, 0));
    NOTHING_QUIETLY(weft_safetensors_meta_find(NULL, "x"));
    const char *path = "/nonexistent/x";
    ERR_SAYS(weft_safetensors_write(NULL, &good, 1, NULL, 0, &err));
    ERR_SAYS(weft_safetensors_write(path, NULL, 1, NULL, 0, &err));
    ERR_SAYS(weft_safetensors_write(path, &nameless, 1, NULL, 0, &err));
    ERR_SAYS(weft_safetensors_write(path, &empty, 1, NULL, 0, &err));
    ERR_SAYS(weft_safetensors_write(path, &good, -1, NULL, 0, &err));
    ERR_SAYS(weft_safetensors_write(path, &good, 1, NULL, 1, &err));
    ERR_SAYS(weft_safetensors_write(path, &good, 1, &half, 1, &err));
    ERR_SAYS(weft_safetensors_write(path, &good, 1, &keyless, 1, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_WITH_PARTS(module_functions),         TEST_WITH_PARTS(containers_and_models),
        TEST_WITH_PARTS(layers_without_a_context), TEST_WITH_PARTS(training_functions),
        TEST_WITH_PARTS(run_and_report_functions), TEST_WITH_PARTS(data_functions),
        TEST_WITH_PARTS(safetensors_functions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
