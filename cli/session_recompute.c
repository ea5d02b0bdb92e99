/* --recompute and --memory-limit: what the backward pass computes again, to save memory. */
#include <stdlib.h>
#include <string.h>

#include "parser/words.h"
#include "session.h"

static bool is(const flag_list *list, const char *word)
{
    return list->n == 1 && strcmp(list->item[0], word) == 0;
}

/* No module has such a name: says so, with the nearest one and the model's own parts. */
static int no_match(session *s, const char *pattern)
{
    weft_named_modules all = WEFT_NAMED_MODULES_INIT;
    char parts[512] = "";
    size_t n = 0;
    int known = 0;
    if (weft_modules(s->model, 0, &all))
        return session_fail(s);
    const char **names = calloc((size_t)all.n + 1, sizeof(*names));
    for (int i = 1; i < all.n && names; i++) { /* the first is the model itself, "" */
        names[known++] = all.item[i].name;
        if (!strchr(all.item[i].name, '.') && n < sizeof(parts))
            n += (size_t)snprintf(parts + n, sizeof(parts) - n, " %s", all.item[i].name);
    }
    const char *near = names ? words_nearest(pattern, names, known) : NULL;
    int status = session_usage(
        s, "--recompute: no module of %s matches '%s'%s%s%s; its parts are:%s", s->model_name,
        pattern, near ? "; did you mean '" : "", near ? near : "", near ? "'" : "", parts);
    free(names);
    weft_named_modules_done(&all);
    return status;
}

int session_recompute(session *s)
{
    const flag_list *list = &s->options->recompute;
    char text[FLAG_LIST_TEXT];
    if (list->n == 0 || is(list, "auto") || is(list, "off"))
        return 0;
    for (char *rest = flags_join(list, text), *pattern; (pattern = strsep(&rest, ","));) {
        int n = 0;
        if (*pattern && weft_module_recompute(s->model, pattern, &n))
            return session_fail(s);
        if (*pattern && n == 0)
            return no_match(s, pattern);
    }
    return 0;
}
