/* count_correct: counts the rows of logits that have their first maximum at the label, and the rows
 * whose label is not ignored. */
#include "engine/graph/ops/losses.h"
#include "kernels/loss/loss.h"

typedef struct count_attrs {
    int64_t ignore; /* rows with this label do not count */
} count_attrs;

static weft_status infer(wf_infer *f)
{
    WF_TRY(wf_infer_logits_and_labels(f));
    f->out[0] = f->out[1] = (wf_type){WEFT_I64, WEFT_SCALAR};
    return WEFT_OK;
}

typedef struct count_args {
    wf_buf x, labels, correct, counted;
    int64_t N, K, ignore;
    const wf_loss *kernels;
} count_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const count_args *g = vargs;
    const int64_t *labels = wf_data(t, g->labels);
    int64_t bad =
        g->kernels->count_correct((size_t)g->N, (size_t)g->K, wf_data(t, g->x), labels, g->ignore,
                                  wf_data(t, g->correct), wf_data(t, g->counted));
    if (bad >= 0)
        return wf_tile_fail(t, WEFT_ERR_INVALID, "label %lld at row %lld is outside [0, %lld)",
                            (long long)labels[bad], (long long)bad, (long long)g->K);
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    const count_attrs *a = l->attrs;
    wf_operand x = wf_lower_in(l, 0);
    count_args g = {.x = x.buf,
                    .labels = wf_lower_in(l, 1).buf,
                    .correct = wf_lower_out(l, 0).buf,
                    .counted = wf_lower_out(l, 1).buf,
                    .N = x.N,
                    .K = x.shape.dim[1],
                    .ignore = a->ignore,
                    .kernels = wf_loss_get(x.dtype, l->isa)};
    wf_task *task = wf_lower_task(l, g.kernels->name, run, &g, sizeof(g), 1);
    wf_reads(task, g.x, WF_WHOLE);
    wf_reads(task, g.labels, WF_WHOLE);
    wf_writes(task, g.correct, WF_WHOLE);
    wf_writes(task, g.counted, WF_WHOLE);
    wf_cost(task, (double)g.N * (double)g.K, (double)x.N * (double)x.image_bytes);
    return wf_lowered(l, task);
}

const wf_op wf_op_count_correct = {
    .name = "count_correct",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 2,
    .attr_size = sizeof(count_attrs),
    .layout_rule = WF_LAYOUT_PLAIN,
    .infer = infer,
    .no_grad_reason = "a count has no gradient; train on weft_cross_entropy",
    .lower = lower,
    .no_sample_reason = "it has no gradient; the value tests run it",
};

weft_tensor *weft_count_correct(weft_tensor *logits, weft_tensor *labels,
                                const int64_t *ignore_index, weft_tensor **counted)
{
    const count_attrs a = {wf_ignored_label(ignore_index)};
    weft_tensor *out[2] = {NULL};
    weft_tensor *correct =
        wf_record(&wf_op_count_correct, &a, NULL, 2, (weft_tensor *[]){logits, labels}, out);
    if (counted)
        *counted = correct ? out[1] : NULL;
    return correct;
}
