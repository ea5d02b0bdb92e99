/* Classes of machines, and which of them this one is: see machine.h. Thread-safe, but for
 * wf_machine_class_use. */
#include "kernels/machine.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <strings.h>

/* The columns of costs.def and blocking.def, in their order. For a new column each of these macros gets one
 * more parameter, and there is one more macro, with five lines in each of the two lists below and a line of
 * `classes`. docs/kernels.md, Machine classes, says what else a new class needs. */
#define AVX2_L2_512K(a, b, c) a
#define AVX512_L2_1M(a, b, c) b
#define AVX512_L2_2M(a, b, c) c

static const wf_costs avx2_l2_512k_costs = {
#define WF_COST(name, ...) .name = AVX2_L2_512K(__VA_ARGS__),
#include "kernels/costs.def"
#undef WF_COST
};
static const wf_costs avx512_l2_1m_costs = {
#define WF_COST(name, ...) .name = AVX512_L2_1M(__VA_ARGS__),
#include "kernels/costs.def"
#undef WF_COST
};
static const wf_costs avx512_l2_2m_costs = {
#define WF_COST(name, ...) .name = AVX512_L2_2M(__VA_ARGS__),
#include "kernels/costs.def"
#undef WF_COST
};

static const wf_blocking avx2_l2_512k_blocking = {
#define WF_BLOCKING(name, ...) .name = AVX2_L2_512K(__VA_ARGS__),
#include "kernels/blocking.def"
#undef WF_BLOCKING
};
static const wf_blocking avx512_l2_1m_blocking = {
#define WF_BLOCKING(name, ...) .name = AVX512_L2_1M(__VA_ARGS__),
#include "kernels/blocking.def"
#undef WF_BLOCKING
};
static const wf_blocking avx512_l2_2m_blocking = {
#define WF_BLOCKING(name, ...) .name = AVX512_L2_2M(__VA_ARGS__),
#include "kernels/blocking.def"
#undef WF_BLOCKING
};

/* Without vectors there is one kernel of each kind, which needs no constants of its own. */
#define KIB ((size_t)1 << 10)
#define CONSTANTS(column) &column##_costs, &column##_blocking
static const wf_machine_class classes[] = {
    {"scalar", WEFT_ISA_SCALAR, 32 * KIB, 512 * KIB, CONSTANTS(avx2_l2_512k)},
    {"avx2-l2-512k", WEFT_ISA_AVX2, 32 * KIB, 512 * KIB, CONSTANTS(avx2_l2_512k)},
    {"avx512-l2-1m", WEFT_ISA_AVX512, 32 * KIB, 1024 * KIB, CONSTANTS(avx512_l2_1m)},
    {"avx512-l2-2m", WEFT_ISA_AVX512, 48 * KIB, 2048 * KIB, CONSTANTS(avx512_l2_2m)},
};
enum { N_CLASSES = sizeof classes / sizeof *classes };

static _Atomic(const wf_machine_class *) told;  /* by the engine; NULL: not yet */
static _Atomic(const wf_machine_class *) taken; /* by wf_machine_class_use */

const wf_machine_class *wf_machine_class_at(int i)
{
    return i >= 0 && i < N_CLASSES ? &classes[i] : NULL;
}

const wf_machine_class *wf_machine_class_named(const char *name)
{
    for (int i = 0; i < N_CLASSES; i++)
        if (strcasecmp(classes[i].name, name) == 0)
            return &classes[i];
    return NULL;
}

const wf_machine_class *wf_machine_class_asked(void)
{
    const char *name = getenv("WEFT_MACHINE");
    return name && *name ? wf_machine_class_named(name) : NULL;
}

/* The larger by the smaller; 1 where one is not known. */
static double apart(size_t a, size_t b)
{
    if (a == 0 || b == 0)
        return 1;
    return a > b ? (double)a / (double)b : (double)b / (double)a;
}

const wf_machine_class *wf_machine_class_nearest(weft_isa isa, size_t l1_bytes, size_t l2_bytes)
{
    const wf_machine_class *best = NULL;
    double best_l2 = 0, best_l1 = 0;
    for (int i = 0; i < N_CLASSES; i++) {
        const wf_machine_class *c = &classes[i];
        const double l2 = apart(l2_bytes, c->l2_bytes), l1 = apart(l1_bytes, c->l1_bytes);
        if (c->isa != isa || (best && (l2 > best_l2 || (l2 == best_l2 && l1 >= best_l1))))
            continue;
        best = c;
        best_l2 = l2;
        best_l1 = l1;
    }
    return best;
}

static const wf_machine_class *choose(size_t l1_bytes, size_t l2_bytes)
{
    const weft_isa isa = wf_cpu_isa(); /* which WEFT_MACHINE caps */
    const wf_machine_class *asked = wf_machine_class_asked();
    return asked && asked->isa == isa ? asked : wf_machine_class_nearest(isa, l1_bytes, l2_bytes);
}

void wf_machine_tell(size_t l1_bytes, size_t l2_bytes)
{
    const wf_machine_class *none = NULL;
    atomic_compare_exchange_strong(&told, &none, choose(l1_bytes, l2_bytes));
}

const wf_machine_class *wf_machine_class_use(const wf_machine_class *c)
{
    return atomic_exchange(&taken, c);
}

const wf_machine_class *wf_machine_class_now(void)
{
    const wf_machine_class *c = atomic_load_explicit(&taken, memory_order_acquire);
    if (!c)
        c = atomic_load_explicit(&told, memory_order_acquire);
    return c ? c : choose(0, 0);
}

const wf_machine_class *wf_machine_class_of(weft_isa isa)
{
    const wf_machine_class *c = wf_machine_class_now();
    return c->isa == isa ? c : wf_machine_class_nearest(isa, c->l1_bytes, c->l2_bytes);
}

double *wf_cost_at(wf_costs *c, int i, const char **name)
{
    static const struct {
        const char *name;
        size_t offset;
    } constants[] = {
#define WF_COST(name, ...) {#name, offsetof(wf_costs, name)},
#include "kernels/costs.def"
#undef WF_COST
    };
    if (i < 0 || i >= (int)(sizeof constants / sizeof *constants))
        return NULL;
    *name = constants[i].name;
    return (double *)((char *)c + constants[i].offset);
}
