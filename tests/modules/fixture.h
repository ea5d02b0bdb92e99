/* What the module tests share: a context for each test, and short forms. */
#ifndef TESTS_MODULES_FIXTURE_H
#define TESTS_MODULES_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "weft/weft.h"

/* The context of the running test, seed 7, one thread. */
static weft_context *ctx;

static int setup(void **state)
{
    weft_options options = {.threads = 1, .seed = 7};
    return weft_context_create(&ctx, &options, NULL) == WEFT_OK ? 0 : -1;
}

static int teardown(void **state)
{
    weft_context_destroy(ctx);
    ctx = NULL;
    return 0;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

/* The status is `want`, the context's error text contains `part`; clears the error. */
#define assert_error(want, part)                                                                   \
    do {                                                                                           \
        if (weft_error_status(ctx) != (want) || strstr(weft_error_text(ctx), (part)) == NULL)      \
            fail_msg("status %d, text \"%s\": expected %d and \"%s\"", weft_error_status(ctx),     \
                     weft_error_text(ctx), (want), (part));                                        \
        weft_error_clear(ctx);                                                                     \
    } while (0)

#define assert_no_error() assert_string_equal(weft_error_text(ctx), "")

/* A module with nothing in it. */
static const weft_module_class bare_class = {.name = "Bare", .size = sizeof(weft_module)};

static inline weft_module *bare(void)
{
    weft_module *m = weft_module_create(ctx, &bare_class, NULL);
    assert_non_null(m);
    return m;
}

static inline weft_tensor *tensor(float value)
{
    return weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2), value);
}

static inline float first(weft_tensor *t)
{
    return ((const float *)weft_tensor_const_data(t))[0];
}

/* root: parameter "w", buffer "b"; children "left" and "right" (each "w"), "left" with a child
 * "deep" (parameter "w", buffer "b"). */
static inline weft_module *tree(void)
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

/* "a b c": the names in the list. */
static inline const char *names(const weft_tensor_list *list, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (int i = 0; i < list->n; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%s", i > 0 ? " " : "", list->item[i].name);
    return text;
}

#endif
