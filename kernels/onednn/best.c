/* See best.h. */
#include "kernels/onednn/best.h"

#include <assert.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/onednn/onednn.h"

enum { SRC, DST, WEIGHTS, BIAS, SCRATCH, OPERANDS };

struct wf_dnnl_best {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    wf_dnnl_conv conv;
    wf_conv2d_pass pass;
    int threads;
    dnnl_memory_t memory[OPERANDS]; /* the bias may be NULL */
    size_t bytes[OPERANDS];
};

void wf_dnnl_best_destroy(wf_dnnl_best *b)
{
    if (!b)
        return;
    for (int i = 0; i < OPERANDS; i++)
        if (b->memory[i])
            dnnl_memory_destroy(b->memory[i]);
    wf_dnnl_conv_destroy(&b->conv);
    if (b->stream)
        dnnl_stream_destroy(b->stream);
    if (b->engine)
        dnnl_engine_destroy(b->engine);
    free(b);
}

static bool make_memory(wf_dnnl_best *b)
{
    const wf_dnnl_const_md mds[OPERANDS] = {b->conv.src, b->conv.dst, b->conv.weights, b->conv.bias,
                                            b->conv.scratch};
    for (int i = 0; i < OPERANDS; i++) {
        if (!mds[i])
            continue;
        size_t bytes = dnnl_memory_desc_get_size(mds[i]);
        b->bytes[i] = (bytes + WF_ALIGN - 1) / WF_ALIGN * WF_ALIGN;
        if (dnnl_memory_create(&b->memory[i], mds[i], b->engine, DNNL_MEMORY_NONE))
            return false;
    }
    return true;
}

wf_dnnl_best *wf_dnnl_best_create(const wf_conv2d_desc *d, wf_conv2d_pass pass, int threads,
                                  bool no_winograd, char *why, size_t size)
{
    wf_dnnl_best *b = calloc(1, sizeof *b);
    snprintf(why, size, "oneDNN has no CPU engine, or no memory");
    if (!b || dnnl_engine_create(&b->engine, dnnl_cpu, 0) ||
        dnnl_stream_create(&b->stream, b->engine, dnnl_stream_default_flags))
        goto fail;
    b->pass = pass;
    b->threads = threads;
    if (!wf_dnnl_conv_create_batch(&b->conv, b->engine, d, pass, threads, no_winograd, why, size))
        goto fail;
    if (make_memory(b))
        return b;
fail:
    wf_dnnl_best_destroy(b);
    return NULL;
}

const char *wf_dnnl_best_name(const wf_dnnl_best *b)
{
    return b->conv.name;
}

size_t wf_dnnl_best_set_bytes(const wf_dnnl_best *b)
{
    return b->bytes[SRC] + b->bytes[DST];
}

size_t wf_dnnl_best_shared_bytes(const wf_dnnl_best *b)
{
    return b->bytes[WEIGHTS] + b->bytes[BIAS] + b->bytes[SCRATCH];
}

void wf_dnnl_best_run(const wf_dnnl_best *b, void *set, void *shared)
{
    static const int arguments[3][OPERANDS] = {
        [WF_CONV2D_FORWARD] = {DNNL_ARG_SRC, DNNL_ARG_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS,
                               DNNL_ARG_SCRATCHPAD},
        [WF_CONV2D_BACKWARD_DATA] = {DNNL_ARG_DIFF_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS,
                                     DNNL_ARG_BIAS, DNNL_ARG_SCRATCHPAD},
        [WF_CONV2D_BACKWARD_WEIGHTS] = {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS,
                                        DNNL_ARG_DIFF_BIAS, DNNL_ARG_SCRATCHPAD}};
    dnnl_exec_arg_t args[OPERANDS];
    char *at = set;
    int n = 0, caller_threads = omp_get_max_threads();
    for (int i = 0; i < OPERANDS; i++) {
        at = i == WEIGHTS ? shared : at;
        if (b->memory[i]) {
            args[n++] = (dnnl_exec_arg_t){arguments[b->pass][i], b->memory[i]};
            dnnl_status_t set_to = dnnl_memory_set_data_handle(b->memory[i], at);
            assert(set_to == dnnl_success);
            (void)set_to;
        }
        at += b->bytes[i];
    }
    omp_set_num_threads(b->threads); /* as many as it was made for */
    dnnl_status_t status = dnnl_primitive_execute(b->conv.primitive, b->stream, n, args);
    dnnl_stream_wait(b->stream);
    omp_set_num_threads(caller_threads);
    assert(status == dnnl_success);
    (void)status;
}
