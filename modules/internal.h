/* What a module is inside this room: its parts, its hooks, and helpers that the files here share.
 *
 * Threading rule: the context's, one thread at a time. */
#ifndef WF_MODULES_INTERNAL_H
#define WF_MODULES_INTERNAL_H

#include "engine/tensor/context.h"
#include "engine/base/name_map.h"
#include "engine/base/alloc.h"
#include "weft/module.h"

#define WF_MODULE_MAGIC UINT64_C(0x576d6f64756c6501)
/* After the last unref. Its memory stays readable: Note [Freed handles] in
 * engine/base/handles.h. */
#define WF_MODULE_DEAD UINT64_C(0x576d6f64756cdead)

typedef enum wf_part_kind { WF_PARAMETER, WF_BUFFER, WF_CHILD } wf_part_kind;

/* One name of a module and what it holds, which may be NULL. The reference is in the user's struct
 * member where the user gave one (`field`), else here. */
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
    /* one of the two is set; both NULL: removed, and freed when no call runs */
    weft_pre_hook_fn pre;
    weft_hook_fn post;
    void *user;
} wf_hook;

struct weft_module_state {
    int refs;
    int places;         /* how many parts of other modules hold this module */
    bool owns_memory;   /* weft_module_create allocated it */
    bool recompute;     /* weft_module_set_recompute */
    bool loaded;        /* weft_load_state_dict has loaded its state */
    bool unowned;       /* an incomplete clone: members that are not parts belong to the original */
    weft_status failed; /* status of the first failed registration */
    weft_module *parent; /* the first parent, without a reference; NULL when it is gone */
    int n_parts, cap_parts;
    wf_part *parts; /* in order of first registration */
    wf_hook *pre_hooks, *post_hooks;
    uint64_t last_hook;
    struct wf_backward_hooks *backward; /* NULL: none was ever registered */
    int calls; /* calls that run now: while there are any, removal only marks hooks */
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
/* WEFT_ERR_STATE, with an error that names the part of m, if it is a child that was destroyed: the
 * caller dropped the reference that m had been given. Before m's children are entered. */
weft_status wf_part_check(const weft_module *m, const wf_part *p);
/* WEFT_ERR_STATE unless m is initialised and alive. The error goes to m's context if m was
 * destroyed, else to `other`, which may be NULL. */
weft_status wf_module_check(const weft_module *m, weft_context *other, const char *what);

/* The same, and WEFT_ERR_INVALID where a required argument is NULL. */
weft_status wf_module_check_with(const weft_module *m, const void *argument, const char *what);
/* The same of a context, for what is registered for all modules. */
weft_status wf_global_check_with(weft_context *ctx, const void *argument, const char *what);

wf_part *wf_part_find(const weft_module *m, const char *name, size_t length);
/* Appends an empty part and takes over `name`. NULL: out of memory. */
wf_part *wf_part_append(weft_module *m, char *name, wf_part_kind kind);
/* Replaces the part's value. Takes over the new value's reference. */
void wf_part_set_tensor(wf_part *p, weft_tensor *t);
void wf_part_set_module(weft_module *m, wf_part *p, weft_module *child);
void wf_part_remove(weft_module *m, wf_part *p);
/* The index-th part that is a child; NULL after the last one. */
wf_part *wf_part_child(const weft_module *m, int index);
int wf_child_count(const weft_module *m);
/* The name of m in its first parent; "" for the top module. */
const char *wf_module_path_name(const weft_module *m);

/* A parameter that holds no tensor, whatever error stands in the context. m is initialised. */
weft_status wf_register_empty(weft_module *m, const char *name, weft_tensor **field);

/* ---- global hooks ---- */

/* Call these around a call of a module. enter returns what the other functions need as `last`; 0:
 * there are no hooks. */
uint64_t wf_global_hooks_enter(weft_context *ctx);
void wf_global_hooks_leave(weft_context *ctx, uint64_t last);
weft_status wf_global_pre_hooks(weft_module *m, uint64_t last, int n_in, weft_tensor **in);
weft_status wf_global_hooks(weft_module *m, uint64_t last, weft_status status, int n_in,
                            weft_tensor *const *in, int n_out, weft_tensor **out);

/* ---- backward hooks ---- */

#define WF_BACKWARD_HOOK (UINT64_C(1) << 63) /* set in the handles of backward hooks */
void wf_backward_hook_remove(struct wf_backward_hooks *hooks, uint64_t handle); /* NULL: none */
/* Call these around a forward. Where m has backward hooks, they put inputs and outputs behind
 * borders, in place. enter's *crossed goes to leave, with the status so far, which leave
 * returns. */
weft_status wf_backward_enter(weft_module *m, int n_in, weft_tensor **in, void **crossed);
weft_status wf_backward_leave(void *crossed, weft_status status, int n_out, weft_tensor **out);

/* ---- walking ---- */

/* A map from pointers to values. A map of zeros is empty. */
typedef struct wf_pointer_map {
    size_t n, capacity; /* a power of two, or 0 */
    struct {
        const void *key;
        void *value;
    } * entry;
} wf_pointer_map;
/* The place of key's value; NULL where the key is not in the map. */
void **wf_pointer_map_find(const wf_pointer_map *map, const void *key);
/* Adds a key that is not in the map yet. False: out of memory. */
bool wf_pointer_map_add(wf_pointer_map *map, const void *key, void *value);
void wf_pointer_map_done(wf_pointer_map *map);

/* Calls fn for m and all modules below it, parents first. Each module comes once, under its first
 * path, unless `walk` has WEFT_WALK_DUPLICATES. Stops at a failure. */
typedef weft_status (*wf_walk_fn)(void *user, const char *path, weft_module *m);
weft_status wf_walk(weft_module *m, unsigned walk, wf_walk_fn fn, void *user);
/* "path.name"; "name" where the path is "". NULL: out of memory. */
char *wf_join_path(const char *path, const char *name);

/* Fails where an entry of the caller's list has no name, or the name of an earlier one. */
weft_status wf_tensor_list_check(weft_context *ctx, const char *what, const weft_tensor_list *list);
/* Adds the list's names, which the map borrows, each with its place; of equal ones the first
 * counts. false when memory is out. */
bool wf_tensor_list_names(const weft_tensor_list *list, wf_name_map *map);
weft_status wf_named_modules_add(weft_named_modules *list, const char *name, weft_module *m);

/* WEFT_ERR_NOMEM, in m's context. */
weft_status wf_module_nomem(const weft_module *m);

/* ---- text ---- */

/* A text that grows. After a failed addition it stays failed, so one check at the end is enough. */
typedef struct wf_text {
    char *text; /* terminated; NULL while empty */
    size_t length, capacity;
    bool failed;
} wf_text;
void wf_text_add(wf_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds text from a file: quoted (weft_quote), then padded to `width` bytes. */
void wf_text_add_quoted(wf_text *t, const char *text, int width);
void wf_text_done(wf_text *t);

/* Sequential's forward. A class with this forward is a Sequential under another name, and
 * wf_sequential_as can create it. */
weft_tensor *wf_sequential_forward(weft_module *m, weft_tensor *x);
weft_module *wf_sequential_as(weft_context *ctx, const weft_module_class *cls, int n,
                              weft_module *const *modules);
/* its equal neighbours are printed as one line */
extern const weft_module_class wf_module_list_class;

/* ---- copies ---- */

/* A new tensor with t's shape and values, converted to `dtype` if both are floating types; it
 * requires a gradient if t does. */
weft_tensor *wf_tensor_copy(weft_tensor *t, weft_dtype dtype);

/* ---- values of one type as another ---- */

/* Whether the type is f32 or f64, in which layers compute. */
bool wf_floating(weft_dtype dtype);
/* Whether type `from` can be stored as `to`: yes, except that nothing else becomes f16, and types
 * that are not floating do not become bf16. */
bool wf_converts(weft_dtype from, weft_dtype to);
/* The index of the first of n values that `to` cannot hold; -1: it can hold all. An integer type
 * cannot hold values that are out of range, not whole, or NaN. A floating type holds every value,
 * rounded. */
int64_t wf_first_misfit(weft_dtype to, const void *from, weft_dtype from_type, int64_t n);
/* Converts n values, which must all fit. */
void wf_convert(void *to, weft_dtype to_type, const void *from, weft_dtype from_type, int64_t n);
/* Writes the i-th value as text; returns text. */
const char *wf_format_value(const void *from, weft_dtype type, int64_t i, char *text, size_t size);

/* Converts what belongs to tensors that are trained, and gradients, to the tensors' type, f32 or
 * f64, in place; tensors that are not floating stay. First runs the recorded work that reads them.
 * WEFT_ERR_STATE for bf16, which is not trained. On failure none has changed. */
weft_status wf_tensors_change_type(weft_context *ctx, weft_tensor *const *t, int n,
                                   weft_dtype dtype);

/* As weft_module_create, without running the class's init. */
void *wf_module_new(weft_context *ctx, const weft_module_class *cls);

#endif
