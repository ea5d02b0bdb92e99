/* Threads with small stacks: what is too small is an error, never a crash, and what is documented to
 * be enough is. */
#include "tests/engine/small_net.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/stack.h"

/* Runs fn(user) on a thread with a stack of this size; `used` (may be NULL) receives how much of it
 * was written to. */
static void on_stack(size_t bytes, void *(*fn)(void *), void *user, size_t *used)
{
    enum { PAINT = 0x5a };
    pthread_attr_t attr;
    pthread_t thread;
    unsigned char *stack =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    assert_true(stack != MAP_FAILED);
    memset(stack, PAINT, bytes);
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstack(&attr, stack, bytes), 0);
    assert_int_equal(pthread_create(&thread, &attr, fn, user), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    size_t untouched = 0;
    while (untouched < bytes && stack[untouched] == PAINT)
        untouched++;
    if (used)
        *used = bytes - untouched;
    pthread_attr_destroy(&attr);
    munmap(stack, bytes);
}

static void *create(void *user)
{
    weft_error *err = user;
    weft_context *ctx = NULL;
    if (weft_context_create(&ctx, &(weft_options){.threads = 1}, err) == WEFT_OK)
        weft_context_destroy(ctx);
    return NULL;
}

static void a_context_is_refused_on_a_stack_that_is_too_small(void **state)
{
    for (size_t bytes = 16384; bytes < WF_STACK_CALLER; bytes *= 2) {
        weft_error err = WEFT_ERROR_INIT;
        on_stack(bytes, create, &err, NULL);
        assert_int_equal(err.status, WEFT_ERR_STATE);
        assert_non_null(strstr(err.text, "are left on this thread's stack, Weft needs 128"));
    }
    weft_error err = WEFT_ERROR_INIT;
    on_stack(2 * WF_STACK_CALLER, create, &err, NULL);
    assert_int_equal(err.status, WEFT_OK);
}

static void *run_step(void *user)
{
    small_net *net = user;
    for (int i = 0; i < NET_PARAMS; i++)
        weft_zero_grad(net->param[i]);
    weft_tensor *loss = net_loss(net);
    if (weft_backward(loss) == WEFT_OK) {
        net_update(net);
        weft_sync(net->ctx);
    }
    return NULL;
}

static void a_step_is_refused_on_a_small_stack_and_runs_on_a_large_one(void **state)
{
    small_net net;
    net_init(&net, &(weft_options){.threads = 1});
    net.may_fail = true;
    on_stack(65536, run_step, &net, NULL);
    assert_int_equal(weft_error_status(net.ctx), WEFT_ERR_STATE);
    assert_non_null(strstr(weft_error_text(net.ctx), "are left on this thread's stack"));
    weft_discard(net.ctx);
    weft_error_clear(net.ctx);
    on_stack(1 << 20, run_step, &net, NULL);
    assert_string_equal(weft_error_text(net.ctx), "");
    net_done(&net);
}

/* Everything that a program does: make, train, save, load, describe. */
static void *live(void *user)
{
    weft_error *err = user;
    weft_context *ctx = NULL;
    if (weft_context_create(&ctx, &(weft_options){.threads = 1}, err) != WEFT_OK)
        return NULL;
    weft_model_opts opts = {.num_classes = 4, .height = 64, .width = 64};
    weft_module *net = weft_model_create(ctx, "mobilenet_v3_small", &opts);
    weft_optimizer *adamw = weft_adamw_create(ctx, net, NULL);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(2, 3, 64, 64));
    weft_tensor *labels = weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(2));
    weft_backward(weft_training_loss(net, x, labels, NULL, NULL));
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_parameters(net, 0, &list);
    weft_clip_grad_norm(&list, 1, true);
    weft_tensor_list_done(&list);
    weft_optimizer_step(adamw);
    FILE *out = fopen("/dev/null", "w");
    weft_module_summary(net, WEFT_SHAPE(2, 3, 64, 64), out);
    weft_module_print(net, out);
    weft_info(ctx, out);
    fclose(out);
    char path[64];
    snprintf(path, sizeof path, "/tmp/weft-stack-%ld.safetensors", (long)getpid());
    weft_module_save(net, path);
    weft_module_load(net, path, true);
    remove(path);
    if (weft_error_status(ctx) != WEFT_OK) {
        err->status = weft_error_status(ctx);
        snprintf(err->text, sizeof err->text, "%s", weft_error_text(ctx));
    }
    weft_tensor_unref(x);
    weft_tensor_unref(labels);
    weft_optimizer_destroy(adamw);
    weft_module_unref(net);
    weft_context_destroy(ctx);
    return NULL;
}

/* Sanitizers make frames several times as large. gcc defines macros, clang has features. */
#ifndef __has_feature
#define __has_feature(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LARGE_FRAMES true
#else
#define LARGE_FRAMES false
#endif

static void what_is_documented_is_enough(void **state)
{
    weft_error err = WEFT_ERROR_INIT;
    size_t used = 0;
    on_stack(8 << 20, live, &err, &used);
    if (err.status != WEFT_OK)
        fail_msg("%s", err.text);
    if (getenv("WEFT_TEST_PRINT"))
        printf("%zu KiB of stack used\n", used >> 10);
    assert_true(LARGE_FRAMES || used < WF_STACK_CALLER);
}

/* In a process of its own, since OpenMP reads the environment once. */
static void small_stacks_of_openmps_threads_are_an_error(void **state)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = '\0';
    pid_t child = fork();
    if (child == 0) {
        setenv("OMP_STACKSIZE", "48K", 1);
        execl(self, self, "worker", (char *)NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* 0: the step failed as it should, and nothing changed. */
static int step_on_small_workers(void)
{
    small_net net;
    size_t size;
    net_init(&net, &(weft_options){.threads = 2});
    char *before = net_state(&net, &size);
    run_step(&net);
    int wrong = weft_error_status(net.ctx) != WEFT_ERR_STATE ||
                !strstr(weft_error_text(net.ctx), "set OMP_STACKSIZE");
    weft_discard(net.ctx);
    weft_error_clear(net.ctx);
    char *after = net_state(&net, &size);
    wrong += 2 * (memcmp(before, after, size) != 0);
    free(before);
    free(after);
    net_done(&net);
    return wrong;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return step_on_small_workers();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_context_is_refused_on_a_stack_that_is_too_small),
        cmocka_unit_test(a_step_is_refused_on_a_small_stack_and_runs_on_a_large_one),
        cmocka_unit_test(what_is_documented_is_enough),
        cmocka_unit_test(small_stacks_of_openmps_threads_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
