/* Several contexts at once, each used by one thread of the caller's: they share nothing that a step or an
 * error could be changed by. */
#include "small_net.h"

#include <pthread.h>
#include <stdio.h>

enum { CALLERS = 3, STEPS = 20, LIVES = 3 };

typedef struct caller {
    int seed;
    char *state[LIVES]; /* after STEPS steps, of each context that it made one after the other */
    size_t bytes;
    char stray[256], refused[256];
    pthread_t thread;
} caller;

/* A failed assertion of cmocka's jumps, which it may not in another thread; the process would end there,
 * and so the test fails. */
static void *live(void *user)
{
    caller *c = user;
    for (int i = 0; i < LIVES; i++) {
        const weft_options o = {.threads = 2, .seed = (uint64_t)(c->seed + i)};
        small_net net;
        net_init(&net, &o);
        for (int step = 0; step < STEPS; step++)
            net_step(&net);
        c->state[i] = net_state(&net, &c->bytes);
        /* Errors with a context are the context's; without one, the thread's. */
        weft_expand(NULL, WEFT_SHAPE(2 + c->seed));
        snprintf(c->stray, sizeof c->stray, "%s", weft_error_text(NULL));
        weft_narrow(net.x, 0, 0, 100 + c->seed);
        snprintf(c->refused, sizeof c->refused, "%s", weft_error_text(net.ctx));
        weft_error_clear(net.ctx);
        net_done(&net);
    }
    return NULL;
}

static void contexts_on_several_threads_give_the_bits_of_one_after_the_other(void **state)
{
    static caller alone[CALLERS], together[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        alone[i].seed = together[i].seed = 10 * i;
        live(&alone[i]);
    }
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&together[i].thread, NULL, live, &together[i]), 0);
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_join(together[i].thread, NULL), 0);
    for (int i = 0; i < CALLERS; i++) {
        for (int j = 0; j < LIVES; j++) {
            assert_memory_equal(alone[i].state[j], together[i].state[j], alone[i].bytes);
            free(alone[i].state[j]);
            free(together[i].state[j]);
        }
        char want[32];
        snprintf(want, sizeof want, "%d", 100 + alone[i].seed);
        assert_non_null(strstr(together[i].refused, want));
        assert_string_equal(together[i].refused, alone[i].refused);
        assert_string_equal(together[i].stray, alone[i].stray);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contexts_on_several_threads_give_the_bits_of_one_after_the_other),
    };
    return cmocka_run_group_tests_name("contexts", tests, NULL, NULL);
}
