/* Registration and lookup of parts: what is checked, what is replaced, what errors say. */
#include "tests/modules/fixture.h"

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
    /* No argument brings a context: the error is the thread's. */
    assert_string_equal(weft_error_text(NULL),
                        "weft_register_parameter: the module is not initialised; create it with "
                        "weft_module_create() or call weft_module_init() first");
    assert_int_equal(weft_module_requires_grad(&raw, false), WEFT_ERR_STATE);
    assert_non_null(strstr(weft_error_text(NULL), "requires_grad: the module is not initialised"));
    assert_int_equal(weft_module_save(NULL, "x"), WEFT_ERR_STATE);
    assert_non_null(strstr(weft_error_text(NULL), "save: the module is NULL"));
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
    assert_int_equal(weft_register_module(m, "a", NULL, weft_linear_create(ctx, -1, 3, NULL)),
                     WEFT_ERR_INVALID);
    assert_int_equal(weft_register_module(m, "b", NULL, weft_linear_create(ctx, 2, 3, NULL)),
                     WEFT_OK);
    assert_null(weft_module_ok(m));
    assert_error(WEFT_ERR_INVALID, "Linear(-1, 3)");
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
    assert_int_equal(weft_register_parameter(m, "w", NULL, weft_tensor_ref(count)), WEFT_ERR_DTYPE);
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
    assert_int_equal(
        weft_register_parameter(m, "w", NULL, weft_tensor_create(other, WEFT_F32, WEFT_SHAPE(2))),
        WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "another context");
    assert_int_equal(weft_register_module(m, "m", NULL, weft_relu_create(other)), WEFT_ERR_INVALID);
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
        {'m', "left..deep", "is empty"},
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

static void paths_with_an_empty_name_name_nothing(void **state)
{
    weft_module *root = tree();
    static const char *const bad[] = {".",          "..", "left.", ".left",  "left..deep",
                                      "left.deep.", "w.", ".w",    "left..w"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_null(weft_get_module(root, bad[i]));
        assert_error(WEFT_ERR_NOT_FOUND, "a name in the path '");
        assert_null(weft_get_parameter(root, bad[i]));
        assert_error(WEFT_ERR_NOT_FOUND, "a name in the path '");
        assert_null(weft_get_buffer(root, bad[i]));
        assert_error(WEFT_ERR_NOT_FOUND, "a name in the path '");
    }
    assert_ptr_equal(weft_get_module(root, ""), root);
    assert_null(weft_get_parameter(root, ""));
    assert_error(WEFT_ERR_NOT_FOUND, "there is no such part");
    weft_module_unref(root);
}

typedef struct fields {
    weft_module base;
    weft_tensor *first, *second;
    weft_module *child, *other;
} fields;
static const weft_module_class fields_class = {.name = "Fields", .size = sizeof(fields)};

static void a_name_registered_again_with_another_field_leaves_none_dangling(void **state)
{
    fields *m = weft_module_create(ctx, &fields_class, NULL);
    weft_tensor *new = tensor(2);
    weft_module *child = bare();
    weft_register_parameter(&m->base, "p", &m->first, tensor(1));
    weft_register_parameter(&m->base, "p", &m->second, new);
    assert_null(m->first);
    assert_ptr_equal(m->second, new);
    weft_register_module(&m->base, "c", &m->child, bare());
    weft_register_module(&m->base, "c", &m->other, child);
    assert_null(m->child);
    assert_ptr_equal(m->other, child);
    weft_register_parameter(&m->base, "p", NULL, tensor(3)); /* the field stays */
    assert_ptr_equal(m->second, weft_get_parameter(&m->base, "p"));
    assert_no_error();
    weft_module_unref(&m->base);
}

static void a_field_holds_one_part_only(void **state)
{
    fields *m = weft_module_create(ctx, &fields_class, NULL);
    weft_tensor *p = tensor(1);
    weft_register_parameter(&m->base, "p", &m->first, p);
    assert_int_equal(weft_register_buffer(&m->base, "b", &m->first, tensor(2), true),
                     WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "the field given for buffer 'b' already holds 'p'");
    assert_ptr_equal(m->first, p);
    weft_register_module(&m->base, "c", &m->child, bare());
    assert_int_equal(weft_register_module(&m->base, "d", &m->child, bare()), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "the field given for module 'd' already holds 'c'");
    weft_module_unref(&m->base);
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
        TEST(paths_with_an_empty_name_name_nothing),
        TEST(a_name_registered_again_with_another_field_leaves_none_dangling),
        TEST(a_field_holds_one_part_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
