/* The data of `weft train`. See train_data.h. */
#include "train_data.h"
#include "train_plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FEW_CLASSES = 10, CHANNELS_OF_PHOTOGRAPHS = 3 };

/* ---- opening --------------------------------------------------------------------------------- */

/* Test images that are not those for validation stay apart until the end. */
static int open_test(session *s, train_data *d)
{
    const char *path = s->options->data_path;
    weft_dataset *test = NULL;
    int status = session_open_data(s, path, WEFT_SPLIT_TEST, &test);
    if (status)
        return status;
    if (!d->val)
        d->val = test;
    else if (weft_dataset_get_info(test)->split == WEFT_SPLIT_TEST)
        d->test = test;
    else
        weft_dataset_destroy(test);
    return 0;
}

static int open_splits(session *s, train_data *d)
{
    const char *path = s->options->data_path;
    int status = session_open_data(s, path, WEFT_SPLIT_TRAIN, &d->train);
    if (status)
        return status;
    const weft_dataset_info *info = weft_dataset_get_info(d->train);
    if (info->only_split && info->pictures && !d->one_split_will_do)
        return session_usage(
            s,
            "%s holds one split; --val-split 0.1 keeps a tenth of each class apart "
            "for validation, or put folders train and val there",
            path);
    weft_error err = WEFT_ERROR_INIT;
    if (session_try_data(s, path, WEFT_SPLIT_VAL, &d->val, &err) &&
        err.status != WEFT_ERR_NOT_FOUND) {
        s->err = err;
        return session_fail(s);
    }
    return open_test(s, d);
}

static int match_splits(session *s, train_data *d)
{
    int status = session_match_splits(s, d->train, d->val);
    if (status == 0 && d->test)
        status = session_match_test(s, d->train, d->test);
    return status;
}

/* ---- transforms ------------------------------------------------------------------------------ */

/* What the options leave to the data. */
static void settle(const session *s, cli_options *used, const train_data *d)
{
    const weft_dataset_info *info = weft_dataset_get_info(d->train);
    const weft_dataset_info *val = weft_dataset_get_info(d->val);
    bool one_size = !info->sizes_vary && !val->sizes_vary && info->height == val->height &&
                    info->width == val->width;
    if (used->hflip < 0)
        used->hflip = info->mirrors && !used->no_augment ? 0.5 : 0;
    if (!used->train_crop_size && !one_size)
        used->train_crop_size = session_model_size(s);
}

static weft_auto_augment policy(const char *name)
{
    static const char *const names[] = {"none", "ra", "ta_wide", "imagenet", "cifar10"};
    int i = 0;
    while (i < 4 && strcmp(name, names[i]) != 0)
        i++;
    return (weft_auto_augment)i;
}

/* The random steps. True: there are some that only a transform has. */
static bool add_steps(const session *s, const cli_options *o, weft_transform *t)
{
    t->hflip = o->hflip;
    if (o->no_augment)
        return false;
    t->vflip = o->vflip;
    t->auto_augment = policy(o->auto_augment);
    t->ra_magnitude = (int)o->ra_magnitude;
    t->brightness = t->contrast = t->saturation = o->color_jitter;
    t->hue = o->hue;
    t->grey = o->grayscale;
    t->blur = o->blur;
    t->rotation = o->rotation;
    t->erase = o->random_erase;
    t->mixup_alpha = o->mixup_alpha;
    t->cutmix_alpha = o->cutmix_alpha;
    for (int c = 0; c < 3 && s->norm.channels > 0; c++) {
        float mean = s->norm.mean[c < s->norm.channels ? c : 0];
        t->erase_fill[c] = (uint8_t)lroundf(255 * fminf(fmaxf(mean, 0), 1));
    }
    return t->vflip > 0 || t->auto_augment || o->color_jitter > 0 || t->hue > 0 || t->grey > 0 ||
           t->blur > 0 || t->rotation > 0 || t->erase > 0 || t->mixup_alpha > 0 ||
           t->cutmix_alpha > 0;
}

/* The transform of training; false: the images need none. */
static bool train_transform(const session *s, const cli_options *o, const weft_dataset_info *info,
                            weft_transform *t)
{
    const weft_transform begin = WEFT_TRANSFORM_INIT;
    *t = begin;
    bool steps = add_steps(s, o, t);
    t->interpolation = session_interpolation(s);
    if (o->train_crop_size) {
        t->height = t->width = (int)o->train_crop_size;
        t->random_crop = !o->no_augment;
        if (o->no_augment)
            t->resize = (int)lround((double)o->train_crop_size * 8 / 7);
        return true;
    }
    t->height = info->height;
    t->width = info->width;
    t->crop_padding = o->no_augment ? 0 : (int)o->crop_padding;
    return steps;
}

/* ---- loaders --------------------------------------------------------------------------------- */

static int make_loader(session *s, weft_dataset *ds, const weft_loader_opts *opts,
                       const weft_transform *t, weft_loader **loader)
{
    weft_loader_opts own = *opts;
    own.transform = t;
    int status = t ? session_look_through(s, ds, t) : 0;
    if (status == 0 && weft_loader_create(ds, &own, loader, &s->err))
        status = session_fail(s);
    return status;
}

static int make_loaders(session *s, const cli_options *used, train_data *d)
{
    const weft_dataset_info *info = weft_dataset_get_info(d->train);
    weft_loader_opts opts;
    int status = session_loader_opts(s, info, &opts);
    if (status)
        return status;
    d->evaluates_through = session_eval_transform(s, weft_dataset_get_info(d->val),
                                                  (int)used->train_crop_size, &d->evaluation);
    const weft_transform *eval = d->evaluates_through ? &d->evaluation : NULL;
    status = make_loader(s, d->val, &opts, eval, &d->val_loader);
    if (status == 0 && d->test)
        status = make_loader(s, d->test, &opts, eval, &d->test_loader);
    if (!eval && info->pictures) { /* other pictures are brought to the size of these */
        d->evaluation.height = info->height;
        d->evaluation.width = info->width;
        d->evaluation.resize = info->height < info->width ? info->height : info->width;
    }
    if (eval || info->pictures)
        session_format_transform(&d->evaluation, d->transform, sizeof(d->transform));
    if (status)
        return status;
    if (used->batch_size > info->count)
        return session_usage(
            s, "-b %lld is more than the %lld training images of %s; give -b %lld or less",
            (long long)used->batch_size, (long long)info->count, info->source,
            (long long)info->count);
    opts.drop_last = true; /* one batch size, one plan */
    opts.shuffle = !used->no_shuffle;
    opts.sampler = used->balanced_sampler ? WEFT_SAMPLE_BALANCED
                   : used->ra_sampler     ? WEFT_SAMPLE_REPEATED
                                          : WEFT_SAMPLE_ALL;
    opts.repeats = used->ra_sampler ? (int)used->ra_reps : 0;
    opts.classes = (int)used->num_classes;
    d->trains_through = train_transform(s, used, info, &d->training);
    if (!d->trains_through) {
        opts.hflip = used->hflip;
        opts.shift = used->no_augment ? 0 : (int)used->crop_padding;
    }
    opts.transform = d->trains_through ? &d->training : NULL;
    if (weft_loader_create(d->train, &opts, &d->train_loader, &s->err))
        return session_fail(s);
    return 0;
}

/* ---- classes --------------------------------------------------------------------------------- */

/* How many images each class has; the caller frees it. */
static int64_t *count_classes(const weft_dataset *ds)
{
    const weft_dataset_info *info = weft_dataset_get_info(ds);
    int64_t *counts = calloc((size_t)info->classes + 1, sizeof(*counts)), label;
    for (int64_t i = 0; counts && i < info->count; i++)
        if (weft_dataset_get(ds, i, NULL, &label, NULL) == WEFT_OK && label >= 0 &&
            label < info->classes)
            counts[label]++;
    return counts;
}

/* Weights for n classes, from a file. */
static int read_weights(session *s, const char *path, float *weights, int n)
{
    return weft_class_weights_read(path, weights, n, &s->err) ? session_fail(s) : 0;
}

/* scikit-learn's "balanced": images / (classes that have some * images of the class). */
static void balance(const int64_t *counts, int classes, float *weights)
{
    int64_t images = 0, met = 0;
    for (int k = 0; k < classes; k++) {
        images += counts[k];
        met += counts[k] > 0;
    }
    for (int k = 0; k < classes; k++)
        weights[k] = counts[k] ? (float)((double)images / ((double)met * (double)counts[k])) : 1;
}

static int make_class_weights(session *s, const cli_options *used, train_data *d)
{
    const char *asked = used->class_weights;
    int classes = weft_dataset_get_info(d->train)->classes;
    int n = used->num_classes > classes ? (int)used->num_classes : classes;
    if (!asked)
        return 0;
    d->n_class_weights = n;
    d->class_weights = calloc((size_t)n, sizeof(*d->class_weights));
    int64_t *counts = count_classes(d->train);
    int status = d->class_weights && counts ? 0 : session_usage(s, "out of memory");
    if (status == 0 && strcmp(asked, "auto") == 0) {
        for (int k = classes; k < n; k++)
            d->class_weights[k] = 1;
        balance(counts, classes, d->class_weights);
    } else if (status == 0) {
        status = read_weights(s, asked, d->class_weights, n);
    }
    free(counts);
    return status;
}

/* ---- where the run goes ---------------------------------------------------------------------- */

/* The real path of `path`, or of what there is of it; the caller frees it. */
static char *real_part(const char *path)
{
    char *text = strdup(path), *real = NULL;
    while (text && !(real = realpath(*text ? text : "/", NULL))) {
        char *slash = strrchr(text, '/');
        if (!slash) {
            free(text);
            return realpath(".", NULL);
        }
        *slash = '\0';
    }
    free(text);
    return real;
}

int train_data_keep_apart(session *s, const train_data *d, const char *run)
{
    const weft_dataset *const sets[] = {d->train, d->val, d->test};
    char *at = real_part(run);
    int status = 0;
    for (int i = 0; i < 3 && at && status == 0; i++) {
        const weft_dataset_info *info = sets[i] ? weft_dataset_get_info(sets[i]) : NULL;
        struct stat st;
        if (!info || !info->pictures || stat(info->source, &st) != 0 || !S_ISDIR(st.st_mode))
            continue;
        char *data = realpath(info->source, NULL);
        const size_t n = data ? strlen(data) : 0;
        if (n > 1 && strncmp(at, data, n) == 0 && (at[n] == '/' || at[n] == '\0'))
            status = session_usage(s,
                                   "%s: the run's directory would be a class of the data in %s; "
                                   "--output-dir names another",
                                   run, info->source);
        free(data);
    }
    free(at);
    return status;
}

/* ---- all of it ------------------------------------------------------------------------------- */

int train_data_open(session *s, cli_options *used, train_data *d)
{
    int status = open_splits(s, d);
    if (status == 0)
        status = match_splits(s, d);
    if (status)
        return status;
    const weft_dataset_info *info = weft_dataset_get_info(d->train);
    settle(s, used, d);
    weft_transform look;
    if (session_eval_transform(s, info, (int)used->train_crop_size, &look))
        status = session_look_through(s, d->train, &look);
    if (status == 0)
        status = session_normalise(s, d->train);
    if (status == 0)
        d->resident = plan_resident();
    if (status == 0)
        status = make_loaders(s, used, d);
    if (status == 0)
        status = make_class_weights(s, used, d);
    if (info->pictures)
        snprintf(d->channels, sizeof(d->channels), "%d", info->channels);
    return status;
}

/* ": ant (120), bee (30)", or how many images the classes have. */
static void print_classes(const weft_dataset *ds)
{
    const weft_dataset_info *info = weft_dataset_get_info(ds);
    int64_t *counts = count_classes(ds), least = INT64_MAX, most = 0;
    for (int k = 0; counts && k < info->classes; k++) {
        least = counts[k] < least ? counts[k] : least;
        most = counts[k] > most ? counts[k] : most;
    }
    if (counts && info->class_names && info->classes <= FEW_CLASSES) {
        for (int k = 0; k < info->classes; k++)
            cli_print(stdout, "%s%s (%lld)", k ? ", " : ": ", info->class_names[k],
                      (long long)counts[k]);
    } else if (counts && least < most) {
        cli_print(stdout, " of %lld to %lld training images", (long long)least, (long long)most);
    } else if (counts && most > 0) {
        cli_print(stdout, " of %lld training images", (long long)most);
    }
    free(counts);
}

void train_data_print(const session *s, const train_data *d)
{
    const weft_dataset_info *train = weft_dataset_get_info(d->train);
    const weft_dataset_info *val = weft_dataset_get_info(d->val);
    const weft_dataset_info *seen = weft_loader_get_info(d->train_loader);
    cli_print(stdout, "data  %s: %lld training", s->options->data_path, (long long)train->count);
    if (train->only_split && d->one_split_will_do)
        cli_print(stdout, " images");
    else if (d->test)
        cli_print(stdout, ", %lld validation and %lld test images", (long long)val->count,
                  (long long)weft_dataset_get_info(d->test)->count);
    else
        cli_print(stdout, " and %lld %s images", (long long)val->count,
                  val->split == WEFT_SPLIT_VAL ? "validation" : "test");
    cli_print(stdout, " of %dx%dx%d, %d classes", seen->channels, seen->height, seen->width,
              train->classes);
    print_classes(d->train);
    cli_print(stdout, "\n");
    if (train->only_split && !d->one_split_will_do)
        cli_print(stdout,
                  "note  the data have one split: the test images are the training images\n");
    if (train->layout)
        cli_print(stdout, "note  the images are stored as %s\n", train->layout);
    session_note_pictures(s, train);
    if (train->only_split)
        return; /* val is the same images */
    weft_dataset_info rest = *val;
    if (strcmp(val->source, train->source) == 0)
        rest.left_out = 0; /* the same files, which have had their line */
    session_note_pictures(s, &rest);
}

/* The test images, seen once, with the weights that the validation images have chosen. */
static int test_best(session *s, const train_data *d, const char *run)
{
    size_t size = strlen(run) + 32;
    char *best = malloc(size), *json = malloc(size);
    if (!best || !json) {
        free(best);
        free(json);
        return session_usage(s, "out of memory");
    }
    snprintf(best, size, "%s/weights_best.safetensors", run);
    snprintf(json, size, "%s/test.json", run);
    const weft_load_opts load = {0};
    const weft_eval_opts opts = {.per_class = true, .confusion = true};
    const weft_report_opts report = {.ctx = s->ctx, .ds = d->test, .weights = best};
    weft_eval_result r;
    int status = 0;
    if (access(best, R_OK) == 0 && weft_module_load_with(s->model, best, &load))
        status = session_fail(s);
    if (status == 0 && weft_evaluate(s->model, d->test_loader, &opts, &r, &s->err))
        status = session_fail(s);
    if (status == 0) {
        if (weft_eval_write_json(json, &r, &report, &s->err))
            status = session_fail(s);
        cli_print(stdout, "test accuracy %.2f%% of %lld images, read once, with the best weights\n",
                  r.acc1, (long long)r.images);
        weft_eval_result_done(&r);
    }
    free(best);
    free(json);
    return status;
}

int train_data_finish(session *s, const train_data *d, const char *run)
{
    session_note_bad(s, d->train_loader);
    session_note_bad(s, d->val_loader);
    return d->test ? test_best(s, d, run) : 0;
}

void train_data_done(train_data *d)
{
    weft_loader_destroy(d->train_loader);
    weft_loader_destroy(d->val_loader);
    weft_loader_destroy(d->test_loader);
    weft_dataset_destroy(d->train);
    weft_dataset_destroy(d->val);
    weft_dataset_destroy(d->test);
    free(d->class_weights);
}
