/* What a module is inside this room: its parts, its hooks, helpers shared by the files here.
 *
 * Threading rule: the context's, one thread at a time. */
#ifndef WF_MODULES_INTERNAL_H
#define WF_MODULES_INTERNAL_H

#include "engine/tensor/context.h"
#include "engine/base/name_map.h"
#include "engine/base/alloc.h"
#include "weft/module.h"

#define WF_MODULE_MAGIC UINT64_C(0x576d6f64756c6501)
/* After the last unref. Its memory stays readable: Note [Freed handles] in engine/base/handles.h. */
#define WF_MODULE_DEAD UINT64_C(0x576d6f64756cdead)

typedef enum wf_part_kind { WF_PARAMETER, WF_BUFFER, WF_CHILD } wf_part_kind;

/* One name of a module and what it holds, which may be NULL. The reference lives in the user's
 * struct member where one was given (`field`), else here. */
typedef struct wf_part {
    char *name;
    wf_part_kind kind;
    bool persistent;
    union {
        weft_tensor **tensor;
        weft_module **module;
    } field;
    union {
        weft_tensor *tensor;
        weft_module *module;
    } own;
} wf_part;

typedef struct wf_hook {
    struct wf_hook *next;
    uint64_t id;
    unsigned flags;
    weft_pre_hook_fn pre; /* one of the two; both NULL: removed, freed when no call is running */
    weft_hook_fn post;
    void *user;
} wf_hook;

struct weft_module_state {
    int refs;
    int places;          /* parts of modules that hold this one */
    bool owns_memory;    /* made by weft_module_create */
    bool loaded;         /* its state was loaded, by weft_load_state_dict */
    bool unowned;        /* half a clone: what the struct holds beside parts is the original's */
    weft_status failed;  /* of the first registration that failed */
    weft_module *parent; /* the first one, not counted; NULL when it is gone */
    int n_parts, cap_parts;
    wf_part *parts; /* in order of first registration */
    wf_hook *pre_hooks, *post_hooks;
    uint64_t last_hook;
    struct wf_backward_hooks *backward; /* NULL: none were ever registered */
    int calls;                          /* running now: hooks are only marked as removed */
};

/* ---- parts ---- */

static inline weft_tensor *wf_part_tensor(const wf_part *p)
{
    return p->field.tensor != NULL ? *p->field.tensor : p->own.tensor;
}
static inline weft_module *wf_part_module(const wf_part *p)
{
    return p->field.module != NULL ? *p->field.module : p->own.module;
}

static inline bool wf_module_valid(const weft_module *m)
{
    return m != NULL && m->magic == WF_MODULE_MAGIC;
}
/* WEFT_ERR_STATE unless m is initialised and alive; the error goes to m's context where it was
 * destroyed, else to `other` (may be NULL). */
weft_status wf_module_check(const weft_module *m, weft_context *other, const char *what);

/* The same, and WEFT_ERR_INVALID where an argument that must be there is NULL. */
weft_status wf_module_check_with(const weft_module *m, const void *argument, const char *what);

wf_part *wf_part_find(const weft_module *m, const char *name, size_t length);
/* Appends an empty part that takes over `name`; NULL when memory is out. */
wf_part *wf_part_append(weft_module *m, char *name, wf_part_kind kind);
/* Puts a value, whose reference is taken over, in the place of the old one. */
void wf_part_set_tensor(wf_part *p, weft_tensor *t);
void wf_part_set_module(weft_module *m, wf_part *p, weft_module *child);
void wf_part_remove(weft_module *m, wf_part *p);
/* The index-th part that is a child; NULL behind the last. */
wf_part *wf_part_child(const weft_module *m, int index);
int wf_child_count(const weft_module *m);
/* The name of m in its first parent; "" at the top. */
const char *wf_module_path_name(const weft_module *m);

/* An empty slot for a parameter, whatever error stands in the context. m is initialised. */
weft_status wf_register_empty(weft_module *m, const char *name, weft_tensor **field);

/* ---- global hooks ---- */

/* Around a call: enter gives what the others ask for as `last`; 0: there are none. */
uint64_t wf_global_hooks_enter(weft_context *ctx);
void wf_global_hooks_leave(weft_context *ctx, uint64_t last);
weft_status wf_global_pre_hooks(weft_module *m, uint64_t last, int n_in, weft_tensor **in);
weft_status wf_global_hooks(weft_module *m, uint64_t last, weft_status status, int n_in,
                            weft_tensor *const *in, int n_out, weft_tensor **out);

/* ---- backward hooks ---- */

#define WF_BACKWARD_HOOK (UINT64_C(1) << 63) /* in their handles */
void wf_backward_hook_remove(struct wf_backward_hooks *hooks, uint64_t handle); /* NULL: none */
/* Around a forward: inputs and outputs are put behind borders, in place, where m has backward
 * hooks. enter's *crossed goes to leave, with the status so far, which leave passes on. */
weft_status wf_backward_enter(weft_module *m, int n_in, weft_tensor **in, void **crossed);
weft_status wf_backward_leave(void *crossed, weft_status status, int n_out, weft_tensor **out);

/* ---- walking ---- */

/* A set of pointers, each with a value. All zeros is empty. */
typedef struct wf_pointer_map {
    size_t n, capacity; /* a power of two, or 0 */
    struct {
        const void *key;
        void *value;
    } * slot;
} wf_pointer_map;
/* Where key's value is; NULL when it is not in the map. */
void **wf_pointer_map_find(const wf_pointer_map *map, const void *key);
/* false when memory is out. key must not be there yet. */
bool wf_pointer_map_add(wf_pointer_map *map, const void *key, void *value);
void wf_pointer_map_done(wf_pointer_map *map);

/* Calls fn for m and all below, pre-order, each once under its first path unless walk has
 * WEFT_WALK_DUPLICATES. Stops at a failure. */
typedef weft_status (*wf_walk_fn)(void *user, const char *path, weft_module *m);
weft_status wf_walk(weft_module *m, unsigned walk, wf_walk_fn fn, void *user);
/* "path.name", or "name" for the path "". NULL when memory is out. */
char *wf_join_path(const char *path, const char *name);

/* Adds the list's names, which the map borrows, each with its place; of equal ones the first counts.
 * false when memory is out. */
bool wf_tensor_list_names(const weft_tensor_list *list, wf_name_map *map);
weft_status wf_named_modules_add(weft_named_modules *list, const char *name, weft_module *m);

/* WEFT_ERR_NOMEM, in m's context. */
weft_status wf_module_nomem(const weft_module *m);

/* ---- state ---- */

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

/* ---- text ---- */

/* A text that grows. A failed addition makes it failed for good; it is checked once, at the end. */
typedef struct wf_text {
    char *text; /* terminated; NULL while empty */
    size_t length, capacity;
    bool failed;
} wf_text;
void wf_text_add(wf_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds text from a file: quoted (weft_quote), then padded to `width` bytes. */
void wf_text_add_quoted(wf_text *t, const char *text, int width);
void wf_text_done(wf_text *t);

/* Sequential's forward: a class that has it is a Sequential under another name, and may be made as
 * weft_sequential_create makes one. */
weft_tensor *wf_sequential_forward(weft_module *m, weft_tensor *x);
weft_module *wf_sequential_as(weft_context *ctx, const weft_module_class *cls, int n,
                              weft_module *const *modules);
extern const weft_module_class wf_module_list_class; /* its equal neighbours print as one */

/* ---- copies ---- */

/* A new tensor like t, with its values as `dtype` (floating types convert) and its need for a
 * gradient. */
weft_tensor *wf_tensor_copy(weft_tensor *t, weft_dtype dtype);

/* ---- values of one type as another ---- */

/* f32 or f64: what layers compute in. */
bool wf_floating(weft_dtype dtype);
/* Whether type `from` can be stored as `to`: any, but for what is not floating as f16 or bf16. */
bool wf_converts(weft_dtype from, weft_dtype to);
/* The first of n values that `to` cannot hold: of a whole type what is out of range, no whole
 * number, or NaN. -1: it holds them all; a floating type does, rounded. */
int64_t wf_first_misfit(weft_dtype to, const void *from, weft_dtype from_type, int64_t n);
/* Converts n values, all of which fit. */
void wf_convert(void *to, weft_dtype to_type, const void *from, weft_dtype from_type, int64_t n);
/* The i-th value as text; returns text. */
const char *wf_format_value(const void *from, weft_dtype type, int64_t i, char *text, size_t size);

/* Makes tensors, and their gradients, f32 or f64 in place; those of other types stay what they are.
 * Recorded work that reads them is run first. On failure none has changed. */
weft_status wf_tensors_change_type(weft_context *ctx, weft_tensor *const *t, int n,
                                   weft_dtype dtype);

/* As weft_module_create, without running the class's init. */
void *wf_module_new(weft_context *ctx, const weft_module_class *cls);

#endif
