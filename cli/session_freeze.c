/* What of a model is not trained: --freeze and --freeze-bn. */
#include <stdlib.h>
#include <string.h>

#include "session.h"
#include "parser/words.h"

/* Names of all modules and parameters, for suggestions. */
typedef struct names {
    weft_named_modules modules;
    weft_tensor_list parameters;
    const char **all;
    int n;
} names;

static void names_done(names *n)
{
    free(n->all);
    weft_named_modules_done(&n->modules);
    weft_tensor_list_done(&n->parameters);
}

static bool names_init(names *n, weft_module *m)
{
    *n = (names){.modules = WEFT_NAMED_MODULES_INIT, .parameters = WEFT_TENSOR_LIST_INIT};
    if (weft_modules(m, 0, &n->modules) || weft_parameters(m, 0, &n->parameters))
        return false;
    n->all = calloc((size_t)(n->modules.n + n->parameters.n), sizeof(*n->all));
    if (!n->all)
        return false;
    for (int i = 1; i < n->modules.n; i++) /* the first is the model itself, "" */
        n->all[n->n++] = n->modules.item[i].name;
    for (int i = 0; i < n->parameters.n; i++)
        n->all[n->n++] = n->parameters.item[i].name;
    return true;
}

/* The model's own parts: "conv1 bn1 layer1 fc". */
static void list_parts(weft_module *m, char *text, size_t size)
{
    weft_named_modules parts = WEFT_NAMED_MODULES_INIT;
    size_t n = 0;
    text[0] = '\0';
    if (weft_children(m, &parts))
        return;
    for (int i = 0; i < parts.n && n < size; i++)
        if (weft_parameter_count(parts.item[i].module, false) > 0)
            n += (size_t)snprintf(text + n, size - n, " %s", parts.item[i].name);
    weft_named_modules_done(&parts);
}

static int no_match(session *s, const char *pattern)
{
    names n;
    const char *near = names_init(&n, s->model) ? words_nearest(pattern, n.all, n.n) : NULL;
    char parts[512];
    list_parts(s->model, parts, sizeof(parts));
    int status = session_usage(
        s, "--freeze: no parameter of %s matches '%s'%s%s%s; its parts are:%s", s->model_name,
        pattern, near ? "; did you mean '" : "", near ? near : "", near ? "'" : "", parts);
    names_done(&n);
    return status;
}

static int freeze_parameters(session *s)
{
    char text[FLAG_LIST_TEXT];
    for (char *rest = flags_join(&s->options->freeze, text), *pattern;
         (pattern = strsep(&rest, ","));) {
        int n = 0;
        if (*pattern && weft_module_freeze(s->model, pattern, &n))
            return session_fail(s);
        if (*pattern && n == 0)
            return no_match(s, pattern);
    }
    if (strcmp(s->command, "summary") != 0 && weft_parameter_count(s->model, true) == 0)
        return session_usage(s,
                             "--freeze: nothing of %s is left to train; "
                             "expected patterns that leave some parameters",
                             s->model_name);
    return 0;
}

/* The trainer leaves each module in its mode. */
static int freeze_batch_norm(session *s)
{
    weft_named_modules all = WEFT_NAMED_MODULES_INIT;
    if (weft_modules(s->model, 0, &all))
        return session_fail(s);
    for (int i = 0; i < all.n; i++) {
        if (strcmp(weft_module_name(all.item[i].module), "BatchNorm2d") == 0)
            weft_module_eval(all.item[i].module);
    }
    weft_named_modules_done(&all);
    return 0;
}

int session_freeze(session *s)
{
    int status = s->options->freeze.n > 0 ? freeze_parameters(s) : 0;
    if (status == 0 && s->options->freeze_bn)
        status = freeze_batch_norm(s);
    return status;
}
