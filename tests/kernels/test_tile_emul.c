/* Emulated AMX tiles against the manual's words for TDPBF16PS, computed by the CPU's own multiply-add,
 * and against the instruction where there is one. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/bf16_edges.h"
#include "kernels/simd/tile_emul.h"
#include "kernels/types.h"

enum { ROWS = WF_TILE_ROWS, WORDS = WF_TILE_BYTES / 4 };

/* One product: c is m x n, a is m x k pairs, b is k x n pairs. */
typedef struct problem {
    int m, n, k;
    uint32_t a[ROWS][WORDS], b[ROWS][WORDS], c[ROWS][WORDS];
} problem;

static float half(uint32_t pair, int odd)
{
    return wf_float_of(odd ? pair & 0xffff0000 : pair << 16);
}

/* The manual's pseudo code: volume 2, TDPBF16PS. */
static void manual(problem *p)
{
    const unsigned mxcsr = _mm_getcsr();
    _mm_setcsr(mxcsr | EDGES_DAZ_FTZ);
    for (int m = 0; m < p->m; m++) {
        float temp[2 * WORDS] = {0};
        for (int k = 0; k < p->k; k++)
            for (int n = 0; n < p->n; n++)
                for (int odd = 0; odd < 2; odd++)
                    temp[2 * n + odd] =
                        edges_fma(half(p->a[m][k], odd), half(p->b[k][n], odd), temp[2 * n + odd]);
        for (int n = 0; n < p->n; n++) {
            volatile float sum = temp[2 * n] + temp[2 * n + 1];
            sum = wf_float_of(p->c[m][n]) + sum;
            p->c[m][n] = wf_bits_of(sum);
        }
    }
    _mm_setcsr(mxcsr);
}

static void emulated(problem *p)
{
    wf_tile_emul a, b, c;
    wf_tile_emul_shape(&a, p->m, 4 * p->k);
    wf_tile_emul_shape(&b, p->k, 4 * p->n);
    wf_tile_emul_shape(&c, p->m, 4 * p->n);
    wf_tile_emul_load(&a, p->a, sizeof p->a[0]);
    wf_tile_emul_load(&b, p->b, sizeof p->b[0]);
    wf_tile_emul_load(&c, p->c, sizeof p->c[0]);
    wf_tile_emul_dot(&c, &a, &b);
    wf_tile_emul_store(&c, p->c, sizeof p->c[0]);
}

static void by_instruction(problem *p)
{
    _Alignas(64) uint8_t config[64] = {[0] = 1};
    const int bytes[3] = {4 * p->n, 4 * p->k, 4 * p->n}, rows[3] = {p->m, p->m, p->k};
    for (int i = 0; i < 3; i++) {
        config[16 + 2 * i] = (uint8_t)bytes[i];
        config[48 + i] = (uint8_t)rows[i];
    }
    __asm__ volatile("ldtilecfg (%0)\n\t"
                     "tileloadd (%1,%4,1), %%tmm0\n\t"
                     "tileloadd (%2,%4,1), %%tmm1\n\t"
                     "tileloadd (%3,%4,1), %%tmm2\n\t"
                     "tdpbf16ps %%tmm2, %%tmm1, %%tmm0\n\t"
                     "tilestored %%tmm0, (%1,%4,1)\n\t"
                     "tilerelease"
                     :
                     : "r"(config), "r"(p->c), "r"(p->a), "r"(p->b), "r"((long)sizeof p->a[0])
                     : "memory");
}

static void compare(const problem *p, void (*run)(problem *), void (*expected)(problem *))
{
    problem got = *p, want = *p;
    run(&got);
    expected(&want);
    for (int m = 0; m < ROWS; m++)
        for (int n = 0; n < WORDS; n++) {
            const uint32_t x = got.c[m][n], y = want.c[m][n];
            if (x != y && !(isnan(wf_float_of(x)) && isnan(wf_float_of(y))))
                fail_msg("%d x %d x %d at %d, %d: got %08x, want %08x", p->m, p->n, p->k, m, n, x,
                         y);
        }
}

/* BORDERS: about the magnitudes that the emulation takes in plain arithmetic. */
enum { EDGES, NUMBERS, BORDERS, INTEGERS };

/* A pair of bf16 from 2^exponent to 2^(exponent + 1); one of 64 is off by one, one of eight is zero. */
static uint32_t borders(uint64_t *state, int exponent)
{
    uint32_t pair = 0;
    for (int i = 0; i < 2; i++) {
        const uint32_t r = edges_random(state);
        const uint32_t biased = (uint32_t)(exponent + 127 + ((r & 127) == 0) - ((r & 127) == 1));
        if ((r >> 7 & 7) != 0)
            pair |= (biased << 7 | (r >> 10 & 0x7f) | (r >> 17 & 1) << 15) << (16 * i);
    }
    return pair;
}

static void fill(problem *p, int kind, uint64_t *state)
{
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < WORDS; j++) {
            const uint32_t r = edges_random(state);
            if (kind == EDGES) {
                p->a[i][j] = edges_bf16_pair(state);
                p->b[i][j] = edges_bf16_pair(state);
                p->c[i][j] = edges_f32(state);
            } else if (kind == NUMBERS) { /* of either sign, 2^-3 to 2 */
                p->a[i][j] = (r & 0x81ff81ff) | 0x3e003e00;
                p->b[i][j] = (edges_random(state) & 0x81ff81ff) | 0x3e003e00;
                p->c[i][j] = (edges_random(state) & 0x81ffffff) | 0x3e000000;
            } else if (kind == BORDERS) {
                p->a[i][j] = borders(state, -40);
                p->b[i][j] = borders(state, 39);
                p->c[i][j] = borders(state, j % 2 ? -90 : 39) & 0xffff0000;
            } else {
                const float small[4] = {(float)(r & 7), (float)(r >> 3 & 7) - 4,
                                        (float)(r >> 6 & 7) - 3, (float)(r >> 9 & 7)};
                p->a[i][j] = wf_to_bf16(small[0]) | (uint32_t)wf_to_bf16(small[1]) << 16;
                p->b[i][j] = wf_to_bf16(small[2]) | (uint32_t)wf_to_bf16(small[3]) << 16;
                p->c[i][j] = wf_bits_of((float)(r >> 12 & 31));
            }
        }
}

static void compare_all(void (*run)(problem *), void (*expected)(problem *))
{
    static const int shapes[][3] = {{16, 16, 16}, {1, 1, 1}, {16, 3, 7}, {5, 16, 2}, {9, 10, 16}};
    uint64_t state = 2463534242u;
    problem p;
    for (int kind = EDGES; kind <= INTEGERS; kind++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int times = 0; times < 100; times++) {
                p = (problem){.m = shapes[s][0], .n = shapes[s][1], .k = shapes[s][2]};
                fill(&p, kind, &state);
                compare(&p, run, expected);
            }
}

static void tiles_multiply_as_the_manual_says(void **unused)
{
    if (!__builtin_cpu_supports("fma"))
        skip();
    compare_all(emulated, manual);
}

static void tiles_multiply_as_the_instruction_does(void **unused)
{
    if (wf_cpu_bf16() < WF_BF16_AMX)
        skip();
    compare_all(emulated, by_instruction);
}

/* Even and odd elements have sums of their own, which begin at zero: the order shows. */
static void the_order_of_sums_is_the_tiles_own(void **unused)
{
    problem p = {.m = 1, .n = 1, .k = 2};
    /* c = 2^24; even products 1 and 1, odd ones 0: 2^24 + (1 + 1); one at a time each 1 would go. */
    p.c[0][0] = wf_bits_of(0x1p24f);
    p.a[0][0] = p.a[0][1] = p.b[0][0] = p.b[1][0] = wf_to_bf16(1);
    emulated(&p);
    assert_true(wf_float_of(p.c[0][0]) == 0x1p24f + 2);
    /* An even and an odd product that cancel leave c as it is. */
    p.k = 1;
    p.a[0][0] = wf_to_bf16(0x1p100f) * 0x10001u;
    p.b[0][0] = wf_to_bf16(1) | (uint32_t)wf_to_bf16(-1) << 16;
    p.c[0][0] = wf_bits_of(3);
    emulated(&p);
    assert_true(wf_float_of(p.c[0][0]) == 3);
}

static void rows_and_bytes_out_of_use_are_left_alone(void **unused)
{
    uint8_t memory[ROWS][WF_TILE_BYTES], back[ROWS][WF_TILE_BYTES];
    wf_tile_emul t;
    memset(memory, 1, sizeof memory);
    memset(back, 7, sizeof back);
    wf_tile_emul_shape(&t, 3, 20);
    memset(t.row, 9, sizeof t.row);
    wf_tile_emul_load(&t, memory, WF_TILE_BYTES);
    wf_tile_emul_store(&t, back, WF_TILE_BYTES);
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < WF_TILE_BYTES; i++) {
            assert_int_equal(t.row[r][i], r < 3 && i < 20 ? 1 : 0);
            assert_int_equal(back[r][i], r < 3 && i < 20 ? 1 : 7);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_multiply_as_the_manual_says),
        cmocka_unit_test(tiles_multiply_as_the_instruction_does),
        cmocka_unit_test(the_order_of_sums_is_the_tiles_own),
        cmocka_unit_test(rows_and_bytes_out_of_use_are_left_alone),
    };
    return cmocka_run_group_tests_name("tile_emul", tests, NULL, NULL);
}
