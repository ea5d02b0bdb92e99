/* Trials of matrix products: see trial.h. The matrices of a batch lie one after the other. Letters:
 * kernels/matmul/matmul.h. */
#include <stdio.h>

#include "engine/tune/trial_families.h"

static size_t matrices(const wf_matmul_desc *d, int64_t rows, int64_t columns)
{
    return wf_trial_aligned((size_t)wf_matmul_items(d) * (size_t)rows * (size_t)columns *
                            sizeof(float));
}

static size_t a_bytes(const wf_matmul_desc *d)
{
    return matrices(d, d->M, d->K);
}

weft_status wf_trial_data_matmul(wf_trial_data *t, weft_error *err)
{
    const wf_matmul_desc *d = &t->problem.matmul;
    size_t in = a_bytes(d) + matrices(d, d->K, d->N), out = matrices(d, d->M, d->N);
    weft_status status = wf_trial_alloc(t, in + out, (size_t)d->N * sizeof(float), err);
    if (status != WEFT_OK)
        return status;
    t->in = t->block.data;
    t->out = t->in + in;
    t->bias = (float *)(t->in + t->set_bytes * (size_t)t->sets);
    for (int i = 0; i < t->sets; i++)
        wf_trial_fill((float *)(t->in + (size_t)i * t->set_bytes), in / sizeof(float), 2);
    return WEFT_OK;
}

static weft_status run(const wf_trial *t, int set, int worker, int phase, int64_t tile)
{
    const wf_trial_data *d = t->data;
    const char *a = d->in + (size_t)set * d->set_bytes;
    return wf_matmul_batch_run(t->matmul, &t->batch, tile, a, a + a_bytes(&d->problem.matmul), NULL,
                               d->out + (size_t)set * d->set_bytes,
                               t->scratch + (size_t)worker * t->scratch_stride);
}

bool wf_trial_matmul(wf_trial *t, int i, char *why, size_t size)
{
    const wf_trial_place *place = &t->data->place;
    const wf_matmul_desc *desc = &t->data->problem.matmul;
    t->matmul = wf_matmul_impls[i];
    if (desc->type != WEFT_F32) {
        snprintf(why, size, "trials are in f32");
        return false;
    }
    if (!wf_matmul_fits(t->matmul, desc, place->isa, why, size))
        return false;
    const wf_matmul_dim one_by_one = {wf_matmul_items(desc), desc->M * desc->K, desc->K * desc->N,
                                      desc->M * desc->N};
    /* as recorded: no operands are swapped */
    wf_matmul_batch_init(&t->batch, desc, 1, &one_by_one, true);
    t->run = run;
    t->tiles[0] = wf_matmul_batch_tiles(t->matmul, &t->batch);
    t->cycles = wf_matmul_cycles(t->matmul, desc, place->isa);
    snprintf(t->name, sizeof t->name, "%s", t->matmul->name);
    t->scratch_stride = wf_trial_aligned(t->matmul->scratch_bytes);
    if (!wf_trial_workspace(t, t->scratch_stride * (size_t)place->threads, why, size))
        return false;
    t->scratch = t->block.data;
    return true;
}
