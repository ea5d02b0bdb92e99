/* The model of a command: its name and options, from the flags or from the weights' metadata, and
 * its making. */
#include <string.h>

#include "session.h"

/* ---- the name -------------------------------------------------------------------------------- */

static int check_model_name(const session *s)
{
    if (weft_model_find(s->model_name))
        return 0;
    int n;
    const weft_model_info *models = weft_models(&n);
    const char *names[256];
    n = n < 256 ? n : 256;
    for (int i = 0; i < n; i++)
        names[i] = models[i].name;
    const char *near = cli_nearest(s->model_name, names, n);
    if (near)
        return session_usage(s, "unknown model '%s'; did you mean %s?", s->model_name, near);
    return session_usage(s, "unknown model '%s'; `weft models` lists those there are",
                         s->model_name);
}

/* ---- options --------------------------------------------------------------------------------- */

/* The pairs of a "key=value,key=value" text, as pointers into `text`, which is cut up. The length of
 * the list; -1 with *bad at what is no pair. */
static int split_args(char *text, weft_model_arg args[CLI_LIST_MAX], const char **bad)
{
    int n = 0;
    for (char *rest = text, *item; (item = strsep(&rest, ",")) && *text;) {
        char *equals = strchr(item, '=');
        *bad = item;
        if (!equals || equals == item || n == CLI_LIST_MAX)
            return -1;
        *equals = '\0';
        args[n++] = (weft_model_arg){item, equals + 1};
    }
    return n;
}

/* Whether `key` is one of the model's options. */
static bool model_takes(const weft_model_info *info, const char *key)
{
    size_t length = strlen(key);
    for (const char *word = info->args; *word; word += strcspn(word, " ")) {
        word += strspn(word, " ");
        if (strncmp(word, key, length) == 0 && (word[length] == ' ' || word[length] == '\0'))
            return true;
    }
    return false;
}

/* Puts "key=value" behind s->model_args, without an earlier value of the same key. */
static bool add_arg(session *s, weft_model_arg arg)
{
    char text[CLI_LIST_TEXT];
    weft_model_arg args[CLI_LIST_MAX];
    const char *bad;
    memcpy(text, s->model_args, sizeof(text));
    int n = split_args(text, args, &bad);
    size_t at = 0;
    for (int i = 0; i <= n && at < CLI_LIST_TEXT; i++) {
        const weft_model_arg *a = i < n ? &args[i] : &arg;
        if (i == n || strcmp(a->key, arg.key) != 0)
            at += (size_t)snprintf(s->model_args + at, CLI_LIST_TEXT - at, "%s%s=%s", at ? "," : "",
                                   a->key, a->value);
    }
    return n < CLI_LIST_MAX && at < CLI_LIST_TEXT;
}

/* Adds the pairs of `list`, which `source` ("--model-arg") gave. */
static int add_args(session *s, const char *list, const char *source)
{
    char text[CLI_LIST_TEXT];
    weft_model_arg args[CLI_LIST_MAX];
    const weft_model_info *info = weft_model_find(s->model_name);
    const char *bad = list;
    int n = -1;
    if (strlen(list) < sizeof(text))
        n = split_args(strcpy(text, list), args, &bad);
    if (n < 0)
        return session_usage(s, "%s: '%.80s' is not of the form key=value", source, bad);
    for (int i = 0; i < n; i++) {
        if (!model_takes(info, args[i].key))
            return session_usage(s, "%s: %s has no option '%s'; its options: %s", source,
                                 info->name, args[i].key, info->args[0] ? info->args : "none");
        if (!add_arg(s, args[i]))
            return session_usage(s, "%s: too many options", source);
    }
    return 0;
}

int session_choose_model(session *s)
{
    const char *of_file = session_meta(s, "weft.model");
    s->model_name = s->options->model ? s->options->model : of_file ? of_file : DEFAULT_MODEL;
    int status = check_model_name(s);
    /* The file's options are those of its own model. */
    const char *args = session_meta(s, "weft.model_args");
    if (status == 0 && args && of_file && strcmp(of_file, s->model_name) == 0)
        status = add_args(s, args, s->options->weights);
    char given[CLI_LIST_TEXT];
    if (status == 0)
        status = add_args(s, cli_join(&s->options->model_args, given), "--model-arg");
    return status;
}

/* ---- making it ------------------------------------------------------------------------------- */

int session_open_model(session *s, int channels, int height, int width, int classes)
{
    int64_t asked = s->options->num_classes;
    if (asked && asked < classes)
        return session_usage(s, "--num-classes: the data have %d classes", classes);
    char text[CLI_LIST_TEXT];
    const char *bad;
    weft_model_arg args[CLI_LIST_MAX];
    weft_model_opts opts = {.num_classes = asked ? (int)asked : classes,
                            .in_channels = channels,
                            .height = height,
                            .width = width,
                            .args = args};
    memcpy(text, s->model_args, sizeof(text));
    opts.n_args = split_args(text, args, &bad);
    s->model = weft_model_create(s->ctx, s->model_name, &opts);
    if (!s->model)
        return session_fail(s);
    if (s->options->weights && weft_module_load(s->model, s->options->weights, true))
        return session_fail(s);
    return 0;
}
