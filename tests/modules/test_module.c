/* Registration, lookup, traversal and modes of modules. */
#include "tests/modules/fixture.h"

/* root: parameter "w", buffer "b"; children "left" and "right" (each "w"), "left" with a child
 * "deep" (parameter "w", buffer "b"). */
static weft_module *tree(void)
{
    weft_module *root = bare(), *left = bare(), *right = bare(), *deep = bare();
    weft_register_parameter(deep, "w", NULL, tensor(4));
    weft_register_buffer(deep, "b", NULL, tensor(5), false);
    weft_register_parameter(left, "w", NULL, tensor(2));
    weft_register_module(left, "deep", NULL, deep);
    weft_register_parameter(right, "w", NULL, tensor(3));
    weft_register_module(root, "left", NULL, left);
    weft_register_parameter(root, "w", NULL, tensor(1));
    weft_register_module(root, "right", NULL, right);
    weft_register_buffer(root, "b", NULL, tensor(0), true);
    assert_no_error();
    return root;
}

/* ---- registration ---- */

static void an_uninitialised_module_is_an_error_that_says_so(void **state)
{
    weft_module raw;
    memset(&raw, 0x5a, sizeof(raw));
    assert_int_equal(weft_register_parameter(&raw, "w", NULL, tensor(1)), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "weft_register_parameter: the module is not initialised");
    assert_int_equal(weft_register_buffer(&raw, "w", NULL, tensor(1), true), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "not initialised");
    assert_int_equal(weft_register_module(&raw, "w", NULL, bare()), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "not initialised");
    assert_int_equal(weft_register_parameter(&raw, "w", NULL, NULL), WEFT_ERR_STATE);
    assert_int_equal(weft_module_init(&raw, ctx, &bare_class), WEFT_OK);
    assert_int_equal(weft_register_parameter(&raw, "w", NULL, tensor(1)), WEFT_OK);
    weft_module_unref(&raw);
    weft_module *parent = bare();
    weft_module other;
    memset(&other, 0, sizeof(other));
    assert_int_equal(weft_register_module(parent, "m", NULL, &other), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "module 'm' is not initialised");
    weft_module_unref(parent);
}

static void names_are_checked(void **state)
{
    static const struct {
        const char *name, *message;
    } cases[] = {{"", "is empty"}, {NULL, "is empty"}, {"a.b", "contains a '.'"}, {".", "'.'"}};
    weft_module *m = bare();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *name = cases[i].name;
        assert_int_equal(weft_register_parameter(m, name, NULL, tensor(1)), WEFT_ERR_INVALID);
        assert_error(WEFT_ERR_INVALID, cases[i].message);
        assert_int_equal(weft_register_buffer(m, name, NULL, tensor(1), true), WEFT_ERR_INVALID);
        assert_error(WEFT_ERR_INVALID, cases[i].message);
        assert_int_equal(weft_register_module(m, name, NULL, bare()), WEFT_ERR_INVALID);
        assert_error(WEFT_ERR_INVALID, cases[i].message);
    }
    weft_module_unref(m);
}

static weft_status register_kind(weft_module *m, int kind)
{
    switch (kind) {
    case 0: return weft_register_parameter(m, "x", NULL, tensor(1));
    case 1: return weft_register_buffer(m, "x", NULL, tensor(1), true);
    default: return weft_register_module(m, "x", NULL, bare());
    }
}

static void a_name_of_another_kind_clashes_and_of_the_same_kind_is_replaced(void **state)
{
    for (int a = 0; a < 3; a++) {
        for (int b = 0; b < 3; b++) {
            weft_module *m = bare();
            assert_int_equal(register_kind(m, a), WEFT_OK);
            if (a == b) {
                assert_int_equal(register_kind(m, b), WEFT_OK);
            } else {
                assert_int_equal(register_kind(m, b), WEFT_ERR_STATE);
                assert_error(WEFT_ERR_STATE, "there is a ");
            }
            weft_module_unref(m);
        }
    }
}

static void replacing_keeps_the_place_and_fills_the_field(void **state)
{
    weft_module *m = bare();
    weft_tensor *field = NULL;
    weft_register_parameter(m, "a", &field, tensor(1));
    weft_register_parameter(m, "b", NULL, tensor(2));
    assert_true(first(field) == 1);
    assert_int_equal(weft_register_parameter(m, "a", NULL, tensor(3)), WEFT_OK);
    assert_true(first(field) == 3);
    assert_ptr_equal(field, weft_get_parameter(m, "a"));
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    char text[64];
    assert_int_equal(weft_parameters(m, 0, &list), WEFT_OK);
    assert_string_equal(names(&list, text, sizeof(text)), "a b");
    weft_tensor_list_done(&list);
    weft_module_unref(m);
}

static void a_null_value_keeps_the_slot_empty(void **state)
{
    weft_module *m = bare();
    weft_tensor *field = NULL;
    assert_int_equal(weft_register_parameter(m, "p", &field, NULL), WEFT_OK);
    assert_int_equal(weft_register_buffer(m, "b", NULL, NULL, true), WEFT_OK);
    assert_int_equal(weft_register_module(m, "m", NULL, NULL), WEFT_OK);
    assert_null(weft_get_parameter(m, "p"));
    assert_error(WEFT_ERR_NOT_FOUND, "parameter 'p' is empty");
    assert_int_equal(weft_register_buffer(m, "p", NULL, tensor(1), true), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "there is a parameter 'p'");
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_state_dict(m, &list), WEFT_OK);
    assert_int_equal(list.n, 0);
    weft_tensor_list_done(&list);
    assert_int_equal(weft_register_parameter(m, "p", NULL, tensor(6)), WEFT_OK);
    assert_true(first(field) == 6);
    weft_module_unref(m);
}

static void a_part_that_failed_to_be_made_fails_the_constructor(void **state)
{
    weft_module *m = bare();
    assert_int_equal(weft_register_module(m, "a", NULL, weft_linear_create(ctx, 0, 3, NULL)),
                     WEFT_ERR_INVALID);
    assert_int_equal(weft_register_module(m, "b", NULL, weft_linear_create(ctx, 2, 3, NULL)),
                     WEFT_OK);
    assert_null(weft_module_ok(m));
    assert_error(WEFT_ERR_INVALID, "Linear(0, 3)");
}

static void only_stored_tensors_of_a_fitting_type_can_be_registered(void **state)
{
    weft_module *m = bare();
    weft_tensor *x = tensor(1);
    assert_int_equal(weft_register_parameter(m, "w", NULL, weft_relu(x)), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "'w' is the result of an op");
    assert_int_equal(weft_register_buffer(m, "w", NULL, weft_relu(x), true), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "'w' is the result of an op");
    weft_tensor *count = weft_tensor_create(ctx, WEFT_I64, WEFT_SCALAR);
    assert_int_equal(weft_register_parameter(m, "w", NULL, weft_tensor_ref(count)),
                     WEFT_ERR_DTYPE);
    assert_error(WEFT_ERR_DTYPE, "is i64");
    assert_int_equal(weft_register_buffer(m, "w", NULL, count, true), WEFT_OK);
    weft_tensor_unref(x);
    weft_module_unref(m);
}

static void a_parameter_requires_a_gradient_and_a_buffer_does_not(void **state)
{
    weft_module *m = bare();
    weft_tensor *w = tensor(1), *b = tensor(2);
    weft_register_parameter(m, "w", NULL, w);
    weft_register_buffer(m, "b", NULL, b, true);
    assert_true(weft_requires_grad(w));
    assert_false(weft_requires_grad(b));
    weft_module_unref(m);
}

static void a_cycle_is_an_error(void **state)
{
    weft_module *a = bare(), *b = bare(), *c = bare();
    assert_int_equal(weft_register_module(a, "self", NULL, weft_module_ref(a)), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "would close a cycle");
    weft_register_module(a, "b", NULL, b);
    weft_register_module(b, "c", NULL, c);
    assert_int_equal(weft_register_module(c, "a", NULL, weft_module_ref(a)), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "'a' would close a cycle");
    weft_module_unref(a);
}

static void parts_of_another_context_are_refused(void **state)
{
    weft_context *other;
    assert_int_equal(weft_context_create(&other, NULL, NULL), WEFT_OK);
    weft_module *m = bare();
    assert_int_equal(weft_register_parameter(m, "w", NULL,
                                             weft_tensor_create(other, WEFT_F32, WEFT_SHAPE(2))),
                     WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "another context");
    assert_int_equal(weft_register_module(m, "m", NULL, weft_relu_create(other)),
                     WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "another context");
    weft_module_unref(m);
    weft_context_destroy(other);
}

/* ---- lookup ---- */

static void lookup_follows_dotted_paths(void **state)
{
    weft_module *root = tree();
    assert_ptr_equal(weft_get_module(root, ""), root);
    assert_true(first(weft_get_parameter(root, "w")) == 1);
    assert_true(first(weft_get_parameter(root, "left.deep.w")) == 4);
    assert_true(first(weft_get_buffer(root, "left.deep.b")) == 5);
    weft_module *deep = weft_get_module(root, "left.deep");
    assert_true(first(weft_get_parameter(deep, "w")) == 4);
    assert_no_error();
    weft_module_unref(root);
}

static void lookup_of_what_is_missing_names_the_path(void **state)
{
    static const struct {
        char kind; /* p, b, m */
        const char *path, *message;
    } cases[] = {
        {'p', "left.deep.x", "no parameter 'left.deep.x'"},
        {'p', "left.dip.w", "no module 'left.dip' (in 'left.dip.w')"},
        {'p', "b", "'b': it is a buffer"},
        {'p', "left", "'left': it is a module"},
        {'b', "left.deep.w", "it is a parameter"},
        {'m', "left.w", "it is not a module"},
        {'m', "left.w.x", "no module 'left.w' (in 'left.w.x'): it is not a module"},
        {'m', "middle", "no module 'middle'"},
        {'p', "", "no parameter ''"},
        {'m', "left..deep", "no such part"},
    };
    weft_module *root = tree();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *path = cases[i].path;
        if (cases[i].kind == 'm')
            assert_null(weft_get_module(root, path));
        else
            assert_null(cases[i].kind == 'p' ? weft_get_parameter(root, path)
                                             : weft_get_buffer(root, path));
        assert_error(WEFT_ERR_NOT_FOUND, cases[i].message);
    }
    weft_module_unref(root);
}

/* ---- traversal ---- */

static void traversal_is_pre_order_in_order_of_registration(void **state)
{
    weft_module *root = tree();
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_module_list modules = WEFT_MODULE_LIST_INIT, children = WEFT_MODULE_LIST_INIT;
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
    weft_module_list_done(&modules);
    assert_int_equal(weft_children(root, &children), WEFT_OK);
    assert_int_equal(children.n, 2);
    assert_string_equal(children.item[1].name, "right");
    weft_module_list_done(&children);
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
    weft_module_list modules = WEFT_MODULE_LIST_INIT;
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
    weft_module_list_done(&modules);
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
    weft_module *a = bare(), *b = bare(), *child = weft_module_create(ctx, &counted_class);
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
    pair *p = weft_module_create(ctx, &pair_class);
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
    weft_tensor *from = weft_get_parameter(p->a, "weight"), *to = weft_get_parameter(copy->a,
                                                                                     "weight");
    assert_memory_equal(weft_tensor_data(from), weft_tensor_data(to), 6 * sizeof(float));
    weft_init_constant(to, 9);
    assert_true(first(from) != 9);
    weft_module_unref(&p->base);
    assert_true(first(to) == 9);
    weft_module_unref(&copy->base);
}

static void a_class_with_a_destroy_needs_a_clone(void **state)
{
    weft_module *m = weft_module_create(ctx, &counted_class);
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
        TEST(an_uninitialised_module_is_an_error_that_says_so),
        TEST(names_are_checked),
        TEST(a_name_of_another_kind_clashes_and_of_the_same_kind_is_replaced),
        TEST(replacing_keeps_the_place_and_fills_the_field),
        TEST(a_null_value_keeps_the_slot_empty),
        TEST(a_part_that_failed_to_be_made_fails_the_constructor),
        TEST(only_stored_tensors_of_a_fitting_type_can_be_registered),
        TEST(a_parameter_requires_a_gradient_and_a_buffer_does_not),
        TEST(a_cycle_is_an_error),
        TEST(parts_of_another_context_are_refused),
        TEST(lookup_follows_dotted_paths),
        TEST(lookup_of_what_is_missing_names_the_path),
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
