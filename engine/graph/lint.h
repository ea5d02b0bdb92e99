/* Lints: warnings about likely mistakes that other libraries do not mention. Each is given once:
 * see weft_set_message_handler. Threading rule: the context's. */
#ifndef WF_GRAPH_LINT_H
#define WF_GRAPH_LINT_H

#include <stdbool.h>

#include "weft/context.h"

/* A tensor that got a gradient although no optimizer had it. The next optimizer step warns of
 * it. */
typedef struct wf_loose {
    const weft_tensor *tensor; /* only compared: the tensor may have been freed */
    char *text;
    bool told; /* this text is not given again */
} wf_loose;

/* A module's call that changed a buffer or drew random numbers: its place in the order of calls
 * matters. Pointers are only compared. */
typedef struct wf_called {
    const void *module;
    const weft_tensor *out;
    uint64_t gen; /* generation of the graph */
} wf_called;

typedef struct wf_lint_state {
    weft_lint mode;      /* never WEFT_LINT_DEFAULT */
    wf_called called[8]; /* the last calls; the newest is [(n_called - 1) % 8] */
    unsigned n_called;
    weft_message_fn fn;
    void *user;
    int optimizers;       /* how many exist in the context */
    bool batch_norm_told; /* the warning was given since the last load */
    wf_loose *loose;
    int n_loose, cap_loose;
} wf_lint_state;

weft_status wf_lint_create(weft_context *ctx, weft_lint mode);
void wf_lint_destroy(wf_lint_state *lint); /* NULL: no effect */

/* Whether anyone gets lints. If not, checks can be skipped. */
bool wf_lint_on(const weft_context *ctx);
/* Gives a warning, with the module path in front. Where lints are errors: sets the context's error
 * and returns WEFT_ERR_STATE. */
weft_status wf_lint(weft_context *ctx, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Gives a message that is no lint: the user cannot switch it off or make it an error. */
void wf_tell(weft_context *ctx, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Notes that a backward pass gave leaf `value` a gradient, although no optimizer has its tensor. */
void wf_lint_loose(weft_context *ctx, int value);
/* The user has asked for the tensor's gradient, so the lack of an optimizer is no mistake. */
void wf_lint_wanted(weft_context *ctx, const weft_tensor *t);
weft_status wf_lint_tell_loose(weft_context *ctx);

/* Call these when a module's call begins and when it has given its output. */
typedef struct wf_call_mark {
    int nodes, assigned;
} wf_call_mark;
wf_call_mark wf_lint_call_begins(const weft_context *ctx);
void wf_lint_call_ends(weft_context *ctx, wf_call_mark begin, const void *module,
                       const weft_tensor *out);
/* Warns where one module gave two operands of an op, the later operand first: C does not define the
 * order in which arguments are evaluated. */
weft_status wf_lint_order(weft_context *ctx, const char *op, int n_in, weft_tensor *const *in);

#endif
