/* Every allocation that modules make may fail: the error says so and nothing leaks or crashes (run
 * this under the sanitizers to see leaks). */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/memory/alloc.h"
#include "tests/modules/fixture.h"

/* Each makes something, uses it and drops it; false on failure. */
static bool make_model(weft_module *net)
{
    weft_module *m = weft_model_create(ctx, "lenet", NULL);
    weft_module_unref(m);
    return m != NULL;
}

static bool clone(weft_module *net)
{
    weft_module *m = weft_module_clone(net);
    weft_module_unref(m);
    return m != NULL;
}

static bool load_own_state(weft_module *net)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    bool ok = weft_state_dict(net, &list) == WEFT_OK &&
              weft_load_state_dict(net, &list, true) == WEFT_OK;
    weft_tensor_list_done(&list);
    return ok;
}

static bool list_everything(weft_module *net)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_module_list modules = WEFT_MODULE_LIST_INIT;
    bool ok = weft_parameters(net, 0, &list) == WEFT_OK && weft_buffers(net, 0, &list) == WEFT_OK &&
              weft_modules(net, 0, &modules) == WEFT_OK && weft_children(net, &modules) == WEFT_OK;
    weft_tensor_list_done(&list);
    weft_module_list_done(&modules);
    return ok;
}

static bool print(weft_module *net)
{
    FILE *f = fopen("/dev/null", "w");
    assert_non_null(f);
    bool ok = weft_module_print(net, f) == WEFT_OK;
    fclose(f);
    return ok;
}

static char path[] = "/tmp/weft-no-memory-XXXXXX";

static bool save_and_load(weft_module *net)
{
    return weft_module_save(net, path) == WEFT_OK && weft_module_load(net, path, true) == WEFT_OK;
}

static bool change_type(weft_module *net)
{
    weft_dtype dtype = weft_tensor_dtype(weft_get_parameter(net, "fc.bias"));
    return weft_module_to(net, dtype == WEFT_F32 ? WEFT_F64 : WEFT_F32) == WEFT_OK;
}

static bool insert(weft_module *net)
{
    weft_module *m = WEFT_SEQUENTIAL(ctx, weft_relu_create(ctx), weft_softmax_create(ctx, 1));
    bool ok = m != NULL && weft_insert(m, 0, weft_flatten_create(ctx)) == WEFT_OK;
    weft_module_unref(m);
    return ok;
}

static void failed_allocations_are_clean_errors(void **state)
{
    static const struct {
        const char *name;
        bool (*run)(weft_module *net);
    } cases[] = {{"make_model", make_model}, {"clone", clone},
                 {"load_own_state", load_own_state}, {"list_everything", list_everything},
                 {"print", print}, {"insert", insert},
                 {"save_and_load", save_and_load}, {"change_type", change_type}};
    weft_module *net = weft_model_create(ctx, "fmnist_cnn", NULL);
    assert_non_null(net);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (long n = 1;; n++) {
            wf_alloc_fail_at(n);
            bool ok = cases[i].run(net);
            if (wf_alloc_fail_at(0) > 0) {
                assert_true(ok);
                assert_true(n > 1); /* something was let fail */
                break;
            }
            if (ok || strstr(weft_error_text(ctx), "memory") == NULL)
                fail_msg("%s, allocation %ld: ok %d, %s", cases[i].name, n, ok,
                         weft_error_text(ctx));
            weft_error_clear(ctx);
        }
    }
    weft_module_unref(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(failed_allocations_are_clean_errors)};
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
