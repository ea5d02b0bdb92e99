/* The machine class that kernels are chosen and blocked for.
 *
 * Note [Machine classes]
 * Which kernel is the fastest, and how much of an image it should take at once, depend on vectors and
 * caches. Both decide about the last bits of a result. So they follow from a machine class, not from the
 * machine: the same class, wisdom and options give the same bits, whatever the model of the CPU and the
 * number of threads. A class has an instruction set, cache sizes, and a column each in kernels/costs.def and
 * kernels/blocking.def.
 *
 * If WEFT_MACHINE names a class, that is the one in use, and the instruction set is capped to it. Else it
 * is the class nearest to the machine: of those with the machine's instruction set (under WEFT_MAX_ISA)
 * the one whose L2 has the nearest size by ratio; of several, the one whose L1 has; of several, the first
 * listed. A size that is not known is as near as any. Zen 5, with 1 MiB of L2 and 48 KiB of L1, is thus an
 * avx512-l2-1m, and so is Ice Lake with 1.25 MiB.
 *
 * kernels/ does not ask the machine for its caches. The engine tells their sizes, once, when the first
 * context is made. Threads: any, once the class is told. */
#ifndef WF_MACHINE_H
#define WF_MACHINE_H

#include "kernels/types.h"

typedef struct wf_costs {
#define WF_COST(name, ...) double name;
#include "kernels/costs.def"
#undef WF_COST
} wf_costs;

/* How much kernels take at once: kernels/blocking.def. */
typedef struct wf_blocking {
#define WF_BLOCKING(name, ...) int name;
#include "kernels/blocking.def"
#undef WF_BLOCKING
} wf_blocking;

typedef struct wf_machine_class {
    const char *name; /* "avx512-l2-1m": instruction set, second-level cache of a core */
    weft_isa isa;
    size_t l1_bytes, l2_bytes; /* of a core's data caches */
    const wf_costs *cost;
    const wf_blocking *blocking;
} wf_machine_class;

/* The class in use. */
const wf_machine_class *wf_machine_class_now(void);
/* The class in use if it has this instruction set, else the nearest one to it that has. Kernels ask for the
 * set that they are compiled for. */
const wf_machine_class *wf_machine_class_of(weft_isa isa);

/* The nearest class; bytes 0: not known. */
const wf_machine_class *wf_machine_class_nearest(weft_isa isa, size_t l1_bytes, size_t l2_bytes);
/* By name, in any case; NULL: there is none. */
const wf_machine_class *wf_machine_class_named(const char *name);
const wf_machine_class *wf_machine_class_at(int i); /* NULL: there are not as many */
/* What WEFT_MACHINE says, where it names a class; NULL otherwise. */
const wf_machine_class *wf_machine_class_asked(void);

/* Tells the machine's cache sizes. The first call decides for the process. */
void wf_machine_tell(size_t l1_bytes, size_t l2_bytes);
/* Makes c the class in use, for tests and for fitting, while no kernel exists. c must outlive its use; NULL:
 * back to the class that the machine has. Returns the argument of the call before. */
const wf_machine_class *wf_machine_class_use(const wf_machine_class *c);

/* Constant i of c and its name; NULL: there are not as many. */
double *wf_cost_at(wf_costs *c, int i, const char **name);

#endif
