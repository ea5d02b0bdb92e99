/* The memory that a training needs, by part. See trainer_state.h. */
#include "train/trainer_step.h"
#include "train/trainer_state.h"
#include "weft/module.h"

static size_t bytes_of(const weft_tensor *t)
{
    return (size_t)weft_shape_count(weft_tensor_shape(t)) * weft_dtype_size(weft_tensor_dtype(t));
}

/* Parameters and buffers of the model. */
static weft_status count_weights(weft_trainer *t, size_t *bytes)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_status status = weft_parameters(t->model, 0, &list);
    if (status == WEFT_OK)
        status = weft_buffers(t->model, 0, &list);
    *bytes = 0;
    for (int i = 0; i < list.n && status == WEFT_OK; i++)
        *bytes += bytes_of(list.item[i].tensor);
    weft_tensor_list_done(&list);
    return status == WEFT_OK ? WEFT_OK : wf_take_error(t->ctx, status, NULL, t->err);
}

/* A batch as steps read it: images and labels. */
static size_t batch_bytes(const weft_loader *loader)
{
    const weft_dataset_info *info = weft_loader_get_info(loader);
    int64_t batch = weft_loader_batch_size(loader);
    batch = batch < info->count ? batch : info->count;
    size_t image = (size_t)info->channels * (size_t)info->height * (size_t)info->width *
                   weft_dtype_size(weft_loader_dtype(loader));
    return (size_t)batch * (image + sizeof(int64_t));
}

weft_status weft_trainer_plan_memory(weft_trainer *t, weft_train_memory *memory, weft_error *err)
{
    weft_error local = WEFT_ERROR_INIT;
    weft_step_memory step;
    weft_train_memory m = {0};
    if (!t || !memory)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "planning needs a trainer and a place for the result");
    t->err = err ? err : &local;
    WF_TRY(count_weights(t, &m.weights));
    WF_TRY(wf_trainer_step_memory(t, &step, t->err));
    const size_t batch = batch_bytes(t->opts.train);
    const size_t stored = step.parameters + step.state + step.inputs + step.kept;
    m.optimizer = stored > m.weights + batch ? stored - m.weights - batch : 0;
    m.optimizer += t->recipe.ema ? m.weights : 0; /* the averages */
    m.gradients = step.gradients;
    m.activations = step.activations;
    m.scratch = step.scratch;
    m.loader = batch + weft_loader_memory(t->opts.train);
    m.plans = step.plan;
    if (t->opts.test) {
        /* The evaluation's batches, a shorter last one, and a plan for each. These plans have no
         * backward pass, which is two thirds of a step. */
        m.loader += 2 * batch_bytes(t->opts.test) + weft_loader_memory(t->opts.test);
        m.plans += 2 * step.plan / 3;
    }
    m.total =
        m.weights + m.optimizer + m.gradients + m.activations + m.scratch + m.loader + m.plans;
    *memory = m;
    return WEFT_OK;
}
