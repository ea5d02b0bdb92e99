/* Which instruction set to use: what the CPU and the operating system offer, capped by
 * WEFT_MAX_ISA and by the class of machine that WEFT_MACHINE names. Read once; thread-safe because every racing writer stores the same value. */
#include <stdatomic.h>
#include <stdlib.h>
#include <strings.h>

#include "kernels/machine.h"
#include "kernels/types.h"

const char *weft_isa_name(weft_isa isa)
{
    switch (isa) {
    case WEFT_ISA_SCALAR: return "scalar";
    case WEFT_ISA_AVX2: return "avx2";
    case WEFT_ISA_AVX512: return "avx512";
    }
    return "?";
}

weft_isa wf_cpu_best_isa(void)
{
    __builtin_cpu_init(); /* also checks that the OS saves the wide registers */
    weft_isa isa = WEFT_ISA_SCALAR;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        isa = WEFT_ISA_AVX2;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
            isa = WEFT_ISA_AVX512;
    }
    return isa;
}

static weft_isa capped(weft_isa isa)
{
    const char *cap = getenv("WEFT_MAX_ISA");
    if (cap)
        for (weft_isa i = WEFT_ISA_SCALAR; i < isa; i++)
            if (strcasecmp(cap, weft_isa_name(i)) == 0)
                isa = i;
    const wf_machine_class *asked = wf_machine_class_asked();
    return asked && asked->isa < isa ? asked->isa : isa;
}

weft_isa wf_cpu_isa(void)
{
    static atomic_int known; /* isa + 1; 0: not yet */
    int isa = atomic_load_explicit(&known, memory_order_relaxed);
    if (isa == 0) {
        isa = (int)capped(wf_cpu_best_isa()) + 1;
        atomic_store_explicit(&known, isa, memory_order_relaxed);
    }
    return (weft_isa)(isa - 1);
}
