/* The loss that training minimises. Threading rule: the context's. */
#include "engine/tensor/context.h"
#include "weft/ops.h"
#include "weft/train.h"

weft_tensor *weft_training_loss(weft_module *model, weft_tensor *images, weft_tensor *labels,
                                const weft_cross_entropy_opts *opts, weft_tensor **logits)
{
    weft_tensor *out[WEFT_MODULE_MAX_OUT];
    int n = WEFT_MODULE_MAX_OUT;
    if (images == NULL || labels == NULL) {
        weft_context *ctx = weft_tensor_context(images != NULL ? images : labels);
        if (ctx != NULL)
            wf_fail(ctx, WEFT_ERR_INVALID, "training loss: there are no %s",
                    images == NULL ? "images" : "labels");
        return NULL;
    }
    if (weft_call_many(model, 1, &images, &n, out) != WEFT_OK)
        return NULL;
    double weight = model->cls->aux_loss_weight;
    if (n < 1 || (n > 1 && weight == 0)) {
        wf_fail_step(model->ctx, WEFT_ERR_INVALID,
                     "training needs one output; %s gives %d, and its class has no aux_loss_weight",
                     weft_module_name(model), n);
        return NULL;
    }
    weft_tensor *loss = weft_cross_entropy(out[0], labels, opts);
    for (int i = 1; i < n; i++)
        loss = weft_add(loss, weft_scale(weft_cross_entropy(out[i], labels, opts), weight));
    if (logits != NULL)
        *logits = out[0];
    return loss;
}
