/* What a trial has: made-up operands, a kernel's workspace. See trial.h. */
#ifndef WF_TUNE_TRIAL_DATA_H
#define WF_TUNE_TRIAL_DATA_H

#include <stdatomic.h>

#include "engine/machine/memory.h"
#include "engine/machine/topology.h"
#include "engine/tune/problem.h"
#include "kernels/matmul/batch.h"

/* Where trials run. */
typedef struct wf_trial_place {
    wf_topology *topology;
    wf_memory *memory;
    weft_isa isa;
    int threads;
    size_t cold_bytes; /* runs rotate through data of at least this size; 0: they reuse one set */
} wf_trial_place;

/* A problem's operands, which all of its trials share: `sets` sets of activations, and one set of
 * weights. */
typedef struct wf_trial_data {
    wf_trial_place place;
    wf_problem problem;
    wf_block block;
    int sets;
    size_t set_bytes;
    /* Operands of the family: conv2d's src and dst; matmul's a and b together, and c. Set i is i *
     * set_bytes further. */
    char *in, *out;
    float *weights, *dweights, *bias; /* conv2d; matmul uses bias only */
    float *table;                     /* conv2d that reads bytes; else NULL */
} wf_trial_data;

enum { WF_TRIAL_PHASES = 2 };

/* The tiles of a phase that belong to one worker, as in the engine's scheduler: the worker claims them first,
 * then the others'. So a worker has the same images in each run, and in each phase. */
typedef struct wf_trial_segment {
    atomic_llong next;
    int64_t end;
    char apart[112]; /* two segments share no cache line */
} wf_trial_segment;

typedef struct wf_trial wf_trial;
struct wf_trial {
    const wf_trial_data *data;
    const char *impl; /* its name in the family's list */
    char name[48];    /* the kernel's name, such as "onednn:jit:avx2" */
    double cycles;    /* expected cost */
    bool failed;      /* set by the caller: a run failed */
    /* private */
    wf_conv2d *conv2d;
    const wf_matmul_impl *matmul;
    wf_matmul_batch batch;
    wf_block block;
    char *packed, *partial_sums, *scratch;
    size_t partial_sum_stride, scratch_stride;
    int64_t tiles
        [WF_TRIAL_PHASES]; /* one phase after the other: packing, then outputs; sums, then adding up */
    weft_status (*run)(const wf_trial *t, int set, int worker, int phase, int64_t tile);
    wf_trial_segment *segments; /* [phase][worker] */
};

/* ---- for the families' files ---- */

/* Fills with values in [-1, 1), none of them denormal. */
void wf_trial_fill(float *p, size_t n, uint32_t seed);
static inline size_t wf_trial_aligned(size_t bytes)
{
    return (bytes + WF_ALIGN - 1) / WF_ALIGN * WF_ALIGN;
}
weft_status wf_trial_alloc(wf_trial_data *d, size_t set_bytes, size_t shared_bytes,
                           weft_error *err);
bool wf_trial_workspace(wf_trial *t, size_t bytes, char *why, size_t size);

#endif
