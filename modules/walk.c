/* Traversal: modules, parameters and buffers as lists; apply; and modes that are set on a whole
 * tree.
 *
 * Threading rule: the context's. */
#include <string.h>

#include "modules/internal.h"

/* ---- pointer map ---- */

static size_t entry_of(const wf_pointer_map *map, const void *key)
{
    size_t i = (size_t)(((uintptr_t)key >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20);
    for (i &= map->capacity - 1; map->entry[i].key != NULL && map->entry[i].key != key;)
        i = (i + 1) & (map->capacity - 1);
    return i;
}

void **wf_pointer_map_find(const wf_pointer_map *map, const void *key)
{
    if (map->capacity == 0)
        return NULL;
    size_t i = entry_of(map, key);
    return map->entry[i].key != NULL ? &map->entry[i].value : NULL;
}

bool wf_pointer_map_add(wf_pointer_map *map, const void *key, void *value)
{
    if (2 * (map->n + 1) > map->capacity) {
        wf_pointer_map grown = {.capacity = map->capacity == 0 ? 32 : 2 * map->capacity};
        grown.entry = wf_zalloc_array(grown.capacity, sizeof(*grown.entry));
        if (grown.entry == NULL)
            return false;
        for (size_t i = 0; i < map->capacity; i++) {
            if (map->entry[i].key != NULL)
                grown.entry[entry_of(&grown, map->entry[i].key)] = map->entry[i];
        }
        grown.n = map->n;
        wf_free(map->entry);
        *map = grown;
    }
    size_t i = entry_of(map, key);
    map->entry[i].key = key;
    map->entry[i].value = value;
    map->n++;
    return true;
}

void wf_pointer_map_done(wf_pointer_map *map)
{
    wf_free(map->entry);
    *map = (wf_pointer_map){0};
}

/* ---- walking ---- */

char *wf_join_path(const char *path, const char *name)
{
    return path[0] == '\0' ? wf_strdup(name) : wf_asprintf("%s.%s", path, name);
}

typedef struct walker {
    unsigned walk;
    wf_pointer_map seen;
    wf_walk_fn fn;
    void *user;
} walker;

/* Holds a reference to m: w->fn may call functions of the class, which may drop any module. */
static weft_status visit(walker *w, const char *path, weft_module *m)
{
    if ((w->walk & WEFT_WALK_DUPLICATES) == 0) {
        if (wf_pointer_map_find(&w->seen, m) != NULL)
            return WEFT_OK;
        if (!wf_pointer_map_add(&w->seen, m, NULL))
            return WEFT_ERR_NOMEM;
    }
    weft_module_ref(m);
    weft_status status = w->fn(w->user, path, m);
    bool deep = (w->walk & WEFT_WALK_SHALLOW) == 0;
    for (int i = 0; deep && status == WEFT_OK && i < m->state->n_parts; i++) {
        const wf_part *p = &m->state->parts[i];
        weft_module *child = p->kind == WF_CHILD ? wf_part_module(p) : NULL;
        if (child == NULL)
            continue;
        status = wf_part_check(m, p);
        if (status != WEFT_OK)
            break;
        char *below = wf_join_path(path, p->name);
        status = below != NULL ? visit(w, below, child) : WEFT_ERR_NOMEM;
        wf_free(below);
    }
    weft_module_unref(m);
    return status;
}

weft_status wf_walk(weft_module *m, unsigned walk, wf_walk_fn fn, void *user)
{
    walker w = {.walk = walk, .fn = fn, .user = user};
    weft_status status = visit(&w, "", m);
    wf_pointer_map_done(&w.seen);
    return status;
}

/* ---- lists ---- */

weft_status weft_tensor_list_add(weft_tensor_list *list, const char *name, weft_tensor *tensor)
{
    weft_context *ctx = weft_tensor_context(tensor);
    if (list == NULL || name == NULL || tensor == NULL)
        return ctx == NULL ? WEFT_ERR_INVALID
                           : wf_fail(ctx, WEFT_ERR_INVALID, "weft_tensor_list_add: there is no %s",
                                     list == NULL ? "list" : "name");
    if (wf_tensor_check(tensor, name, true) == NULL)
        return WEFT_ERR_STATE;
    char *copy = wf_strdup(name);
    if (copy == NULL)
        return WEFT_ERR_NOMEM;
    if (list->n == list->capacity) {
        int capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        weft_tensor_entry *item = wf_realloc_array(list->item, (size_t)capacity, sizeof(*item));
        if (item == NULL) {
            wf_free(copy);
            return WEFT_ERR_NOMEM;
        }
        list->item = item;
        list->capacity = capacity;
    }
    list->item[list->n++] = (weft_tensor_entry){copy, weft_tensor_ref(tensor)};
    return WEFT_OK;
}

weft_tensor *weft_tensor_list_find(const weft_tensor_list *list, const char *name)
{
    for (int i = 0; list != NULL && name != NULL && i < list->n; i++) {
        if (list->item[i].name != NULL && strcmp(list->item[i].name, name) == 0)
            return list->item[i].tensor;
    }
    return NULL;
}

weft_status wf_tensor_list_check(weft_context *ctx, const char *what, const weft_tensor_list *list)
{
    wf_name_map names = {0};
    weft_status status = WEFT_OK;
    for (int i = 0; i < list->n && status == WEFT_OK; i++) {
        const char *name = list->item[i].name;
        if (name == NULL)
            status =
                wf_fail(ctx, WEFT_ERR_INVALID, "%s: entry %d of the list has no name", what, i);
        else if (wf_name_map_find(&names, name) >= 0)
            status = wf_fail(ctx, WEFT_ERR_INVALID, "%s: the list has '%s' twice", what, name);
        else if (!wf_name_map_add(&names, name, i))
            status = wf_fail(ctx, WEFT_ERR_NOMEM, "%s: out of memory", what);
    }
    wf_name_map_done(&names);
    return status;
}

bool wf_tensor_list_names(const weft_tensor_list *list, wf_name_map *map)
{
    for (int i = 0; i < list->n; i++) {
        if (!wf_name_map_add(map, list->item[i].name, i))
            return false;
    }
    return true;
}

/* An empty list has no memory, so a list that could not be made needs no done. */
static void tensor_list_cut(weft_tensor_list *list, int n)
{
    while (list->n > n) {
        list->n--;
        wf_free(list->item[list->n].name);
        weft_tensor_unref(list->item[list->n].tensor);
    }
    if (n == 0) {
        wf_free(list->item);
        *list = (weft_tensor_list)WEFT_TENSOR_LIST_INIT;
    }
}

void weft_tensor_list_done(weft_tensor_list *list)
{
    if (list != NULL)
        tensor_list_cut(list, 0);
}

weft_status wf_named_modules_add(weft_named_modules *list, const char *name, weft_module *m)
{
    char *copy = wf_strdup(name);
    if (copy == NULL)
        return WEFT_ERR_NOMEM;
    if (list->n == list->capacity) {
        int capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        weft_module_entry *item = wf_realloc_array(list->item, (size_t)capacity, sizeof(*item));
        if (item == NULL) {
            wf_free(copy);
            return WEFT_ERR_NOMEM;
        }
        list->item = item;
        list->capacity = capacity;
    }
    list->item[list->n++] = (weft_module_entry){copy, weft_module_ref(m)};
    return WEFT_OK;
}

static void module_list_cut(weft_named_modules *list, int n)
{
    while (list->n > n) {
        list->n--;
        wf_free(list->item[list->n].name);
        weft_module_unref(list->item[list->n].module);
    }
    if (n == 0) {
        wf_free(list->item);
        *list = (weft_named_modules)WEFT_NAMED_MODULES_INIT;
    }
}

void weft_named_modules_done(weft_named_modules *list)
{
    if (list != NULL)
        module_list_cut(list, 0);
}

typedef struct collector {
    wf_part_kind kind;
    unsigned walk;
    wf_pointer_map seen;
    weft_tensor_list *list;
} collector;

static weft_status collect_tensors(void *user, const char *path, weft_module *m)
{
    collector *c = user;
    for (int i = 0; i < m->state->n_parts; i++) {
        const wf_part *p = &m->state->parts[i];
        weft_tensor *t = p->kind == c->kind ? wf_part_tensor(p) : NULL;
        if (t == NULL)
            continue;
        if ((c->walk & WEFT_WALK_DUPLICATES) == 0) {
            if (wf_pointer_map_find(&c->seen, t) != NULL)
                continue;
            if (!wf_pointer_map_add(&c->seen, t, NULL))
                return WEFT_ERR_NOMEM;
        }
        char *name = wf_join_path(path, p->name);
        weft_status status = name != NULL ? weft_tensor_list_add(c->list, name, t) : WEFT_ERR_NOMEM;
        wf_free(name);
        WF_TRY(status);
    }
    return WEFT_OK;
}

static weft_status list_tensors(weft_module *m, unsigned walk, wf_part_kind kind,
                                weft_tensor_list *list)
{
    const char *what = kind == WF_PARAMETER ? "weft_parameters" : "weft_buffers";
    WF_TRY(wf_module_check_with(m, list, what));
    collector c = {.kind = kind, .walk = walk, .list = list};
    int before = list->n;
    weft_status status = wf_walk(m, walk, collect_tensors, &c);
    wf_pointer_map_done(&c.seen);
    if (status != WEFT_OK)
        tensor_list_cut(list, before);
    return status == WEFT_ERR_NOMEM ? wf_module_nomem(m) : status;
}

weft_status weft_parameters(weft_module *m, unsigned walk, weft_tensor_list *list)
{
    return list_tensors(m, walk, WF_PARAMETER, list);
}

weft_status weft_buffers(weft_module *m, unsigned walk, weft_tensor_list *list)
{
    return list_tensors(m, walk, WF_BUFFER, list);
}

static weft_status collect_module(void *user, const char *path, weft_module *m)
{
    return wf_named_modules_add(user, path, m);
}

weft_status weft_modules(weft_module *m, unsigned walk, weft_named_modules *list)
{
    WF_TRY(wf_module_check_with(m, list, "weft_modules"));
    int before = list->n;
    weft_status status = wf_walk(m, walk, collect_module, list);
    if (status != WEFT_OK)
        module_list_cut(list, before);
    return status == WEFT_ERR_NOMEM ? wf_module_nomem(m) : status;
}

weft_status weft_children(weft_module *m, weft_named_modules *list)
{
    WF_TRY(wf_module_check_with(m, list, "weft_children"));
    int before = list->n;
    weft_status status = WEFT_OK;
    for (int i = 0; i < m->state->n_parts && status == WEFT_OK; i++) {
        const wf_part *p = &m->state->parts[i];
        weft_module *child = p->kind == WF_CHILD ? wf_part_module(p) : NULL;
        bool listed = child == NULL;
        for (int k = before; k < list->n && !listed; k++)
            listed = list->item[k].module == child;
        status = wf_part_check(m, p);
        if (!listed && status == WEFT_OK)
            status = wf_named_modules_add(list, p->name, child);
    }
    if (status != WEFT_OK)
        module_list_cut(list, before);
    return status == WEFT_ERR_NOMEM ? wf_module_nomem(m) : status;
}

/* ---- on every module ---- */

/* Appends m and all modules below it, each once, children before parents. */
static weft_status list_children_first(wf_pointer_map *seen, weft_module *m,
                                       weft_named_modules *list)
{
    if (wf_pointer_map_find(seen, m) != NULL)
        return WEFT_OK;
    if (!wf_pointer_map_add(seen, m, NULL))
        return WEFT_ERR_NOMEM;
    for (int i = 0; i < m->state->n_parts; i++) {
        const wf_part *p = &m->state->parts[i];
        weft_module *child = p->kind == WF_CHILD ? wf_part_module(p) : NULL;
        WF_TRY(wf_part_check(m, p));
        if (child != NULL)
            WF_TRY(list_children_first(seen, child, list));
    }
    return wf_named_modules_add(list, "", m);
}

weft_status weft_module_apply(weft_module *m, weft_status (*fn)(weft_module *m, void *user),
                              void *user)
{
    if (wf_module_check(m, NULL, "weft_module_apply") != WEFT_OK)
        return WEFT_ERR_STATE;
    if (fn == NULL)
        return wf_fail(m->ctx, WEFT_ERR_INVALID, "weft_module_apply: no function");
    /* fn may register and remove modules, so list the present ones first, with references. */
    wf_pointer_map seen = {0};
    weft_named_modules all = WEFT_NAMED_MODULES_INIT;
    weft_status status = list_children_first(&seen, m, &all);
    wf_pointer_map_done(&seen);
    if (status == WEFT_ERR_NOMEM)
        wf_module_nomem(m);
    for (int i = 0; i < all.n && status == WEFT_OK; i++) {
        status = fn(all.item[i].module, user);
        if (status != WEFT_OK)
            status = wf_fail(m->ctx, status, "weft_module_apply: the function failed for %s",
                             all.item[i].module->cls->name);
    }
    weft_named_modules_done(&all);
    return status;
}

int64_t weft_parameter_count(weft_module *m, bool trainable_only)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    int64_t n = 0;
    if (weft_parameters(m, 0, &list) != WEFT_OK)
        return -1;
    for (int i = 0; i < list.n; i++) {
        if (!trainable_only || weft_requires_grad(list.item[i].tensor))
            n += weft_shape_count(weft_tensor_shape(list.item[i].tensor));
    }
    weft_tensor_list_done(&list);
    return n;
}

/* Setting modes allocates nothing and so cannot fail. A shared module is just visited twice. */
void weft_module_train(weft_module *m, bool training)
{
    if (wf_module_check(m, NULL, "weft_module_train") != WEFT_OK)
        return;
    m->training = training;
    for (int i = 0; i < m->state->n_parts; i++) {
        const wf_part *p = &m->state->parts[i];
        if (p->kind == WF_CHILD && wf_part_module(p) != NULL && wf_part_check(m, p) == WEFT_OK)
            weft_module_train(wf_part_module(p), training);
    }
}

void weft_module_eval(weft_module *m)
{
    weft_module_train(m, false);
}

weft_status weft_module_requires_grad(weft_module *m, bool requires_grad)
{
    if (wf_module_check(m, NULL, "weft_module_requires_grad") != WEFT_OK)
        return WEFT_ERR_STATE;
    for (int i = 0; i < m->state->n_parts; i++) {
        const wf_part *p = &m->state->parts[i];
        WF_TRY(wf_part_check(m, p));
        if (p->kind == WF_PARAMETER && wf_part_tensor(p) != NULL)
            WF_TRY(weft_set_requires_grad(wf_part_tensor(p), requires_grad));
        else if (p->kind == WF_CHILD && wf_part_module(p) != NULL)
            WF_TRY(weft_module_requires_grad(wf_part_module(p), requires_grad));
    }
    return WEFT_OK;
}

void weft_module_zero_grad(weft_module *m)
{
    if (wf_module_check(m, NULL, "weft_module_zero_grad") != WEFT_OK)
        return;
    for (int i = 0; i < m->state->n_parts; i++) {
        const wf_part *p = &m->state->parts[i];
        if (p->kind == WF_PARAMETER && wf_part_tensor(p) != NULL)
            weft_zero_grad(wf_part_tensor(p));
        else if (p->kind == WF_CHILD && wf_part_module(p) != NULL && wf_part_check(m, p) == WEFT_OK)
            weft_module_zero_grad(wf_part_module(p));
    }
}
