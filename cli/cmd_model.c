/* weft summary, explain, tune: a network without data. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "session.h"
#include "step.h"
#include "train_recipe.h"

/* The size of an image: as asked, else the model's own. */
static int image_size(const session *s, int size[3])
{
    const weft_model_opts *own = &weft_model_find(s->model_name)->defaults;
    size[0] = own->in_channels;
    size[1] = own->height;
    size[2] = own->width;
    if (s->options->input_size && !session_parse_size(s->options->input_size, size))
        return session_usage(s, "--input-size: '%s' is not of the form CxHxW, such as 3x224x224",
                             s->options->input_size);
    return 0;
}

static int open_model(session *s, const char *command, const cli_options *options, int size[3])
{
    int status = session_init(s, command, options);
    if (status == 0)
        status = image_size(s, size);
    if (status == 0)
        status = session_open_context(s);
    if (status == 0)
        status = session_open_model(s, size[0], size[1], size[2], 0);
    return status;
}

int cmd_summary(const cli_options *options)
{
    session s;
    int size[3];
    int status = open_model(&s, "summary", options, size);
    if (status == 0) {
        weft_shape input = WEFT_SHAPE(options->summary_batch, size[0], size[1], size[2]);
        weft_summary_opts opts = {.depth = (int)options->depth};
        if (weft_module_summary_with(s.model, input, &opts, stdout))
            status = session_fail(&s);
    }
    return session_done(&s, status);
}

static weft_status explain(void *user)
{
    const session *s = user;
    const weft_explain_opts opts = {
        .form = strcmp(s->options->explain_as, "dot") == 0      ? WEFT_EXPLAIN_DOT
                : strcmp(s->options->explain_as, "memory") == 0 ? WEFT_EXPLAIN_MEMORY
                : strcmp(s->options->explain_as, "json") == 0   ? WEFT_EXPLAIN_JSON
                                                                : WEFT_EXPLAIN_TEXT,
        .measured = s->options->measured};
    return weft_explain_with(s->ctx, &opts, stdout);
}

int cmd_explain(const cli_options *options)
{
    session s;
    int size[3];
    weft_optimizer *optimizer = NULL;
    int status = open_model(&s, "explain", options, size);
    if (status == 0) {
        optimizer = recipe_optimizer(&s);
        if (!optimizer || step_with(&s, size, optimizer, explain, &s))
            status = session_fail(&s);
    }
    weft_optimizer_destroy(optimizer);
    return session_done(&s, status);
}

int cmd_tune(const cli_options *options)
{
    session s;
    int size[3];
    weft_tune_result result;
    int status = open_model(&s, "tune", options, size);
    if (status == 0)
        status = step_tune(&s, size, &result);
    return session_done(&s, status);
}
