/* Traversal, modes, life and copies of modules. */
#include "tests/modules/fixture.h"

/* ---- traversal ---- */

static void traversal_is_pre_order_in_order_of_registration(void **state)
{
    weft_module *root = tree();
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_named_modules modules = WEFT_NAMED_MODULES_INIT, children = WEFT_NAMED_MODULES_INIT;
    char text[128];
    assert_int_equal(weft_parameters(root, 0, &list), WEFT_OK);
    assert_string_equal(names(&list, text, sizeof(text)), "w left.w left.deep.w right.w");
    weft_tensor_list_done(&list);
    assert_int_equal(weft_parameters(root, WEFT_WALK_SHALLOW, &list), WEFT_OK);
    assert_string_equal(names(&list, text, sizeof(text)), "w");
    weft_tensor_list_done(&list);
    assert_int_equal(weft_buffers(root, 0, &list), WEFT_OK);
    assert_string_equal(names(&list, text, sizeof(text)), "b left.deep.b");
    weft_tensor_list_done(&list);
    assert_int_equal(weft_modules(root, 0, &modules), WEFT_OK);
    assert_int_equal(modules.n, 4);
    assert_string_equal(modules.item[0].name, "");
    assert_string_equal(modules.item[2].name, "left.deep");
    assert_string_equal(modules.item[3].name, "right");
    weft_named_modules_done(&modules);
    assert_int_equal(weft_children(root, &children), WEFT_OK);
    assert_int_equal(children.n, 2);
    assert_string_equal(children.item[1].name, "right");
    weft_named_modules_done(&children);
    weft_module_unref(root);
}

static void shared_objects_are_listed_once_unless_asked(void **state)
{
    weft_module *root = bare(), *shared = bare();
    weft_tensor *w = tensor(1);
    weft_register_parameter(shared, "w", NULL, weft_tensor_ref(w));
    weft_register_module(root, "a", NULL, weft_module_ref(shared));
    weft_register_module(root, "b", NULL, shared);
    weft_register_parameter(root, "tied", NULL, w);
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_named_modules modules = WEFT_NAMED_MODULES_INIT;
    char text[64];
    assert_int_equal(weft_parameters(root, 0, &list), WEFT_OK);
    assert_string_equal(names(&list, text, sizeof(text)), "tied");
    weft_tensor_list_done(&list);
    assert_int_equal(weft_parameters(root, WEFT_WALK_DUPLICATES, &list), WEFT_OK);
    assert_string_equal(names(&list, text, sizeof(text)), "tied a.w b.w");
    weft_tensor_list_done(&list);
    assert_int_equal(weft_modules(root, 0, &modules), WEFT_OK);
    assert_int_equal(modules.n, 2);
    assert_int_equal(weft_modules(root, WEFT_WALK_DUPLICATES, &modules), WEFT_OK);
    assert_int_equal(modules.n, 5);
    weft_named_modules_done(&modules);
    assert_int_equal(weft_parameter_count(root, false), 2);
    weft_module_unref(root);
}

static weft_status note_name(weft_module *m, void *user)
{
    weft_tensor_list own = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_parameters(m, WEFT_WALK_SHALLOW, &own), WEFT_OK);
    char *text = user;
    size_t n = strlen(text);
    text[n] = (char)('0' + (int)first(own.item[0].tensor));
    text[n + 1] = '\0';
    weft_tensor_list_done(&own);
    return strcmp(text, "42") == 0 ? WEFT_OK : text[n] == '3' ? WEFT_ERR_STATE : WEFT_OK;
}

static void apply_visits_children_first_and_stops_at_a_failure(void **state)
{
    weft_module *root = tree();
    char text[8] = "";
    assert_int_equal(weft_module_apply(root, note_name, text), WEFT_ERR_STATE);
    assert_string_equal(text, "423"); /* deep, left, right; root is not reached */
    text[0] = '\0';
    assert_int_equal(weft_module_apply(weft_get_module(root, "left"), note_name, text), WEFT_OK);
    assert_string_equal(text, "42");
    weft_module_unref(root);
}

static void parameter_counts_leave_out_frozen_ones_when_asked(void **state)
{
    weft_module *root = tree();
    assert_int_equal(weft_parameter_count(root, false), 8);
    weft_module_requires_grad(weft_get_module(root, "left"), false);
    assert_int_equal(weft_parameter_count(root, true), 4);
    assert_false(weft_requires_grad(weft_get_parameter(root, "left.deep.w")));
    assert_true(weft_requires_grad(weft_get_parameter(root, "right.w")));
    weft_module_requires_grad(root, true);
    assert_int_equal(weft_parameter_count(root, true), 8);
    weft_module_unref(root);
}

static void train_and_eval_are_recursive(void **state)
{
    weft_module *root = tree();
    weft_module *deep = weft_get_module(root, "left.deep");
    assert_true(root->training && deep->training);
    weft_module_eval(root);
    assert_false(root->training || deep->training);
    weft_module_train(weft_get_module(root, "left"), true);
    assert_true(!root->training && deep->training);
    weft_module_unref(root);
}

/* ---- life ---- */

static int destroyed;
static void count_destroy(weft_module *m)
{
    destroyed++;
}
static const weft_module_class counted_class = {
    .name = "Counted", .size = sizeof(weft_module), .destroy = count_destroy};

static void a_shared_child_dies_with_its_last_parent(void **state)
{
    destroyed = 0;
    weft_module *a = bare(), *b = bare(), *child = weft_module_create(ctx, &counted_class, NULL);
    weft_register_module(a, "x", NULL, weft_module_ref(child));
    weft_register_module(b, "x", NULL, child);
    weft_module_unref(a);
    assert_int_equal(destroyed, 0);
    weft_module_unref(b);
    assert_int_equal(destroyed, 1);
    weft_module_unref(NULL);
}

static void modules_may_outlive_their_context(void **state)
{
    weft_module *root = tree();
    weft_context_destroy(ctx);
    weft_module_unref(root);
    ctx = NULL;
}

typedef struct pair {
    weft_module base;
    weft_module *a, *b;
    weft_tensor *w;
    int number;
} pair;
static const weft_module_class pair_class = {.name = "Pair", .size = sizeof(pair)};

static void a_clone_shares_no_storage_and_keeps_what_was_shared_inside(void **state)
{
    pair *p = weft_module_create(ctx, &pair_class, NULL);
    p->number = 42;
    weft_register_module(&p->base, "a", &p->a, weft_linear_create(ctx, 3, 2, NULL));
    weft_register_module(&p->base, "b", &p->b, weft_module_ref(p->a));
    weft_register_parameter(&p->base, "w", &p->w, tensor(1));
    weft_module_eval(&p->base);
    pair *copy = (pair *)weft_module_clone(&p->base);
    assert_non_null(copy);
    assert_int_equal(copy->number, 42);
    assert_false(copy->base.training);
    assert_ptr_equal(copy->a, copy->b);
    assert_ptr_not_equal(copy->a, p->a);
    assert_ptr_not_equal(copy->w, p->w);
    assert_ptr_equal(copy->w, weft_get_parameter(&copy->base, "w"));
    assert_true(weft_requires_grad(copy->w));
    weft_tensor *from = weft_get_parameter(p->a, "weight"),
                *to = weft_get_parameter(copy->a, "weight");
    assert_memory_equal(weft_tensor_data(from), weft_tensor_data(to), 6 * sizeof(float));
    weft_init_constant(to, 9);
    assert_true(first(from) != 9);
    weft_module_unref(&p->base);
    assert_true(first(to) == 9);
    weft_module_unref(&copy->base);
}

static void a_class_with_a_destroy_needs_a_clone(void **state)
{
    weft_module *m = weft_module_create(ctx, &counted_class, NULL);
    assert_null(weft_module_clone(m));
    assert_error(WEFT_ERR_UNSUPPORTED, "Counted cannot be cloned");
    weft_module_unref(m);
}

static void to_changes_the_type_of_everything_that_floats(void **state)
{
    weft_module *m = WEFT_SEQUENTIAL(ctx, weft_linear_create(ctx, 3, 2, NULL),
                                     weft_batch_norm2d_create(ctx, 2, NULL));
    double before = first(weft_get_parameter(m, "0.weight"));
    assert_int_equal(weft_module_to(m, WEFT_F64), WEFT_OK);
    weft_tensor *w = weft_get_parameter(m, "0.weight");
    assert_int_equal(weft_tensor_dtype(w), WEFT_F64);
    assert_true(*(double *)weft_tensor_data(w) == before);
    assert_true(weft_requires_grad(w));
    assert_int_equal(weft_tensor_dtype(weft_get_buffer(m, "1.running_var")), WEFT_F64);
    assert_int_equal(weft_tensor_dtype(weft_get_buffer(m, "1.num_batches_tracked")), WEFT_I64);
    assert_int_equal(weft_module_to(m, WEFT_U8), WEFT_ERR_DTYPE);
    assert_error(WEFT_ERR_DTYPE, "u8");
    weft_module_unref(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(traversal_is_pre_order_in_order_of_registration),
        TEST(shared_objects_are_listed_once_unless_asked),
        TEST(apply_visits_children_first_and_stops_at_a_failure),
        TEST(parameter_counts_leave_out_frozen_ones_when_asked),
        TEST(train_and_eval_are_recursive),
        TEST(a_shared_child_dies_with_its_last_parent),
        TEST(modules_may_outlive_their_context),
        TEST(a_clone_shares_no_storage_and_keeps_what_was_shared_inside),
        TEST(a_class_with_a_destroy_needs_a_clone),
        TEST(to_changes_the_type_of_everything_that_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
