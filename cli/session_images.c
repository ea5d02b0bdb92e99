/* The images of a command on their way to the model: normalisation, and the loader. */
#include "session.h"

#include <math.h>
#include <stdlib.h>

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
        cli_print(stderr,
                  "weft %s: %s: its metadata weft.mean and weft.std are no lists "
                  "of as many numbers, with "
                  "commas between\n",
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

int session_open_images(session *s, const weft_dataset *ds, int classes, weft_loader **loader)
{
    const weft_dataset_info *info = weft_dataset_get_info(ds);
    weft_loader_opts opts;
    int status = session_loader_opts(s, info, &opts);
    if (status)
        return status;
    if (weft_loader_create(ds, &opts, loader, &s->err))
        return session_fail(s);
    status = session_open_context(s);
    if (status)
        return status;
    return session_open_model(s, info->channels, info->height, info->width, classes);
}
