/* Powers and logarithms in float against double, over every exponent of both operands: all bit
 * patterns, bases near 1 with large powers, whole powers of negative numbers, results at both ends
 * of the range. Every implementation gives the same bits, in whatever company an element stands. */
#include "guarded.h"

#include <math.h>

#include "kernels/eltwise/activation.h"
#include "kernels/eltwise/pointwise.h"

extern const wf_activations wf_activations_f32_emul;
extern const wf_pointwise_table wf_pointwise_f32_emul;

enum { N = 1024, ROUNDS = 320, MODES = 8 };

static uint64_t state = 88172645463325252u;

static uint32_t draw(void) /* xorshift64 */
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* A multiple of `step` in [-most, most] steps. */
static double stepped(int most, double step)
{
    return ((double)(draw() % (2 * (uint32_t)most + 1)) - most) * step;
}

static void draw_pair(int mode, float *x, float *a)
{
    switch (mode) {
    case 0: /* anything, NaN and infinities included */
        *x = float_of(draw());
        *a = float_of(draw());
        return;
    case 1: /* every exponent, moderate powers */
        *x = float_of(draw() & 0x7fffffff);
        *a = (float)stepped(1000000, 1e-5);
        return;
    case 2: /* around 1 */
        *x = (float)(1 + stepped(10000, 1e-5));
        *a = (float)stepped(1000000, 1e-3);
        return;
    case 3: /* negative numbers, zeros, whole powers */
        *x = (float)stepped(1000, 0.01);
        *a = (float)stepped(20, 1);
        return;
    case 4: /* results from below the least denormal to infinity */
        *x = float_of(draw() & 0x7fffffff);
        *a = (float)(stepped(1000000, 105e-6) / log((double)*x));
        return;
    case 5: /* every exponent, powers of the short way and a little more */
        *x = float_of(draw() & 0x7fffffff);
        *a = (float)stepped(32000, 1e-4);
        return;
    case 7: /* small powers of numbers that are seldom far from 1: whole strips of them, and strips with one */
        *x = (float)exp(stepped(1000000, 3e-6));
        if (draw() % 512 == 0)
            *x = float_of(draw());
        *a = (float)stepped(300000, 1e-5);
        return;
    default: /* a few ulp from 1, powers up to 2^32 */
        *x = (float)(1 + stepped(1000, 6e-8));
        *a = float_of((draw() & 0x807fffff) | (127 + draw() % 32) << 23);
    }
}

static double ulp(double x)
{
    int exponent;
    frexp(x, &exponent);
    return fmax(ldexp(1, exponent - 24), 0x1p-149);
}

/* NaN as NaN, zeros and infinities with their sign, else within `ulps`. */
static bool is_right(float got, double exact, double ulps)
{
    const float want = (float)exact;
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got);
    if (isinf(exact))
        return got == want;
    if (isinf(got) || isinf(want)) /* at the edge either is right */
        return fabs(exact) > 0x1.fffffcp127 && signbit(got) == signbit(want) &&
               (isinf(got) || fabs(exact) < 0x1.000002p128);
    return fabs((double)got - exact) <= ulps * ulp(exact) &&
           (want == 0 || got == 0 || signbit(got) == signbit(want));
}

static void same_bits(float *y, const float *first, const char *name)
{
    for (int i = 0; i < N; i++)
        if (isnan(y[i]))
            y[i] = NAN;
    if (memcmp(y, first, N * sizeof(*y)) != 0)
        fail_msg("%s: other bits than the first implementation", name);
}

static void powers_of_tensors(void **unused)
{
    static float x[N], a[N], y[2][N];
    const wf_pointwise_rows r = wf_pointwise_run(N);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < N; i++)
            draw_pair(round % MODES, &x[i], &a[i]);
        int done = 0;
        for (int k = 0; wf_pointwise_list[k]; k++) {
            const wf_pointwise_table *table = wf_pointwise_list[k];
            if (table->dtype != WEFT_F32 || table->isa > wf_cpu_isa())
                continue;
            table->fn[WF_PW_pow](&r, (const void *[]){x, a}, (void *[]){y[done > 0]});
            same_bits(y[done > 0], y[0], table->name);
            done++;
        }
        if (wf_cpu_isa() >= WEFT_ISA_AVX2) {
            wf_pointwise_f32_emul.fn[WF_PW_pow](&r, (const void *[]){x, a}, (void *[]){y[1]});
            same_bits(y[1], y[0], "emulated");
        }
        for (int i = 0; i < N; i++) {
            const double exact = pow((double)x[i], (double)a[i]);
            if (!is_right(y[0][i], exact, 1.5))
                fail_msg("%a to the power %a: %a, expected %a", (double)x[i], (double)a[i],
                         (double)y[0][i], exact);
        }
    }
}

static void powers_of_one_exponent(void **unused)
{
    static float x[N], y[2][N];
    for (int round = 0; round < ROUNDS; round++) {
        float a = 0, other;
        do
            draw_pair(round % MODES, &other, &a);
        while (!isfinite(a));
        for (int i = 0; i < N; i++)
            draw_pair(round % MODES, &x[i], &other);
        int done = 0;
        for (int k = 0; wf_activation_list[k]; k++) {
            const wf_activations *table = wf_activation_list[k];
            if (table->dtype != WEFT_F32 || table->isa > wf_cpu_isa())
                continue;
            table->fn[WF_ACT_pow].forward(N, (double)a, (double)a - 1, x, y[done > 0]);
            same_bits(y[done > 0], y[0], table->name);
            done++;
        }
        if (wf_cpu_isa() >= WEFT_ISA_AVX2) {
            wf_activations_f32_emul.fn[WF_ACT_pow].forward(N, (double)a, (double)a - 1, x, y[1]);
            same_bits(y[1], y[0], "emulated");
        }
        for (int i = 0; i < N; i++) {
            const double root = sqrt((double)x[i]);
            const double exact = a == 0.5f    ? root
                                 : a == -0.5f ? 1 / root
                                              : pow((double)x[i], (double)a);
            if (!is_right(y[0][i], exact, 1.5))
                fail_msg("%a to the power %a: %a, expected %a", (double)x[i], (double)a,
                         (double)y[0][i], exact);
        }
    }
}

static void logarithms(void **unused)
{
    static float x[N], y[2][N];
    for (int round = 0; round < ROUNDS; round++) {
        float other;
        for (int i = 0; i < N; i++)
            draw_pair(round % MODES, &x[i], &other);
        int done = 0;
        for (int k = 0; wf_activation_list[k]; k++) {
            const wf_activations *table = wf_activation_list[k];
            if (table->dtype != WEFT_F32 || table->isa > wf_cpu_isa())
                continue;
            table->fn[WF_ACT_log].forward(N, 0, 0, x, y[done > 0]);
            same_bits(y[done > 0], y[0], table->name);
            done++;
        }
        for (int i = 0; i < N; i++)
            if (!is_right(y[0][i], log((double)x[i]), 2))
                fail_msg("log %a: %a, expected %a", (double)x[i], (double)y[0][i],
                         log((double)x[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(powers_of_tensors),
        cmocka_unit_test(powers_of_one_exponent),
        cmocka_unit_test(logarithms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
