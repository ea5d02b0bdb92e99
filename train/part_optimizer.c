/* The optimizer: its state tensors and counters, and the hyper-parameters that can change while it
 * is used. */
#include "train/part.h"

#include <math.h>
#include <string.h>

#include "train/optim/internal.h"

static weft_status save(weft_trainer *t, wf_ckpt_out *out)
{
    weft_optimizer *o = t->opts.optimizer;
    json_t *groups = json_array();
    weft_status status = weft_optimizer_state(o, &out->tensors);
    if (status != WEFT_OK)
        wf_take_error(t->ctx, status, NULL, out->err);
    for (int i = 0; i < weft_optimizer_groups(o) && status == WEFT_OK; i++) {
        json_t *group =
            json_pack("{s:o, s:o}", "lr", wf_ckpt_json_number(weft_optimizer_lr(o, i)),
                      "weight_decay", wf_ckpt_json_number(weft_optimizer_weight_decay(o, i)));
        if (json_array_append_new(groups, group) != 0)
            status = wf_error_set(out->err, WEFT_ERR_NOMEM, "out of memory for a checkpoint");
    }
    if (status != WEFT_OK) {
        json_decref(groups);
        return status;
    }
    WF_TRY(wf_ckpt_put_json(out, "groups", groups));
    WF_TRY(wf_ckpt_put_text(out, "kind", o->rule->name));
    return wf_ckpt_put_number(out, "momentum", weft_optimizer_momentum(o));
}

/* The hyper-parameters of group i. */
static weft_status get_group(const wf_ckpt_in *in, int i, double *lr, double *weight_decay)
{
    const json_t *group = json_array_get(json_object_get(in->numbers, "groups"), (size_t)i);
    const wf_ckpt_in inner = {.part = "optimizer.groups", .numbers = group, .err = in->err};
    WF_TRY(wf_ckpt_get_number(&inner, "lr", lr));
    return wf_ckpt_get_number(&inner, "weight_decay", weight_decay);
}

static weft_status set_groups(weft_optimizer *o, const wf_ckpt_in *in)
{
    double lr, weight_decay, momentum;
    WF_TRY(wf_ckpt_get_number(in, "momentum", &momentum));
    if (!isnan(momentum)) /* Adagrad has none */
        WF_TRY(weft_optimizer_set_momentum(o, momentum));
    for (int i = 0; i < weft_optimizer_groups(o); i++) {
        WF_TRY(get_group(in, i, &lr, &weight_decay));
        WF_TRY(weft_optimizer_set_lr(o, i, lr));
        WF_TRY(weft_optimizer_set_weight_decay(o, i, weight_decay));
    }
    return WEFT_OK;
}

static weft_status load(weft_trainer *t, const wf_ckpt_in *in)
{
    weft_optimizer *o = t->opts.optimizer;
    const char *kind;
    WF_TRY(wf_ckpt_get_text(in, "kind", &kind));
    if (strcmp(kind, o->rule->name) != 0)
        return wf_error_set(in->err, WEFT_ERR_INVALID,
                            "the checkpoint is of the optimizer %s, this training has %s", kind,
                            o->rule->name);
    int groups = (int)json_array_size(json_object_get(in->numbers, "groups"));
    if (groups != weft_optimizer_groups(o))
        return wf_error_set(in->err, WEFT_ERR_INVALID,
                            "the checkpoint's optimizer has %d groups of parameters, this "
                            "training's has %d",
                            groups, weft_optimizer_groups(o));
    double lr, weight_decay;
    for (int i = 0; i < groups; i++)
        WF_TRY(get_group(in, i, &lr, &weight_decay));
    weft_status status = weft_optimizer_load_state(o, &in->tensors);
    if (status == WEFT_OK)
        status = set_groups(o, in);
    return status == WEFT_OK ? status : wf_take_error(t->ctx, status, NULL, in->err);
}

const wf_ckpt_part wf_ckpt_part_optimizer = {"optimizer", save, load};
