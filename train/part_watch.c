/* What the plateau and early stopping have seen, and the averages' last figures. */
#include "train/part.h"
#include "train/trainer_recipe.h"

static weft_status save(weft_trainer *t, wf_ckpt_out *out)
{
    const wf_trainer_recipe *r = &t->recipe;
    WF_TRY(wf_ckpt_put_number(out, "plateau_best", r->plateau.best));
    WF_TRY(wf_ckpt_put_number(out, "plateau_lr", r->plateau.lr));
    WF_TRY(wf_ckpt_put_int(out, "plateau_figures", r->plateau.figures));
    WF_TRY(wf_ckpt_put_int(out, "plateau_bad", r->plateau.bad));
    WF_TRY(wf_ckpt_put_int(out, "plateau_cooling", r->plateau.cooling));
    WF_TRY(wf_ckpt_put_number(out, "best", r->best));
    WF_TRY(wf_ckpt_put_int(out, "figures", r->figures));
    WF_TRY(wf_ckpt_put_int(out, "bad", r->bad));
    WF_TRY(wf_ckpt_put_int(out, "enough", r->enough));
    WF_TRY(wf_ckpt_put_number(out, "ema_loss", r->ema_loss));
    WF_TRY(wf_ckpt_put_number(out, "ema_acc1", r->ema_acc1));
    return wf_ckpt_put_number(out, "ema_acc5", r->ema_acc5);
}

static weft_status load(weft_trainer *t, const wf_ckpt_in *in)
{
    wf_trainer_recipe r = t->recipe;
    int64_t enough;
    if (!in->numbers) /* of a version that watched nothing */
        return WEFT_OK;
    WF_TRY(wf_ckpt_get_number(in, "plateau_best", &r.plateau.best));
    WF_TRY(wf_ckpt_get_number(in, "plateau_lr", &r.plateau.lr));
    WF_TRY(wf_ckpt_get_int(in, "plateau_figures", &r.plateau.figures));
    WF_TRY(wf_ckpt_get_int(in, "plateau_bad", &r.plateau.bad));
    WF_TRY(wf_ckpt_get_int(in, "plateau_cooling", &r.plateau.cooling));
    WF_TRY(wf_ckpt_get_number(in, "best", &r.best));
    WF_TRY(wf_ckpt_get_int(in, "figures", &r.figures));
    WF_TRY(wf_ckpt_get_int(in, "bad", &r.bad));
    WF_TRY(wf_ckpt_get_int(in, "enough", &enough));
    WF_TRY(wf_ckpt_get_number(in, "ema_loss", &r.ema_loss));
    WF_TRY(wf_ckpt_get_number(in, "ema_acc1", &r.ema_acc1));
    WF_TRY(wf_ckpt_get_number(in, "ema_acc5", &r.ema_acc5));
    r.enough = enough != 0;
    t->recipe = r;
    wf_recipe_set_end(t);
    return WEFT_OK;
}

const wf_ckpt_part wf_ckpt_part_watch = {"watch", save, load};
