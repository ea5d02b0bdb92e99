/* Modules, as torch.nn.Module: parameters, buffers and children under names, a forward, and what
 * follows from these: traversal, train and eval, state dictionaries, hooks, printing.
 *
 * A module of your own is a struct that begins with a weft_module, and a class that describes it.
 * WEFT_MODULE writes both, for a module with one tensor in and one out:
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
 * Modules and tensors are reference counted; registering one gives the caller's reference to the
 * parent. Only the thread that uses the context may use its modules. */
#ifndef WEFT_MODULE_H
#define WEFT_MODULE_H

#include "weft/autograd.h"
#include "weft/context.h"
#include "weft/safetensors.h"
#include "weft/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_module weft_module;           /* a module: below */
typedef struct weft_tensor_list weft_tensor_list; /* tensors under names: below */

#define WEFT_MODULE_MAX_OUT 16 /* the most outputs of a forward */

/* What a kind of module is. A class needs name, size and one of the two forwards. `self` may be
 * cast to the struct that begins with the weft_module. */
typedef struct weft_module_class {
    const char *name; /* "Conv2d" */
    size_t size;      /* of the struct that begins with weft_module */
    int version;      /* of the saved form; 0 reads as 1; saved in the file's metadata */

    /* Registers the parts of a new module, as __init__ does. `args` is what weft_module_create was
     * given. It need not check anything: if a registration fails, weft_module_create fails. Not
     * called by weft_module_init() and for clones. NULL for a class whose constructor is a
     * function of its own. */
    void (*init)(weft_module *self, const void *args);
    /* One tensor in, one out. NULL on failure, with the context's error set. */
    weft_tensor *(*forward)(weft_module *self, weft_tensor *x);
    /* Several tensors in or out; used if `forward` is NULL. *n_out is how many out[] can hold, and
     * becomes the number of outputs. */
    weft_status (*forward_many)(weft_module *self, int n_in, weft_tensor *const *in, int *n_out,
                                weft_tensor **out);
    /* Writes what weft_module_print shows in parentheses: "10, 20, bias=True". */
    void (*extra_repr)(const weft_module *self, char *text, size_t size);
    /* State that is no tensor, given and taken as a stored tensor (bytes as u8), which is saved
     * under the key "_extra_state". get returns a new reference in *state; set reads one. */
    weft_status (*get_extra_state)(weft_module *self, weft_tensor **state);
    weft_status (*set_extra_state)(weft_module *self, weft_tensor *state);
    /* Called for a file that an earlier version of this class saved: changes those entries of
     * *state whose names begin with `prefix` ("layer1.0."; "" at the top) into those of this
     * version. */
    weft_status (*upgrade)(weft_module *self, int version, const char *prefix,
                           weft_tensor_list *state);
    /* Knows older names of tensors: if `name` is one, writes the present one to `now`, of `size`
     * bytes, and returns true. Both are relative to this module: "norm.1.weight" and
     * "norm1.weight". Called for names in a file that the module does not have. */
    bool (*old_name)(const weft_module *self, const char *name, char *now, size_t size);
    /* Completes a clone. The struct has been copied, and its registered parts replaced by copies;
     * this function copies whatever else the struct owns. */
    weft_status (*clone)(weft_module *copy, const weft_module *self);
    /* Frees what the struct owns besides its registered parts. self may be half-built. */
    void (*destroy)(weft_module *self);
    /* Multiply-adds of a forward with these shapes, without its children's; NULL: none. */
    int64_t (*macs)(const weft_module *self, weft_shape in, weft_shape out);
    /* For a classifier with auxiliary outputs: its forward_many gives further logits (N, K) behind
     * its own, in training mode. weft_training_loss() adds the loss of each, times this weight. 0:
     * it has none. */
    double aux_loss_weight;
} weft_module_class;

/* WEFT_MODULE_CLASS(type, class_name, ...) defines the class `type_class` for the struct `type`,
 * which begins with the weft_module `base`. It declares two functions, which you define in the
 * same file:
 *
 *     static void type_init(type *self, const void *args);
 *     static weft_tensor *type_forward(type *self, weft_tensor *x);
 *
 * class_name is the class's name as text. Further members of weft_module_class may follow it:
 * .version = 2, .extra_repr = show. C++ needs C++20 for these, and the order of the struct. */
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
    WEFT_CLASS_BEGIN(type, __VA_ARGS__)                                                            \
    WEFT_CLASS_MEMBERS(class_name, sizeof(type), type##_class_init, type##_class_forward)          \
    WEFT_CLASS_END(__VA_ARGS__)
/* The definition of a class: WEFT_CLASS_BEGIN, its members, WEFT_CLASS_END. C++ sets the four above
 * after the caller's, for designators must be in the order of the members there. g++ -Wextra warns
 * of members that an initialiser leaves out. */
/* clang-format off */
#ifndef __cplusplus
#define WEFT_CLASS_BEGIN(type, ...) static const weft_module_class type##_class = {
#define WEFT_CLASS_MEMBERS(n, s, i, f) .name = n, .size = s, .init = i, .forward = f,
#define WEFT_CLASS_END(...) __VA_ARGS__};
#else
#define WEFT_CLASS_BEGIN(type, ...)                                                                \
    _Pragma("GCC diagnostic push")                                                                 \
    _Pragma("GCC diagnostic ignored \"-Wmissing-field-initializers\"")                             \
    static const weft_module_class type##_class = []() -> weft_module_class {                      \
        weft_module_class class_ = {__VA_ARGS__};
#define WEFT_CLASS_MEMBERS(n, s, i, f)                                                             \
        class_.name = n; class_.size = s; class_.init = i; class_.forward = f;
#define WEFT_CLASS_END(...) return class_; }(); _Pragma("GCC diagnostic pop")
#endif
/* clang-format on */
/* The same, and defines the struct. Its members besides `base` follow class_name, each with a
 * semicolon. */
#define WEFT_MODULE(type, class_name, ...)                                                         \
    typedef struct type {                                                                          \
        weft_module base;                                                                          \
        __VA_ARGS__                                                                                \
    } type;                                                                                        \
    WEFT_MODULE_CLASS(type, class_name, )

/* A module. Read cls, ctx and training freely; the rest is the library's. */
struct weft_module {
    uint64_t magic;                  /* by which the library knows that the module is initialised */
    const weft_module_class *cls;    /* its class */
    weft_context *ctx;               /* that it belongs to */
    bool training;                   /* its mode: weft_module_train */
    struct weft_module_state *state; /* private */
};

/* ---- life ------------------------------------------------------------------------------------*/

/* A new module in training mode with one reference: cls->size zeroed bytes, on which the class's
 * init has run with `args`. NULL on failure. */
void *weft_module_create(weft_context *ctx, const weft_module_class *cls, const void *args);
/* Makes a module of a struct in the caller's memory, which must outlive the last reference. Does
 * not call the class's init. */
weft_status weft_module_init(weft_module *m, weft_context *ctx, const weft_module_class *cls);
weft_module *weft_module_ref(weft_module *m); /* adds a reference, returns m; NULL: no effect */
/* Drops a reference. The last one destroys m and drops its references to children and tensors. m
 * may be NULL or half-built, and the context may be gone already. */
void weft_module_unref(weft_module *m);
/* A deep copy, which shares no memory with m. Parts that m has under two names are one part in the
 * copy, too. Hooks are not copied. NULL on failure. */
weft_module *weft_module_clone(weft_module *m);

/* ---- registration ----------------------------------------------------------------------------
 *
 * References: each call takes over the caller's reference to `value`, on failure, too. Register
 * weft_tensor_ref(t) to keep one, or to share a tensor between modules.
 *
 * Names are not empty and have no '.'. A second part under a name replaces the first; it must be
 * of the same kind (parameter, buffer or module).
 *
 * `field` (may be NULL) is the member of your struct that holds the part. Weft keeps it up to
 * date: when the part is replaced, and in a clone. It must live as long as the module. If a part
 * is registered again with another field, the old one becomes NULL. One field cannot hold two
 * parts.
 *
 * Errors: a NULL value registers a name with nothing in it, as None does in Python. But while the
 * context has an error, a NULL value counts as a creation that failed, and the call fails. So a
 * constructor can check once, at its end, with weft_module_ok(). In a class's init only errors of
 * that init count. On failure the field does not change. */

/* A trainable tensor: stored, f32 or f64. Registering it makes it require a gradient. */
weft_status weft_register_parameter(weft_module *m, const char *name, weft_tensor **field,
                                    weft_tensor *value);
/* A stored tensor that is not trained. The state contains persistent ones only. */
weft_status weft_register_buffer(weft_module *m, const char *name, weft_tensor **field,
                                 weft_tensor *value, bool persistent);
/* A child. It may have several parents; a cycle is an error. */
weft_status weft_register_module(weft_module *m, const char *name, weft_module **field,
                                 weft_module *value);

/* The same for a member that has the part's name: `self.name = value` in Python. `self` points to
 * the struct that begins with the weft_module `base`. */
#define WEFT_REGISTER_PARAMETER(self, name, value)                                                 \
    weft_register_parameter(&(self)->base, #name, &(self)->name, value)
#define WEFT_REGISTER_BUFFER(self, name, value, persistent)                                        \
    weft_register_buffer(&(self)->base, #name, &(self)->name, value, persistent)
#define WEFT_REGISTER_MODULE(self, name, value)                                                    \
    weft_register_module(&(self)->base, #name, &(self)->name, value)

/* For the end of a constructor: returns m if every registration on it succeeded. Otherwise drops m
 * and returns NULL; the context has the error. NULL gives NULL. */
void *weft_module_ok(void *m);

/* ---- looking up ------------------------------------------------------------------------------
 *
 * Paths are dotted: "layer1.0.conv1.weight". What is found belongs to the module. NULL, with an
 * error that names the path, if there is nothing of that name, nothing in it, or a part of another
 * kind. */

/* Find a parameter, a buffer, a module; the path "" is m itself. */
weft_tensor *weft_get_parameter(weft_module *m, const char *path);
weft_tensor *weft_get_buffer(weft_module *m, const char *path);
weft_module *weft_get_module(weft_module *m, const char *path);
/* Whether these would find something. No error is set; false if m is NULL or not a module. */
bool weft_has_parameter(weft_module *m, const char *path);
bool weft_has_buffer(weft_module *m, const char *path);
bool weft_has_module(weft_module *m, const char *path);

/* ---- traversal ------------------------------------------------------------------------------- */

/* A tensor and its name. */
typedef struct weft_tensor_entry {
    char *name;          /* dotted path from the module that was asked */
    weft_tensor *tensor; /* a reference is held */
} weft_tensor_entry;
/* Tensors under names, in order. Begin it with WEFT_TENSOR_LIST_INIT, end it with
 * weft_tensor_list_done. */
struct weft_tensor_list {
    int n;                   /* how many */
    weft_tensor_entry *item; /* n of them */
    int capacity;            /* private */
};
/* clang-format off */
#define WEFT_TENSOR_LIST_INIT {0, NULL, 0} /* an empty list */
/* clang-format on */
/* Appends a copy of name and a new reference to tensor. */
weft_status weft_tensor_list_add(weft_tensor_list *list, const char *name, weft_tensor *tensor);
/* The tensor of that name, which stays the list's; NULL: there is none. */
weft_tensor *weft_tensor_list_find(const weft_tensor_list *list, const char *name);
void weft_tensor_list_done(weft_tensor_list *list); /* drops everything; the list is empty again */

/* A module and its name. */
typedef struct weft_module_entry {
    char *name;          /* dotted path from the module that was asked */
    weft_module *module; /* a reference is held */
} weft_module_entry;
/* Modules under names, in order. Begin it with WEFT_NAMED_MODULES_INIT, end it with
 * weft_named_modules_done. */
typedef struct weft_named_modules {
    int n;                   /* how many */
    weft_module_entry *item; /* n of them */
    int capacity;            /* private */
} weft_named_modules;
/* clang-format off */
#define WEFT_NAMED_MODULES_INIT {0, NULL, 0} /* an empty list */
/* clang-format on */
void weft_named_modules_done(weft_named_modules *list); /* drops everything; it is empty again */

/* How parameters, buffers and modules are listed. */
enum {
    WEFT_WALK_DUPLICATES = 1u << 0, /* list shared objects under every name */
    WEFT_WALK_SHALLOW = 1u << 1,    /* do not descend into children */
};
/* Append m's parameters, or buffers, to *list: a module's own before its children's, in the order
 * of their registration. A shared one is listed once, under its first name. On failure *list is as
 * it was. */
weft_status weft_parameters(weft_module *m, unsigned walk, weft_tensor_list *list);
weft_status weft_buffers(weft_module *m, unsigned walk, weft_tensor_list *list);
/* The same of modules. m itself is the first, with the name "". */
weft_status weft_modules(weft_module *m, unsigned walk, weft_named_modules *list);
/* The same of m's children alone. */
weft_status weft_children(weft_module *m, weft_named_modules *list);

/* Calls fn on every module in m, children before their parent, m last; stops at a failure. fn may
 * register and remove modules: it is called for those that were there at the start, and they live
 * until the call ends. */
weft_status weft_module_apply(weft_module *m, weft_status (*fn)(weft_module *m, void *user),
                              void *user);
/* Elements in all parameters, shared ones counted once; -1 on failure. */
int64_t weft_parameter_count(weft_module *m, bool trainable_only);

/* ---- modes ----------------------------------------------------------------------------------- */

void weft_module_train(weft_module *m, bool training); /* sets the mode of m and all in it */
void weft_module_eval(weft_module *m);                 /* weft_module_train(m, false) */
/* Says whether m's parameters require a gradient. Those that do not are frozen: nothing is
 * computed for them. */
weft_status weft_module_requires_grad(weft_module *m, bool requires_grad);
/* Freezes the parameters whose dotted name matches a pattern, or that lie in a module whose name
 * does. Patterns are the shell's: *, ? and []; * also matches dots. "layer1" and "layer1.*" mean
 * the same. *n (may be NULL) becomes the number of tensors that matched. If none did and n is
 * NULL, there is a warning (weft_lint). BatchNorm's running statistics are no parameters: they
 * still change in training mode. */
weft_status weft_module_freeze(weft_module *m, const char *pattern, int *n);
/* Says whether each call of m is a scope as weft_recompute_begin opens it (weft/context.h): what m
 * computes is not kept for the backward pass, which computes it again. As torch.utils.checkpoint
 * around the module. A clone has m's setting; files do not. */
weft_status weft_module_set_recompute(weft_module *m, bool on);
/* The same, on, for the modules in m whose dotted name matches a pattern, as weft_module_freeze
 * takes it: "layer1" is one scope; "layer1.?" are as many as there are blocks in layer1. Of modules
 * inside one another the outermost counts. *n (may be NULL) becomes the number of modules that
 * matched. If none did and n is NULL, there is a warning (weft_lint). */
weft_status weft_module_recompute(weft_module *m, const char *pattern, int *n);
void weft_module_zero_grad(weft_module *m); /* gradients become absent */
/* Converts floating-point parameters and buffers, and their gradients, to `dtype`: f32, f64 or bf16.
 * They stay the same tensors, so an optimizer that has them goes on; its state follows at its next
 * step. Integer buffers stay as they are. Recorded work that reads them is run first. On failure
 * nothing has changed.
 *
 * WEFT_BF16 is storage for inference, in half the memory: each parameter is rounded to nearest even;
 * buffers, such as BatchNorm's running statistics, and gradients become f32. (torch's
 * module.to(torch.bfloat16) rounds the statistics as well.) Ops read the parameters as the f32 that
 * their values are, and take f32 inputs. weft_module_to(m, WEFT_F32) brings back the rounded values. Such
 * a module is not trained: a backward pass that reaches a parameter of bf16 which requires a
 * gradient is WEFT_ERR_STATE, and so is a step of an optimizer that has one; creating an optimizer
 * for one is WEFT_ERR_DTYPE. Parts that are frozen may be bf16 while others are trained. A saved
 * state has the types of its tensors; states load into either type. */
weft_status weft_module_to(weft_module *m, weft_dtype dtype);
/* The same for one stored tensor of f32, f64 or bf16, in place. A gradient that it has becomes f32
 * where dtype is bf16. WEFT_ERR_DTYPE for tensors of other types, WEFT_ERR_STATE for the results of
 * ops. */
weft_status weft_tensor_to(weft_tensor *t, weft_dtype dtype);

/* ---- calling --------------------------------------------------------------------------------- */

/* Calls m: runs its forward and its hooks, and puts its name into error messages. Use this, never
 * cls->forward. Returns the output; NULL on failure, or if m or x is NULL; the step has failed
 * then, as with ops. */
weft_tensor *weft_call(weft_module *m, weft_tensor *x);
/* The same for several inputs or outputs. An input that is left out is NULL. *n_out is how many
 * out[] can hold, and becomes the number of outputs, at most WEFT_MODULE_MAX_OUT. */
weft_status weft_call_many(weft_module *m, int n_in, weft_tensor *const *in, int *n_out,
                           weft_tensor **out);

/* A hook that runs before a module's forward; it may replace elements of in[]. Hooks run while the
 * step is recorded, in the order of their registration. If one fails, the call fails. */
typedef weft_status (*weft_pre_hook_fn)(void *user, weft_module *m, int n_in, weft_tensor **in);
/* A hook that runs after a module's forward; it may replace elements of out[]. */
typedef weft_status (*weft_hook_fn)(void *user, weft_module *m, int n_in, weft_tensor *const *in,
                                    int n_out, weft_tensor **out);
/* When a hook runs. */
enum {
    WEFT_HOOK_ALWAYS = 1u << 0,  /* also after a forward that failed (n_out is 0) */
    WEFT_HOOK_PREPEND = 1u << 1, /* before those that were registered earlier */
};
/* Registers a hook on m and returns its handle; 0 on failure. Hooks may remove others and
 * themselves. */
uint64_t weft_register_forward_pre_hook(weft_module *m, weft_pre_hook_fn fn, void *user,
                                        unsigned flags);
uint64_t weft_register_forward_hook(weft_module *m, weft_hook_fn fn, void *user, unsigned flags);
void weft_hook_remove(weft_module *m, uint64_t handle); /* an unknown handle: no effect */

/* Hooks for every call of every module of the context, as torch's register_module_forward_hook.
 * They run before the module's own. flags: WEFT_HOOK_ALWAYS. Handles are the context's. */
uint64_t weft_register_global_forward_pre_hook(weft_context *ctx, weft_pre_hook_fn fn, void *user);
uint64_t weft_register_global_forward_hook(weft_context *ctx, weft_hook_fn fn, void *user,
                                           unsigned flags);
void weft_global_hook_remove(weft_context *ctx, uint64_t handle); /* as weft_hook_remove */

/* Hooks on the gradients of a module's call, as torch's full backward hooks. They run while
 * weft_backward records, on recorded tensors without numbers yet. A pre-hook runs when the
 * gradients of all outputs have been recorded, and may replace them. A gradient that is NULL is
 * none: it belongs to a tensor that gets no gradient, and cannot be replaced. To replace a
 * gradient by NULL makes it zero. *n_out must not change. */
typedef weft_status (*weft_backward_pre_hook_fn)(void *user, weft_module *m, int *n_out,
                                                 weft_tensor **grad_output);
/* The same for the gradients of the inputs, and *n_in. If no input requires a gradient, the hook
 * still runs, after the pre-hooks, with NULL for each of them. */
typedef weft_status (*weft_backward_hook_fn)(void *user, weft_module *m, int *n_in,
                                             weft_tensor **grad_input, int n_out,
                                             weft_tensor *const *grad_output);
/* Register such hooks, for calls that are recorded from then on. They return a handle for
 * weft_hook_remove, 0 on failure. flags: WEFT_HOOK_PREPEND. */
uint64_t weft_register_backward_pre_hook(weft_module *m, weft_backward_pre_hook_fn fn, void *user,
                                         unsigned flags);
uint64_t weft_register_backward_hook(weft_module *m, weft_backward_hook_fn fn, void *user,
                                     unsigned flags);
/* The same for every module of the context. They run before the module's own; their handles are for
 * weft_global_hook_remove. */
uint64_t weft_register_global_backward_pre_hook(weft_context *ctx, weft_backward_pre_hook_fn fn,
                                                void *user);
uint64_t weft_register_global_backward_hook(weft_context *ctx, weft_backward_hook_fn fn,
                                            void *user);

/* ---- state ----------------------------------------------------------------------------------- */

/* Appends the state of m to *list: its parameters, persistent buffers and extra state, then those
 * of its children, in order, under dotted names. A shared tensor is listed under each of its
 * names. The tensors are the module's own, not copies. */
weft_status weft_state_dict(weft_module *m, weft_tensor_list *list);
/* Copies values into m by name. One message lists, a line each, all wrong shapes and types and
 * (strict only) all missing and unexpected names; then nothing has changed. A shared tensor is
 * missing only if all its names are.
 *
 * Values are converted to the type of m's tensor, as torch's copy_ does. A floating-point tensor
 * takes every number. A tensor of whole numbers takes the numbers that it can hold; another one is
 * an error that names tensor, element and value. A vector of one element can be copied into a
 * scalar, and the other way round. */
weft_status weft_load_state_dict(weft_module *m, const weft_tensor_list *list, bool strict);
/* Writes m's state to a safetensors file, whole or not at all. The file's metadata has the version
 * of each module's class, under "weft.versions". */
weft_status weft_module_save(weft_module *m, const char *path);
/* The same with n_meta pairs of metadata of the caller's. The keys "format" and "weft.versions" are
 * Weft's. */
weft_status weft_module_save_with(weft_module *m, const char *path,
                                  const weft_safetensors_meta *meta, int64_t n_meta);
/* Loads a safetensors file, by the rules of weft_load_state_dict, and these:
 *   Values that are NaN or infinite, or would be after conversion, are refused (WEFT_ERR_NUMERIC):
 *     a network with such weights computes nothing. The message names the tensors.
 *   A file that a later version of a class has saved is refused (strict only). One of an earlier
 *     version goes through the class's upgrade.
 *   A name that m does not have may be an older name (old_name of the class), or may have what
 *     wrappers and trainers put in front: module (anywhere in the name), _orig_mod, model, net,
 *     network, state_dict. Then it counts as m's name.
 *   A tensor that m does not have may be of a type that Weft does not have. A strict load still
 *     reports it as unexpected. */
weft_status weft_module_load(weft_module *m, const char *path, bool strict);

/* How a file is loaded. All zeros: as weft_module_load(m, path, true). A list is names of tensors
 * or modules with spaces between, "fc layer4.1", or NULL. */
typedef struct weft_load_opts {
    bool partial;         /* not strict: names may be missing and unexpected */
    bool allow_nan;       /* take NaN and infinite values as they are */
    const char *optional; /* list: the file may have these besides; weft_model_info knows them */
    const char *except;   /* list: these keep their values, whether or not the file has them */
    int *left_out;        /* becomes how many optional tensors were left out; or NULL */
} weft_load_opts;
#define WEFT_LOAD_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */
/* As weft_module_load, with options. */
weft_status weft_module_load_with(weft_module *m, const char *path, const weft_load_opts *opts);
/* The entry of `file` from which a load would take m's tensor `name`, whatever the file calls it;
 * valid as long as the file is open. NULL: there is none, or memory has run out (the context has
 * the error then). */
const weft_safetensors_entry *weft_module_find_entry(weft_module *m, const weft_safetensors *file,
                                                     const char *name);

/* ---- text ------------------------------------------------------------------------------------ */

const char *weft_module_name(const weft_module *m); /* the name of its class; "" for NULL */
/* Writes the tree of modules, as PyTorch's repr shows it, without a newline at the end. */
weft_status weft_module_print(weft_module *m, FILE *out);
/* Writes a table of the network for an input of this shape (N first), as torchinfo's: every call
 * of a module with its shapes, parameters and multiply-adds, indented by depth, and the totals.
 * Numbers of frozen parameters are in parentheses. Runs nothing, and ends the step. The text is
 * UTF-8. */
weft_status weft_module_summary(weft_module *m, weft_shape input, FILE *out);
/* What the table shows. */
typedef struct weft_summary_opts {
    int depth; /* levels of modules inside the network; 0: the network alone */
} weft_summary_opts;
/* weft_module_summary's own, to begin options with. */
#define WEFT_SUMMARY_OPTS_INIT WEFT_INIT(weft_summary_opts, WEFT_SET(depth, 3))
/* As weft_module_summary, with options. */
weft_status weft_module_summary_with(weft_module *m, weft_shape input,
                                     const weft_summary_opts *opts, FILE *out);

/* The totals of such a table. Shared parameters count once. Multiply-adds are those of
 * convolutions and linear layers, in evaluation mode, as often as they are called. */
typedef struct weft_totals {
    int64_t parameters, trainable;        /* elements: all, and those that require a gradient */
    int64_t macs;                         /* multiply-adds */
    int64_t input_bytes, parameter_bytes; /* of the input, of all parameters */
    int64_t activation_bytes; /* outputs of layers with parameters, and as much for gradients */
} weft_totals;
/* Computes them. Runs nothing, and ends the step. */
weft_status weft_module_totals(weft_module *m, weft_shape input, weft_totals *totals);

#ifdef __cplusplus
}
#endif
#endif
