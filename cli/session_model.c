/* The model of a command: its name and options, from the flags or from the weights' metadata, its
 * making and its weights. */
#include <string.h>

#include "session.h"
#include "parser/model_args.h"
#include "parser/words.h"

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
    const char *near = words_nearest(s->model_name, names, n);
    if (near)
        return session_usage(s, "unknown model '%s'; did you mean %s?", s->model_name, near);
    return session_usage(s, "unknown model '%s'; `weft models` lists those there are",
                         s->model_name);
}

/* ---- options --------------------------------------------------------------------------------- */

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
    char text[FLAG_LIST_TEXT];
    weft_model_arg args[FLAG_LIST_MAX];
    const char *bad;
    memcpy(text, s->model_args, sizeof(text));
    int n = model_args_split(text, args, &bad);
    size_t at = 0;
    for (int i = 0; i <= n && at < FLAG_LIST_TEXT; i++) {
        const weft_model_arg *a = i < n ? &args[i] : &arg;
        if (i == n || strcmp(a->key, arg.key) != 0)
            at += (size_t)snprintf(s->model_args + at, FLAG_LIST_TEXT - at, "%s%s=%s",
                                   at ? "," : "", a->key, a->value);
    }
    return n < FLAG_LIST_MAX && at < FLAG_LIST_TEXT;
}

/* Adds the pairs of `list`, which `source` ("--model-arg") gave. */
static int add_args(session *s, const char *list, const char *source)
{
    char text[FLAG_LIST_TEXT];
    weft_model_arg args[FLAG_LIST_MAX];
    const weft_model_info *info = weft_model_find(s->model_name);
    const char *bad = list;
    int n = -1;
    if (strlen(list) < sizeof(text))
        n = model_args_split(strcpy(text, list), args, &bad);
    if (n < 0)
        return session_usage(s, "%s: '%.80s' is not of the form key=value", source, bad);
    for (int i = 0; i < n; i++) {
        if (!model_takes(info, args[i].key))
            return session_usage(s, "%s: %s has no option '%s'; its options: %s", source,
                                 info->name, args[i].key, info->args[0] ? info->args : "none");
        if (!add_arg(s, args[i]))
            return session_usage(s, "%s: too many options, expected at most %d", source,
                                 FLAG_LIST_MAX);
    }
    return 0;
}

/* The model's name and options, from the flags and the weights' metadata. */
static int choose_model(session *s)
{
    const char *of_file = session_meta(s, "weft.model");
    s->model_name = s->options->model ? s->options->model : of_file ? of_file : DEFAULT_MODEL;
    int status = check_model_name(s);
    /* The file's options are those of its own model. */
    const char *args = session_meta(s, "weft.model_args");
    if (status == 0 && args && of_file && strcmp(of_file, s->model_name) == 0)
        status = add_args(s, args, s->options->weights);
    char given[FLAG_LIST_TEXT];
    if (status == 0)
        status = add_args(s, flags_join(&s->options->model_args, given), "--model-arg");
    return status;
}

int session_init(session *s, const char *command, const cli_options *options)
{
    *s = (session){.command = command, .options = options, .err = WEFT_ERROR_INIT};
    if (options->weights &&
        weft_safetensors_open_header(options->weights, &s->weights, &s->err) != WEFT_OK)
        return session_fail(s);
    return choose_model(s);
}

/* ---- making it ------------------------------------------------------------------------------- */

/* The model for `classes` outputs (0: its own number). Where all of its values will be loaded, or
 * it is only looked at, none are drawn. */
static int make_model(session *s, const weft_model_opts *sizes, int classes)
{
    char text[FLAG_LIST_TEXT];
    const char *bad;
    weft_model_arg args[FLAG_LIST_MAX];
    weft_model_opts opts = *sizes;
    memcpy(text, s->model_args, sizeof(text));
    opts.num_classes = classes;
    opts.args = args;
    opts.n_args = model_args_split(text, args, &bad);
    bool looks = strcmp(s->command, "summary") == 0 || strcmp(s->command, "explain") == 0;
    bool skips = looks || (s->weights && !s->options->reset_head);
    bool was = skips && weft_init_skip_begin(s->ctx);
    weft_module_unref(s->model);
    s->model = weft_model_create(s->ctx, s->model_name, &opts);
    if (skips)
        weft_init_skip_end(s->ctx, was);
    return s->model ? 0 : session_fail(s);
}

/* The first dimension of a layer's weight; 0 when there is none. */
static int64_t outputs_of_layer(weft_module *layer)
{
    weft_tensor *weight = weft_get_parameter(layer, "weight");
    return weight ? weft_tensor_shape(weight).dim[0] : 0;
}

/* The same of the layer `path` in the weights file. */
static int64_t outputs_in_file(const session *s, const char *path)
{
    char name[256];
    snprintf(name, sizeof(name), "%s.weight", path);
    const weft_safetensors_entry *e = weft_module_find_entry(s->model, s->weights, name);
    return e && e->shape.rank > 1 ? e->shape.dim[0] : 0;
}

/* Makes the model fit the classes that its weights are for, or says why it cannot.
 * `classes`: of the data; 0: not known. */
static int settle_classes(session *s, const weft_model_opts *sizes, const char *head, int classes)
{
    weft_module *layer = weft_get_module(s->model, head);
    int64_t own = layer ? outputs_of_layer(layer) : 0, of_file = outputs_in_file(s, head);
    if (of_file == 0 || of_file == own || s->options->reset_head)
        return 0; /* what else does not fit is for the loading to tell */
    if (!session_trains(s) && !s->options->num_classes && of_file >= classes && of_file <= 1000000)
        return make_model(s, sizes, (int)of_file);
    cli_print(stderr, "weft %s: %s is for %lld classes, and %s %lld", s->command,
              s->options->weights, (long long)of_file,
              s->options->num_classes ? "--num-classes says" : "the data have", (long long)own);
    if (session_trains(s) && of_file >= classes)
        cli_print(stderr,
                  "; --reset-head begins with a new classifier (%s), --num-classes %lld keeps "
                  "the old one\n",
                  head, (long long)of_file);
    else if (session_trains(s))
        cli_print(stderr, "; --reset-head begins with a new classifier (%s)\n", head);
    else
        cli_print(stderr, "\n");
    return EXIT_FAILED;
}

/* "aux1. aux2." as "aux1, aux2". */
static const char *list_of_prefixes(const char *prefixes, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (const char *word = prefixes; *word && n < size; word += strspn(word, " ")) {
        int length = (int)strcspn(word, " ");
        n += (size_t)snprintf(text + n, size - n, "%s%.*s", n ? ", " : "",
                              length - (length > 0 && word[length - 1] == '.'), word);
        word += length;
    }
    return text;
}

/* Whether the command only infers, in bf16: then weights are stored as bf16, in half the memory. */
static bool stores_bf16(const session *s)
{
    return weft_context_amp(s->ctx) == WEFT_AMP_BF16 &&
           (strcmp(s->command, "eval") == 0 || strcmp(s->command, "predict") == 0);
}

/* Loads the weights into the model, all but the layers in `heads` where those begin anew. */
static int load_weights(session *s, const weft_named_modules *heads)
{
    if (stores_bf16(s) && weft_module_to(s->model, WEFT_BF16) != WEFT_OK)
        return session_fail(s);
    char except[FLAG_LIST_TEXT] = "";
    size_t n = 0;
    for (int i = 0; i < heads->n && s->options->reset_head && n < sizeof(except); i++)
        n += (size_t)snprintf(except + n, sizeof(except) - n, "%s ", heads->item[i].name);
    int left_out = 0;
    const char *optional = weft_model_find(s->model_name)->optional_state;
    weft_load_opts opts = {.allow_nan = s->options->allow_nan,
                           .optional = optional,
                           .except = except,
                           .left_out = &left_out};
    weft_status status = weft_module_load_with(s->model, s->options->weights, &opts);
    const char *of_file = session_meta(s, "weft.model");
    if (status != WEFT_OK) {
        session_print_error(s);
        if (status == WEFT_ERR_NUMERIC)
            cli_print(stderr, "  --allow-nan takes them as they are\n");
        else if (of_file && strcmp(of_file, s->model_name) != 0)
            cli_print(stderr, "  the file says that it is of %s, not of %s\n", of_file,
                      s->model_name);
        return EXIT_FAILED;
    }
    if (left_out > 0) {
        char list[FLAG_LIST_TEXT];
        cli_print(stderr,
                  "weft %s: note: %s holds auxiliary heads (%s), %d tensors that %s is made "
                  "without here\n",
                  s->command, s->options->weights, list_of_prefixes(optional, list, sizeof(list)),
                  left_out, s->model_name);
    }
    return 0;
}

static int use_weights(session *s, const weft_model_opts *sizes, int classes)
{
    weft_named_modules heads = WEFT_NAMED_MODULES_INIT;
    if (weft_model_heads(s->model, s->model_name, &heads))
        return session_fail(s);
    int status = heads.n > 0 ? settle_classes(s, sizes, heads.item[0].name, classes) : 0;
    if (status == 0)
        status = load_weights(s, &heads);
    weft_named_modules_done(&heads);
    return status;
}

int session_weigh_model(session *s, int channels, int height, int width, int classes, size_t *bytes)
{
    int64_t asked = s->options->num_classes;
    weft_model_opts sizes = {.in_channels = channels, .height = height, .width = width};
    const weft_random_state random = weft_get_random_state(s->ctx);
    const bool was = weft_init_skip_begin(s->ctx);
    int status = make_model(s, &sizes, asked ? (int)asked : classes);
    weft_init_skip_end(s->ctx, was);
    if (status)
        return status;
    *bytes = sizeof(float) * (size_t)weft_parameter_count(s->model, false);
    weft_module_unref(s->model);
    s->model = NULL;
    return weft_set_random_state(s->ctx, random) ? session_fail(s) : 0;
}

int session_open_model(session *s, int channels, int height, int width, int classes)
{
    int64_t asked = s->options->num_classes;
    weft_model_opts sizes = {.in_channels = channels, .height = height, .width = width};
    if (asked && asked < classes)
        return session_usage(
            s, "--num-classes %lld: the data have %d classes, expected at least as many",
            (long long)asked, classes);
    int status = make_model(s, &sizes, asked ? (int)asked : classes);
    if (status == 0 && s->weights)
        status = use_weights(s, &sizes, classes);
    if (status == 0)
        status = session_freeze(s);
    if (status == 0)
        status = session_recompute(s);
    return status;
}
