/* The images of a command on their way to the model: normalisation, and the loader. */
#include "session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of photographs, as all of torchvision's weights expect them. */
#define IMAGENET_MEAN "0.485,0.456,0.406"
#define IMAGENET_STD "0.229,0.224,0.225"

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

/* s->norm from two lists of numbers. */
static bool set_norm(session *s, const char *mean, const char *std)
{
    normalisation *n = &s->norm;
    n->channels = count_floats(mean);
    n->mean = parse_floats(mean, n->channels);
    n->std = parse_floats(std, n->channels);
    return n->mean && n->std;
}

int session_normalise(session *s, const weft_dataset *ds)
{
    const char *mean = session_meta(s, "weft.mean"), *std = session_meta(s, "weft.std");
    const weft_dataset_info *info = weft_dataset_get_info(ds);
    normalisation *n = &s->norm;
    if (s->options->mean || s->options->std) {
        if (s->options->mean && s->options->std && set_norm(s, s->options->mean, s->options->std))
            return 0;
        return session_usage(s, "--mean and --std go together: a number for each channel, with "
                                "commas between");
    }
    if (mean && std) {
        if (set_norm(s, mean, std))
            return 0;
        cli_print(stderr,
                  "weft %s: %s: its metadata weft.mean and weft.std are no lists "
                  "of as many numbers, with "
                  "commas between\n",
                  s->command, s->options->weights);
        return EXIT_FAILED;
    }
    if (!ds || info->dtype != WEFT_U8)
        return 0;
    if (info->sizes_vary && info->channels == 3 && set_norm(s, IMAGENET_MEAN, IMAGENET_STD))
        return 0;
    n->channels = info->channels;
    n->mean = calloc((size_t)n->channels, sizeof(float));
    n->std = calloc((size_t)n->channels, sizeof(float));
    if (!n->mean || !n->std) {
        cli_print(stderr, "weft %s: out of memory\n", s->command);
        return EXIT_FAILED;
    }
    return weft_dataset_mean_std(ds, n->mean, n->std, &s->err) ? session_fail(s) : 0;
}

int session_loader_opts(const session *s, const weft_dataset_info *info, weft_loader_opts *opts)
{
    *opts = (weft_loader_opts){.batch = s->options->batch_size,
                               .workers = (int)s->options->workers,
                               .bytes = true, /* normalised within the step */
                               .seed = (uint64_t)s->options->seed,
                               .fast_decode = s->options->fast_decode,
                               .bad = s->options->bad_images &&
                                              strcmp(s->options->bad_images, "skip") == 0
                                          ? WEFT_BAD_SKIP
                                          : WEFT_BAD_STOP};
    if (info->dtype != WEFT_U8 || s->norm.channels == 0)
        return 0;
    if (s->norm.channels != info->channels && s->options->mean) {
        cli_print(stderr,
                  "weft %s: --mean and --std have %d number%s, the images have %d channel%s\n",
                  s->command, s->norm.channels, s->norm.channels == 1 ? "" : "s", info->channels,
                  info->channels == 1 ? "" : "s");
        return EXIT_FAILED;
    }
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

int session_open_images(session *s, weft_dataset *ds, int classes, weft_loader **loader)
{
    const weft_dataset_info *info = weft_dataset_get_info(ds);
    weft_loader_opts opts;
    weft_transform transform;
    int status = session_loader_opts(s, info, &opts);
    if (status)
        return status;
    if (session_eval_transform(s, info, 0, &transform)) {
        opts.transform = &transform;
        status = session_look_through(s, ds, &transform);
        if (status)
            return status;
    }
    if (weft_loader_create(ds, &opts, loader, &s->err))
        return session_fail(s);
    status = session_open_context(s);
    if (status)
        return status;
    info = weft_loader_get_info(*loader);
    return session_open_model(s, info->channels, info->height, info->width, classes);
}
