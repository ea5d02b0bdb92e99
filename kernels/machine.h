/* The class of machine that kernels are chosen and blocked for.
 *
 * Note [Machine classes]
 * What a kernel costs beside another, and how much of an image to take at once, depend on vectors and
 * caches. Both decide about the last bits of a result, so they follow from a class of machines, not
 * from the machine: the same class, wisdom and options give the same bits, whatever the model of the
 * CPU and the number of threads. A class has an instruction set, sizes of caches and a column of
 * constants in kernels/costs.def.
 *
 * The class in use is the one that WEFT_MACHINE names (the instruction set is then capped to the
 * class's), else the one nearest to the machine: of those with the machine's instruction set (under
 * WEFT_MAX_ISA) the one whose second-level cache has the nearest size by ratio; of several, whose
 * first-level cache does; of several, the first listed. A size that is not known is as near as any.
 * Zen 5, 1 MiB of L2 and 48 KiB of L1, is thus an avx512-l2-1m, and so is Ice Lake with 1.25 MiB.
 *
 * kernels/ does not look for caches: the engine tells them, once, when the first context is made.
 * Threads: any, once the class is told. */
#ifndef WF_MACHINE_H
#define WF_MACHINE_H

#include "kernels/types.h"

typedef struct wf_costs {
#define WF_COST(name, ...) double name;
#include "kernels/costs.def"
#undef WF_COST
} wf_costs;

typedef struct wf_machine_class {
    const char *name; /* "avx512-l2-1m": instruction set, second-level cache of a core */
    weft_isa isa;
    size_t l1_bytes, l2_bytes; /* of a core's data caches */
    const wf_costs *cost;
} wf_machine_class;

/* The class in use. */
const wf_machine_class *wf_machine_class_now(void);
/* The class in use if it has this instruction set, else the one of this set that is nearest to it:
 * kernels ask for the set they are compiled for. */
const wf_machine_class *wf_machine_class_of(weft_isa isa);

/* The nearest class; bytes 0: not known. */
const wf_machine_class *wf_machine_class_nearest(weft_isa isa, size_t l1_bytes, size_t l2_bytes);
/* By name, in any case; NULL: there is none. */
const wf_machine_class *wf_machine_class_named(const char *name);
/* The listed classes. */
const wf_machine_class *wf_machine_class_at(int i); /* NULL: there are not as many */
/* What WEFT_MACHINE says, where it names a class; NULL otherwise. */
const wf_machine_class *wf_machine_class_asked(void);

/* What the machine's caches are; the first call that comes decides for the process. */
void wf_machine_tell(size_t l1_bytes, size_t l2_bytes);
/* Uses another class, or one with other constants, which must live on; NULL: what would be used
 * without. For tests and for fitting, while no kernel exists; returns what was used so. */
const wf_machine_class *wf_machine_class_use(const wf_machine_class *c);

/* Constant i of c and its name; NULL: there are not as many. */
double *wf_cost_at(wf_costs *c, int i, const char **name);

#endif
