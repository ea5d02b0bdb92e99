/* Modules: parameters, buffers and children under names, a forward, and what follows from that:
 * traversal, train and eval, state dictionaries, hooks, printing. As torch.nn.Module.
 *
 * A custom module is a struct that begins with a weft_module, and a class that describes it.
 * WEFT_MODULE writes both, where one tensor goes in and one comes out:
 *
 *     WEFT_MODULE(net, "Net", weft_module *fc1, *fc2;)
 *
 *     static void net_init(net *self, const void *args)
 *     {
 *         weft_context *ctx = self->base.ctx;
 *         WEFT_REGISTER_MODULE(self, fc1, weft_linear_create(ctx, 8, 16, NULL));
 *         WEFT_REGISTER_MODULE(self, fc2, weft_linear_create(ctx, 16, 4, NULL));
 *     }
 *
 *     static weft_tensor *net_forward(net *self, weft_tensor *x)
 *     {
 *         return weft_call(self->fc2, weft_relu(weft_call(self->fc1, x)));
 *     }
 *
 *     weft_module *m = weft_module_create(ctx, &net_class, NULL);
 *
 * Modules and tensors are reference counted; registering hands the caller's reference to the
 * parent. A module belongs to its context's thread. */
#ifndef WEFT_MODULE_H
#define WEFT_MODULE_H

#include "weft/autograd.h"
#include "weft/context.h"
#include "weft/safetensors.h"
#include "weft/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_module weft_module;
typedef struct weft_tensor_list weft_tensor_list;

#define WEFT_MODULE_MAX_OUT 16 /* outputs of one forward */

/* What a kind of module is. Members that are not set are optional but for the first two and one
 * forward. `self` may be cast to the struct that embeds it. */
typedef struct weft_module_class {
    const char *name; /* "Conv2d" */
    size_t size;      /* of the struct that embeds weft_module */
    int version;      /* of the saved form, 0 reads as 1; saved in the file's metadata */

    /* Registers the parts of a new module, as __init__ does; `args` is what weft_module_create was
     * given. NULL for a class whose constructor is a function of its own. Nothing needs to be
     * checked in it: a registration that fails makes weft_module_create fail. Not run for
     * weft_module_init() and clones. */
    void (*init)(weft_module *self, const void *args);
    /* One tensor in, one out. NULL on failure, with the context's error set. */
    weft_tensor *(*forward)(weft_module *self, weft_tensor *x);
    /* Several tensors in or out; used where `forward` is NULL. *n_out is the room in out[] and
     * becomes the number of outputs. */
    weft_status (*forward_many)(weft_module *self, int n_in, weft_tensor *const *in, int *n_out,
                                weft_tensor **out);
    /* What weft_module_print shows in the parentheses: "10, 20, bias=True". */
    void (*extra_repr)(const weft_module *self, char *text, size_t size);
    /* State that is no tensor, as a stored tensor (bytes as u8) under the key "_extra_state". get
     * returns a new reference in *state; set reads it. */
    weft_status (*get_extra_state)(weft_module *self, weft_tensor **state);
    weft_status (*set_extra_state)(weft_module *self, weft_tensor *state);
    /* Loading a file that an earlier version of this class saved: changes the entries of *state
     * whose names begin with `prefix` ("layer1.0."; "" at the top) to those of this version. */
    weft_status (*upgrade)(weft_module *self, int version, const char *prefix,
                           weft_tensor_list *state);
    /* What files from before versions call some tensors: writes the present name to `now`, of `size`
     * bytes, where `name` is an older one. Both are below this module: "norm.1.weight" to
     * "norm1.weight". Asked for names in files that the module lacks; false: no older name. */
    bool (*old_name)(const weft_module *self, const char *name, char *now, size_t size);
    /* After clone has copied the struct and replaced registered fields: makes the copies of what
     * the struct owns beside them. */
    weft_status (*clone)(weft_module *copy, const weft_module *self);
    /* Frees what the struct owns beside its registered parts; self may be half-built. */
    void (*destroy)(weft_module *self);
    /* Multiply-adds of a forward of these shapes, without its children's; NULL: none. */
    int64_t (*macs)(const weft_module *self, weft_shape in, weft_shape out);
    /* A classifier whose forward_many gives further logits (N, K) in training mode, behind its own:
     * weft_training_loss() adds the loss of each of them, times this. 0: it has none. */
    double aux_loss_weight;
} weft_module_class;

/* WEFT_MODULE_CLASS(type, class_name, ...) defines the class `type_class`, called class_name, of a
 * struct `type` that begins with the weft_module `base`. It has two functions, which it declares and
 * the same file defines:
 *
 *     static void type_init(type *self, const void *args);
 *     static weft_tensor *type_forward(type *self, weft_tensor *x);
 *
 * and the members named behind class_name, if any: .extra_repr = show. */
#define WEFT_MODULE_CLASS(type, class_name, ...)                                                   \
    static void type##_init(type *self, const void *args);                                         \
    static weft_tensor *type##_forward(type *self, weft_tensor *x);                                \
    static void type##_class_init(weft_module *m, const void *args)                                \
    {                                                                                              \
        type##_init((type *)m, args);                                                              \
    }                                                                                              \
    static weft_tensor *type##_class_forward(weft_module *m, weft_tensor *x)                       \
    {                                                                                              \
        return type##_forward((type *)m, x);                                                       \
    }                                                                                              \
    static const weft_module_class type##_class = {.name = class_name,                             \
                                                   .size = sizeof(type),                           \
                                                   .init = type##_class_init,                      \
                                                   .forward = type##_class_forward,                \
                                                   __VA_ARGS__};
/* The same, and the struct, whose further members stand behind class_name, each with a semicolon. */
#define WEFT_MODULE(type, class_name, ...)                                                         \
    typedef struct type {                                                                          \
        weft_module base;                                                                          \
        __VA_ARGS__                                                                                \
    } type;                                                                                        \
    WEFT_MODULE_CLASS(type, class_name, )

/* Read `training`, `cls` and `ctx` freely; the rest is the library's. */
struct weft_module {
    uint64_t magic; /* tells an initialised module from raw memory */
    const weft_module_class *cls;
    weft_context *ctx;
    bool training; /* as set by weft_module_train */
    struct weft_module_state *state;
};

/* ---- life ------------------------------------------------------------------------------------*/

/* A new module of cls->size zeroed bytes with one reference, in training mode, on which the class's
 * init has run. NULL on failure. */
void *weft_module_create(weft_context *ctx, const weft_module_class *cls, const void *args);
/* The same for a struct in memory of the caller's, which must outlive its last reference. */
weft_status weft_module_init(weft_module *m, weft_context *ctx, const weft_module_class *cls);
weft_module *weft_module_ref(weft_module *m); /* returns m; NULL: no effect */
/* Drops a reference; the last one drops the children and tensors and destroys m. NULL and
 * half-built modules are fine. The context may be gone already. */
void weft_module_unref(weft_module *m);
/* A deep copy that shares no storage with m (parts shared inside m are shared inside the copy).
 * Hooks are not copied. NULL on failure. */
weft_module *weft_module_clone(weft_module *m);

/* ---- registration ----------------------------------------------------------------------------
 *
 * Each call takes over the caller's reference to `value`, on failure too: register
 * weft_tensor_ref(t) to keep one, or to share a tensor between modules. A name is not empty, has
 * no '.', and no part of another kind bears it; registering the same kind of part again replaces
 * it. `field` (may be NULL) is the member of the embedding struct that always holds the part, also
 * after it is replaced or the module is cloned; it must live as long as the module. Registered again with
 * another field, a part moves there, and the old field becomes NULL; one field cannot hold two parts. A NULL value
 * keeps the name with nothing in it. But while the context holds an error a NULL value is taken
 * for what failed, and the call fails too: so a constructor may check only at its end, with
 * weft_module_ok(). In a class's init only errors of that init count. On failure the field is left alone. */

/* A trainable tensor: stored, f32 or f64. Registering it makes it require a gradient. */
weft_status weft_register_parameter(weft_module *m, const char *name, weft_tensor **field,
                                    weft_tensor *value);
/* A stored tensor that is not trained. Only persistent ones are part of the state. */
weft_status weft_register_buffer(weft_module *m, const char *name, weft_tensor **field,
                                 weft_tensor *value, bool persistent);
/* A child. It may have several parents; a cycle is an error. */
weft_status weft_register_module(weft_module *m, const char *name, weft_module **field,
                                 weft_module *value);

/* The same where the member is called as the part is: `self.name = value` in Python. `self` is the
 * struct that begins with the weft_module `base`. */
#define WEFT_REGISTER_PARAMETER(self, name, value)                                                 \
    weft_register_parameter(&(self)->base, #name, &(self)->name, value)
#define WEFT_REGISTER_BUFFER(self, name, value, persistent)                                        \
    weft_register_buffer(&(self)->base, #name, &(self)->name, value, persistent)
#define WEFT_REGISTER_MODULE(self, name, value)                                                    \
    weft_register_module(&(self)->base, #name, &(self)->name, value)

/* Ends a constructor: m if every registration on it succeeded, else m is destroyed and NULL
 * returned (the context has the error). NULL: NULL. */
void *weft_module_ok(void *m);

/* ---- looking up ------------------------------------------------------------------------------
 *
 * Paths are dotted: "layer1.0.conv1.weight". The result belongs to the module. NULL, with an error
 * that names the path, where there is none, it is empty or of another kind. */
weft_tensor *weft_get_parameter(weft_module *m, const char *path);
weft_tensor *weft_get_buffer(weft_module *m, const char *path);
weft_module *weft_get_module(weft_module *m, const char *path); /* "" is m itself */
/* Whether the calls above would find something. These leave no error; false where m is NULL or not a
 * module. */
bool weft_has_parameter(weft_module *m, const char *path);
bool weft_has_buffer(weft_module *m, const char *path);
bool weft_has_module(weft_module *m, const char *path);

/* ---- traversal ------------------------------------------------------------------------------- */

typedef struct weft_tensor_entry {
    char *name; /* dotted path from the module asked */
    weft_tensor *tensor;
} weft_tensor_entry;
/* Tensors under names, in order; holds references. */
struct weft_tensor_list {
    int n;
    weft_tensor_entry *item;
    int capacity;
};
/* clang-format off */
#define WEFT_TENSOR_LIST_INIT {0, NULL, 0}
/* clang-format on */
/* Appends a copy of name and a new reference to tensor. */
weft_status weft_tensor_list_add(weft_tensor_list *list, const char *name, weft_tensor *tensor);
weft_tensor *weft_tensor_list_find(const weft_tensor_list *list, const char *name); /* or NULL */
void weft_tensor_list_done(weft_tensor_list *list); /* drops everything; list is empty again */

typedef struct weft_module_entry {
    char *name;
    weft_module *module;
} weft_module_entry;
typedef struct weft_named_modules {
    int n;
    weft_module_entry *item; /* holds references */
    int capacity;
} weft_named_modules;
/* clang-format off */
#define WEFT_NAMED_MODULES_INIT {0, NULL, 0}
/* clang-format on */
void weft_named_modules_done(weft_named_modules *list);

/* All of these walk pre-order, parts in the order of their registration, and list an object once,
 * under its first name. They append to *list; on failure it is as it was. */
enum {
    WEFT_WALK_DUPLICATES = 1u << 0, /* list shared objects under every name */
    WEFT_WALK_SHALLOW = 1u << 1,    /* do not descend into children */
};
weft_status weft_parameters(weft_module *m, unsigned walk, weft_tensor_list *list);
weft_status weft_buffers(weft_module *m, unsigned walk, weft_tensor_list *list);
/* m itself is the first, with the name "". */
weft_status weft_modules(weft_module *m, unsigned walk, weft_named_modules *list);
weft_status weft_children(weft_module *m, weft_named_modules *list); /* direct ones */

/* Calls fn on every module below m, children before their parent, m last; stops at a failure. fn may
 * register and remove modules: it is called for those that were there at the start, and each lives
 * until the end. */
weft_status weft_module_apply(weft_module *m, weft_status (*fn)(weft_module *m, void *user),
                              void *user);
/* Elements in all parameters, shared ones counted once; -1 on failure. */
int64_t weft_parameter_count(weft_module *m, bool trainable_only);

/* ---- modes ----------------------------------------------------------------------------------- */

void weft_module_train(weft_module *m, bool training); /* m and everything below */
void weft_module_eval(weft_module *m);                 /* weft_module_train(m, false) */
/* Frozen parameters take part in no gradient at all. */
weft_status weft_module_requires_grad(weft_module *m, bool requires_grad);
/* Freezes the parameters whose dotted name matches a glob, or that lie in a module whose name does:
 * "layer1" and "layer1.*" mean the same, '*' crosses dots, and [] and ? are the shell's. *n (may be
 * NULL) receives how many tensors matched; where it is NULL, none is told (weft_lint). BatchNorm's running statistics are no parameters: they
 * move on in training mode. */
weft_status weft_module_freeze(weft_module *m, const char *pattern, int *n);
void weft_module_zero_grad(weft_module *m); /* gradients become absent */
/* Floating-point parameters and buffers become `dtype` (f32 or f64), and so do their gradients. They
 * stay the same tensors: whoever holds one, such as an optimizer, whose state follows at its next
 * step, goes on with it. Recorded work that reads them is run first. On failure nothing has
 * changed. */
weft_status weft_module_to(weft_module *m, weft_dtype dtype);

/* ---- calling --------------------------------------------------------------------------------- */

/* Runs m's forward, with its hooks and its name in error messages. Call modules through this,
 * never through cls->forward. A NULL m or x is an error, and gives NULL. On failure the step has failed, as with
 * ops. */
weft_tensor *weft_call(weft_module *m, weft_tensor *x);
/* Several inputs, which may be NULL where they are left out, or outputs: *n_out is the room in out[] (at most WEFT_MODULE_MAX_OUT are given)
 * and becomes the number of outputs. */
weft_status weft_call_many(weft_module *m, int n_in, weft_tensor *const *in, int *n_out,
                           weft_tensor **out);

/* A pre-hook may replace elements of in[], a hook elements of out[]. They run while the step is
 * recorded, in the order of their registration; a failure ends the call. */
typedef weft_status (*weft_pre_hook_fn)(void *user, weft_module *m, int n_in, weft_tensor **in);
typedef weft_status (*weft_hook_fn)(void *user, weft_module *m, int n_in, weft_tensor *const *in,
                                    int n_out, weft_tensor **out);
enum {
    WEFT_HOOK_ALWAYS = 1u << 0,  /* run the hook after a failed forward too (n_out is 0) */
    WEFT_HOOK_PREPEND = 1u << 1, /* before those registered earlier */
};
/* Return a handle for weft_hook_remove, 0 on failure. Hooks may remove hooks, themselves too. */
uint64_t weft_register_forward_pre_hook(weft_module *m, weft_pre_hook_fn fn, void *user,
                                        unsigned flags);
uint64_t weft_register_forward_hook(weft_module *m, weft_hook_fn fn, void *user, unsigned flags);
void weft_hook_remove(weft_module *m, uint64_t handle); /* unknown handles: no effect */

/* The same for every call of every module of the context, before the module's own hooks (torch's
 * register_module_forward_hook). flags: WEFT_HOOK_ALWAYS. Handles are the context's. */
uint64_t weft_register_global_forward_pre_hook(weft_context *ctx, weft_pre_hook_fn fn, void *user);
uint64_t weft_register_global_forward_hook(weft_context *ctx, weft_hook_fn fn, void *user,
                                           unsigned flags);
void weft_global_hook_remove(weft_context *ctx, uint64_t handle);

/* Hooks on the gradients of a module's call, as torch's full backward hooks. They run while
 * weft_backward records, on handles. A pre-hook runs when the gradients of all outputs are there
 * and may replace them; a hook runs when those of the inputs are and may replace them. NULL stands
 * for a tensor that gets no gradient, and cannot be replaced; a gradient may be replaced by NULL
 * (zero). When no input requires a gradient, hooks run with NULLs for all of them, after the
 * pre-hooks. *n_out and *n_in must stay what they are: another count is an error. */
typedef weft_status (*weft_backward_pre_hook_fn)(void *user, weft_module *m, int *n_out,
                                                 weft_tensor **grad_output);
typedef weft_status (*weft_backward_hook_fn)(void *user, weft_module *m, int *n_in,
                                             weft_tensor **grad_input, int n_out,
                                             weft_tensor *const *grad_output);
/* Registered like forward hooks; they hold for the calls that are recorded from then on. flags:
 * WEFT_HOOK_PREPEND. weft_hook_remove takes their handles too. */
uint64_t weft_register_backward_pre_hook(weft_module *m, weft_backward_pre_hook_fn fn, void *user,
                                         unsigned flags);
uint64_t weft_register_backward_hook(weft_module *m, weft_backward_hook_fn fn, void *user,
                                     unsigned flags);
/* For every module of the context, before the module's own. weft_global_hook_remove ends them. */
uint64_t weft_register_global_backward_pre_hook(weft_context *ctx, weft_backward_pre_hook_fn fn,
                                                void *user);
uint64_t weft_register_global_backward_hook(weft_context *ctx, weft_backward_hook_fn fn,
                                            void *user);

/* ---- state ----------------------------------------------------------------------------------- */

/* Parameters, persistent buffers and extra state of m, then of its children, in order, under their
 * dotted names; shared tensors under each name. The tensors are the module's own, not copies. */
weft_status weft_state_dict(weft_module *m, weft_tensor_list *list);
/* Copies values in by name. All missing and unexpected names (strict only), wrong shapes and types
 * are told in one message, a line each, and then nothing has changed. Values become the module's
 * type, as torch's copy_ converts them: a floating type takes any; of f64, f32, f16 and bf16 and of
 * wider whole numbers a type of whole numbers takes those that it can hold, and another is an error
 * that names tensor, element and value. A vector of one element goes into a scalar, and a scalar
 * into such a vector. A shared tensor is missing only where all its names are. */
weft_status weft_load_state_dict(weft_module *m, const weft_tensor_list *list, bool strict);
/* The same from and to a safetensors file; a file is complete or not there. Its metadata has the
 * version of each module's class under "weft.versions": a file of a later version is refused
 * (strict only), one of an earlier version goes through the class's upgrade. Loading refuses values
 * that are NaN or infinite, or would be in the module's type (WEFT_ERR_NUMERIC), and names the
 * tensors: such a network computes nothing.
 * Names that the module lacks are also taken for its own where they are older ones (old_name), or
 * begin with what wrappers and trainers put there: module (anywhere in the name), _orig_mod, model,
 * net, network, state_dict. What nobody asks for may be of a type that Weft does not have; strict
 * loading still tells it as unexpected. */
weft_status weft_module_save(weft_module *m, const char *path);
/* With metadata of the caller's beside it: n_meta entries, other than
 * "format" and "weft.versions". */
weft_status weft_module_save_with(weft_module *m, const char *path,
                                  const weft_safetensors_meta *meta, int64_t n_meta);
weft_status weft_module_load(weft_module *m, const char *path, bool strict);

/* How a file is loaded; zeros: as weft_module_load(m, path, true). The lists are names of tensors
 * or modules with spaces between, "fc layer4.1", or NULL. */
typedef struct weft_load_opts {
    bool partial;   /* not strict: names may be missing and unexpected */
    bool allow_nan; /* take values as they are */
    /* What the file may hold beyond the module's names: weft_model_info has it. */
    const char *optional;
    const char *except; /* these keep their values, whatever the file has or lacks of them */
    int *left_out;      /* receives how many optional tensors the module had no use for; or NULL */
} weft_load_opts;
weft_status weft_module_load_with(weft_module *m, const char *path, const weft_load_opts *opts);
/* The entry of `file` that a load takes m's tensor `name` from, whatever the file calls it, valid
 * as long as the file; NULL: there is none, or memory is out (then the context has the error). */
const weft_safetensors_entry *weft_module_find_entry(weft_module *m, const weft_safetensors *file,
                                                     const char *name);

/* ---- text ------------------------------------------------------------------------------------ */

const char *weft_module_name(const weft_module *m); /* its class's name; "" for NULL */
/* The tree, as PyTorch's repr; no newline at the end. */
weft_status weft_module_print(weft_module *m, FILE *out);
/* A table for an input of this shape (N first), as torchinfo's: every call with its shapes,
 * parameters and multiply-adds, indented by depth, and the totals. Parameters in parentheses are
 * frozen. Runs nothing; ends the step. In UTF-8. */
weft_status weft_module_summary(weft_module *m, weft_shape input, FILE *out);
typedef struct weft_summary_opts {
    int depth; /* levels below the network; 0: the network alone */
} weft_summary_opts;
#define WEFT_SUMMARY_OPTS_INIT                                                                     \
    {                                                                                              \
        .depth = 3                                                                                 \
    }
weft_status weft_module_summary_with(weft_module *m, weft_shape input,
                                     const weft_summary_opts *opts, FILE *out);

/* The same as numbers. Shared parameters count once, multiply-adds of convolutions and linear
 * layers as often as they are called, in evaluation mode. */
typedef struct weft_totals {
    int64_t parameters, trainable; /* elements */
    int64_t macs;
    int64_t input_bytes, parameter_bytes;
    /* Outputs of layers with parameters, and as much for their gradients. */
    int64_t activation_bytes;
} weft_totals;
weft_status weft_module_totals(weft_module *m, weft_shape input, weft_totals *totals);

#ifdef __cplusplus
}
#endif
#endif
