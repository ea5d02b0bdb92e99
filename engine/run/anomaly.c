/* Anomaly mode: checks every op's outputs right after the op, and so finds the first op that gave a
 * NaN or an infinity. Only the interpreter does this: it runs in recording order, on one thread,
 * and every value has memory of its own. */
#include <math.h>

#include "engine/run/run.h"
#include "kernels/types.h"

static const char *text_of(double value)
{
    return isnan(value) ? "NaN" : value > 0 ? "infinity" : "minus infinity";
}

/* The name of the first number that is not finite, such as "NaN"; NULL when all are finite. Padding
 * channels are zeros. */
static const char *find_bad(const void *data, size_t bytes, weft_dtype dtype)
{
    size_t n = bytes / weft_dtype_size(dtype);
    if (dtype == WEFT_F32) {
        for (size_t i = 0; i < n; i++)
            if (!isfinite(((const float *)data)[i]))
                return text_of(((const float *)data)[i]);
    } else if (dtype == WEFT_F64) {
        for (size_t i = 0; i < n; i++)
            if (!isfinite(((const double *)data)[i]))
                return text_of(((const double *)data)[i]);
    } else if (dtype == WEFT_BF16) {
        for (size_t i = 0; i < n; i++) {
            const float f = wf_bf16_value(((const uint16_t *)data)[i]);
            if (!isfinite(f))
                return text_of(f);
        }
    }
    return NULL;
}

static const char *bad_value(const wf_run *run, int value)
{
    const wf_ir_value *v = &run->plan->values[value];
    if (v->buf < 0)
        return NULL;
    const wf_buffer *b = &run->plan->buffers[v->buf];
    return find_bad(run->bufs[v->buf].base, (size_t)b->images * b->stride, v->storage);
}

/* Where the bad number may come from: the first input that contains one too; -1: none. An input can
 * contain one only where no checked op made it. */
static int bad_input(const wf_run *run, const wf_ir_node *node)
{
    for (int i = 0; i < node->n_in; i++)
        if (bad_value(run, node->in[i]))
            return i;
    return -1;
}

void wf_anomaly_check(wf_run *run, const wf_task *task)
{
    if (task->node < 0 || task->commit)
        return;
    const wf_ir_node *ir = &run->plan->nodes[task->node], *maker = wf_ir_maker(run->plan, ir);
    if (!maker || maker->source < 0)
        return;
    const wf_run_origin node = run->source->origin(run->source->user, maker->source);
    if (!node.check)
        return;
    for (int o = 0; o < ir->n_out; o++) {
        const char *bad = bad_value(run, ir->out[o]);
        if (!bad)
            continue;
        char shape[128], from[64] = "", rule[96] = "forward";
        int in = bad_input(run, ir);
        if (in >= 0 && maker != ir)
            return; /* told already */
        if (in >= 0)
            snprintf(from, sizeof from, "; its input %d has one already", in);
        if (node.backward_of)
            snprintf(rule, sizeof rule, "backward of %s", node.backward_of);
        else if (node.backward)
            snprintf(rule, sizeof rule, "backward");
        wf_tile_fail(
            &(wf_tile){.run = run}, WEFT_ERR_NUMERIC,
            "anomaly: %s%s%s (%s) gave %s%s, output of shape %s%s", node.path,
            *node.path ? ": " : "", node.title, rule, bad,
            maker != ir ? " as it was rounded to bf16" : "",
            weft_shape_format(run->plan->values[ir->out[o]].type.shape, shape, sizeof shape), from);
        return;
    }
}
