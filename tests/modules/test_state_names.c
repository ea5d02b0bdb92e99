/* Names in files that are not the network's own: those of wrappers, older ones, and both. */
#include <stdio.h>

#include "engine/base/alloc.h"
#include "tests/modules/state.h"
#include "tests/scratch.h"

/* Writes the state of m under the names that `rename` makes of its own; with n_averaged where
 * `averaged`. */
static void write_renamed(weft_module *m, void (*rename)(const char *name, char *text, size_t size),
                          bool averaged)
{
    static const int64_t count = 3;
    weft_tensor_list list = state_of(m);
    static char texts[1000][96];
    static weft_safetensors_entry entries[1001];
    assert_true(list.n <= 1000);
    for (int i = 0; i < list.n; i++) {
        weft_tensor *t = list.item[i].tensor;
        rename(list.item[i].name, texts[i], sizeof(texts[i]));
        entries[i] = (weft_safetensors_entry){texts[i], weft_tensor_dtype(t), weft_tensor_shape(t),
                                              weft_tensor_data(t)};
    }
    entries[list.n] = (weft_safetensors_entry){"n_averaged", WEFT_I64, WEFT_SCALAR, &count};
    assert_int_equal(
        weft_safetensors_write(scratch_file, entries, list.n + averaged, NULL, 0, NULL), WEFT_OK);
    weft_tensor_list_done(&list);
}

#define PREFIX(fn, text_)                                                                          \
    static void fn(const char *name, char *text, size_t size)                                      \
    {                                                                                              \
        snprintf(text, size, text_ "%s", name);                                                    \
    }
PREFIX(data_parallel, "module.")
PREFIX(compiled, "_orig_mod.")
PREFIX(lightning, "model.")
PREFIX(wrapped_twice, "module._orig_mod.")
PREFIX(checkpoint, "state_dict.module.")
PREFIX(network, "net.module.model.")
PREFIX(plain, "")

/* "0.weight" to "0.module.weight": one part of the network was wrapped. */
static void inner(const char *name, char *text, size_t size)
{
    int length = (int)strcspn(name, ".");
    snprintf(text, size, "%.*s.module%s", length, name, name + length);
}

static void what_wrappers_put_before_names_is_seen_through(void **state)
{
    void (*const wrappers[])(const char *, char *, size_t) = {
        plain, data_parallel, compiled, lightning, wrapped_twice, checkpoint, network, inner};
    for (size_t i = 0; i < sizeof(wrappers) / sizeof(wrappers[0]); i++)
        for (int averaged = 0; averaged < 2 && (averaged == 0 || i > 0); averaged++) {
            weft_module *a = net(), *b = net();
            weft_tensor_list from = state_of(a), to = state_of(b);
            number(&from, 3);
            write_renamed(a, wrappers[i], averaged);
            if (weft_module_load(b, scratch_file, true) != WEFT_OK)
                fail_msg("wrapper %zu: %s", i, weft_error_text(ctx));
            assert_same_values(&from, &to);
            weft_tensor_list_done(&from);
            weft_tensor_list_done(&to);
            weft_module_unref(a);
            weft_module_unref(b);
        }
}

static void a_module_that_is_called_as_a_wrapper_keeps_its_name(void **state)
{
    static const float own[] = {1, 2}, other[] = {3, 4};
    weft_module *m = bare(), *child = bare();
    weft_register_parameter(child, "w", NULL, tensor(0));
    weft_register_module(m, "module", NULL, child);
    weft_register_parameter(m, "w", NULL, tensor(0));
    weft_safetensors_entry e[] = {{"w", WEFT_F32, WEFT_SHAPE(2), own},
                                  {"module.w", WEFT_F32, WEFT_SHAPE(2), other}};
    assert_int_equal(weft_safetensors_write(scratch_file, e, 2, NULL, 0, NULL), WEFT_OK);
    assert_int_equal(weft_module_load(m, scratch_file, true), WEFT_OK);
    assert_true(first(weft_get_parameter(m, "w")) == 1);
    assert_true(first(weft_get_parameter(child, "w")) == 3);
    /* Wrapped, its own name is found behind the wrapper's. */
    e[0].name = "model.w";
    e[1].name = "model.module.w";
    assert_int_equal(weft_safetensors_write(scratch_file, e, 1, NULL, 0, NULL), WEFT_OK);
    assert_int_equal(weft_module_load(m, scratch_file, false), WEFT_OK);
    assert_true(first(weft_get_parameter(m, "w")) == 1);
    weft_module_unref(m);
}

/* Two entries for one tensor: its own name's is taken, the other is told. */
static void a_second_entry_for_a_tensor_is_unexpected(void **state)
{
    static const float own[] = {1, 2}, other[] = {3, 4};
    weft_module *m = bare();
    weft_register_parameter(m, "w", NULL, tensor(0));
    weft_safetensors_entry e[] = {{"module.w", WEFT_F32, WEFT_SHAPE(2), other},
                                  {"w", WEFT_F32, WEFT_SHAPE(2), own}};
    assert_int_equal(weft_safetensors_write(scratch_file, e, 2, NULL, 0, NULL), WEFT_OK);
    assert_int_equal(weft_module_load(m, scratch_file, true), WEFT_ERR_NOT_FOUND);
    assert_error(WEFT_ERR_NOT_FOUND, "1 unexpected\n  unexpected  module.w");
    assert_int_equal(weft_module_load(m, scratch_file, false), WEFT_OK);
    assert_true(first(weft_get_parameter(m, "w")) == 1);
    weft_module_unref(m);
}

/* A state in memory is loaded by its names alone, as load_state_dict does. */
static void a_state_in_memory_is_taken_by_its_names(void **state)
{
    weft_module *m = bare();
    weft_register_parameter(m, "w", NULL, tensor(0));
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_tensor *t = tensor(3);
    weft_tensor_list_add(&list, "module.w", t);
    assert_int_equal(weft_load_state_dict(m, &list, true), WEFT_ERR_NOT_FOUND);
    assert_error(WEFT_ERR_NOT_FOUND, "unexpected  module.w");
    weft_tensor_unref(t);
    weft_tensor_list_done(&list);
    weft_module_unref(m);
}

/* ---- DenseNet ---- */

/* torchvision's names of before 0.3: "features.denseblock1.denselayer1.norm.1.weight". */
static void old_densenet(const char *name, char *text, size_t size)
{
    const char *layer = strstr(name, "denselayer");
    const char *part = layer != NULL ? strchr(layer, '.') : NULL;
    if (part != NULL) /* ".norm1.weight" to ".norm.1.weight" */
        snprintf(text, size, "%.*s.%s", (int)(part - name) + 5, name, part + 5);
    else
        snprintf(text, size, "%s", name);
}

static void old_densenet_wrapped(const char *name, char *text, size_t size)
{
    char old[96];
    old_densenet(name, old, sizeof(old));
    snprintf(text, size, "module.%s", old);
}

static void densenets_first_published_names_load(void **state)
{
    weft_module *a = weft_model_create(ctx, "densenet121", NULL);
    weft_module *b = weft_model_create(ctx, "densenet121", NULL);
    weft_tensor_list from = state_of(a), to = state_of(b);
    char text[96];
    old_densenet("features.denseblock4.denselayer16.conv2.weight", text, sizeof(text));
    assert_string_equal(text, "features.denseblock4.denselayer16.conv.2.weight");
    for (int wrapped = 0; wrapped < 2; wrapped++) {
        number(&from, wrapped);
        write_renamed(a, wrapped ? old_densenet_wrapped : old_densenet, false);
        if (weft_module_load(b, scratch_file, true) != WEFT_OK)
            fail_msg("%s", weft_error_text(ctx));
        assert_same_values(&from, &to);
    }
    weft_safetensors *file;
    assert_int_equal(weft_safetensors_open(scratch_file, &file, NULL), WEFT_OK);
    const weft_safetensors_entry *e =
        weft_module_find_entry(b, file, "features.denseblock1.denselayer1.norm1.weight");
    assert_string_equal(e->name, "module.features.denseblock1.denselayer1.norm.1.weight");
    assert_string_equal(weft_module_find_entry(b, file, "classifier.bias")->name,
                        "module.classifier.bias");
    assert_null(weft_module_find_entry(b, file, "classifier.wait"));
    weft_safetensors_close(file);
    weft_tensor_list_done(&from);
    weft_tensor_list_done(&to);
    weft_module_unref(a);
    weft_module_unref(b);
}

static void every_failed_allocation_is_an_error_and_changes_nothing(void **state)
{
    weft_module *a = net(), *b = net();
    weft_tensor_list from = state_of(a), to = state_of(b);
    number(&from, 3);
    number(&to, 5);
    write_renamed(a, data_parallel, true);
    for (long n = 1;; n++) {
        wf_alloc_fail_at(n);
        weft_status status = weft_module_load(b, scratch_file, true);
        if (wf_alloc_fail_at(0) > 0) {
            assert_int_equal(status, WEFT_OK);
            assert_true(n > 20);
            break;
        }
        assert_int_equal(status, WEFT_ERR_NOMEM);
        assert_int_equal(weft_error_status(ctx), WEFT_ERR_NOMEM);
        weft_error_clear(ctx);
        assert_true(first(to.item[0].tensor) == 5);
    }
    assert_same_values(&from, &to);
    weft_tensor_list_done(&from);
    weft_tensor_list_done(&to);
    weft_module_unref(a);
    weft_module_unref(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_wrappers_put_before_names_is_seen_through),
        TEST(a_module_that_is_called_as_a_wrapper_keeps_its_name),
        TEST(a_second_entry_for_a_tensor_is_unexpected),
        TEST(a_state_in_memory_is_taken_by_its_names),
        TEST(densenets_first_published_names_load),
        TEST(every_failed_allocation_is_an_error_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
