/* What the files of this folder share: names, loading, and what does not fit. Threading rule: the
 * context's. */
#ifndef WF_MODULES_STATE_H
#define WF_MODULES_STATE_H

#include "modules/internal.h"

#define WF_EXTRA_STATE "_extra_state"

/* For each entry of the file, the name in m's state that it is for, its own where there is none, or
 * NULL, where it is to be left out: see Note [Names in files]. *names is the caller's, with as many
 * texts as the file has entries. */
weft_status wf_state_names(weft_module *m, const struct weft_safetensors *file,
                           const char *optional, char ***names);
void wf_state_names_done(char **names, int64_t n); /* NULL: no effect */

/* Whether p is of this kind and part of the state. */
bool wf_part_saved(const wf_part *p, wf_part_kind kind);

/* A tensor of a file that Weft cannot hold. */
typedef struct wf_foreign {
    const char *name; /* the module's name for it, if it has one */
    const char *what; /* "BOOL" */
} wf_foreign;

/* How a state is loaded. Lists are names of tensors or modules with spaces between. */
typedef struct wf_load_rules {
    const char *what;              /* for messages: "the state", or a path */
    bool strict;                   /* no name may be missing or unexpected */
    bool finite;                   /* values must be numbers */
    const char *optional, *except; /* as in weft_load_opts; or NULL */
    const wf_foreign *foreign;     /* n_foreign, beside the list's tensors */
    int n_foreign;
} wf_load_rules;
weft_status wf_load_state(weft_module *m, const weft_tensor_list *list, const wf_load_rules *rules);
/* Whether `name` is one of the prefixes or lies below one. */
bool wf_names_cover(const char *prefixes, const char *name);

/* In the order in which they are told. */
typedef enum wf_misfit_kind {
    WF_MISSING,
    WF_UNEXPECTED,
    WF_OTHER_SHAPE,
    WF_OTHER_TYPE,
    WF_OTHER_VALUE,
    WF_NOT_FINITE
} wf_misfit_kind;
typedef struct wf_misfit {
    wf_misfit_kind kind;
    const char *name;          /* borrowed, as all of it */
    weft_tensor *have, *given; /* the module's, the state's; or NULL */
    const char *foreign;       /* what is given instead of a tensor; or NULL */
    int64_t bad, of;           /* elements; of another value: the first */
} wf_misfit;
typedef struct wf_misfits {
    weft_module *m;
    const weft_tensor_list *list;
    const wf_load_rules *rules;
    wf_misfit *item;
    int n, capacity;
    bool failed; /* memory was out */
} wf_misfits;
void wf_misfit_add(wf_misfits *f, wf_misfit misfit);
/* Frees them; if there are any, their message becomes the context's error. */
weft_status wf_misfits_end(wf_misfits *f);

#endif
