/* What the files of this folder share: names, loading, and what does not fit. Threading rule: the
 * context's. */
#ifndef WF_MODULES_STATE_H
#define WF_MODULES_STATE_H

#include "modules/internal.h"

#define WF_EXTRA_STATE "_extra_state"

/* Finds for each entry of the file its name in m's state: Note [Names in files]. The name is the
 * entry's own where m has no such name, and NULL where the entry must be left out. The caller owns
 * *names, which has as many texts as the file has entries. */
weft_status wf_state_names(weft_module *m, const struct weft_safetensors *file,
                           const char *optional, char ***names);
void wf_state_names_done(char **names, int64_t n); /* NULL: no effect */

/* Whether p is of this kind and is saved with the state. */
bool wf_part_saved(const wf_part *p, wf_part_kind kind);

/* A tensor of a file whose type or rank Weft does not have. */
typedef struct wf_foreign {
    const char *name; /* the module's name for it, if it has one */
    const char *what; /* "BOOL" */
} wf_foreign;

/* How to load a state. Lists are names of tensors or modules, separated by spaces. */
typedef struct wf_load_rules {
    const char *what;              /* for messages: "the state", or a path */
    bool strict;                   /* no name may be missing or unexpected */
    bool finite;                   /* values must be numbers */
    const char *optional, *except; /* as in weft_load_opts; or NULL */
    const wf_foreign *foreign;     /* (n_foreign) further tensors, beside the list's */
    int n_foreign;
} wf_load_rules;
weft_status wf_load_state(weft_module *m, const weft_tensor_list *list, const wf_load_rules *rules);
/* Whether `name` is one of the prefixes or lies below one. */
bool wf_names_cover(const char *prefixes, const char *name);

/* What does not fit, in the order of the message. */
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
    const char *name;          /* borrowed, like the other pointers */
    weft_tensor *have, *given; /* the module's tensor and the state's, or NULL */
    const char *foreign;       /* what the state has instead of a tensor, or NULL */
    int64_t bad, of;           /* numbers of elements; for values that do not fit: the first one */
} wf_misfit;
typedef struct wf_misfits {
    weft_module *m;
    const weft_tensor_list *list;
    const wf_load_rules *rules;
    wf_misfit *item;
    int n, capacity;
    bool failed; /* out of memory */
} wf_misfits;
void wf_misfit_add(wf_misfits *f, wf_misfit misfit);
/* Frees the list. If it has entries, they become the message of the context's error. */
weft_status wf_misfits_end(wf_misfits *f);

#endif
