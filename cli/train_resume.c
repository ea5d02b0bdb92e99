/* See train_resume.h. Single-threaded. */
#include "train_resume.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "signals.h"
#include "train_time.h"

/* ---- flags ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum { STEPS, EPOCHS, SECONDS } kind;
    double factor;
} units[] = {
    {"", STEPS, 1},           {"step", STEPS, 1},    {"steps", STEPS, 1},
    {"epoch", EPOCHS, 1},     {"epochs", EPOCHS, 1}, {"s", SECONDS, 1},
    {"sec", SECONDS, 1},      {"min", SECONDS, 60},  {"minute", SECONDS, 60},
    {"minutes", SECONDS, 60}, {"h", SECONDS, 3600},  {"hours", SECONDS, 3600},
};
enum { N_UNITS = sizeof(units) / sizeof(units[0]) };

/* One of "100", "100steps", "1epoch", "30min". */
static bool parse_interval(const char *text, size_t length, weft_checkpoint_opts *opts)
{
    char word[32];
    if (length == 0 || length >= sizeof(word))
        return false;
    memcpy(word, text, length);
    word[length] = '\0';
    char *end = word;
    long long number = strtoll(word, &end, 10);
    if (end == word || word[0] == '-' || word[0] == '+' || number < 0 || number > 1000000000)
        return false;
    while (*end == ' ')
        end++;
    for (int i = 0; i < N_UNITS; i++) {
        if (strcmp(end, units[i].name) != 0)
            continue;
        if (units[i].kind == STEPS)
            opts->steps = number;
        else if (units[i].kind == EPOCHS)
            opts->epochs = number;
        else
            opts->seconds = (double)number * units[i].factor;
        return true;
    }
    return false;
}

/* "1epoch,30min", or "never". */
static bool parse_frequency(const char *text, weft_checkpoint_opts *opts)
{
    if (strcmp(text, "never") == 0)
        return true;
    for (;;) {
        size_t length = strcspn(text, ",");
        if (!parse_interval(text, length, opts))
            return false;
        if (text[length] == '\0')
            return true;
        text += length + 1;
    }
}

/* --resume names a checkpoint or a run; NULL: "auto" or "never". */
static const char *named(const train_resume *r)
{
    const char *resume = r->s->options->resume;
    return strcmp(resume, "auto") == 0 || strcmp(resume, "never") == 0 ? NULL : resume;
}

bool train_resume_wanted(const train_resume *r)
{
    const cli_options *o = r->s->options;
    return o->output_dir && !o->overwrite && strcmp(o->resume, "never") != 0;
}

static bool is_in(const char *folder, const char *name)
{
    char *path = NULL;
    bool there = asprintf(&path, "%s/%s", folder, name) > 0 && access(path, F_OK) == 0;
    free(path);
    return there;
}

/* Whether the folder of checkpoints there has one. */
static bool has_checkpoints(const char *run)
{
    char *path = NULL;
    DIR *d = asprintf(&path, "%s/checkpoints", run) > 0 ? opendir(path) : NULL;
    bool there = false;
    for (struct dirent *e; d && !there && (e = readdir(d));)
        there = strncmp(e->d_name, "step-", 5) == 0;
    if (d)
        closedir(d);
    free(path);
    return there;
}

/* Whether `path` is in the folder. */
static bool is_below(const char *folder, const char *path)
{
    char *above = realpath(folder, NULL), *below = realpath(path, NULL);
    const size_t n = above ? strlen(above) : 0;
    bool is = above && below && strncmp(above, below, n) == 0 && below[n] == '/';
    free(above);
    free(below);
    return is;
}

const char *train_resume_from(const cli_options *o)
{
    if (strcmp(o->resume, "auto") == 0 || strcmp(o->resume, "never") == 0)
        return NULL;
    const bool own = o->output_dir && !o->overwrite && has_checkpoints(o->output_dir) &&
                     !is_below(o->output_dir, o->resume);
    return own ? NULL : o->resume;
}

/* Results depend on wisdom: a run that goes on has what it began with, even if more was measured
 * since. Without a wisdom.json of its own it began without any. */
static int take_wisdom(train_resume *r)
{
    const char *from = r->from ? r->from : r->s->options->output_dir;
    if (r->s->options->wisdom || !from || (!r->from && !train_resume_wanted(r)) ||
        !is_in(from, "config.json"))
        return 0;
    if (is_in(from, "wisdom.json") ? asprintf(&r->wisdom, "%s/wisdom.json", from) < 0
                                   : !(r->wisdom = strdup("none"))) {
        r->wisdom = NULL;
        return session_usage(r->s, "out of memory");
    }
    r->s->wisdom = r->wisdom;
    return 0;
}

static void told(void *user, const weft_checkpoint_event *e);

int train_resume_init(train_resume *r, session *s)
{
    const cli_options *o = s->options;
    *r = (train_resume){.s = s, .from = train_resume_from(o)};
    if (!parse_frequency(o->checkpoint_freq, &r->opts))
        return session_usage(s,
                             "--checkpoint-freq %s: expected steps, epochs or minutes, such as "
                             "100, 100steps, 1epoch, 30min or 1epoch,30min, or never",
                             o->checkpoint_freq);
    r->opts.keep = o->keep;
    r->opts.told = told;
    if (o->overwrite && named(r))
        return session_usage(s, "--overwrite begins anew, --resume %s does not", named(r));
    return take_wisdom(r);
}

/* ---- the run that is there ------------------------------------------------------------------- */

/* What may differ between the parts of a run: it does not change what is computed. Beside these,
 * --epochs may become more. */
static const char *const free_settings[] = {
    "threads", "workers",    "output-dir",  "overwrite", "resume",       "checkpoint-freq",
    "keep",    "trace",      "wisdom",      "tune",      "tune-seconds", "print-freq",
    "config",  "time-limit", "time-margin", "dry-run",   "recompute",    "memory-limit",
};

typedef struct comparison {
    const session *s;
    double epochs; /* of the run that is there; NAN: the same */
    char text[1024];
    bool warmup; /* only the warm-up differs, which follows the epochs */
} comparison;

static void note_difference(void *user, const char *name, const char *was, const char *now)
{
    comparison *c = user;
    for (size_t i = 0; i < sizeof(free_settings) / sizeof(free_settings[0]); i++)
        if (strcmp(name, free_settings[i]) == 0)
            return;
    if (strcmp(name, "epochs") == 0 && strtod(now, NULL) > strtod(was, NULL)) {
        c->epochs = strtod(was, NULL);
        return;
    }
    if (strcmp(name, "lr-warmup-epochs") == 0 &&
        !flags_given(&cli_table, CMD_TRAIN, c->s->options, name)) {
        c->warmup = true;
        return;
    }
    size_t n = strlen(c->text);
    snprintf(c->text + n, sizeof(c->text) - n, "%s--%s was %.80s and is %.80s", n ? ", " : "", name,
             was, now);
}

int train_resume_check(train_resume *r, weft_run *run, const weft_setting *settings, int n)
{
    r->run = run;
    if (!weft_run_resumed(run))
        return 0;
    comparison c = {.s = r->s, .epochs = NAN};
    weft_status status =
        weft_run_compare_settings(run, settings, n, note_difference, &c, &r->s->err);
    if (status != WEFT_OK)
        return session_fail(r->s);
    if (c.text[0])
        return session_usage(r->s,
                             "%s holds a run with other options: %s; give the same, another "
                             "--output-dir, or --overwrite",
                             weft_run_path(run), c.text);
    if (weft_run_was_finished(run) && isnan(c.epochs)) {
        r->finished = true;
        cli_print(stdout, "%s is finished; more --epochs make it longer, --overwrite begins anew\n",
                  weft_run_path(run));
    }
    return 0;
}

/* ---- training -------------------------------------------------------------------------------- */

static void told(void *user, const weft_checkpoint_event *e)
{
    train_resume *r = user;
    if (r->time)
        train_time_wrote(r->time, e);
    if (e->status == WEFT_OK) {
        free(r->last);
        r->last = strdup(e->path);
        return;
    }
    if (r->progress)
        cli_progress_erase(r->progress);
    cli_print(stderr, "weft train: warning: no checkpoint of step %lld: %s\n", (long long)e->step,
              e->error);
}

static void note(void *user, const char *text)
{
    (void)user;
    cli_print(stdout, "note  %s\n", text);
}

weft_status train_resume_train(train_resume *r, weft_train_opts *opts, weft_train_result *result)
{
    weft_trainer *trainer = NULL;
    weft_error *err = &r->s->err;
    opts->checkpoints = r->opts;
    opts->checkpoints.user = r;
    weft_status status = weft_trainer_create(r->s->model, opts, &trainer, err);
    if (status == WEFT_OK && (r->from || weft_run_resumed(opts->run)))
        status = weft_trainer_resume(trainer, r->from, note, r, err);
    if (status == WEFT_OK && !r->from && named(r)) { /* all of the run's own are damaged */
        weft_trainer_get_result(trainer, result);
        if (result->steps == 0)
            status = weft_trainer_resume(trainer, named(r), note, r, err);
    }
    if (status == WEFT_OK)
        status = weft_trainer_run(trainer, result, err);
    weft_trainer_destroy(trainer);
    return status;
}

/* The status is WEFT_ERR_INTERRUPTED only if the state is on disk, or no checkpoints are wanted: see
 * weft_train. */
int train_resume_stop(const train_resume *r, weft_status status)
{
    if (status != WEFT_ERR_INTERRUPTED || !r->last) {
        session_fail(r->s);
        return status == WEFT_ERR_INTERRUPTED && signals_seen() ? 128 + signals_seen()
                                                                : EXIT_FAILED;
    }
    /* One that was named in this run's directory is gone back to each time. */
    cli_print(stderr, "weft train: %s; the same command %sgoes on from %s\n", r->s->err.text,
              r->from && is_below(weft_run_path(r->run), r->from) ? "without --resume " : "",
              r->last);
    return signals_status();
}

void train_resume_done(train_resume *r)
{
    free(r->wisdom);
    free(r->last);
    *r = (train_resume){0};
}
