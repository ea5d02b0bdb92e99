/* Which instruction sets to use: what the CPU and the operating system offer, capped by WEFT_MAX_ISA
 * and by the class of machine that WEFT_MACHINE names. One level is for f32 (weft_isa), one for bf16
 * arithmetic (wf_bf16).
 *
 * Threads: any. Each level is read once; every racing writer stores the same value. */
#include <cpuid.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>

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

const char *wf_bf16_name(wf_bf16 level)
{
    switch (level) {
    case WF_BF16_STORAGE: return "storage";
    case WF_BF16_DOT: return "avx512_bf16";
    case WF_BF16_AMX: return "amx";
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

/* Bits of CPUID's leaf 7 and of XCR0, from Intel's Software Developer's Manual, volumes 2A and 1. */
#define LEAF7_1_EAX_AVX512_BF16 (1u << 5)
#define LEAF7_0_EDX_AMX (1u << 22 | 1u << 24 | 1u << 25) /* AMX-BF16, AMX-TILE, AMX-INT8 */
#define LEAF1_ECX_OSXSAVE (1u << 27)
#define XCR0_TILES (1u << 17 | 1u << 18) /* TILECFG, TILEDATA */

/* Whether the operating system saves the tile registers. */
static bool saves_tiles(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & LEAF1_ECX_OSXSAVE))
        return false;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (a & XCR0_TILES) == XCR0_TILES;
}

wf_bf16 wf_cpu_best_bf16(void)
{
    unsigned a, b, c, d;
    if (wf_cpu_best_isa() < WEFT_ISA_AVX512 || !__get_cpuid_count(7, 1, &a, &b, &c, &d) ||
        !(a & LEAF7_1_EAX_AVX512_BF16))
        return WF_BF16_STORAGE;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & LEAF7_0_EDX_AMX) != LEAF7_0_EDX_AMX ||
        !saves_tiles())
        return WF_BF16_DOT;
    return WF_BF16_AMX;
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

/* "avx512" means no bf16 arithmetic; scalar and avx2 have none anyway. */
static wf_bf16 capped_bf16(wf_bf16 level)
{
    const char *cap = getenv("WEFT_MAX_ISA");
    if (wf_cpu_isa() < WEFT_ISA_AVX512 ||
        (cap && strcasecmp(cap, weft_isa_name(WEFT_ISA_AVX512)) == 0))
        return WF_BF16_STORAGE;
    if (cap && level > WF_BF16_DOT && strcasecmp(cap, wf_bf16_name(WF_BF16_DOT)) == 0)
        return WF_BF16_DOT;
    return level;
}

/* Asks Linux for the tile registers, which a process has only by permission: the kernel's document
 * x86/xstate. Returns 0 or errno; asking again does no harm. */
static int ask_for_tiles(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_TILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_TILEDATA) == 0 ? 0 : errno;
}

static atomic_int refused; /* errno of ask_for_tiles */

wf_bf16 wf_cpu_bf16(void)
{
    static atomic_int known; /* level + 1; 0: not yet */
    int level = atomic_load_explicit(&known, memory_order_acquire);
    if (level == 0) {
        wf_bf16 found = capped_bf16(wf_cpu_best_bf16());
        if (found == WF_BF16_AMX) {
            int error = ask_for_tiles();
            atomic_store_explicit(&refused, error, memory_order_relaxed);
            found = error ? WF_BF16_DOT : WF_BF16_AMX;
        }
        level = (int)found + 1;
        atomic_store_explicit(&known, level, memory_order_release);
    }
    return (wf_bf16)(level - 1);
}

int wf_cpu_amx_refused(void)
{
    wf_cpu_bf16();
    return atomic_load_explicit(&refused, memory_order_relaxed);
}
