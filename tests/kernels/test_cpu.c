/* Which instructions are used under which WEFT_MAX_ISA. The levels are read once a process, so each
 * case runs in a child of its own. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernels/types.h"

/* What `check` returns in a child, 0 to 99. */
static int in_child(const char *max_isa, int (*check)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (max_isa)
            setenv("WEFT_MAX_ISA", max_isa, 1);
        else
            unsetenv("WEFT_MAX_ISA");
        unsetenv("WEFT_MACHINE");
        _exit(check());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The two levels and whether the system refused, as one number. */
static int levels(void)
{
    wf_bf16 bf16 = wf_cpu_bf16();
    if (bf16 != wf_cpu_bf16())
        return 99;
    return (int)wf_cpu_isa() * 10 + (int)bf16 + 5 * (wf_cpu_amx_refused() != 0);
}

static int lower(int a, int b)
{
    return a < b ? a : b;
}

static void a_cap_lowers_what_it_names(void **unused)
{
    const int isa = (int)wf_cpu_best_isa(), bf16 = (int)wf_cpu_best_bf16();
    static const struct {
        const char *cap;
        weft_isa isa;
        wf_bf16 bf16;
    } cases[] = {
        {"scalar", WEFT_ISA_SCALAR, WF_BF16_STORAGE},
        {"avx2", WEFT_ISA_AVX2, WF_BF16_STORAGE},
        {"AVX512", WEFT_ISA_AVX512, WF_BF16_STORAGE},
        {"avx512_bf16", WEFT_ISA_AVX512, WF_BF16_DOT},
        {"AVX512_BF16", WEFT_ISA_AVX512, WF_BF16_DOT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(in_child(cases[i].cap, levels),
                         10 * lower(isa, (int)cases[i].isa) + lower(bf16, (int)cases[i].bf16));
}

static void without_a_cap_there_is_all_that_the_system_gives(void **unused)
{
    static const char *const caps[] = {NULL, "", "amx"};
    const int isa = (int)wf_cpu_best_isa(), bf16 = (int)wf_cpu_best_bf16();
    for (size_t i = 0; i < sizeof caps / sizeof *caps; i++) {
        const int got = in_child(caps[i], levels), all = 10 * isa + bf16;
        if (bf16 == WF_BF16_AMX && got == 10 * isa + WF_BF16_DOT + 5)
            continue; /* refused, and said so */
        assert_int_equal(got, all);
    }
}

/* Linux refuses tiles to a process with a signal stack that could not hold them. */
static int levels_with_a_small_signal_stack(void)
{
    static char memory[2048]; /* MINSIGSTKSZ as it was */
    if (sigaltstack(&(stack_t){.ss_sp = memory, .ss_size = sizeof memory}, NULL) != 0)
        return 98; /* no longer accepted at all */
    return levels();
}

static void a_refusal_leaves_dot_products(void **unused)
{
    if (wf_cpu_best_bf16() < WF_BF16_AMX)
        skip();
    const int got = in_child(NULL, levels_with_a_small_signal_stack);
    if (got != 98)
        assert_int_equal(got, 10 * WEFT_ISA_AVX512 + WF_BF16_DOT + 5);
}

/* Tile instructions by hand: a process without permission dies of them. */
static int use_a_tile(void)
{
    if (wf_cpu_bf16() < WF_BF16_AMX)
        return 1;
    _Alignas(64) uint8_t config[64] = {[0] = 1, [16] = 64, [48] = 16}; /* tile 0: 16 rows of 64 */
    float sum[16 * 16];
    memset(sum, 0xff, sizeof sum);
    __asm__ volatile(
        "ldtilecfg %1\n\ttilezero %%tmm0\n\ttilestored %%tmm0, (%2,%3,1)\n\ttilerelease"
        : "=m"(sum)
        : "m"(config), "r"(sum), "r"((long)64));
    for (int i = 0; i < 16 * 16; i++)
        if (sum[i] != 0)
            return 2;
    return 0;
}

static void permitted_tiles_work(void **unused)
{
    const int got = in_child(NULL, use_a_tile);
    if (got == 1)
        skip();
    assert_int_equal(got, 0);
}

static void levels_have_the_names_that_the_cap_takes(void **unused)
{
    assert_string_equal(wf_bf16_name(WF_BF16_STORAGE), "storage");
    assert_string_equal(wf_bf16_name(WF_BF16_DOT), "avx512_bf16");
    assert_string_equal(wf_bf16_name(WF_BF16_AMX), "amx");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cap_lowers_what_it_names),
        cmocka_unit_test(without_a_cap_there_is_all_that_the_system_gives),
        cmocka_unit_test(a_refusal_leaves_dot_products),
        cmocka_unit_test(permitted_tiles_work),
        cmocka_unit_test(levels_have_the_names_that_the_cap_takes),
    };
    return cmocka_run_group_tests_name("cpu", tests, NULL, NULL);
}
