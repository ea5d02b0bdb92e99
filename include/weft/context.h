/* The context: threads, memory, the graph being recorded, the first error.
 *
 * One thread at a time may use a context and the tensors that belong to it.
 *
 * Stacks: a thread that calls Weft needs 128 KiB of free stack, and each of OpenMP's threads
 * (OMP_STACKSIZE) a little more than 64 KiB. Linux's default of 8 MiB is plenty. Creating a
 * context, recording, backward passes and runs check this and fail with WEFT_ERR_STATE where there
 * is less. They cannot check a stack that the program made itself, such as a coroutine's.
 *
 * fork: a child may use the contexts that it inherited, and may create others. It runs on threads
 * of its own and gets the same bits. While the process forks, no other thread may be inside a call
 * on the context. The child cannot use a loader that has threads (weft/data.h). */
#ifndef WEFT_CONTEXT_H
#define WEFT_CONTEXT_H

#include <stdio.h>

#include "weft/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a step is run. All give the same bits. The interpreter runs the ops one by one, in recording
 * order, on one thread, each value in memory of its own: what tests compare with. The random
 * scheduler runs ready tiles in random order, over memory that was filled with NaN: it tests that
 * the plan orders everything that must be ordered. In sequence, branches do not run side by side:
 * the difference to PARALLEL is what running them so gains. */
typedef enum weft_executor {
    WEFT_EXECUTOR_PARALLEL,    /* the plan, on all threads */
    WEFT_EXECUTOR_INTERPRETER, /* op by op, on one thread */
    WEFT_EXECUTOR_RANDOM,      /* the plan, tiles in random order, on one thread */
    WEFT_EXECUTOR_SEQUENCE     /* the plan, on all threads, one task group after the other */
} weft_executor;

/* Passes of the plan's compiler that can be switched off, for tests and to look for a mistake. */
enum {
    WEFT_PASS_SIMPLIFY = 1u << 0,  /* removing what nobody needs */
    WEFT_PASS_FUSE = 1u << 1,      /* making one op of several */
    WEFT_PASS_MEMORY = 1u << 2,    /* sharing memory between values */
    WEFT_PASS_SLICES = 1u << 3,    /* concatenation without copies */
    WEFT_PASS_BYTES = 1u << 4,     /* convolutions that read u8 images and normalise as they load */
    WEFT_PASS_RECOMPUTE = 1u << 5, /* computing values again in the backward pass to save memory */
    WEFT_PASS_ALL = 0x3fu          /* all of them */
};

/* Mixed precision, as PyTorch's autocast with bfloat16. It stores feature maps, that is values of
 * shape (N, C, H, W) with more than one pixel, and their gradients as bf16. The rules are
 * autocast's: convolutions give bf16; element-wise ops, BatchNorm and pooling give the type they
 * are given; losses, softmax and the optimizer work in f32. Parameters, their gradients, optimizer
 * state, running statistics and every sum stay f32. The loss need not be scaled, because bf16 has
 * f32's range. The program sees no difference: tensors have the types they were recorded with, and
 * weft_read gives those. */
typedef enum weft_amp {
    WEFT_AMP_OFF,  /* everything is stored in the type it was recorded with */
    WEFT_AMP_BF16, /* feature maps are stored as bf16 */
    WEFT_AMP_AUTO  /* the first plan that has products decides, by its expected cost */
} weft_amp;

/* What happens when Weft finds a likely mistake in the program; weft_set_message_handler lists
 * them. */
typedef enum weft_lint {
    WEFT_LINT_DEFAULT, /* as the environment's WEFT_LINT says (off, warn or error), else warn */
    WEFT_LINT_OFF,     /* nothing */
    WEFT_LINT_WARN,    /* a message to the handler, if there is one */
    WEFT_LINT_ERROR    /* the call that finds it fails with WEFT_ERR_STATE */
} weft_lint;

/* How a context is made. All zeros are the defaults. */
typedef struct weft_options {
    int threads;            /* 0: OMP_NUM_THREADS, else one per physical core we may use */
    uint64_t seed;          /* of initial values, dropout and weft_randn */
    weft_executor executor; /* how steps are run */
    unsigned passes_off;    /* WEFT_PASS_ bits to switch off */
    uint64_t schedule_seed; /* of the random scheduler */
    weft_amp amp;           /* mixed precision */
    weft_lint lint;         /* what happens to likely mistakes */
    bool anomaly;           /* anomaly mode from the start, see weft_anomaly_begin */
    const char *trace_path; /* write a timeline (Chrome trace) to this file; NULL: none. Copied. */
    /* The wisdom file (weft/tune.h), or "none". NULL: the file that the environment's WEFT_WISDOM
     * names, else weft/wisdom.json in the user's cache folder. Copied. */
    const char *wisdom;
    size_t memory_limit; /* weft_set_memory_limit; 0: none */
} weft_options;
#define WEFT_OPTIONS_INIT WEFT_INIT_ZERO /* to begin options with */

/* A new context in *ctx. options may be NULL: the defaults. On failure *ctx is untouched and err
 * (may be NULL) has the message. A WEFT_ environment variable with a value that it cannot have is
 * an error. */
weft_status weft_context_create(weft_context **ctx, const weft_options *options, weft_error *err);
/* A context with default options, for small programs; NULL on failure. weft_context_create also
 * says why it failed. */
weft_context *weft_context_default(void);
/* Writes the timeline of what has run so far to weft_options.trace_path; without a path it does
 * nothing. weft_context_destroy does the same, but has no status to return: if it cannot write it
 * sends a message (weft_set_message_handler). */
weft_status weft_trace_write(weft_context *ctx);
/* Destroys the context. Stored tensors that are still referenced keep their memory until their
 * last reference goes, but ops refuse them. NULL: no effect. Inside a backward hook or a callback
 * that the context called, such as a message handler, it only sets the context's error: see
 * weft_discard. */
void weft_context_destroy(weft_context *ctx);

int weft_threads(const weft_context *ctx);          /* that steps run on */
weft_isa weft_context_isa(const weft_context *ctx); /* that kernels are chosen for */
/* The machine class that kernels are chosen for, such as "avx512-l2-1m". Results have the same bits
 * on all machines of a class with the same wisdom and version of oneDNN; where oneDNN's kernels are
 * chosen, bits may also depend on the caches, for which oneDNN asks the CPU itself. "" without a
 * context. The environment's WEFT_MACHINE names another. */
const char *weft_context_machine(const weft_context *ctx);
/* What weft_options.amp says; once AUTO has been decided: WEFT_AMP_OFF or WEFT_AMP_BF16. */
weft_amp weft_context_amp(const weft_context *ctx);

/* The status of the first error since the last weft_error_clear; WEFT_OK: there was none.
 *
 * A step that lacks a part must not run. So when a recording call fails (an op, weft_call,
 * weft_keep, weft_backward, clipping, an optimizer's update), its whole step has failed. Nothing
 * more is recorded: ops return NULL. Every call that would run the step (reading a recorded
 * tensor, weft_sync, weft_optimizer_step) fails with the same status, and no stored tensor
 * changes. weft_discard ends the failed step. weft_error_clear lets you go on with it, without the
 * part that failed. A training loop can therefore check for errors once, at its end.
 *
 * Errors of other calls (a look-up, a read, a file) do not fail the step. */
weft_status weft_error_status(const weft_context *ctx);
/* The text of that error, never NULL. It has several lines where several things are wrong, as when
 * a state does not fit. With a NULL context: the last error of this thread that had no context,
 * such as the use of a module before its weft_module_init. */
const char *weft_error_text(const weft_context *ctx);
/* Forgets the error, and that the step has failed. */
void weft_error_clear(weft_context *ctx);
/* Writes the error and a newline to `out`, and returns its status. Without an error it writes
 * nothing and returns WEFT_OK. A NULL context is an error, too. Text that came from files and
 * names is quoted (weft_quote). */
weft_status weft_print_error(const weft_context *ctx, FILE *out);
/* For the end of a small program: weft_print_error, then weft_context_destroy. Returns the error's
 * status. */
weft_status weft_context_finish(weft_context *ctx, FILE *out);
/* Writes a tensor's shape, such as [1, 5], and a newline; for NULL nothing. */
void weft_print_shape(const weft_tensor *t, FILE *out);

/* Runs all recorded work and ends the step: its recorded tensors can no longer be used. */
weft_status weft_sync(weft_context *ctx);
/* Ends the step without running it, also one that has failed. Stored tensors keep their content.
 * Gradients that the step was to compute are absent; one that it was to add to stays as it was. To
 * go on after an error, also call weft_error_clear. NULL: no effect.
 *
 * A backward hook (weft_register_grad_hook, weft_register_backward_hook and the like) must not end
 * the step, because its backward pass is still being recorded. Inside a hook, this call and every
 * other that would end the step (weft_sync, optimizer steps, clipping, weft_module_summary,
 * weft_gradcheck, weft_context_destroy) fail with WEFT_ERR_STATE. If a hook calls weft_discard,
 * the backward pass fails when the hook returns, and the step ends. The same calls fail inside a
 * message handler and inside weft_tune's progress callback. */
void weft_discard(weft_context *ctx);

/* A scope in which ops record no gradients, as torch.no_grad. Scopes nest; end takes what begin
 * returned:
 *     bool was = weft_no_grad_begin(ctx);
 *     ...
 *     weft_no_grad_end(ctx, was); */
bool weft_no_grad_begin(weft_context *ctx);
void weft_no_grad_end(weft_context *ctx, bool was);
bool weft_grad_enabled(const weft_context *ctx); /* false inside such a scope */

/* A scope of the same form whose feature maps are not kept for the backward pass, as
 * torch.utils.checkpoint: only what ops outside read of it outlives the forward pass. The backward
 * pass runs its ops again, once, just before it needs their values: the same bits in less memory and
 * more time. Running statistics are updated once, and dropout drops the same elements. Small tensors
 * and the outputs of custom ops are kept. A scope inside another has no effect of its own.
 * weft_module_recompute gives modules such a scope. */
bool weft_recompute_begin(weft_context *ctx);
void weft_recompute_end(weft_context *ctx, bool was);

/* Anomaly mode, a scope of the same form. The outputs of every op recorded in it, forward and
 * backward, are checked when they are computed. The first op, in recording order, that gives a NaN
 * or an infinity fails the run with WEFT_ERR_NUMERIC; no stored tensor changes. The message has
 * the op's name, its module path, and whether it was forward or backward. Such a step runs op by
 * op on one thread. It is slow, and has the same bits as any other run. */
bool weft_anomaly_begin(weft_context *ctx);
void weft_anomaly_end(weft_context *ctx, bool was);

/* Receives warnings about likely mistakes and ignored files, each once:
 *   a tensor requires a gradient and reaches the loss, but no optimizer has it. Reported at the
 *     next optimizer step, with its shape and the op and module that first read it. Calling
 *     weft_grad on the tensor before that says that it is meant so;
 *   an optimizer's learning rate is 0 because its options left it out. Reported at its step;
 *   a parameter of an optimizer got no gradient. Reported at the optimizer's step, with its name
 *     and the reason (frozen, not reached, cut by no_grad or detach);
 *   a tensor was written through an old pointer of weft_tensor_data, after an op was recorded that
 *     reads it. Reported with that op and the tensor's shape;
 *   a BatchNorm whose state was loaded is in training mode under no_grad. Reported with its module
 *     path;
 *   a wisdom file is damaged, or has nothing for this machine;
 *   the timeline could not be written when its context was destroyed. */
typedef void (*weft_message_fn)(void *user, const char *text);
/* Sets the function that receives the context's messages; fn NULL: nobody does. */
void weft_set_message_handler(weft_context *ctx, weft_message_fn fn, void *user);

/* Writes a report on the machine: which cores were chosen and why, NUMA nodes, caches, instruction
 * set, versions of libraries. */
weft_status weft_info(weft_context *ctx, FILE *out);
/* Writes where this process runs, as the JSON object that a run's config.json has as "environment".
 * Members whose values are not known are null.
 *   On what results depend: "weft", "commit" (weft_commit), "onednn", "cpu", "isa", "amp", "machine"
 *     (weft_context_machine), "threads", "wisdom" (a hash), "avoid" (WEFT_AVOID).
 *   Where: "host", "system" (kernel), "job" (null, or an object with the members of weft_job),
 *     "variables" (the scheduler's environment variables, those that hold no secret), "cpus" (chosen:
 *     "0-7,16"), "cpus_why", "bound", "binding", "openmp", "numa" (an array: bytes of "memory", "cpus"
 *     of each node), "memory" (bytes: "machine", "limit" of machine and control group, "available";
 *     "why": the limit's), "hardware" (counts; "quota"; caches in bytes), "libraries" (versions). */
weft_status weft_info_json(weft_context *ctx, FILE *out);
/* Writes the same as one line for people: host, batch job, cores and why, binding, NUMA nodes,
 * memory, system, version. Works as snprintf does: writes at most `size` bytes, a zero at the end
 * included, and returns the length of the whole line; 0: no context, or out of memory. Names in it
 * come from outside: quote it (weft_quote) before you print it. */
size_t weft_info_line(const weft_context *ctx, char *text, size_t size);
/* Writes the plan of the recorded work, without running it: tasks, kernels, tiles, layouts,
 * memory. */
weft_status weft_explain(weft_context *ctx, FILE *out);

/* What weft_explain_with writes. */
typedef enum weft_explain_form {
    WEFT_EXPLAIN_TEXT,   /* as weft_explain */
    WEFT_EXPLAIN_DOT,    /* a picture of the task groups in Graphviz's language: dot -Tsvg */
    WEFT_EXPLAIN_MEMORY, /* a picture (SVG) of the activations' memory while the step runs */
    WEFT_EXPLAIN_JSON    /* one JSON object: groups, what waits for what, expected figures */
} weft_explain_form;
/* How weft_explain_with tells. Zeros are defaults. */
typedef struct weft_explain_opts {
    weft_explain_form form; /* WEFT_EXPLAIN_TEXT is 0 */
    /* A timeline (weft_options.trace_path) of runs of the same work: writes each op's measured time
     * beside the expected one, as text. Ops that are off by more than 2 are marked. NULL: none. */
    const char *measured;
} weft_explain_opts;
#define WEFT_EXPLAIN_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */
/* As weft_explain, in other forms. opts may be NULL. Errors: WEFT_ERR_IO if the timeline cannot be
 * read, WEFT_ERR_FORMAT if it has no whole run of this work's plan. */
weft_status weft_explain_with(weft_context *ctx, const weft_explain_opts *opts, FILE *out);

/* The bytes of memory that a step needs, by part. */
typedef struct weft_step_memory {
    size_t parameters; /* stored tensors that optimizers have, or that require a gradient */
    size_t state;      /* other stored tensors that the step changes: the optimizer's, statistics */
    size_t gradients;  /* gradients that outlive the step */
    size_t inputs;     /* stored tensors that the step only reads */
    size_t kept;       /* results that outlive the step: weft_keep, values read before its end */
    size_t activations; /* the arena: what the step computes on its way */
    size_t scratch;     /* kernels' workspace, of all threads */
    size_t plan;        /* the plan itself, without the kernels' code and tables; about */
    size_t touched; /* of gradients and state: what recording has written already (small tensors) */
} weft_step_memory;
/* Says what memory the recorded work would need, without running it; it stays recorded. The plan
 * that this compiles is kept, so that running the same work later costs no more. Stored tensors that
 * the work does not touch are not counted. Arena and workspace are shared by all steps of a
 * context: the largest counts. */
weft_status weft_plan_memory(weft_context *ctx, weft_step_memory *memory);
/* Limits what a step computes on its way: the bytes of its arena and workspace
 * (weft_step_memory.activations and scratch). Steps that need no more run as before. Of the others,
 * the plan chooses segments of the forward pass whose values are not kept, and runs these segments
 * again in the backward pass, as few as suffice: the same bits in less memory and more time. Where
 * modules or scopes with weft_recompute_begin need too much, its choice replaces theirs. A step that
 * cannot meet the limit fails with WEFT_ERR_NOMEM; its message has the least that would do. 0: no
 * limit. Plans that were compiled for another limit are dropped. The interpreter, anomaly mode and
 * runs of a part of a step (reading a recorded tensor) know no limit. */
weft_status weft_set_memory_limit(weft_context *ctx, size_t bytes);
/* The least bytes that the last step which could not meet the limit would have needed; 0: no step
 * has failed so since the limit was set. */
size_t weft_memory_least(const weft_context *ctx);
/* The bytes that a context holds now: stored tensors, arena and workspace together, and the most
 * that it has held. Either pointer may be NULL. */
void weft_memory_in_use(const weft_context *ctx, size_t *now, size_t *peak);

/* The memory that this process may still use, in bytes. */
typedef struct weft_memory_room {
    uint64_t machine;   /* the machine's memory */
    uint64_t limit;     /* the same, or the tightest control group's limit */
    uint64_t available; /* that can still be allocated without swapping */
    uint64_t resident;  /* that the process has in memory now */
    uint64_t peak;      /* the most that it has had (Linux's VmHWM) */
    char why[320];      /* what limits `available`: "MemAvailable", "control group /slurm/job_7" */
} weft_memory_room;
/* WEFT_ERR_IO: the system does not tell; err may be NULL. */
weft_status weft_memory_get_room(weft_memory_room *room, weft_error *err);

const char *weft_version(void); /* "0.1.0" */
/* The git commit that the library was built from, "-dirty" behind it where files had changes; ""
 * where it was built from no git checkout. */
const char *weft_commit(void);

#ifdef __cplusplus
}
#endif
#endif
