/* Tuning: measures which kernel is the fastest for each convolution and matrix product on this
 * machine, and keeps the answers, the *wisdom*, in a file.
 *
 * An entry of wisdom is found by CPU model, instruction set, the versions of Weft and oneDNN, and
 * the problem: pass, shape, layout and types. The number of threads does not matter. A context
 * uses what its wisdom file (weft_options.wisdom) has for this machine. For all other problems a
 * model of costs chooses. Kernels differ in the last bits of their results, so the same bits need
 * the same wisdom. docs/kernels.md has more. */
#ifndef WEFT_TUNE_H
#define WEFT_TUNE_H

#include "weft/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What weft_tune_opts.progress is told. */
typedef struct weft_tune_progress {
    int problem, problems; /* which one, from 1, and how many there are */
    const char *what;      /* the problem: "conv2d forward g1mb64ic3..." */
    /* After measuring: the fastest kernel, the one that would be chosen without wisdom, and how
     * long one run of each takes. Before: NULL and 0. */
    const char *kernel, *untuned;
    double seconds, untuned_seconds;
} weft_tune_progress;

/* How weft_tune measures. */
typedef struct weft_tune_opts {
    double seconds; /* about how long to measure a problem; 0 reads as half a second */
    bool again;     /* also measure problems that wisdom has already */
    /* Called before and after each problem; false: stop, and keep what was found. Or NULL. */
    bool (*progress)(void *user, const weft_tune_progress *p);
    void *user; /* given to progress */
} weft_tune_opts;
#define WEFT_TUNE_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */

/* What weft_tune found. */
typedef struct weft_tune_result {
    int problems;   /* different ones in the recorded work for which there is a choice */
    int known;      /* of these, how many wisdom had before */
    int measured;   /* how many were measured */
    int better;     /* of these, how many have a faster kernel than the model would choose */
    double seconds; /* that measuring took */
    /* What the measured problems take in one step, together: without wisdom, and with it. */
    double untuned_step_seconds, step_seconds;
} weft_tune_result;

/* Measures the kernels for the recorded work, as a step would run them, on all threads. Adds what
 * it finds to the context's wisdom, which the context uses from then on. The recorded work is not
 * run and stays recorded. opts and result may be NULL. WEFT_ERR_INTERRUPTED: progress returned
 * false. */
weft_status weft_tune(weft_context *ctx, const weft_tune_opts *opts, weft_tune_result *result);

/* Adds the context's wisdom to the file `path` (NULL: the context's own file), which keeps what it
 * has for other machines. Several processes may do so at once. A file at that path that is no
 * wisdom is renamed to PATH.damaged. WEFT_ERR_STATE: wisdom is off and path is NULL. */
weft_status weft_wisdom_save(weft_context *ctx, const char *path);
/* Checks, without writing, whether weft_wisdom_save could write there. Call it before long
 * measuring. Makes the folders above the file. */
weft_status weft_wisdom_can_save(weft_context *ctx, const char *path);

/* The wisdom that a context uses. */
typedef struct weft_wisdom_info {
    const char *path; /* its file; NULL: wisdom is off, or there is no such file */
    int choices;      /* how many it has for this machine */
    const char *hash; /* over them, 16 hexadecimal digits; "none" where there are none */
} weft_wisdom_info;
/* Fills in *info; reads the file if that has not happened yet. The texts are valid until the
 * context ends or the function is called again. */
weft_status weft_wisdom_get_info(weft_context *ctx, weft_wisdom_info *info);

#ifdef __cplusplus
}
#endif
#endif
