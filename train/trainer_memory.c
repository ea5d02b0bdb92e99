/* The memory that a training needs, by part. See trainer_state.h. */
#include "train/evaluate.h"
#include "train/trainer_state.h"
#include "train/trainer_step.h"
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

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static uint64_t resident(void)
{
    weft_memory_room room;
    return weft_memory_get_room(&room, NULL) == WEFT_OK ? room.resident : 0;
}

/* Compiles the plans. m->plans becomes what the process has grown by, without small tensors that
 * were made and zeroed on the way: besides the plans, this counts the code that oneDNN makes. Where
 * the plans were there already, it is what they have in bytes. */
static weft_status count_plans(weft_trainer *t, weft_step_memory *step, weft_train_memory *m)
{
    const uint64_t before = resident();
    weft_step_memory evaluation = {0};
    WF_TRY(wf_trainer_step_memory(t, step, t->err));
    if (t->opts.test)
        WF_TRY(wf_evaluate_memory(t->model, t->opts.test, &evaluation, t->err));
    const uint64_t after = resident();
    const size_t grown = after > before + step->touched ? after - before - step->touched : 0;
    m->plans = larger(grown, step->plan + evaluation.plan);
    m->activations = larger(step->activations, evaluation.activations);
    m->scratch = larger(step->scratch, evaluation.scratch);
    m->loader = evaluation.kept;
    return WEFT_OK;
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
    WF_TRY(count_plans(t, &step, &m));
    const size_t batch = batch_bytes(t->opts.train);
    const size_t stored = step.parameters + step.state + step.inputs + step.kept;
    m.optimizer = stored > m.weights + batch ? stored - m.weights - batch : 0;
    m.optimizer += t->recipe.ema ? m.weights : 0; /* the averages */
    m.gradients = step.gradients;
    m.loader += batch + weft_loader_memory(t->opts.train);
    if (t->opts.test) /* a full batch, and a shorter last one */
        m.loader += 2 * batch_bytes(t->opts.test) + weft_loader_memory(t->opts.test);
    m.total =
        m.weights + m.optimizer + m.gradients + m.activations + m.scratch + m.loader + m.plans;
    *memory = m;
    return WEFT_OK;
}
