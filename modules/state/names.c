/* Finds the tensor of a module for which an entry of a file is.
 *
 * Note [Names in files]. An entry is for the tensor with the entry's name. If the module has no
 * such tensor, the entry may still be for one of its tensors, under an older name or with a
 * wrapper's name in it. So these words are removed from the name, in this order, until the module
 * has the name:
 *   module, _orig_mod, _fsdp_wrapped_module   anywhere: DataParallel wraps parts of networks, too
 *                                             ("features.module.0.weight" of AlexNet and VGG)
 *   model, net, network, state_dict           at the front: trainers and checkpoints add them
 * Each of these names is also tried as an older name (weft_module_class.old_name). An entry with
 * the module's own name has precedence over all others. Threading rule: the context's. */
#include <stdlib.h>
#include <string.h>

#include "modules/state/state.h"
#include "weft/safetensors.h"

enum { NAME_BYTES = 1024 }; /* longer names are not changed */

static const char *const transparent[] = {"module", "_orig_mod", "_fsdp_wrapped_module"};
static const char *const containers[] = {"model", "net", "network", "state_dict"};
enum {
    N_TRANSPARENT = sizeof(transparent) / sizeof(transparent[0]),
    N_CONTAINERS = sizeof(containers) / sizeof(containers[0])
};

/* A name of the module's state. */
typedef struct own_name {
    const char *name; /* borrowed from `list` */
    bool taken;       /* an entry of the file has it */
} own_name;

/* A module whose class has older names. */
typedef struct renamer {
    char *path;
    const weft_module *m;
} renamer;

typedef struct naming {
    weft_tensor_list list; /* the module's state */
    own_name *own;         /* sorted */
    int n_own;
    renamer *renamers;
    int n_renamers;
    const char *optional;
} naming;

static weft_status add_renamer(void *user, const char *path, weft_module *m)
{
    naming *n = user;
    if (m->cls->old_name == NULL)
        return WEFT_OK;
    renamer *more = wf_realloc_array(n->renamers, (size_t)n->n_renamers + 1, sizeof(*n->renamers));
    if (more == NULL)
        return WEFT_ERR_NOMEM;
    n->renamers = more;
    more[n->n_renamers] = (renamer){.path = wf_strdup(path), .m = m};
    return more[n->n_renamers++].path != NULL ? WEFT_OK : WEFT_ERR_NOMEM;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const own_name *)a)->name, ((const own_name *)b)->name);
}

static weft_status naming_start(naming *n, weft_module *m, const char *optional)
{
    *n = (naming){.list = WEFT_TENSOR_LIST_INIT, .optional = optional};
    WF_TRY(weft_state_dict(m, &n->list));
    n->own = wf_zalloc_array((size_t)n->list.n + 1, sizeof(*n->own));
    if (n->own == NULL || wf_walk(m, WEFT_WALK_DUPLICATES, add_renamer, n) != WEFT_OK)
        return wf_module_nomem(m);
    n->n_own = n->list.n;
    for (int i = 0; i < n->n_own; i++)
        n->own[i].name = n->list.item[i].name;
    qsort(n->own, (size_t)n->n_own, sizeof(*n->own), by_name);
    return WEFT_OK;
}

static void naming_done(naming *n)
{
    weft_tensor_list_done(&n->list);
    wf_free(n->own);
    for (int i = 0; i < n->n_renamers; i++)
        wf_free(n->renamers[i].path);
    wf_free(n->renamers);
}

static own_name *find_own(const naming *n, const char *name)
{
    own_name key = {.name = name};
    return bsearch(&key, n->own, (size_t)n->n_own, sizeof(*n->own), by_name);
}

/* Takes `name`, if the module has it and no entry has taken it. */
static bool take(const naming *n, const char *name)
{
    own_name *own = find_own(n, name);
    if (own == NULL)
        return wf_names_cover(n->optional, name);
    bool first = !own->taken;
    own->taken = true;
    return first;
}

/* Takes the newer name for `name`, if there is one that can be taken; `name` becomes it. */
static bool take_renamed(const naming *n, char name[NAME_BYTES])
{
    for (int i = 0; i < n->n_renamers; i++) {
        const renamer *r = &n->renamers[i];
        char now[NAME_BYTES];
        size_t length = strlen(r->path);
        if (length > 0 && (strncmp(name, r->path, length) != 0 || name[length++] != '.'))
            continue;
        if (length >= NAME_BYTES ||
            !r->m->cls->old_name(r->m, name + length, now, NAME_BYTES - length))
            continue;
        char whole[NAME_BYTES];
        memcpy(whole, name, length);
        memcpy(whole + length, now, strlen(now) + 1);
        if (take(n, whole)) {
            memcpy(name, whole, strlen(whole) + 1);
            return true;
        }
    }
    return false;
}

static bool is_one_of(const char *word, size_t length, const char *const *words, int n)
{
    for (int i = 0; i < n; i++) {
        if (strlen(words[i]) == length && memcmp(words[i], word, length) == 0)
            return true;
    }
    return false;
}

/* Removes wrappers' names from `name`. */
static void drop_transparent(char *name)
{
    char *to = name;
    for (const char *from = name; *from != '\0';) {
        size_t length = strcspn(from, ".");
        bool last = from[length] == '\0';
        if (last || !is_one_of(from, length, transparent, N_TRANSPARENT)) {
            memmove(to, from, length + !last);
            to += length + !last;
        }
        from += length + !last;
    }
    *to = '\0';
}

/* Changes `name` to the module's name that it stands for. False: there is none, and `name` is
 * unusable. */
static bool resolve(const naming *n, char name[NAME_BYTES])
{
    if (take_renamed(n, name))
        return true;
    drop_transparent(name);
    for (;;) {
        if (take(n, name) || take_renamed(n, name))
            return true;
        size_t length = strcspn(name, ".");
        if (name[length] == '\0' || !is_one_of(name, length, containers, N_CONTAINERS))
            return false;
        memmove(name, name + length + 1, strlen(name + length + 1) + 1);
    }
}

void wf_state_names_done(char **names, int64_t n)
{
    for (int64_t i = 0; names != NULL && i < n; i++)
        wf_free(names[i]);
    wf_free(names);
}

/* Finds names[i] of each entry i of the file. *wrapped: a wrapper's name was removed from one. */
static bool name_all(naming *n, const weft_safetensors *file, char **names, bool *wrapped)
{
    int64_t count = weft_safetensors_count(file);
    for (int64_t i = 0; i < count; i++) {
        const char *name = weft_safetensors_at(file, i)->name;
        own_name *own = find_own(n, name);
        if (own != NULL)
            own->taken = true;
    }
    for (int64_t i = 0; i < count; i++) {
        const char *name = weft_safetensors_at(file, i)->name;
        char now[NAME_BYTES];
        bool known = find_own(n, name) != NULL || wf_names_cover(n->optional, name);
        if (!known && strlen(name) < NAME_BYTES && resolve(n, strcpy(now, name))) {
            name = now;
            *wrapped = true;
        }
        names[i] = wf_strdup(name);
        if (names[i] == NULL)
            return false;
    }
    return true;
}

weft_status wf_state_names(weft_module *m, const weft_safetensors *file, const char *optional,
                           char ***names)
{
    naming n;
    bool wrapped = false;
    int64_t count = weft_safetensors_count(file);
    char **all = NULL;
    weft_status status = naming_start(&n, m, optional);
    if (status == WEFT_OK) {
        all = wf_zalloc_array((size_t)count + 1, sizeof(*all));
        if (all == NULL || !name_all(&n, file, all, &wrapped))
            status = wf_module_nomem(m);
    }
    /* torch's AveragedModel has a counter beside the network that it wraps. */
    for (int64_t i = 0; i < count && wrapped && status == WEFT_OK; i++) {
        if (strcmp(all[i], "n_averaged") == 0 && find_own(&n, all[i]) == NULL) {
            wf_free(all[i]);
            all[i] = NULL;
        }
    }
    naming_done(&n);
    if (status == WEFT_OK)
        *names = all;
    else
        wf_state_names_done(all, count);
    return status;
}

const weft_safetensors_entry *weft_module_find_entry(weft_module *m, const weft_safetensors *file,
                                                     const char *name)
{
    char **names;
    if (wf_module_check(m, NULL, "weft_module_find_entry") != WEFT_OK || file == NULL ||
        name == NULL || wf_state_names(m, file, NULL, &names) != WEFT_OK)
        return NULL;
    const weft_safetensors_entry *found = NULL;
    int64_t count = weft_safetensors_count(file);
    for (int64_t i = 0; i < count && found == NULL; i++) {
        if (names[i] != NULL && strcmp(names[i], name) == 0)
            found = weft_safetensors_at(file, i);
    }
    wf_state_names_done(names, count);
    return found;
}
