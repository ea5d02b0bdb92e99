/* weft predict: "images" of a safetensors file in, "logits" out. */
#include <stdlib.h>

#include "commands.h"
#include "session.h"
#include "signals.h"

static bool on_step(void *user, const weft_progress *record)
{
    return !signals_seen();
}

static int predict(session *s, weft_loader *loader)
{
    float *logits = NULL;
    weft_shape shape;
    weft_eval_opts opts = {.progress = on_step};
    signals_catch();
    weft_status status = weft_predict(s->model, loader, &opts, &logits, &shape, &s->err);
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

static int predict_data(session *s, weft_dataset *ds)
{
    const weft_dataset_info *info = weft_dataset_get_info(ds);
    session_note_images(s, info);
    int status = session_normalise(s, NULL);
    if (status)
        return status;
    if (info->dtype == WEFT_U8 && s->norm.channels == 0)
        cli_print(stderr,
                  "weft predict: note: %s does not say how its images were normalised; "
                  "they are scaled to 0..1 only\n",
                  s->options->weights);
    weft_loader *loader = NULL;
    status = session_open_images(s, ds, (int)session_meta_int(s, "weft.classes", 0), &loader);
    if (status == 0)
        status = predict(s, loader);
    weft_loader_destroy(loader);
    return status;
}

int cmd_predict(const cli_options *options)
{
    session s;
    weft_dataset *ds = NULL;
    int status = session_init(&s, "predict", options);
    if (status == 0)
        status = session_need(&s, "--weights", options->weights);
    if (status == 0)
        status = session_need(&s, "--input", options->input);
    if (status == 0)
        status = session_need(&s, "--output", options->output);
    if (status == 0)
        status = session_check_output(&s, options->output);
    if (status == 0)
        status = session_open_data(&s, options->input, WEFT_SPLIT_PREDICT, &ds);
    if (status == 0)
        status = predict_data(&s, ds);
    weft_dataset_destroy(ds);
    return session_done(&s, status);
}
