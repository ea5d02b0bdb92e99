/* The counters that random numbers depend on: dropout's, and the initialisers'. */
#include "train/part.h"

static weft_status save(weft_trainer *t, wf_ckpt_out *out)
{
    const weft_random_state state = weft_get_random_state(t->ctx);
    WF_TRY(wf_ckpt_put_int(out, "seed", (int64_t)state.seed));
    WF_TRY(wf_ckpt_put_int(out, "draws", (int64_t)state.draws));
    return wf_ckpt_put_int(out, "streams", (int64_t)state.streams);
}

static weft_status load(weft_trainer *t, const wf_ckpt_in *in)
{
    int64_t seed, draws, streams;
    WF_TRY(wf_ckpt_get_int(in, "seed", &seed));
    WF_TRY(wf_ckpt_get_int(in, "draws", &draws));
    WF_TRY(wf_ckpt_get_int(in, "streams", &streams));
    const weft_random_state state = {(uint64_t)seed, (uint64_t)draws, (uint64_t)streams};
    weft_status status = weft_set_random_state(t->ctx, state);
    return status == WEFT_OK ? status : wf_take_error(t->ctx, status, NULL, in->err);
}

const wf_ckpt_part wf_ckpt_part_random = {"random", save, load};
