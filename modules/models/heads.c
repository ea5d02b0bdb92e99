/* The layers that fine-tuning replaces. Threading rule: the context's. */
#include <string.h>

#include "modules/internal.h"
#include "modules/models/models.h"

static bool is_layer(const weft_module *m)
{
    return strcmp(m->cls->name, "Linear") == 0 || strcmp(m->cls->name, "Conv2d") == 0;
}

/* The auxiliary head to which a path belongs: the first word of `optional` that is the path or a
 * prefix of it. *length is the word's length. NULL: none. */
static const char *auxiliary(const char *optional, const char *path, size_t *length)
{
    for (const char *word = optional; *word != '\0'; word += strcspn(word, " ")) {
        word += strspn(word, " ");
        size_t n = strcspn(word, " ");
        n -= n > 0 && word[n - 1] == '.';
        if (n > 0 && strncmp(path, word, n) == 0 && (path[n] == '.' || path[n] == '\0')) {
            *length = n;
            return word;
        }
    }
    return NULL;
}

weft_status weft_model_heads(weft_module *m, const char *name, weft_named_modules *heads)
{
    const weft_model_info *info = weft_model_find(name);
    WF_TRY(wf_module_check_with(m, heads, "weft_model_heads"));
    if (info == NULL)
        return wf_fail(m->ctx, WEFT_ERR_NOT_FOUND, "unknown model '%s'", name != NULL ? name : "");
    weft_named_modules all = WEFT_NAMED_MODULES_INIT;
    WF_TRY(weft_modules(m, 0, &all));
    weft_status status = WEFT_OK;
    for (int i = all.n - 1; i >= 0 && status == WEFT_OK; i--) {
        size_t length = 0;
        const char *path = all.item[i].name;
        const char *of = auxiliary(info->optional_state, path, &length);
        bool later = !is_layer(all.item[i].module);
        for (int k = i + 1; k < all.n && !later; k++)
            later = is_layer(all.item[k].module) &&
                    auxiliary(info->optional_state, all.item[k].name, &length) == of;
        if (!later)
            status = wf_named_modules_add(heads, path, all.item[i].module);
    }
    weft_named_modules_done(&all);
    return status == WEFT_OK ? WEFT_OK : wf_module_nomem(m);
}
