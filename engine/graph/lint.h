/* What is silent elsewhere and told here, once: see weft_set_message_handler. Threading rule: the
 * context's. */
#ifndef WF_GRAPH_LINT_H
#define WF_GRAPH_LINT_H

#include <stdbool.h>

#include "weft/context.h"

/* A tensor that got a gradient and that no optimizer had then. Told by the next optimizer step. */
typedef struct wf_loose {
    const weft_tensor *tensor; /* compared only: it may be gone */
    char *text;
    bool told; /* then nothing of this text is told again */
} wf_loose;

/* A module's call that changed a state or drew random numbers: its place among the module's calls
 * counts. Pointers are compared only. */
typedef struct wf_called {
    const void *module;
    const weft_tensor *out;
    uint64_t gen; /* of the graph */
} wf_called;

typedef struct wf_lint_state {
    weft_lint mode;      /* never WEFT_LINT_DEFAULT */
    wf_called called[8]; /* the last ones; the newest is [(n_called - 1) % 8] */
    unsigned n_called;
    weft_message_fn fn;
    void *user;
    int optimizers;       /* that exist in the context */
    bool batch_norm_told; /* since the last load */
    wf_loose *loose;
    int n_loose, cap_loose;
} wf_lint_state;

weft_status wf_lint_create(weft_context *ctx, weft_lint mode);
void wf_lint_destroy(wf_lint_state *lint); /* NULL: no effect */

/* Whether anyone would hear: look no further when not. */
bool wf_lint_on(const weft_context *ctx);
/* Tells, with the module path in front; as errors: the context's error and WEFT_ERR_STATE. */
weft_status wf_lint(weft_context *ctx, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A message that is no lint: it cannot be switched off or made an error. */
void wf_tell(weft_context *ctx, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A backward pass gave the leaf `value` of the graph a gradient, and
 * no optimizer has its tensor. */
void wf_lint_loose(weft_context *ctx, int value);
/* The user has asked for its gradient: it is no mistake. */
void wf_lint_wanted(weft_context *ctx, const weft_tensor *t);
weft_status wf_lint_tell_loose(weft_context *ctx);

/* What a call of `module` begins with; and its end, with the output. */
typedef struct wf_call_mark {
    int nodes, assigned;
} wf_call_mark;
wf_call_mark wf_lint_call_begins(const weft_context *ctx);
void wf_lint_call_ends(weft_context *ctx, wf_call_mark begin, const void *module,
                       const weft_tensor *out);
/* Tells of an op whose operands one module gave, a later operand first: C does not order arguments. */
weft_status wf_lint_order(weft_context *ctx, const char *op, int n_in, weft_tensor *const *in);

#endif
