/* State dictionaries in safetensors files.
 *
 * Note [Versions]. The file's metadata has the version of each module's class, like torch's
 * _metadata: "weft.versions" is a JSON object from module path to number. Files of other programs
 * do not have it. Threading rule: the context's. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "modules/state/state.h"
#include "weft/safetensors.h"

#define VERSIONS "weft.versions"

static int version_of(const weft_module *m)
{
    return m->cls->version > 0 ? m->cls->version : 1;
}

static weft_status add_version(void *user, const char *path, weft_module *m)
{
    json_t *number = json_integer(version_of(m));
    return json_object_set_new_nocheck(user, path, number) == 0 ? WEFT_OK : WEFT_ERR_NOMEM;
}

/* The text for the metadata; free it with free(). NULL with the error set. */
static char *versions_text(weft_module *m)
{
    json_t *versions = json_object();
    weft_status status =
        versions != NULL ? wf_walk(m, WEFT_WALK_DUPLICATES, add_version, versions) : WEFT_ERR_NOMEM;
    char *text = status == WEFT_OK ? json_dumps(versions, JSON_COMPACT) : NULL;
    json_decref(versions);
    if (text == NULL)
        wf_module_nomem(m);
    return text;
}

typedef struct upgrade {
    const json_t *versions;
    weft_tensor_list *state;
    bool strict;
} upgrade;

/* Lets a class convert what an earlier version of it saved. Fails for a later version. */
static weft_status upgrade_module(void *user, const char *path, weft_module *m)
{
    const upgrade *u = user;
    json_int_t saved = json_integer_value(json_object_get(u->versions, path));
    if (saved > version_of(m) && u->strict)
        return wf_fail(m->ctx, WEFT_ERR_UNSUPPORTED,
                       "'%s' was saved by version %lld of %s, this is version %d", path,
                       (long long)saved, m->cls->name, version_of(m));
    if (saved < 1 || saved >= version_of(m) || m->cls->upgrade == NULL)
        return WEFT_OK;
    char *prefix = path[0] == '\0' ? wf_strdup("") : wf_asprintf("%s.", path);
    weft_status status =
        prefix != NULL ? m->cls->upgrade(m, (int)saved, prefix, u->state) : WEFT_ERR_NOMEM;
    wf_free(prefix);
    return status == WEFT_OK ? WEFT_OK
                             : wf_fail(m->ctx, status, "'%s': version %lld of %s cannot be loaded",
                                       path, (long long)saved, m->cls->name);
}

static weft_status upgrade_state(weft_module *m, const char *text, weft_tensor_list *state,
                                 bool strict)
{
    json_t *versions = text != NULL ? json_loads(text, 0, NULL) : NULL;
    if (versions == NULL) /* no text, or not Weft's */
        return WEFT_OK;
    upgrade u = {.versions = versions, .state = state, .strict = strict};
    weft_status status = wf_walk(m, WEFT_WALK_DUPLICATES, upgrade_module, &u);
    json_decref(versions);
    return status == WEFT_ERR_NOMEM ? wf_module_nomem(m) : status;
}

/* Sets the file's entries to the tensors of `list`, whose memory it brings up to date. */
static weft_status list_entries(weft_module *m, const weft_tensor_list *list,
                                weft_safetensors_entry *entries)
{
    for (int i = 0; i < list->n; i++) {
        weft_tensor *t = list->item[i].tensor;
        entries[i] = (weft_safetensors_entry){.name = list->item[i].name,
                                              .dtype = weft_tensor_dtype(t),
                                              .shape = weft_tensor_shape(t),
                                              .data = weft_tensor_const_data(t)};
        if (entries[i].data == NULL)
            return wf_fail(m->ctx, WEFT_ERR_STATE, "%s: cannot read '%s'", m->cls->name,
                           list->item[i].name);
    }
    return WEFT_OK;
}

weft_status weft_module_save_with(weft_module *m, const char *path,
                                  const weft_safetensors_meta *meta, int64_t n_meta)
{
    WF_TRY(wf_module_check_with(m, path, "weft_module_save"));
    if (n_meta < 0 || (n_meta > 0 && meta == NULL))
        return wf_fail(m->ctx, WEFT_ERR_INVALID, "weft_module_save: there is no metadata");
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    WF_TRY(weft_state_dict(m, &list));
    weft_safetensors_entry *entries = wf_zalloc_array((size_t)list.n, sizeof(*entries));
    weft_safetensors_meta *all = wf_zalloc_array((size_t)n_meta + 2, sizeof(*all));
    weft_status status =
        entries != NULL && all != NULL ? list_entries(m, &list, entries) : wf_module_nomem(m);
    char *versions = status == WEFT_OK ? versions_text(m) : NULL;
    if (status == WEFT_OK && versions == NULL)
        status = WEFT_ERR_NOMEM;
    if (status == WEFT_OK) {
        weft_error err = WEFT_ERROR_INIT;
        all[0] = (weft_safetensors_meta){"format", "pt"}; /* other readers look for this */
        all[1] = (weft_safetensors_meta){VERSIONS, versions};
        if (n_meta > 0)
            memcpy(all + 2, meta, (size_t)n_meta * sizeof(*all));
        status = weft_safetensors_write(path, entries, list.n, all, n_meta + 2, &err);
        if (status != WEFT_OK)
            wf_fail(m->ctx, status, "%s", err.text);
    }
    free(versions);
    wf_free(all);
    wf_free(entries);
    weft_tensor_list_done(&list);
    return status;
}

weft_status weft_module_save(weft_module *m, const char *path)
{
    return weft_module_save_with(m, path, NULL, 0);
}

/* What was read from a file: tensors, entries that cannot be tensors, and the names of both. */
typedef struct contents {
    weft_tensor_list list;
    wf_foreign *foreign;
    int n_foreign;
    char **names; /* names of the file's entries; `foreign` borrows them */
    int64_t n_names;
} contents;

static void contents_done(contents *c)
{
    weft_tensor_list_done(&c->list);
    wf_free(c->foreign);
    wf_state_names_done(c->names, c->n_names);
}

static weft_status read_entry(weft_context *ctx, const weft_safetensors_entry *e, const char *name,
                              contents *c)
{
    if (e->foreign != NULL) {
        c->foreign[c->n_foreign++] = (wf_foreign){.name = name, .what = e->foreign};
        return WEFT_OK;
    }
    weft_tensor *t = weft_tensor_from(ctx, e->dtype, e->shape, e->data);
    weft_status status =
        t != NULL ? weft_tensor_list_add(&c->list, name, t) : weft_error_status(ctx);
    weft_tensor_unref(t);
    return status;
}

/* Reads the file's entries, except those to leave out. */
static weft_status read_entries(weft_module *m, const weft_safetensors *file,
                                const weft_load_opts *opts, contents *c)
{
    weft_tensor_list own = WEFT_TENSOR_LIST_INIT;
    int64_t n = weft_safetensors_count(file);
    WF_TRY(wf_state_names(m, file, opts->optional, &c->names));
    c->n_names = n;
    c->foreign = wf_zalloc_array((size_t)n + 1, sizeof(*c->foreign));
    if (c->foreign == NULL)
        return wf_module_nomem(m);
    weft_status status = opts->optional != NULL ? weft_state_dict(m, &own) : WEFT_OK;
    wf_name_map own_names = {0};
    if (!wf_tensor_list_names(&own, &own_names))
        status = wf_module_nomem(m);
    int left_out = 0;
    for (int64_t i = 0; i < n && status == WEFT_OK; i++) {
        const char *name = c->names[i];
        if (name == NULL)
            continue;
        bool more = wf_names_cover(opts->optional, name) && wf_name_map_find(&own_names, name) < 0;
        left_out += more;
        if (!more && !wf_names_cover(opts->except, name))
            status = read_entry(m->ctx, weft_safetensors_at(file, i), name, c);
    }
    wf_name_map_done(&own_names);
    weft_tensor_list_done(&own);
    if (status == WEFT_OK && opts->left_out != NULL)
        *opts->left_out = left_out;
    return status;
}

weft_status weft_module_load_with(weft_module *m, const char *path, const weft_load_opts *opts)
{
    static const weft_load_opts plain = {0};
    WF_TRY(wf_module_check_with(m, path, "weft_module_load"));
    opts = opts != NULL ? opts : &plain;
    weft_error err = WEFT_ERROR_INIT;
    weft_safetensors *file = NULL;
    weft_status status = weft_safetensors_open(path, &file, &err);
    if (status != WEFT_OK)
        return wf_fail(m->ctx, status, "%s", err.text);
    contents c = {.list = WEFT_TENSOR_LIST_INIT};
    status = read_entries(m, file, opts, &c);
    if (status == WEFT_OK)
        status =
            upgrade_state(m, weft_safetensors_meta_find(file, VERSIONS), &c.list, !opts->partial);
    weft_safetensors_close(file);
    wf_load_rules rules = {.what = path,
                           .strict = !opts->partial,
                           .finite = !opts->allow_nan,
                           .optional = opts->optional,
                           .except = opts->except,
                           .foreign = c.foreign,
                           .n_foreign = c.n_foreign};
    if (status == WEFT_OK)
        status = wf_load_state(m, &c.list, &rules);
    else
        wf_fail(m->ctx, status, "%s: cannot be loaded: %s", path, weft_status_string(status));
    contents_done(&c);
    return status;
}

weft_status weft_module_load(weft_module *m, const char *path, bool strict)
{
    return weft_module_load_with(m, path, &(weft_load_opts){.partial = !strict});
}
