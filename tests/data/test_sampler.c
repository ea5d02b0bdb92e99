/* The order of an epoch: a permutation, the same for the same seed and epoch, another for others,
 * and no order more likely than the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "data/sampler.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void every_epoch_is_a_permutation(void **state)
{
    static const int64_t counts[] = {1, 2, 3, 10, 1000, 4097};
    static int64_t order[4097];
    static unsigned char seen[4097];
    for (size_t i = 0; i < COUNT(counts); i++)
        for (int64_t epoch = 0; epoch < 3; epoch++)
            for (int shuffle = 0; shuffle < 2; shuffle++) {
                memset(seen, 0, sizeof seen);
                wf_sampler_order(order, counts[i], shuffle, 5, epoch);
                for (int64_t k = 0; k < counts[i]; k++) {
                    assert_in_range(order[k], 0, counts[i] - 1);
                    assert_int_equal(seen[order[k]]++, 0);
                    if (!shuffle)
                        assert_int_equal(order[k], k);
                }
            }
}

static void the_order_depends_on_seed_and_epoch_alone(void **state)
{
    enum { N = 500 };
    static int64_t a[N], b[N];
    static const struct {
        uint64_t seed;
        int64_t epoch;
    } others[] = {{2, 0}, {1, 1}, {(uint64_t)1 << 32 | 1, 0}, {0, 1}};
    wf_sampler_order(a, N, true, 1, 0);
    wf_sampler_order(b, N, true, 1, 0);
    assert_memory_equal(a, b, sizeof a);
    for (size_t i = 0; i < COUNT(others); i++) {
        wf_sampler_order(b, N, true, others[i].seed, others[i].epoch);
        int same = 0;
        for (int k = 0; k < N; k++)
            same += a[k] == b[k];
        assert_true(same < 12); /* of a random permutation one stays on average; 12: p < 1e-8 */
    }
}

/* Each of the 24 orders of four over 24,000 epochs: 1000 times, deviation 31; five of them. */
static void all_orders_are_alike(void **state)
{
    int hits[256] = {0}, orders = 0;
    for (int64_t epoch = 0; epoch < 24000; epoch++) {
        int64_t o[4];
        wf_sampler_order(o, 4, true, 9, epoch);
        hits[o[0] << 6 | o[1] << 4 | o[2] << 2 | o[3]]++;
    }
    for (int i = 0; i < 256; i++)
        if (hits[i]) {
            orders++;
            assert_in_range(hits[i], 1000 - 155, 1000 + 155);
        }
    assert_int_equal(orders, 24);
}

static void batches_are_counted(void **state)
{
    static const struct {
        int64_t count, batch, kept, dropped;
    } cases[] = {{10, 5, 2, 2}, {11, 5, 3, 2}, {4, 5, 1, 0}, {1, 1, 1, 1}, {9, INT64_MAX, 1, 0}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(wf_sampler_batches(cases[i].count, cases[i].batch, false), cases[i].kept);
        assert_int_equal(wf_sampler_batches(cases[i].count, cases[i].batch, true),
                         cases[i].dropped);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_epoch_is_a_permutation),
        cmocka_unit_test(the_order_depends_on_seed_and_epoch_alone),
        cmocka_unit_test(all_orders_are_alike),
        cmocka_unit_test(batches_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
