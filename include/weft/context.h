/* The context: threads, memory, the graph being recorded, the first error.
 *
 * One thread at a time may use a context and the tensors that belong to it.
 *
 * Stacks: a thread that calls Weft needs 128 KiB of stack below it, and OpenMP's threads (OMP_STACKSIZE)
 * a little more than 64 KiB each; the defaults of Linux, 8 MiB, are plenty. Creating a context, recording, backward
 * passes and runs check it and fail with WEFT_ERR_STATE where there is less; a stack that the program
 * made itself, such as a coroutine's, is not seen.
 *
 * fork: a child may go on with the contexts that it inherited, and may create others; what it runs,
 * it runs on threads of its own, and gets the same bits. No other thread may be inside a call on the
 * context at that moment. A loader that has threads (weft/data.h) cannot be used in the child. */
#ifndef WEFT_CONTEXT_H
#define WEFT_CONTEXT_H

#include <stdio.h>

#include "weft/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a step is run. The interpreter runs the same arithmetic in recording order on one thread,
 * unfused, every buffer its own: the oracle. The random scheduler picks ready tiles at random
 * over memory poisoned with NaN: a test of the plan's ordering edges. */
typedef enum weft_executor {
    WEFT_EXECUTOR_PARALLEL,
    WEFT_EXECUTOR_INTERPRETER,
    WEFT_EXECUTOR_RANDOM
} weft_executor;

/* Plan passes that tests may switch off. */
enum {
    WEFT_PASS_SIMPLIFY = 1u << 0,
    WEFT_PASS_FUSE = 1u << 1,
    WEFT_PASS_MEMORY = 1u << 2,    /* sharing of arena bytes */
    WEFT_PASS_SLICES = 1u << 3,    /* concatenation without copies */
    WEFT_PASS_BYTES = 1u << 4,     /* convolutions of images that are not normalised first */
    WEFT_PASS_RECOMPUTE = 1u << 5, /* values made again in the backward pass */
    WEFT_PASS_ALL = 0x3fu
};

/* Mixed precision, as PyTorch's autocast with bfloat16. Activations and their gradients, values of
 * shape (N, C, H, W) with more than one pixel, are stored as bf16 from one op to the next, by
 * autocast's lists: convolutions give bf16; element-wise ops, BatchNorm's output, pooling and the like
 * what they are given; losses, softmax and the optimizer are f32. Parameters, their gradients,
 * optimizer state, running statistics and every sum stay f32; no loss scaling is needed, since bf16
 * has f32's range. The types that tensors are recorded with, and what weft_read gives, do not
 * change. */
typedef enum weft_amp {
    WEFT_AMP_OFF,
    WEFT_AMP_BF16,
    WEFT_AMP_AUTO /* bf16 where the machine has bf16 arithmetic, else off */
} weft_amp;

/* What to do about what is probably a mistake, see weft_set_message_handler. */
typedef enum weft_lint {
    WEFT_LINT_DEFAULT, /* as the environment's WEFT_LINT says: off, warn or error; else warn */
    WEFT_LINT_OFF,
    WEFT_LINT_WARN,
    WEFT_LINT_ERROR /* the call that finds it fails with WEFT_ERR_STATE */
} weft_lint;

typedef struct weft_options {
    int threads;            /* 0: OMP_NUM_THREADS, else one per physical core we may use */
    uint64_t seed;          /* of initialisation, dropout, weft_randn */
    weft_executor executor; /* default: parallel */
    unsigned passes_off;    /* WEFT_PASS_ bits to switch off */
    uint64_t schedule_seed; /* of the random scheduler */
    weft_amp amp;           /* default: off */
    weft_lint lint;
    bool anomaly;           /* weft_anomaly_begin from the start */
    const char *trace_path; /* write a Chrome trace of the replays here; NULL: none. Copied. */
    /* The file of tuned choices, weft/tune.h; "none"; NULL: as the environment's WEFT_WISDOM says,
     * else weft/wisdom.json in the user's cache. Copied. */
    const char *wisdom;
} weft_options;
/* clang-format off */
#define WEFT_OPTIONS_INIT {0}
/* clang-format on */

/* options may be NULL. On failure returns a status and leaves *ctx untouched; err (may be NULL)
 * receives the message. A word in Weft's environment variables that means nothing is an error. */
weft_status weft_context_create(weft_context **ctx, const weft_options *options, weft_error *err);
/* A context with default options; NULL on failure. For small programs:
 * weft_context_create says why. */
weft_context *weft_context_default(void);
/* Writes the trace (weft_options.trace_path; without one nothing happens) of what has run so far.
 * weft_context_destroy writes what is not written yet, but can only send a message that it cannot
 * (weft_set_message_handler): who needs to know calls this before. */
weft_status weft_trace_write(weft_context *ctx);
/* Destroys the context. Tensors that are still referenced stay valid memory until their last
 * unref, but can no longer be recorded with. NULL: no effect. Inside a backward hook or a callback
 * that the context called, such as a message handler, it sets the context's error and does nothing
 * else: see weft_discard. */
void weft_context_destroy(weft_context *ctx);

int weft_threads(const weft_context *ctx);
weft_isa weft_context_isa(const weft_context *ctx);
/* The class of machine that kernels are chosen for, on which bits depend: "avx512-l2-1m"; "" without a
 * context. The environment's WEFT_MACHINE names another. */
const char *weft_context_machine(const weft_context *ctx);
/* WEFT_AMP_OFF or WEFT_AMP_BF16: what weft_options.amp came to. */
weft_amp weft_context_amp(const weft_context *ctx);

/* The first error since the last clear: its status and its text (never NULL; several lines where
 * several things are at fault, as when a state does not fit).
 *
 * What records (ops, weft_call, weft_keep, weft_backward, clipping, an optimizer's update) is part of
 * a step, and a step that lacks a part must not run. So once a recording has failed the whole step
 * has: nothing more is recorded (ops give NULL), and whatever would run it fails with the same
 * status, so that nothing is committed: reads of recorded tensors, weft_sync, weft_optimizer_step.
 * weft_discard ends such a step; weft_error_clear goes on with it, without what failed. A loop may
 * therefore check once, at its end. Errors of other calls (a look-up, a read, a file) fail nothing
 * else. */
weft_status weft_error_status(const weft_context *ctx);
/* Of NULL: the last error of this thread that had no context to go to, such as the use of a module
 * before its weft_module_init. */
const char *weft_error_text(const weft_context *ctx);
void weft_error_clear(weft_context *ctx);
/* Writes the error that stands, and a newline, to `out` and returns its status; WEFT_OK and nothing
 * written where none does. A NULL context is an error that says so. Text from files and names is
 * quoted (weft_quote); the newlines of a message with a list of names stay. */
weft_status weft_print_error(const weft_context *ctx, FILE *out);
/* The end of a small program: weft_print_error, then weft_context_destroy. */
weft_status weft_context_finish(weft_context *ctx, FILE *out);
/* Writes a tensor's shape, such as [1, 5], and a newline; nothing for NULL, whose context has an
 * error to tell. */
void weft_print_shape(const weft_tensor *t, FILE *out);

/* Runs all recorded work, with every pass, and ends the step: recorded handles become stale. */
weft_status weft_sync(weft_context *ctx);
/* Ends the step, one that has failed too, without running what is recorded. Stored tensors keep what
 * they hold; gradients that were to be computed are absent, and one that was to be added to stays.
 * For going on after an error while recording, with weft_error_clear, since the error stays the
 * first. NULL: no effect.
 * Inside a backward hook (weft_register_grad_hook, weft_register_backward_hook and the like) nothing
 * may end the step, which is still being walked: this call and every other that would end it
 * (weft_sync, optimizer steps, clipping, weft_module_summary, weft_gradcheck, weft_context_destroy)
 * is refused with WEFT_ERR_STATE. A hook that calls weft_discard also makes the backward pass fail,
 * and so the step end, as soon as the hook returns. The same calls are refused inside a message
 * handler and inside weft_tune's progress callback. */
void weft_discard(weft_context *ctx);

/* Gradient recording. Scopes nest; pass the returned value back to end the scope:
 *     bool was = weft_no_grad_begin(ctx); ... weft_no_grad_end(ctx, was);  */
bool weft_no_grad_begin(weft_context *ctx);
void weft_no_grad_end(weft_context *ctx, bool was);
bool weft_grad_enabled(const weft_context *ctx); /* false inside such a scope */

/* Anomaly mode, a scope of the same form: the outputs of every op recorded in it, forward and
 * backward, are checked when they are computed. The first op, in recording order, that gives a NaN
 * or an infinity fails the run (WEFT_ERR_NUMERIC) with its name, its module path and whether it was
 * forward or backward; nothing is committed. Such a step runs op by op on one thread, so it is
 * slow; its bits are those of any other run. */
bool weft_anomaly_begin(weft_context *ctx);
void weft_anomaly_end(weft_context *ctx, bool was);

/* Messages about what runs, but is hardly meant, and about files that were ignored; each is told
 * once (and none without a handler):
 *   a tensor that requires a gradient and reaches the loss, but that no optimizer has: by shape and
 *     by the op and module where it entered, at the next optimizer step. A tensor whose weft_grad
 *     is asked for before that is taken to be meant so;
 *   an optimizer whose learning rate is 0 since its options left it out: at its step;
 *   a parameter of an optimizer that got no gradient: by name, with the reason (frozen, not
 *     reached, cut by no_grad or detach), at its step;
 *   a tensor written through an old pointer of weft_tensor_data after an op was recorded that reads
 *     it: by that op and its shape;
 *   BatchNorm in training mode under no_grad after its state was loaded: by module path;
 *   a file of wisdom that is damaged, or that has nothing for this machine;
 *   a trace that cannot be written when its context is destroyed. */
typedef void (*weft_message_fn)(void *user, const char *text);
void weft_set_message_handler(weft_context *ctx, weft_message_fn fn, void *user); /* NULL: none */

/* Text reports, written to `out`: the machine (cores chosen and why, NUMA, caches, ISA, library
 * versions), and the plan that the recorded work would run as (tasks, kernels, tiles, layouts,
 * offsets, peak memory). weft_explain compiles but does not run. */
weft_status weft_info(weft_context *ctx, FILE *out);
weft_status weft_explain(weft_context *ctx, FILE *out);

const char *weft_version(void); /* "0.1.0" */

#ifdef __cplusplus
}
#endif
#endif
