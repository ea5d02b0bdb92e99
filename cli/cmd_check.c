/* weft check: reads and decodes a whole data set, and lists what is wrong with it or odd about it.
 *
 * Its exit status is 1 where samples cannot be read or decoded: training would stop there. All else
 * is for the user to judge. */
#include <string.h>
#include <time.h>

#include "commands.h"
#include "progress.h"
#include "session.h"
#include "signals.h"

enum { MAX_SPLITS = 3, TEXT = 2 * WEFT_ERROR_TEXT, BAR = 30, LINE_EVERY_SECONDS = 30 };

typedef struct checked {
    int n;
    weft_dataset *splits[MAX_SPLITS];
    const char *names[MAX_SPLITS];
    cli_progress bar; /* whether there is a terminal, and a bar on it */
    double began, last_line;
} checked;

static const struct {
    weft_split split;
    const char *name;
} all_splits[MAX_SPLITS] = {
    {WEFT_SPLIT_TRAIN, "train"}, {WEFT_SPLIT_VAL, "val"}, {WEFT_SPLIT_TEST, "test"}};

static const char *const meanings[WEFT_FINDING_KINDS] = {
    [WEFT_FINDING_UNREADABLE] = "cannot be read",
    [WEFT_FINDING_DAMAGED] = "cannot be decoded",
    [WEFT_FINDING_LEAK] = "in two splits: what is tested has been trained on",
    [WEFT_FINDING_CONFLICT] = "the same pixels under two labels",
    [WEFT_FINDING_DUPLICATE] = "there twice",
    [WEFT_FINDING_TINY] = "with a short side",
    [WEFT_FINDING_LONG] = "long and thin",
};

/* ---- the splits ------------------------------------------------------------------------------ */

/* A split that the source does not have of its own is another one again. */
static int open_splits(session *s, checked *c)
{
    const cli_options *o = s->options;
    for (int i = 0; i < MAX_SPLITS; i++) {
        const weft_dataset_opts opts = {.path = o->data_path,
                                        .split = all_splits[i].split,
                                        .exif = o->exif,
                                        .max_pixels = o->max_pixels,
                                        .coarse = o->coarse_labels};
        weft_error err = WEFT_ERROR_INIT;
        weft_dataset *ds = NULL;
        weft_status status = weft_dataset_open_with(&opts, &ds, &err);
        if (status == WEFT_ERR_NOT_FOUND && i > 0)
            continue;
        if (status != WEFT_OK) {
            s->err = err;
            return session_fail(s);
        }
        const weft_dataset_info *info = weft_dataset_get_info(ds);
        if (i > 0 && (info->only_split || info->split != all_splits[i].split)) {
            weft_dataset_destroy(ds);
            continue;
        }
        c->names[c->n] = info->only_split ? "all" : all_splits[i].name;
        c->splits[c->n++] = ds;
    }
    return 0;
}

/* ---- progress -------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool on_progress(void *user, int64_t done, int64_t samples)
{
    checked *c = user;
    double seconds = now() - c->began, speed = seconds > 0 ? (double)done / seconds : 0;
    double left = speed > 0 ? (double)(samples - done) / speed : 0;
    if (!c->bar.terminal && seconds - c->last_line < LINE_EVERY_SECONDS)
        return !signals_seen();
    c->last_line = seconds;
    char bar[BAR + 1];
    int full = (int)(done * BAR / (samples > 0 ? samples : 1));
    for (int i = 0; i < BAR; i++)
        bar[i] = i < full ? '=' : i == full ? '>' : ' ';
    bar[BAR] = '\0';
    cli_progress_erase(&c->bar);
    cli_print(stdout, "checked %lld of %lld%s%s%s  %.0f img/s  %.0f s left%s", (long long)done,
              (long long)samples, c->bar.terminal ? " [" : "", c->bar.terminal ? bar : "",
              c->bar.terminal ? "]" : "", speed, left, c->bar.terminal ? "" : "\n");
    c->bar.drawn = c->bar.terminal;
    fflush(stdout);
    return !signals_seen();
}

/* ---- what was found -------------------------------------------------------------------------- */

static void print_classes(const weft_dataset_info *info, const weft_inspected_split *sum)
{
    if (sum->classes == 0) {
        cli_print(stdout, "       no labels\n");
        return;
    }
    int least = 0, most = 0, empty = 0;
    for (int i = 0; i < sum->classes; i++) {
        least = sum->per_class[i] < sum->per_class[least] ? i : least;
        most = sum->per_class[i] > sum->per_class[most] ? i : most;
        empty += sum->per_class[i] == 0;
    }
    char names[2][32];
    for (int i = 0; i < 2; i++)
        snprintf(names[i], sizeof names[i], "class %d", i ? most : least);
    const char *const *known = info->class_names;
    if (sum->per_class[least] == sum->per_class[most])
        cli_print(stdout, "       labels 0 to %d: %lld samples each\n", sum->classes - 1,
                  (long long)sum->per_class[most]);
    else
        cli_print(stdout, "       labels 0 to %d: from %lld samples (%s) to %lld (%s)\n",
                  sum->classes - 1, (long long)sum->per_class[least],
                  known ? known[least] : names[0], (long long)sum->per_class[most],
                  known ? known[most] : names[1]);
    if (empty > 0)
        cli_print(stdout, "       %d of %d classes have no samples\n", empty, sum->classes);
}

static void print_split(const checked *c, const weft_inspection *inspection, int i)
{
    const weft_inspected_split *sum = weft_inspection_split(inspection, i);
    const weft_dataset_info *info = weft_dataset_get_info(c->splits[i]);
    cli_print(stdout, "%-5s  %lld samples", c->names[i], (long long)sum->samples);
    if (sum->formats[0])
        cli_print(stdout, ": %s", sum->formats);
    if (sum->decoded > 0 && sum->height_min == sum->height_max && sum->width_min == sum->width_max)
        cli_print(stdout, "; %dx%d pixels", sum->width_min, sum->height_min);
    else if (sum->decoded > 0)
        cli_print(stdout, "; %d to %d pixels wide (median %d), %d to %d high (%d)", sum->width_min,
                  sum->width_max, sum->width_median, sum->height_min, sum->height_max,
                  sum->height_median);
    if (sum->grey > 0)
        cli_print(stdout, "; %lld grey", (long long)sum->grey);
    if (sum->oriented > 0)
        cli_print(stdout, "; %lld with an EXIF orientation", (long long)sum->oriented);
    if (info->left_out > 0)
        cli_print(stdout, "; %lld file%s left out", (long long)info->left_out,
                  info->left_out == 1 ? "" : "s");
    cli_print(stdout, "\n");
    print_classes(info, sum);
}

static void print_findings(const weft_inspection *inspection, int64_t most)
{
    int64_t n, shown = 0;
    const weft_finding *f = weft_inspection_findings(inspection, &n);
    for (int64_t i = 0; i < n; i++) {
        int64_t of_kind = weft_inspection_count(inspection, f[i].kind);
        if (i == 0 || f[i].kind != f[i - 1].kind) {
            cli_print(stdout, "%s  %lld %s\n", weft_finding_name(f[i].kind), (long long)of_kind,
                      meanings[f[i].kind]);
            shown = 0;
        }
        if (most > 0 && shown == most)
            cli_print(stdout, "  and %lld more; --list 0 lists all\n", (long long)(of_kind - most));
        if (most == 0 || shown < most) {
            char text[TEXT];
            weft_inspection_describe(inspection, &f[i], text, sizeof(text));
            cli_print(stdout, "  %s\n", text);
        }
        shown++;
    }
}

static int print_all(const session *s, const checked *c, const weft_inspection *inspection)
{
    double seconds = now() - c->began;
    int64_t samples = 0, findings,
            useless = weft_inspection_count(inspection, WEFT_FINDING_UNREADABLE) +
                      weft_inspection_count(inspection, WEFT_FINDING_DAMAGED);
    for (int i = 0; i < c->n; i++) {
        samples += weft_inspection_split(inspection, i)->samples;
        print_split(c, inspection, i);
    }
    print_findings(inspection, s->options->check_list);
    weft_inspection_findings(inspection, &findings);
    cli_print(stdout, "%lld samples checked in %.1f s, %.0f img/s: ", (long long)samples, seconds,
              (double)samples / (seconds > 0 ? seconds : 1));
    const char *separator = "";
    for (int k = 0; k < WEFT_FINDING_KINDS; k++) {
        int64_t n = weft_inspection_count(inspection, (weft_finding_kind)k);
        if (n > 0) {
            cli_print(stdout, "%s%lld %s", separator, (long long)n,
                      weft_finding_name((weft_finding_kind)k));
            separator = ", ";
        }
    }
    cli_print(stdout, "%s\n", findings == 0 ? "nothing found" : "");
    if (useless == 0)
        return 0;
    fflush(stdout);
    cli_print(stderr, "weft check: %lld of %lld samples cannot be used\n", (long long)useless,
              (long long)samples);
    return EXIT_FAILED;
}

static int inspect(session *s, checked *c)
{
    const cli_options *o = s->options;
    weft_inspection *inspection = NULL;
    const weft_inspect_opts opts = {.threads = (int)o->check_threads,
                                    .tiny = (int)o->check_tiny,
                                    .long_ratio = o->check_long,
                                    .progress = on_progress,
                                    .user = c};
    c->began = now();
    cli_progress_init(&c->bar, stdout);
    signals_catch();
    weft_status status =
        weft_inspect((const weft_dataset *const *)c->splits, c->n, &opts, &inspection, &s->err);
    cli_progress_erase(&c->bar);
    if (status != WEFT_OK)
        return session_stop(s, status);
    int result = print_all(s, c, inspection);
    if (o->json_path &&
        weft_inspection_write_json(inspection, o->json_path, c->names, &s->err) != WEFT_OK)
        result = session_fail(s);
    weft_inspection_destroy(inspection);
    return result;
}

int cmd_check(const cli_options *options)
{
    session s = {.command = "check", .options = options, .err = WEFT_ERROR_INIT};
    checked c = {0};
    if (!options->data_path)
        return session_usage(&s, "DATA is needed: what --data-path of `weft train` takes");
    int status = options->json_path ? session_check_output(&s, options->json_path) : 0;
    if (status == 0)
        status = open_splits(&s, &c);
    if (status == 0)
        status = inspect(&s, &c);
    for (int i = 0; i < c.n; i++)
        weft_dataset_destroy(c.splits[i]);
    return status;
}
