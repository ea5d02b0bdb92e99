/* Where training is: epoch, step, and so the sampler's position. The schedule is a function of the
 * steps done; the order of an epoch's samples is one of seed and epoch (data/sampler.h). */
#include "train/part.h"

static weft_status save(weft_trainer *t, wf_ckpt_out *out)
{
    const wf_trainer_place *p = &t->place;
    const weft_dataset_info *info = weft_loader_get_info(t->opts.train);
    WF_TRY(wf_ckpt_put_int(out, "epoch", p->epoch));
    WF_TRY(wf_ckpt_put_int(out, "step", p->step));
    WF_TRY(wf_ckpt_put_int(out, "open", p->open));
    WF_TRY(wf_ckpt_put_int(out, "steps_done", p->done));
    WF_TRY(wf_ckpt_put_int(out, "batches", t->steps_per_epoch));
    return wf_ckpt_put_int(out, "images", info->count);
}

/* The same step of the same epoch must mean the same images. */
static weft_status check_data(const weft_trainer *t, const wf_ckpt_in *in)
{
    int64_t batches, images;
    const weft_dataset_info *info = weft_loader_get_info(t->opts.train);
    WF_TRY(wf_ckpt_get_int(in, "batches", &batches));
    WF_TRY(wf_ckpt_get_int(in, "images", &images));
    if (batches == t->steps_per_epoch && images == info->count)
        return WEFT_OK;
    return wf_error_set(in->err, WEFT_ERR_INVALID,
                        "the checkpoint is of %lld images in %lld batches an epoch, the loader has "
                        "%lld in %lld: other data or another batch size",
                        (long long)images, (long long)batches, (long long)info->count,
                        (long long)t->steps_per_epoch);
}

static weft_status load(weft_trainer *t, const wf_ckpt_in *in)
{
    int64_t open;
    wf_trainer_place p;
    WF_TRY(wf_ckpt_get_int(in, "epoch", &p.epoch));
    WF_TRY(wf_ckpt_get_int(in, "step", &p.step));
    WF_TRY(wf_ckpt_get_int(in, "open", &open));
    WF_TRY(wf_ckpt_get_int(in, "steps_done", &p.done));
    WF_TRY(check_data(t, in));
    const int64_t batches = t->steps_per_epoch;
    p.open = open != 0;
    bool sane = p.epoch >= 0 && p.step >= 0 && p.step <= batches &&
                p.epoch <= INT64_MAX / batches &&
                (p.epoch == 0 ? p.done == 0 && p.step == 0 && !p.open
                              : p.done == (p.epoch - 1) * batches + p.step);
    if (!sane)
        return wf_error_set(
            in->err, WEFT_ERR_FORMAT,
            "state.json: epoch %lld, step %lld of %lld and %lld steps in all do not "
            "fit together",
            (long long)p.epoch, (long long)p.step, (long long)batches, (long long)p.done);
    if (p.done > t->total)
        return wf_error_set(in->err, WEFT_ERR_INVALID,
                            "the checkpoint is at step %lld of epoch %lld, the training ends at "
                            "step %lld of epoch %lld",
                            (long long)p.done, (long long)p.epoch, (long long)t->total,
                            (long long)t->epochs);
    const int64_t before = p.epoch ? (p.epoch - 1) * batches : 0;
    p.steps = t->total - before < batches ? t->total - before : batches;
    if (p.epoch && !p.open && p.step < p.steps)
        return wf_error_set(in->err, WEFT_ERR_INVALID,
                            "the checkpoint is of a training that ended after step %lld of epoch "
                            "%lld: only one that ended with an epoch can be made longer",
                            (long long)p.step, (long long)p.epoch);
    t->place = p;
    t->feeding = false;
    t->finished = false;
    return WEFT_OK;
}

const wf_ckpt_part wf_ckpt_part_place = {"place", save, load};
