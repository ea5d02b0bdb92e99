/* The moving averages of the weights, where the training keeps them. */
#include "train/part.h"

static weft_status save(weft_trainer *t, wf_ckpt_out *out)
{
    if (!t->recipe.ema)
        return WEFT_OK;
    weft_status status = weft_ema_state(t->recipe.ema, &out->tensors);
    return status == WEFT_OK ? status : wf_take_error(t->ctx, status, NULL, out->err);
}

static weft_status load(weft_trainer *t, const wf_ckpt_in *in)
{
    const bool have = in->tensors.n > 0, keep = t->recipe.ema != NULL;
    if (have != keep)
        return wf_error_set(in->err, WEFT_ERR_INVALID,
                            "the checkpoint has %s averages of the weights, this training keeps %s",
                            have ? "moving" : "no", keep ? "some" : "none");
    if (!have)
        return WEFT_OK;
    weft_status status = weft_ema_load_state(t->recipe.ema, &in->tensors);
    return status == WEFT_OK ? status : wf_take_error(t->ctx, status, NULL, in->err);
}

const wf_ckpt_part wf_ckpt_part_averages = {"averages", save, load};
