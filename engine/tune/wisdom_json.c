/* Wisdom as JSON:
 *
 *     {"format": "weft wisdom", "version": 1, "machines": [
 *       {"cpu": "AMD EPYC", "isa": "avx2", "lanes": 8, "weft": "0.1.0", "onednn": "2.6.3",
 *        "choices": {"conv2d forward g1mb64ic3...": {"kernel": "winograd:avx2", "ms": 1.25},
 *                    ...}}]}
 *
 * A file may come from anywhere: everything in it is checked. Stateless. */
#include <stdio.h>
#include <string.h>

#include "engine/base/error.h"
#include "engine/base/alloc.h"
#include "engine/tune/wisdom.h"

#define FORMAT "weft wisdom"
enum { VERSION = 1 };

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static bool same_machine(const json_t *section, const wf_wisdom_key *key)
{
    return strcmp(text_of(section, "cpu"), key->cpu) == 0 &&
           strcmp(text_of(section, "isa"), key->isa) == 0 &&
           json_integer_value(json_object_get(section, "lanes")) == key->lanes;
}

static bool same_versions(const json_t *section, const wf_wisdom_key *key)
{
    return strcmp(text_of(section, "weft"), key->weft) == 0 &&
           strcmp(text_of(section, "onednn"), key->onednn) == 0;
}

static weft_status check_format(const json_t *root, weft_error *err)
{
    const json_t *version = json_object_get(root, "version");
    if (strcmp(text_of(root, "format"), FORMAT) != 0 || !json_is_integer(version) ||
        !json_is_array(json_object_get(root, "machines")))
        return wf_error_set(err, WEFT_ERR_FORMAT, "is not a file of wisdom");
    if (json_integer_value(version) != VERSION)
        return wf_error_set(err, WEFT_ERR_UNSUPPORTED,
                            "is wisdom of format version %lld; this version reads %d",
                            (long long)json_integer_value(version), VERSION);
    return WEFT_OK;
}

/* All of them or none. */
static weft_status add_choices(wf_wisdom *w, json_t *choices, weft_error *err)
{
    const char *problem;
    json_t *choice;
    json_object_foreach(choices, problem, choice)
    {
        if (!*text_of(choice, "kernel"))
            return wf_error_set(err, WEFT_ERR_FORMAT, "is damaged: no kernel for '%.200s'",
                                problem);
    }
    json_object_foreach(choices, problem, choice)
    {
        double ms = json_number_value(json_object_get(choice, "ms"));
        if (!wf_wisdom_put(w, problem, text_of(choice, "kernel"), ms * 1e-3))
            return wf_nomem(err, strlen(problem), "wisdom");
    }
    return WEFT_OK;
}

/* Explains why no section is for this machine. */
static weft_status nothing_for_us(const json_t *other, const wf_wisdom_key *key, weft_error *err)
{
    if (other)
        return wf_error_set(err, WEFT_ERR_NOT_FOUND,
                            "was measured with Weft %.40s and oneDNN %.40s, this is Weft %s with "
                            "oneDNN %s: tune again",
                            text_of(other, "weft"), text_of(other, "onednn"), key->weft,
                            key->onednn);
    return wf_error_set(err, WEFT_ERR_NOT_FOUND, "holds nothing for this machine (%s, %s)",
                        key->cpu, key->isa);
}

weft_status wf_wisdom_from_json(wf_wisdom *w, const json_t *root, const wf_wisdom_key *key,
                                weft_error *err)
{
    const json_t *machines = json_object_get(root, "machines"), *other = NULL;
    WF_TRY(check_format(root, err));
    for (size_t i = 0; i < json_array_size(machines); i++) {
        const json_t *section = json_array_get(machines, i);
        json_t *choices = json_object_get(section, "choices");
        if (!json_is_object(choices))
            return wf_error_set(err, WEFT_ERR_FORMAT, "is damaged: a machine without choices");
        if (!same_machine(section, key))
            continue;
        if (same_versions(section, key))
            return add_choices(w, choices, err);
        other = section;
    }
    return nothing_for_us(other, key, err);
}

static json_t *find_choices(json_t *machines, const wf_wisdom_key *key)
{
    for (size_t i = 0; i < json_array_size(machines); i++) {
        json_t *section = json_array_get(machines, i);
        if (same_machine(section, key) && same_versions(section, key))
            return json_object_get(section, "choices");
    }
    json_t *choices = json_object();
    json_t *section =
        json_pack("{s:s, s:s, s:i, s:s, s:s, s:O}", "cpu", key->cpu, "isa", key->isa, "lanes",
                  key->lanes, "weft", key->weft, "onednn", key->onednn, "choices", choices);
    bool ok = section && json_array_append_new(machines, section) == 0;
    json_decref(choices); /* the section owns it now */
    return ok ? choices : NULL;
}

json_t *wf_wisdom_to_json(json_t *root, const wf_wisdom *w, const wf_wisdom_key *key)
{
    if (!root)
        root = json_pack("{s:s, s:i, s:[]}", "format", FORMAT, "version", VERSION, "machines");
    json_t *choices = find_choices(json_object_get(root, "machines"), key);
    bool ok = choices != NULL;
    for (int i = 0; i < w->n && ok; i++) {
        const wf_choice *c = &w->choices[i];
        json_t *choice = json_pack("{s:s, s:f}", "kernel", c->kernel, "ms", c->seconds * 1e3);
        ok = json_object_set_new(choices, c->problem, choice) == 0;
    }
    if (ok)
        return root;
    json_decref(root);
    return NULL;
}
