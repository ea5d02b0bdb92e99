/* Tuning: which kernel is the fastest for each convolution and matrix product on this machine,
 * measured once, and the wisdom that keeps the answers.
 *
 * Wisdom is keyed by CPU model, ISA, Weft's and oneDNN's versions, and the problem: pass,
 * shape, layout and types. It does not depend on the number of threads. A context uses what
 * its wisdom file (weft_options.wisdom) says about this machine; for everything else a static
 * model chooses. Kernels differ in the last bits of their results, so: the same wisdom, the
 * same bits. See docs/kernels.md. */
#ifndef WEFT_TUNE_H
#define WEFT_TUNE_H

#include "weft/context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_tune_progress {
    int problem, problems; /* from 1 */
    const char *what;      /* "conv2d forward g1mb64ic3..." */
    /* Once it is measured: the fastest kernel, the one that is chosen without wisdom, and what one
     * run of each took. NULL and 0 before. */
    const char *kernel, *untuned;
    double seconds, untuned_seconds;
} weft_tune_progress;

typedef struct weft_tune_opts {
    double seconds; /* to measure a problem, about; 0, in which nothing can be measured, reads as
                       half a second */
    bool again;     /* measure what wisdom knows already, too */
    /* Called before and after each problem; false: stop, and keep what was found. Or NULL. */
    bool (*progress)(void *user, const weft_tune_progress *p);
    void *user;
} weft_tune_opts;

typedef struct weft_tune_result {
    int problems; /* distinct ones in what is recorded, for which there is a choice */
    int known;    /* of these, known to wisdom before */
    int measured;
    int better; /* for how many the fastest kernel is not the one chosen without wisdom */
    double seconds;
    /* Of one step, the measured problems together: as it was chosen without wisdom, and with it. */
    double untuned_step_seconds, step_seconds;
} weft_tune_result;

/* Measures the kernels for the work that is recorded, as a step would run them, on all threads, and
 * adds what it finds to the context's wisdom, which is used from then on. What is recorded stays
 * recorded, and is not run. opts and result may be NULL.
 * WEFT_ERR_INTERRUPTED: progress said stop. */
weft_status weft_tune(weft_context *ctx, const weft_tune_opts *opts, weft_tune_result *result);

/* Writes the context's wisdom to the file `path`, NULL: its own, together with what is
 * there already for this and other machines. Several processes may do so at once.
 * WEFT_ERR_STATE where wisdom is off and there is no path. What stands at the path and is
 * not wisdom is moved to PATH.damaged. */
weft_status weft_wisdom_save(weft_context *ctx, const char *path);
/* Whether weft_wisdom_save could write there, as far as can be told without writing: worth asking
 * before measuring. Makes the folders above the file. */
weft_status weft_wisdom_can_save(weft_context *ctx, const char *path);

/* The wisdom in use: its file (NULL: none, or there is no such file), how many choices for this
 * machine it holds, and a hash over them, of 16 hexadecimal digits ("none" without any). The texts
 * live until the context's end or the next call. Reads the file if nothing has yet. */
typedef struct weft_wisdom_info {
    const char *path;
    int choices;
    const char *hash;
} weft_wisdom_info;
weft_status weft_wisdom_get_info(weft_context *ctx, weft_wisdom_info *info);

#ifdef __cplusplus
}
#endif
#endif
