/* count_correct: how many rows of logits have their first maximum at the label. */
#include "engine/graph/ops/common.h"
#include "kernels/loss/loss.h"

static weft_status infer(wf_infer *f)
{
    WF_TRY(wf_infer_logits_and_labels(f));
    f->out[0] = (wf_type){WEFT_I64, WEFT_SCALAR};
    return WEFT_OK;
}

typedef struct count_args {
    wf_buf x, labels, y;
    int64_t N, K;
    const wf_loss *kernels;
} count_args;

static void run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const count_args *g = vargs;
    const int64_t *labels = wf_data(t, g->labels);
    int64_t bad = g->kernels->count_correct((size_t)g->N, (size_t)g->K, wf_data(t, g->x), labels,
                                            wf_data(t, g->y));
    if (bad >= 0)
        wf_tile_fail(t, WEFT_ERR_INVALID, "label %lld at row %lld is outside [0, %lld)",
                     (long long)labels[bad], (long long)bad, (long long)g->K);
}

static weft_status lower(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0), labels = wf_lower_in(l, 1), y = wf_lower_out(l, 0);
    count_args g = {x.buf, labels.buf, y.buf, x.N, x.shape.dim[1], wf_loss_get(x.dtype, l->isa)};
    wf_task *task = wf_lower_task(l, g.kernels->name, run, &g, sizeof(g), 1);
    wf_reads(task, x.buf, WF_WHOLE);
    wf_reads(task, labels.buf, WF_WHOLE);
    wf_writes(task, y.buf, WF_WHOLE);
    wf_cost(task, (double)g.N * (double)g.K, (double)x.N * (double)x.image_bytes);
    return wf_lowered(l, task);
}

const wf_op wf_op_count_correct = {
    .name = "count_correct",
    .n_out = 1,
    .layout_rule = WF_LAYOUT_PLAIN,
    .infer = infer,
    .no_grad_reason = "a count has no gradient; train on weft_cross_entropy",
    .lower = lower,
    .no_sample_reason = "it has no gradient; the value tests run it",
};

weft_tensor *weft_count_correct(weft_tensor *logits, weft_tensor *labels)
{
    return wf_record(&wf_op_count_correct, NULL, NULL, 2, (weft_tensor *[]){logits, labels}, NULL);
}
