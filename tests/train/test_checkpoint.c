/* Checkpoints: what is saved is everything, and comes back to the bit. */
#include "tests/train/checkpoint_fixture.h"

#include "train/checkpoint/disk.h"
#include "train/trainer_state.h"

/* ---- exactness ------------------------------------------------------------------------------- */

/* Saves at some steps of a training, loads into a new one with another number of threads, and goes
 * to the end. */
static void resumes_to_the_bit(const training_opts *o)
{
    weft_error err = WEFT_ERROR_INIT;
    training whole, part;
    char path[128];
    const int steps = o->recipe ? (STEPS + 1) / 2 : STEPS;
    must_open(&whole, o);
    assert_good(weft_trainer_run(whole.trainer, NULL, &err), &err);
    assert_true(weft_trainer_finished(whole.trainer));
    weft_train_result r;
    weft_trainer_get_result(whole.trainer, &r);
    assert_true(r.stopped_early || r.steps == (o->epochs ? o->epochs : EPOCHS) * steps);
    /* before the first step, inside an epoch, at its end, behind it, at the end of the training */
    const int places[] = {0, steps - 1, steps, steps + 1, (int)r.steps};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        const int at = places[i];
        snprintf(path, sizeof path, "%s/%d-%d-%d", scratch_dir, o->recipe ? 2 : o->adamw,
                 (int)o->epochs, at);
        must_open(&part, o);
        take_steps(&part, at);
        assert_good(weft_checkpoint_save(part.trainer, path, &err), &err);
        training_close(&part);
        training_opts other = *o;
        other.threads = 1 + at % 2;
        must_open(&part, &other);
        assert_good(weft_checkpoint_load(part.trainer, path, &err), &err);
        assert_good(weft_trainer_run(part.trainer, NULL, &err), &err);
        assert_same_state(&whole, &part);
        training_close(&part);
    }
    training_close(&whole);
}

static void a_training_resumed_at_any_step_has_the_same_bits(void **state)
{
    resumes_to_the_bit(&(training_opts){0});
    resumes_to_the_bit(&(training_opts){.adamw = true});
    resumes_to_the_bit(&(training_opts){.recipe = true});
    resumes_to_the_bit(&(training_opts){.recipe = true, .epochs = 9});
}

static void a_loaded_trainer_is_the_saved_one_at_once(void **state)
{
    weft_error err = WEFT_ERROR_INIT;
    training a, b;
    must_open(&a, &(training_opts){0});
    must_open(&b, &(training_opts){0});
    take_steps(&a, STEPS + 2);
    take_steps(&b, 1);
    assert_good(weft_checkpoint_save(a.trainer, in_scratch("at"), &err), &err);
    assert_good(weft_checkpoint_load(b.trainer, in_scratch("at"), &err), &err);
    assert_same_state(&a, &b);
    /* Back to its beginning, and forward again. */
    take_steps(&a, 3);
    assert_good(weft_checkpoint_load(a.trainer, in_scratch("at"), &err), &err);
    assert_same_state(&a, &b);
    take_steps(&a, 4);
    take_steps(&b, 4);
    assert_same_state(&a, &b);
    training_close(&a);
    training_close(&b);
}

static void the_models_file_is_weights_like_any_other(void **state)
{
    weft_error err = WEFT_ERROR_INIT;
    training a, b;
    char file[256];
    must_open(&a, &(training_opts){0});
    must_open(&b, &(training_opts){0});
    take_steps(&a, 3);
    assert_good(weft_checkpoint_save(a.trainer, in_scratch("at"), &err), &err);
    snprintf(file, sizeof file, "%s/at/model.safetensors", scratch_dir);
    assert_int_equal(weft_module_load(b.model, file, true), WEFT_OK);
    weft_tensor_list x = WEFT_TENSOR_LIST_INIT, y = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_state_dict(a.model, &x), WEFT_OK);
    assert_int_equal(weft_state_dict(b.model, &y), WEFT_OK);
    for (int i = 0; i < x.n; i++)
        assert_memory_equal(weft_tensor_const_data(x.item[i].tensor),
                            weft_tensor_const_data(y.item[i].tensor),
                            weft_dtype_size(weft_tensor_dtype(x.item[i].tensor)) *
                                (size_t)weft_shape_count(weft_tensor_shape(x.item[i].tensor)));
    weft_tensor_list_done(&x);
    weft_tensor_list_done(&y);
    training_close(&a);
    training_close(&b);
}

/* ---- what does not fit ----------------------------------------------------------------------- */

static void a_checkpoint_of_another_training_changes_nothing(void **state)
{
    weft_error err = WEFT_ERROR_INIT;
    training a, b;
    must_open(&a, &(training_opts){.adamw = true});
    take_steps(&a, 2);
    assert_good(weft_checkpoint_save(a.trainer, in_scratch("adamw"), &err), &err);
    training_close(&a);

    must_open(&a, &(training_opts){0});
    must_open(&b, &(training_opts){0});
    take_steps(&a, 4);
    take_steps(&b, 4);
    assert_int_equal(weft_checkpoint_load(b.trainer, in_scratch("adamw"), &err), WEFT_ERR_INVALID);
    assert_non_null(strstr(err.text, "optimizer"));
    assert_same_state(&a, &b);
    assert_int_equal(weft_error_status(b.ctx), WEFT_OK);

    /* The optimizer fits, the model does not: what was loaded before it is put back. */
    weft_module *other = WEFT_SEQUENTIAL(b.ctx, weft_flatten_create(b.ctx),
                                         weft_linear_create(b.ctx, PIXELS, K, NULL));
    weft_train_opts opts = b.opts;
    weft_trainer *odd = NULL;
    assert_non_null(other);
    assert_int_equal(weft_trainer_create(other, &opts, &odd, NULL), WEFT_OK);
    assert_good(weft_checkpoint_save(odd, in_scratch("odd"), NULL), &err);
    weft_trainer_destroy(odd);
    weft_module_unref(other);
    take_steps(&a, 1);
    take_steps(&b, 1);
    err = (weft_error)WEFT_ERROR_INIT;
    assert_int_not_equal(weft_checkpoint_load(b.trainer, in_scratch("odd"), &err), WEFT_OK);
    assert_same_state(&a, &b);
    take_steps(&a, 3);
    take_steps(&b, 3);
    assert_same_state(&a, &b);
    training_close(&a);
    training_close(&b);
}

/* The optimizer's state fits, its momentum does not: the state was loaded by then. */
static void a_setting_out_of_range_changes_nothing(void **state)
{
    weft_error err = WEFT_ERROR_INIT;
    wf_ckpt_image image = {0};
    training a, b;
    must_open(&a, &(training_opts){0});
    take_steps(&a, 2);
    assert_good(weft_checkpoint_save(a.trainer, in_scratch("good"), &err), &err);
    assert_good(wf_ckpt_read(in_scratch("good"), a.ctx->memory, 2, &image, &err), &err);
    const wf_ckpt_file *file = wf_ckpt_image_find(&image, "state.json");
    char *text = file->block.data, *at = memmem(text, file->block.size, "\"momentum\": 0", 13);
    assert_non_null(at);
    at[12] = '7';
    json_object_del(image.about, "manifest_xxh3"); /* the old manifest's */
    assert_good(wf_ckpt_write(&image, in_scratch("bad"), &err), &err);
    wf_ckpt_image_done(&image);
    must_open(&b, &(training_opts){0});
    take_steps(&a, 2);
    take_steps(&b, 4);
    assert_int_equal(weft_checkpoint_load(b.trainer, in_scratch("bad"), &err), WEFT_ERR_INVALID);
    assert_non_null(strstr(err.text, "momentum"));
    assert_same_state(&a, &b);
    training_close(&a);
    training_close(&b);
}

/* The blocks of a checkpoint that was written or loaded hold the next copy. */
static void the_next_checkpoint_uses_the_memory_of_the_one_before(void **state)
{
    weft_error err = WEFT_ERROR_INIT;
    training a;
    must_open(&a, &(training_opts){0});
    take_steps(&a, 1);
    assert_good(weft_checkpoint_save(a.trainer, in_scratch("0"), &err), &err);
    const wf_ckpt_file *model = wf_ckpt_image_find(&a.trainer->spare, "model.safetensors");
    assert_non_null(model);
    const void *data = model->block.data;
    take_steps(&a, 1);
    assert_good(weft_checkpoint_save(a.trainer, in_scratch("1"), &err), &err);
    assert_ptr_equal(wf_ckpt_image_find(&a.trainer->spare, "model.safetensors")->block.data, data);
    training_close(&a);
}

static void a_shorter_training_or_other_data_are_refused(void **state)
{
    weft_error err = WEFT_ERROR_INIT;
    training a, b;
    must_open(&a, &(training_opts){0});
    take_steps(&a, STEPS + 1);
    assert_good(weft_checkpoint_save(a.trainer, in_scratch("at"), &err), &err);
    must_open(&b, &(training_opts){.epochs = 1});
    assert_int_equal(weft_checkpoint_load(b.trainer, in_scratch("at"), &err), WEFT_ERR_INVALID);
    assert_non_null(strstr(err.text, "the training ends at step"));
    training_close(&a);
    training_close(&b);
}

static void a_name_that_is_taken_is_refused(void **state)
{
    weft_error err = WEFT_ERROR_INIT;
    training a;
    must_open(&a, &(training_opts){0});
    take_steps(&a, 1);
    assert_good(weft_checkpoint_save(a.trainer, in_scratch("at"), &err), &err);
    assert_int_equal(weft_checkpoint_save(a.trainer, in_scratch("at"), &err), WEFT_ERR_IO);
    err = (weft_error)WEFT_ERROR_INIT;
    assert_int_equal(weft_checkpoint_save(a.trainer, in_scratch("none/at"), &err), WEFT_ERR_IO);
    err = (weft_error)WEFT_ERROR_INIT;
    assert_int_equal(weft_checkpoint_load(a.trainer, in_scratch("none"), &err), WEFT_ERR_NOT_FOUND);
    assert_int_equal(weft_checkpoint_save(NULL, in_scratch("at"), NULL), WEFT_ERR_INVALID);
    assert_int_equal(weft_checkpoint_load(a.trainer, NULL, NULL), WEFT_ERR_INVALID);
    training_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_training_resumed_at_any_step_has_the_same_bits, scratch_clean),
        cmocka_unit_test_teardown(a_loaded_trainer_is_the_saved_one_at_once, scratch_clean),
        cmocka_unit_test_teardown(the_models_file_is_weights_like_any_other, scratch_clean),
        cmocka_unit_test_teardown(a_checkpoint_of_another_training_changes_nothing, scratch_clean),
        cmocka_unit_test_teardown(a_setting_out_of_range_changes_nothing, scratch_clean),
        cmocka_unit_test_teardown(the_next_checkpoint_uses_the_memory_of_the_one_before,
                                  scratch_clean),
        cmocka_unit_test_teardown(a_shorter_training_or_other_data_are_refused, scratch_clean),
        cmocka_unit_test_teardown(a_name_that_is_taken_is_refused, scratch_clean),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
