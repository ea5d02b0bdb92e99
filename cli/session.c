/* Contexts, normalisation and errors of the commands; the model is session_model.c's. */
#include "session.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- errors ---------------------------------------------------------------------------------- */

int session_usage(const session *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    cli_print(stderr, "weft %s: ", s->command);
    cli_vprint(stderr, format, args);
    cli_print(stderr, "\n");
    va_end(args);
    return EXIT_USAGE;
}

void session_print_error(const session *s)
{
    cli_print(stderr, "weft %s: ", s->command);
    weft_print_error(s->ctx, stderr); /* quotes it */
}

int session_fail(const session *s)
{
    if (s->err.status == WEFT_OK && s->ctx && weft_error_status(s->ctx) != WEFT_OK)
        session_print_error(s);
    else
        cli_print(stderr, "weft %s: %s\n", s->command,
                  s->err.status != WEFT_OK ? s->err.text : "internal error");
    return EXIT_FAILED;
}

/* ---- the weights file's metadata ------------------------------------------------------------- */

const char *session_meta(const session *s, const char *key)
{
    return s->weights ? weft_safetensors_meta_find(s->weights, key) : NULL;
}

int64_t session_meta_int(const session *s, const char *key, int64_t otherwise)
{
    const char *text = session_meta(s, key);
    char *end;
    if (!text)
        return otherwise;
    long long value = strtoll(text, &end, 10);
    return end != text && *end == '\0' && value > 0 && value < 1000000 ? value : otherwise;
}

/* "0.5,0.25" into `channels` numbers; NULL when there are not as many. Owned by the caller. */
static float *parse_floats(const char *text, int channels)
{
    float *values = calloc((size_t)channels, sizeof(*values));
    for (int i = 0; values && i < channels; i++) {
        char *end;
        values[i] = strtof(text, &end);
        if (end == text || !isfinite(values[i]) || *end != (i + 1 < channels ? ',' : '\0')) {
            free(values);
            return NULL;
        }
        text = end + 1;
    }
    return values;
}

static int count_floats(const char *text)
{
    int n = 1;
    for (; *text; text++)
        n += *text == ',';
    return n;
}

/* ---- opening --------------------------------------------------------------------------------- */

int session_init(session *s, const char *command, const cli_options *options)
{
    *s = (session){.command = command, .options = options, .err = WEFT_ERROR_INIT};
    if (options->weights &&
        weft_safetensors_open_header(options->weights, &s->weights, &s->err) != WEFT_OK)
        return session_fail(s);
    return session_choose_model(s);
}

int session_done(session *s, int status)
{
    weft_module_unref(s->model);
    if (s->ctx) {
        weft_error_clear(s->ctx); /* it has been printed */
        if (weft_trace_write(s->ctx) != WEFT_OK) {
            session_print_error(s);
            status = status ? status : EXIT_FAILED;
        }
        weft_set_message_handler(s->ctx, NULL, NULL); /* which would tell it again */
    }
    weft_context_destroy(s->ctx);
    weft_safetensors_close(s->weights);
    free(s->norm.mean);
    free(s->norm.std);
    return status;
}

int session_normalise(session *s, const weft_dataset *ds)
{
    const char *mean = session_meta(s, "weft.mean"), *std = session_meta(s, "weft.std");
    normalisation *n = &s->norm;
    if (mean && std) {
        n->channels = count_floats(mean);
        n->mean = parse_floats(mean, n->channels);
        n->std = parse_floats(std, n->channels);
        if (n->mean && n->std)
            return 0;
        cli_print(stderr, "weft %s: %s: weft.mean and weft.std are not lists of numbers\n",
                  s->command, s->options->weights);
        return EXIT_FAILED;
    }
    if (!ds || weft_dataset_get_info(ds)->dtype != WEFT_U8)
        return 0;
    n->channels = weft_dataset_get_info(ds)->channels;
    n->mean = calloc((size_t)n->channels, sizeof(float));
    n->std = calloc((size_t)n->channels, sizeof(float));
    if (!n->mean || !n->std) {
        cli_print(stderr, "weft %s: out of memory\n", s->command);
        return EXIT_FAILED;
    }
    return weft_dataset_mean_std(ds, n->mean, n->std, &s->err) ? session_fail(s) : 0;
}

/* Whether `path` is that of a file in the folder `folder`, as they are written. */
static bool is_in(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/')
        n--;
    return strncmp(path, folder, n) == 0 && path[n] == '/' &&
           strchr(path + n + strspn(path + n, "/"), '/') == NULL;
}

int session_check_output(const session *s, const char *path)
{
    const char *made_later = s->options->output_dir; /* of training, which says if it cannot be */
    if (made_later && access(made_later, F_OK) != 0 && is_in(path, made_later))
        return 0;
    const char *slash = strrchr(path, '/');
    char *folder = slash == path ? strdup("/")
                   : slash       ? strndup(path, (size_t)(slash - path))
                                 : strdup(".");
    bool writable = folder && access(folder, W_OK | X_OK) == 0;
    free(folder);
    struct stat st;
    if (writable && stat(path, &st) == 0 &&
        (S_ISDIR(st.st_mode) || (!S_ISREG(st.st_mode) && path != s->options->trace))) {
        cli_print(stderr, "weft %s: %s: exists and is not a regular file\n", s->command, path);
        return EXIT_FAILED; /* only a trace may go to a device: other files appear whole */
    }
    if (writable)
        return 0;
    cli_print(stderr, "weft %s: cannot write %s: %s\n", s->command, path, strerror(errno));
    return EXIT_FAILED;
}

static void print_message(void *user, const char *text)
{
    cli_print(stderr, "weft %s: warning: %s\n", ((const session *)user)->command, text);
}

int session_open_context(session *s)
{
    if (s->options->trace && session_check_output(s, s->options->trace))
        return EXIT_FAILED;
    weft_options options = WEFT_OPTIONS_INIT;
    options.threads = (int)s->options->threads;
    options.seed = (uint64_t)s->options->seed;
    options.trace_path = s->options->trace;
    options.wisdom = s->options->wisdom;
    options.amp = strcmp(s->options->amp, "bf16") == 0   ? WEFT_AMP_BF16
                  : strcmp(s->options->amp, "auto") == 0 ? WEFT_AMP_AUTO
                                                         : WEFT_AMP_OFF;
    if (weft_context_create(&s->ctx, &options, &s->err))
        return session_fail(s);
    weft_set_message_handler(s->ctx, print_message, s);
    return 0;
}

int session_loader_opts(const session *s, const weft_dataset_info *info, weft_loader_opts *opts)
{
    *opts = (weft_loader_opts){.batch = s->options->batch_size,
                               .workers = (int)s->options->workers,
                               .bytes = true, /* normalised within the step */
                               .seed = (uint64_t)s->options->seed};
    if (info->dtype != WEFT_U8 || s->norm.channels == 0)
        return 0;
    if (s->norm.channels != info->channels) {
        cli_print(stderr, "weft %s: %s was trained on images of %d channel%s, these have %d\n",
                  s->command, s->options->weights ? s->options->weights : "the network",
                  s->norm.channels, s->norm.channels == 1 ? "" : "s", info->channels);
        return EXIT_FAILED;
    }
    opts->mean = s->norm.mean;
    opts->std = s->norm.std;
    return 0;
}

/* Gives it the parameters that are not frozen. */
static weft_status add_parameters(const session *s, weft_optimizer *optimizer)
{
    weft_tensor_list all = WEFT_TENSOR_LIST_INIT, trained = WEFT_TENSOR_LIST_INIT;
    weft_status status = weft_parameters(s->model, 0, &all);
    for (int i = 0; i < all.n && status == WEFT_OK; i++)
        if (weft_requires_grad(all.item[i].tensor))
            status = weft_tensor_list_add(&trained, all.item[i].name, all.item[i].tensor);
    if (status == WEFT_OK)
        status = weft_optimizer_add_group(optimizer, &trained, NAN, NAN);
    weft_tensor_list_done(&trained);
    weft_tensor_list_done(&all);
    return status;
}

weft_optimizer *session_optimizer(const session *s)
{
    const cli_options *o = s->options;
    weft_optimizer *optimizer;
    if (strcmp(o->opt, "adamw") == 0) {
        weft_adamw_opts adamw = WEFT_ADAMW_OPTS_INIT;
        adamw.lr = o->lr;
        adamw.beta1 = o->momentum;
        adamw.weight_decay = o->weight_decay;
        optimizer = weft_adamw_create(s->ctx, NULL, &adamw);
    } else {
        optimizer = weft_sgd_create(s->ctx, NULL,
                                    &(weft_sgd_opts){.lr = o->lr,
                                                     .momentum = o->momentum,
                                                     .weight_decay = o->weight_decay,
                                                     .nesterov = strcmp(o->opt, "sgd") != 0});
    }
    if (optimizer && add_parameters(s, optimizer) != WEFT_OK) {
        weft_optimizer_destroy(optimizer);
        optimizer = NULL;
    }
    return optimizer;
}

bool session_parse_size(const char *text, int size[3])
{
    for (int i = 0; i < 3; i++) {
        char *end;
        long value = strtol(text, &end, 10);
        if (end == text || value < 1 || value > 65536 || *end != (i < 2 ? 'x' : '\0'))
            return false;
        size[i] = (int)value;
        text = end + 1;
    }
    return true;
}
