/* A child of a process that has run steps on two threads goes on with the inherited context, or with
 * a new one, and gets the same bits; none of them hangs. */
#include "tests/engine/small_net.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/machine/workers.h"
#include "weft/init.h"

enum { TIMEOUT_SECONDS = 300, HUNG = 254 };

/* Runs fn(user) in a child; returns what it returned, HUNG when it did not end. */
static int in_child(int (*fn)(void *user), void *user)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(fn(user));
    for (int tenths = 0; tenths < 10 * TIMEOUT_SECONDS; tenths++) {
        int status;
        if (waitpid(child, &status, WNOHANG) == child)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return HUNG;
}

/* A network that has taken two steps on two threads, and room, shared with children, for its state
 * after a third. */
typedef struct family {
    small_net net;
    size_t size;
    char *child, *grandchild;
} family;

static char *shared_memory(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    return p;
}

static int third_step(family *f, char *result)
{
    net_step(&f->net);
    size_t size;
    char *state = net_state(&f->net, &size);
    memcpy(result, state, size);
    free(state);
    return 0;
}

static int grandchild_goes_on(void *user)
{
    return third_step(user, ((family *)user)->grandchild);
}

static int child_goes_on(void *user)
{
    int below = in_child(grandchild_goes_on, user);
    return below != 0 ? below : third_step(user, ((family *)user)->child);
}

/* 0: three steps in a new context give what the child's third gave. */
static int begins_anew(void *user)
{
    const family *f = user;
    small_net net;
    size_t size;
    net_init(&net, &(weft_options){.threads = 2});
    for (int i = 0; i < 3; i++)
        net_step(&net);
    char *state = net_state(&net, &size);
    int result = size != f->size || memcmp(state, f->child, size) != 0;
    free(state);
    net_done(&net);
    return result;
}

static int begins_anew_in_its_child(void *user)
{
    return in_child(begins_anew, user);
}

static void count_worker(void *user, int worker, int workers)
{
    atomic_fetch_add((atomic_int *)user, 1);
}

/* Two threads, not one: the child has a team of its own. */
static int has_two_workers(void *user)
{
    atomic_int workers = 0;
    wf_team_run(2, count_worker, &workers);
    return workers != 2;
}

static int draws(void *user)
{
    const float *want = user;
    weft_context *ctx = NULL;
    if (weft_context_create(&ctx, &(weft_options){.threads = 2, .seed = 3}, NULL) != WEFT_OK)
        return 1;
    weft_tensor *t = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(100000));
    int result = weft_init_normal(t, 0, 1) != WEFT_OK ||
                 memcmp(weft_tensor_data(t), want, 100000 * sizeof(float)) != 0;
    weft_tensor_unref(t);
    weft_context_destroy(ctx);
    return result;
}

static void a_child_runs_steps_with_the_same_bits(void **state)
{
    family f;
    net_init(&f.net, &(weft_options){.threads = 2});
    net_step(&f.net);
    net_step(&f.net);
    free(net_state(&f.net, &f.size));
    f.child = shared_memory(f.size);
    f.grandchild = shared_memory(f.size);
    char *own = malloc(f.size);
    assert_int_equal(in_child(child_goes_on, &f), 0);
    assert_int_equal(third_step(&f, own), 0); /* the parent is none the worse for it */
    assert_memory_equal(f.child, own, f.size);
    assert_memory_equal(f.grandchild, own, f.size);
    assert_int_equal(in_child(begins_anew, &f), 0);
    assert_int_equal(in_child(begins_anew_in_its_child, &f), 0);
    assert_int_equal(in_child(has_two_workers, NULL), 0);
    free(own);
    munmap(f.child, f.size);
    munmap(f.grandchild, f.size);
    net_done(&f.net);
}

static void a_child_draws_the_same_initial_values(void **state)
{
    weft_context *ctx = NULL;
    assert_int_equal(weft_context_create(&ctx, &(weft_options){.threads = 2, .seed = 3}, NULL),
                     WEFT_OK);
    weft_tensor *t = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(100000));
    assert_int_equal(weft_init_normal(t, 0, 1), WEFT_OK);
    assert_int_equal(in_child(draws, weft_tensor_data(t)), 0);
    weft_tensor_unref(t);
    weft_context_destroy(ctx);
}

/* ---- loaders ---- */

static int loader_says_so(void *user)
{
    weft_loader *l = user;
    weft_batch batch;
    weft_error err = WEFT_ERROR_INIT;
    bool next = weft_loader_next(l, &batch, &err) == WEFT_ERR_STATE &&
                strstr(err.text, "its 2 threads belong to process") != NULL;
    bool start = weft_loader_start(l, 1, 0, NULL) == WEFT_ERR_STATE;
    weft_loader_destroy(l);
    return !next + 2 * !start;
}

static int loader_without_threads_works(void *user)
{
    weft_batch batch;
    int result = weft_loader_next(user, &batch, NULL) != WEFT_OK || batch.count != 8;
    weft_loader_destroy(user);
    return result;
}

static void a_loaders_threads_are_missed_in_a_child_with_an_error(void **state)
{
    weft_dataset *ds = NULL;
    assert_int_equal(weft_dataset_open("synthetic:1x4x4:3:64", WEFT_SPLIT_TRAIN, &ds, NULL),
                     WEFT_OK);
    for (int workers = 0; workers <= 2; workers += 2) {
        weft_loader *l = NULL;
        weft_loader_opts opts = {.batch = 8, .workers = workers};
        weft_batch batch;
        assert_int_equal(weft_loader_create(ds, &opts, &l, NULL), WEFT_OK);
        assert_int_equal(weft_loader_next(l, &batch, NULL), WEFT_OK);
        assert_int_equal(in_child(workers > 0 ? loader_says_so : loader_without_threads_works, l),
                         0);
        assert_int_equal(weft_loader_next(l, &batch, NULL), WEFT_OK);
        weft_loader_destroy(l);
    }
    weft_dataset_destroy(ds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_runs_steps_with_the_same_bits),
        cmocka_unit_test(a_child_draws_the_same_initial_values),
        cmocka_unit_test(a_loaders_threads_are_missed_in_a_child_with_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
