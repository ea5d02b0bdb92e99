/* The model: parameters, buffers and extra state, under the names of its state_dict. Its file is
 * one that weft_module_load and PyTorch can read, with the metadata of weights: class names, how
 * images are normalised. */
#include "train/part.h"

static weft_status save(weft_trainer *t, wf_ckpt_out *out)
{
    out->meta = t->opts.meta;
    out->n_meta = t->opts.n_meta;
    weft_status status = weft_state_dict(t->model, &out->tensors);
    return status == WEFT_OK ? status : wf_take_error(t->ctx, status, NULL, out->err);
}

static weft_status load(weft_trainer *t, const wf_ckpt_in *in)
{
    WF_TRY(wf_ckpt_need(in));
    weft_status status = weft_load_state_dict(t->model, &in->tensors, true);
    return status == WEFT_OK ? status : wf_take_error(t->ctx, status, NULL, in->err);
}

const wf_ckpt_part wf_ckpt_part_model = {"model", save, load};
