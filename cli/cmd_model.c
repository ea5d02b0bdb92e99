/* weft summary, explain: a network without data. */
#include <stdlib.h>

#include "commands.h"
#include "session.h"

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
    session_done(&s);
    return status;
}

/* Records the training step that `weft train` runs, and explains its plan. */
static weft_status explain_step(const session *s, const int size[3], weft_optimizer *optimizer)
{
    int64_t N = s->options->batch_size;
    weft_tensor *images =
        weft_tensor_create(s->ctx, WEFT_F32, WEFT_SHAPE(N, size[0], size[1], size[2]));
    weft_tensor *labels = weft_tensor_create(s->ctx, WEFT_I64, WEFT_SHAPE(N));
    weft_tensor *logits = weft_call(s->model, images);
    weft_tensor *loss = weft_check_finite(weft_cross_entropy(logits, labels, NULL));
    weft_tensor *kept_loss = weft_keep(loss);
    weft_tensor *kept_correct = weft_keep(weft_count_correct(logits, labels));
    weft_status status = kept_loss && kept_correct ? weft_backward(loss) : WEFT_ERR_INTERNAL;
    if (status == WEFT_OK)
        status = weft_optimizer_record(optimizer);
    if (status == WEFT_OK)
        status = weft_explain(s->ctx, stdout);
    weft_tensor_unref(kept_loss);
    weft_tensor_unref(kept_correct);
    weft_tensor_unref(images);
    weft_tensor_unref(labels);
    return status;
}

int cmd_explain(const cli_options *options)
{
    session s;
    int size[3];
    weft_optimizer *optimizer = NULL;
    int status = open_model(&s, "explain", options, size);
    if (status == 0) {
        optimizer = session_optimizer(&s);
        if (!optimizer || explain_step(&s, size, optimizer))
            status = session_fail(&s);
    }
    weft_optimizer_destroy(optimizer);
    session_done(&s);
    return status;
}
