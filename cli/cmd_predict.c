/* weft predict: the likeliest classes of pictures, as CSV or JSON Lines, or the logits of a data
 * set as a safetensors file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "predict_rows.h"
#include "session.h"
#include "signals.h"

#define MOST_LIST ((size_t)1 << 30) /* bytes of a list on standard input */

typedef struct prediction {
    session s;
    weft_dataset *ds;
    weft_loader *loader;
    FILE *out;  /* where rows go; NULL: no rows, but a safetensors file */
    char *part; /* the file that rows go to, until it is whole; NULL: standard output */
    char *list; /* the paths that came in on standard input */
    char **paths;
} prediction;

static bool on_step(void *user, const weft_progress *record)
{
    return !signals_seen();
}

/* ---- input ----------------------------------------------------------------------------------- */

/* All of a stream, terminated, owned by the caller; NULL: no memory, more than MOST_LIST bytes, or it
 * failed. */
static char *read_all(FILE *in, size_t *size)
{
    size_t capacity = 0;
    char *text = NULL;
    *size = 0;
    do {
        if (*size + 1 >= capacity) {
            if (capacity > MOST_LIST)
                break;
            char *more = realloc(text, capacity = 2 * capacity + 65536);
            if (!more)
                break;
            text = more;
        }
        *size += fread(text + *size, 1, capacity - 1 - *size, in);
        text[*size] = '\0';
    } while (!feof(in) && !ferror(in));
    if (!text || !feof(in)) {
        free(text);
        return NULL;
    }
    return text;
}

/* Paths on standard input: one a line, or, if there is a zero byte, one up to each of these
 * (`find -print0`). */
static int paths_of_stdin(prediction *p, int64_t *n)
{
    size_t size;
    p->list = read_all(stdin, &size);
    if (!p->list)
        return session_usage(&p->s,
                             "the list of pictures on standard input cannot be read, or has more "
                             "than %lld bytes",
                             (long long)MOST_LIST);
    const char end = memchr(p->list, '\0', size) ? '\0' : '\n';
    int64_t lines = 1;
    for (size_t i = 0; i < size; i++)
        lines += p->list[i] == end;
    p->paths = calloc((size_t)lines, sizeof(*p->paths));
    if (!p->paths)
        return session_usage(&p->s, "out of memory");
    for (char *at = p->list; at < p->list + size;) {
        char *stop = memchr(at, end, (size_t)(p->list + size - at));
        stop = stop ? stop : p->list + size;
        *stop = '\0';
        if (end == '\n' && stop > at && stop[-1] == '\r')
            stop[-1] = '\0';
        if (*at)
            p->paths[(*n)++] = at;
        at = stop + 1;
    }
    return *n ? 0 : session_usage(&p->s, "there is no path on standard input");
}

static int open_input(prediction *p)
{
    const cli_options *o = p->s.options;
    const int arguments = o->inputs.n;
    if (!!o->input + (arguments > 0) != 1)
        return session_usage(&p->s, o->input ? "--input and FILE exclude each other"
                                             : "FILE is needed: pictures, folders, a data set, or "
                                               "- for paths on standard input");
    const bool listed = arguments == 1 && strcmp(o->inputs.word[0], "-") == 0;
    int64_t n = arguments;
    char *const *paths = o->inputs.word;
    if (!listed && n <= 1) {
        const char *path = o->input ? o->input : paths[0];
        return session_open_data(&p->s, path, WEFT_SPLIT_PREDICT, &p->ds);
    }
    if (listed) {
        n = 0;
        int status = paths_of_stdin(p, &n);
        if (status)
            return status;
        paths = p->paths;
    }
    return session_open_files(&p->s, (const char *const *)paths, n, &p->ds);
}

/* ---- output ---------------------------------------------------------------------------------- */

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* The --format, or what the name of --output says: "csv", "jsonl" or "safetensors". Of images that
 * are no picture files, logits go into a file of any other name. */
static const char *format_of(const prediction *p)
{
    const cli_options *o = p->s.options;
    if (strcmp(o->format, "auto") != 0)
        return o->format;
    if (o->output && ends_in(o->output, ".csv"))
        return "csv";
    if (o->output && (ends_in(o->output, ".jsonl") || ends_in(o->output, ".json")))
        return "jsonl";
    const bool named = o->output && strcmp(o->output, "-") != 0;
    const bool logits =
        named && (ends_in(o->output, ".safetensors") || !weft_dataset_get_info(p->ds)->pictures);
    return logits ? "safetensors" : "csv";
}

/* Rows on standard output are all that stands there: what else the command says goes to standard
 * error from here on. */
static FILE *take_stdout(void)
{
    fflush(stdout);
    int fd = dup(STDOUT_FILENO);
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!out || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        return NULL;
    return out;
}

static int open_output(prediction *p)
{
    const char *path = p->s.options->output;
    if (strcmp(format_of(p), "safetensors") == 0)
        return path ? session_check_output(&p->s, path)
                    : session_usage(&p->s, "--format safetensors: --output is needed");
    if (!path || strcmp(path, "-") == 0) {
        p->out = take_stdout();
        return p->out ? 0 : session_usage(&p->s, "standard output: %s", strerror(errno));
    }
    int status = session_check_output(&p->s, path);
    if (status)
        return status;
    p->part = malloc(strlen(path) + sizeof(".part"));
    if (!p->part)
        return session_usage(&p->s, "out of memory");
    strcat(strcpy(p->part, path), ".part");
    p->out = fopen(p->part, "w");
    if (p->out)
        return 0;
    cli_print(stderr, "weft predict: %s: %s\n", p->part, strerror(errno));
    return EXIT_FAILED;
}

/* The rows appear under their name as a whole, or not at all. */
static int close_output(prediction *p, int status)
{
    bool good = !p->out || (fflush(p->out) == 0 && fsync(fileno(p->out)) + 1 >= 0);
    if (p->out && fclose(p->out) != 0)
        good = false;
    if (p->part && status == 0 && good && rename(p->part, p->s.options->output) != 0)
        good = false;
    if (p->part && (status || !good))
        unlink(p->part);
    if (status == 0 && !good) {
        cli_print(stderr, "weft predict: %s: %s\n",
                  p->part ? p->s.options->output : "standard output", strerror(errno));
        status = EXIT_FAILED;
    }
    free(p->part);
    return status;
}

/* ---- predicting ------------------------------------------------------------------------------ */

static int write_logits(prediction *p)
{
    session *s = &p->s;
    float *logits = NULL;
    weft_shape shape;
    const weft_eval_opts opts = {.progress = on_step};
    weft_status status = weft_predict(s->model, p->loader, &opts, &logits, &shape, &s->err);
    if (status == WEFT_OK) {
        const weft_safetensors_entry entry = {"logits", WEFT_F32, shape, logits};
        const weft_safetensors_meta names = {"class_names", session_meta(s, "weft.class_names")};
        status = weft_safetensors_write(s->options->output, &entry, 1, &names, names.value != NULL,
                                        &s->err);
    }
    free(logits);
    if (status != WEFT_OK)
        return session_stop(s, status);
    cli_print(stdout, "%lld images, logits of %lld classes in %s\n", (long long)shape.dim[0],
              (long long)shape.dim[1], s->options->output);
    return 0;
}

static int write_rows(prediction *p)
{
    session *s = &p->s;
    int n = 0;
    const char **names = session_weights_classes(s, &n);
    predict_rows rows = {.out = p->out,
                         .json = strcmp(format_of(p), "jsonl") == 0,
                         .top = (int)s->options->top,
                         .ds = p->ds,
                         .names = names,
                         .n_names = n};
    const weft_eval_opts opts = {.progress = on_step};
    weft_status status =
        weft_predict_each(s->model, p->loader, &opts, predict_rows_take, &rows, &s->err);
    predict_rows_done(&rows);
    free(names);
    return status == WEFT_OK ? 0 : session_stop(s, status);
}

static int predict_data(prediction *p)
{
    session *s = &p->s;
    const weft_dataset_info *info = weft_dataset_get_info(p->ds);
    session_note_images(s, info);
    session_note_pictures(s, info);
    int status = session_normalise(s, NULL);
    if (status)
        return status;
    if (info->dtype == WEFT_U8 && s->norm.channels == 0)
        cli_print(stderr,
                  "weft predict: note: %s does not say how its images were normalised; "
                  "they are scaled to 0..1 only\n",
                  s->options->weights);
    status = session_open_images(s, p->ds, (int)session_meta_int(s, "weft.classes", 0), &p->loader);
    if (status)
        return status;
    signals_catch();
    status = p->out ? write_rows(p) : write_logits(p);
    session_note_bad(s, p->loader);
    return status;
}

int cmd_predict(const cli_options *options)
{
    prediction p = {0};
    int status = session_init(&p.s, "predict", options);
    if (status == 0)
        status = session_need(&p.s, "--weights", options->weights);
    if (status == 0)
        status = open_input(&p);
    if (status == 0)
        status = open_output(&p);
    if (status == 0)
        status = predict_data(&p);
    status = close_output(&p, status);
    weft_loader_destroy(p.loader);
    weft_dataset_destroy(p.ds);
    free(p.paths);
    free(p.list);
    return session_done(&p.s, status);
}
