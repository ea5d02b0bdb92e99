/* See best_matmul.h. */
#include "kernels/onednn/best_matmul.h"

#include <assert.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/onednn/onednn.h"

enum { A, B, C, OPERANDS };

struct wf_dnnl_best_matmul {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t matmul;
    dnnl_memory_t memory[OPERANDS];
    int threads;
    char name[32];
};

void wf_dnnl_best_matmul_destroy(wf_dnnl_best_matmul *b)
{
    if (!b)
        return;
    for (int i = 0; i < OPERANDS; i++)
        if (b->memory[i])
            dnnl_memory_destroy(b->memory[i]);
    if (b->matmul)
        dnnl_primitive_destroy(b->matmul);
    if (b->stream)
        dnnl_stream_destroy(b->stream);
    if (b->engine)
        dnnl_engine_destroy(b->engine);
    free(b);
}

/* Memory for an operand, cleared; on failure there is none. */
static void make_memory(wf_dnnl_best_matmul *b, int i, wf_dnnl_const_md md)
{
    void *data = NULL;
    if (dnnl_memory_create(&b->memory[i], md, b->engine, DNNL_MEMORY_ALLOCATE))
        b->memory[i] = NULL;
    else if (!dnnl_memory_get_data_handle(b->memory[i], &data))
        memset(data, 0, dnnl_memory_desc_get_size(md));
}

wf_dnnl_best_matmul *wf_dnnl_best_matmul_create(const wf_matmul_desc *d, int threads)
{
    const int64_t n = wf_matmul_items(d);
    const int64_t dims[OPERANDS][3] = {{n, d->M, d->K}, {n, d->K, d->N}, {n, d->M, d->N}};
    const int transposed[OPERANDS] = {d->transpose_a, d->transpose_b, 0};
    wf_dnnl_md md[OPERANDS] = {NULL};
    wf_dnnl_best_matmul *b = calloc(1, sizeof *b);
    bool good = b && !dnnl_engine_create(&b->engine, dnnl_cpu, 0) &&
                !dnnl_stream_create(&b->stream, b->engine, dnnl_stream_default_flags);
    for (int i = 0; good && i < OPERANDS; i++) {
        md[i] =
            n > 1 ? wf_dnnl_md_create(3, dims[i], dnnl_f32, transposed[i] ? dnnl_acb : dnnl_abc)
                  : wf_dnnl_md_create(2, dims[i] + 1, dnnl_f32, transposed[i] ? dnnl_ba : dnnl_ab);
        good = md[i] != NULL;
        if (good)
            make_memory(b, i, md[i]);
    }
    if (good) {
        b->threads = threads;
        b->matmul =
            wf_dnnl_matmul_create(b->engine, md[A], md[B], md[C], threads, b->name, sizeof b->name);
        good = b->matmul && b->memory[A] && b->memory[B] && b->memory[C];
    }
    for (int i = 0; i < OPERANDS; i++)
        wf_dnnl_md_free(md[i]);
    if (good)
        return b;
    wf_dnnl_best_matmul_destroy(b);
    return NULL;
}

const char *wf_dnnl_best_matmul_name(const wf_dnnl_best_matmul *b)
{
    return b->name;
}

void wf_dnnl_best_matmul_run(const wf_dnnl_best_matmul *b)
{
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, b->memory[A]},
                                    {DNNL_ARG_WEIGHTS, b->memory[B]},
                                    {DNNL_ARG_DST, b->memory[C]}};
    int caller_threads = omp_get_max_threads();
    omp_set_num_threads(b->threads); /* as many as it was made for */
    dnnl_status_t status = dnnl_primitive_execute(b->matmul, b->stream, OPERANDS, args);
    dnnl_stream_wait(b->stream);
    omp_set_num_threads(caller_threads);
    assert(status == dnnl_success);
    (void)status;
}
