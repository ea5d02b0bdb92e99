/* What every command needs: errors, the weights' metadata, the context, the optimizer. Knows none
 * of the other session files. */
#include "session.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "signals.h"

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

int session_stop(const session *s, weft_status status)
{
    session_fail(s);
    return status == WEFT_ERR_INTERRUPTED ? 128 + signals_seen() : EXIT_FAILED;
}

bool session_trains(const session *s)
{
    return strcmp(s->command, "train") == 0 || strcmp(s->command, "plan") == 0;
}

int session_need(const session *s, const char *name, const char *value)
{
    return value ? 0 : session_usage(s, "%s is needed", name);
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

/* ---- opening --------------------------------------------------------------------------------- */

int session_done(session *s, int status)
{
    weft_module_unref(s->model);
    free(s->class_text);
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
        cli_print(stderr,
                  "weft %s: %s: exists and is not a regular file, "
                  "expected a new name or a file to replace\n",
                  s->command, path);
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

bool session_recomputes(const session *s)
{
    const flag_list *list = &s->options->recompute;
    return list->n != 1 || strcmp(list->item[0], "off") != 0;
}

int session_open_context(session *s)
{
    if (s->options->trace && session_check_output(s, s->options->trace))
        return EXIT_FAILED;
    weft_options options = WEFT_OPTIONS_INIT;
    options.threads = (int)s->options->threads;
    options.seed = (uint64_t)s->options->seed;
    options.trace_path = s->options->trace;
    options.wisdom = s->wisdom ? s->wisdom : s->options->wisdom;
    if (!session_recomputes(s))
        options.passes_off |= WEFT_PASS_RECOMPUTE;
    if (strcmp(s->command, "explain") == 0)
        options.memory_limit = s->options->memory_bytes;
    options.amp = strcmp(s->options->amp, "bf16") == 0   ? WEFT_AMP_BF16
                  : strcmp(s->options->amp, "auto") == 0 ? WEFT_AMP_AUTO
                                                         : WEFT_AMP_OFF;
    if (weft_context_create(&s->ctx, &options, &s->err))
        return session_fail(s);
    weft_set_message_handler(s->ctx, print_message, s);
    return 0;
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
