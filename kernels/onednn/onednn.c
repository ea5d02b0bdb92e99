/* The only file that knows which oneDNN it is: descriptors and primitives for 2.6 and 3.x.
 * Threading: Note [oneDNN and threads] in onednn.h. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/onednn/admitted.h"
#include "kernels/onednn/onednn.h"

/* 2.6 holds operation descriptors by value and describes memory by structs; 3.x creates primitive
 * descriptors directly and hides memory descriptors. */
#define V3 (DNNL_VERSION_MAJOR >= 3)

wf_dnnl_md wf_dnnl_md_create(int rank, const int64_t *dims, dnnl_data_type_t type,
                             dnnl_format_tag_t tag)
{
    dnnl_dims_t d = {0};
    for (int i = 0; i < rank; i++)
        d[i] = dims[i];
#if V3
    wf_dnnl_md md = NULL;
    return dnnl_memory_desc_create_with_tag(&md, rank, d, type, tag) ? NULL : md;
#else
    wf_dnnl_md md = malloc(sizeof *md);
    if (md && dnnl_memory_desc_init_by_tag(md, rank, d, type, tag)) {
        free(md);
        md = NULL;
    }
    return md;
#endif
}

wf_dnnl_md wf_dnnl_md_clone(wf_dnnl_const_md md)
{
#if V3
    wf_dnnl_md copy = NULL;
    return dnnl_memory_desc_clone(&copy, md) ? NULL : copy;
#else
    wf_dnnl_md copy = malloc(sizeof *copy);
    if (copy)
        *copy = *md;
    return copy;
#endif
}

void wf_dnnl_md_free(wf_dnnl_md md)
{
#if V3
    if (md)
        dnnl_memory_desc_destroy(md);
#else
    free(md);
#endif
}

int wf_dnnl_weights_dims(const wf_conv2d_desc *d, int64_t dims[5], dnnl_format_tag_t *plain)
{
    int n = 0;
    if (d->groups > 1)
        dims[n++] = d->groups;
    dims[n++] = d->K / d->groups;
    dims[n++] = d->C / d->groups;
    dims[n++] = d->R;
    dims[n++] = d->S;
    *plain = d->groups > 1 ? dnnl_goihw : dnnl_oihw;
    return n;
}

static dnnl_format_tag_t act_tag(int block)
{
    return block == 16 ? dnnl_nChw16c : block == 8 ? dnnl_nChw8c : dnnl_nchw;
}

/* One image as we lay it out, or a batch in whatever format oneDNN likes; weights always in that. Where
 * dst is of bf16, everything is but the bias, and the weight gradients of one image. */
typedef struct operands {
    dnnl_alg_kind_t algorithm;
    wf_dnnl_md src, weights, gradient, bias, dst; /* gradient: of the weights */
    dnnl_dims_t stride, dilation, padding;
    dnnl_primitive_attr_t attr;
} operands;

static bool operands_init(operands *o, const wf_conv2d_desc *d, bool batch,
                          dnnl_alg_kind_t algorithm)
{
    int64_t weights[5], bias[1] = {d->K};
    const int n = batch ? d->N : 1;
    const int64_t src[4] = {n, d->C, d->H, d->W}, dst[4] = {n, d->K, d->P, d->Q};
    const dnnl_data_type_t type = d->dst_type == WEFT_BF16 ? dnnl_bf16 : dnnl_f32;
    dnnl_format_tag_t plain;
    o->algorithm = algorithm;
    int rank = wf_dnnl_weights_dims(d, weights, &plain);
    for (int i = 0; i < 2; i++) {
        o->stride[i] = d->stride[i];
        o->dilation[i] = d->dilation[i] - 1;
        o->padding[i] = d->padding[i];
    }
    o->src = wf_dnnl_md_create(4, src, type, batch ? dnnl_format_tag_any : act_tag(d->src_block));
    o->dst = wf_dnnl_md_create(4, dst, type, batch ? dnnl_format_tag_any : act_tag(d->dst_block));
    o->weights = wf_dnnl_md_create(rank, weights, type, dnnl_format_tag_any);
    o->gradient = wf_dnnl_md_create(rank, weights, batch ? type : dnnl_f32, dnnl_format_tag_any);
    o->bias = d->bias ? wf_dnnl_md_create(1, bias, dnnl_f32, dnnl_a) : NULL;
    return o->src && o->dst && o->weights && o->gradient && (o->bias || !d->bias) &&
           !dnnl_primitive_attr_create(&o->attr) &&
           !dnnl_primitive_attr_set_scratchpad_mode(o->attr, dnnl_scratchpad_mode_user);
}

static void operands_done(operands *o)
{
    wf_dnnl_md_free(o->src);
    wf_dnnl_md_free(o->dst);
    wf_dnnl_md_free(o->weights);
    wf_dnnl_md_free(o->gradient);
    wf_dnnl_md_free(o->bias);
    if (o->attr)
        dnnl_primitive_attr_destroy(o->attr);
}

#if V3
static dnnl_status_t describe(dnnl_primitive_desc_t *pd, const operands *o, dnnl_engine_t e,
                              wf_conv2d_pass pass, dnnl_primitive_desc_t hint)
{
    const dnnl_alg_kind_t alg = o->algorithm;
    switch (pass) {
    case WF_CONV2D_FORWARD:
        return dnnl_convolution_forward_primitive_desc_create(
            pd, e, dnnl_forward_training, alg, o->src, o->weights, o->bias, o->dst, o->stride,
            o->dilation, o->padding, o->padding, o->attr);
    case WF_CONV2D_BACKWARD_DATA:
        return dnnl_convolution_backward_data_primitive_desc_create(
            pd, e, alg, o->src, o->weights, o->dst, o->stride, o->dilation, o->padding, o->padding,
            hint, o->attr);
    case WF_CONV2D_BACKWARD_WEIGHTS:
        return dnnl_convolution_backward_weights_primitive_desc_create(
            pd, e, alg, o->src, o->gradient, NULL, o->dst, o->stride, o->dilation, o->padding,
            o->padding, hint, o->attr);
    }
    return dnnl_invalid_arguments;
}
#else
static dnnl_status_t describe(dnnl_primitive_desc_t *pd, const operands *o, dnnl_engine_t e,
                              wf_conv2d_pass pass, dnnl_primitive_desc_t hint)
{
    const dnnl_alg_kind_t alg = o->algorithm;
    dnnl_convolution_desc_t cd;
    dnnl_status_t status = dnnl_invalid_arguments;
    switch (pass) {
    case WF_CONV2D_FORWARD:
        status = dnnl_dilated_convolution_forward_desc_init(&cd, dnnl_forward_training, alg, o->src,
                                                            o->weights, o->bias, o->dst, o->stride,
                                                            o->dilation, o->padding, o->padding);
        break;
    case WF_CONV2D_BACKWARD_DATA:
        status = dnnl_dilated_convolution_backward_data_desc_init(
            &cd, alg, o->src, o->weights, o->dst, o->stride, o->dilation, o->padding, o->padding);
        break;
    case WF_CONV2D_BACKWARD_WEIGHTS:
        status = dnnl_dilated_convolution_backward_weights_desc_init(
            &cd, alg, o->src, o->gradient, NULL, o->dst, o->stride, o->dilation, o->padding,
            o->padding);
        break;
    }
    return status ? status : dnnl_primitive_desc_create(pd, &cd, o->attr, e, hint);
}
#endif

/* What the primitive descriptor settled on, copied into c. */
static bool settle(wf_dnnl_conv *c, const operands *o, dnnl_primitive_desc_t pd,
                   wf_conv2d_pass pass)
{
    const bool data = pass == WF_CONV2D_BACKWARD_DATA,
               gradient = pass == WF_CONV2D_BACKWARD_WEIGHTS;
    wf_dnnl_const_md weights = dnnl_primitive_desc_query_md(
        pd, gradient ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
    wf_dnnl_const_md src =
        dnnl_primitive_desc_query_md(pd, data ? dnnl_query_diff_src_md : dnnl_query_src_md, 0);
    wf_dnnl_const_md dst = dnnl_primitive_desc_query_md(
        pd, data || gradient ? dnnl_query_diff_dst_md : dnnl_query_dst_md, 0);
    wf_dnnl_const_md scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    if (!weights || !scratch || !src || !dst)
        return false;
    c->src = wf_dnnl_md_clone(src);
    c->dst = wf_dnnl_md_clone(dst);
    c->weights = wf_dnnl_md_clone(weights);
    c->scratch = wf_dnnl_md_clone(scratch);
    c->bias = o->bias ? wf_dnnl_md_clone(o->bias) : NULL;
    if (!c->src || !c->dst || !c->weights || !c->scratch || !c->bias != !o->bias)
        return false;
    c->weights_bytes = dnnl_memory_desc_get_size(weights);
    c->scratch_bytes = dnnl_memory_desc_get_size(scratch);
    return !dnnl_primitive_create(&c->primitive, pd);
}

/* See Note [oneDNN and threads]. Returns what threads_end puts back. */
static int threads_begin(int threads)
{
    int was = omp_get_max_threads();
    omp_set_num_threads(threads);
    /* WEFT_MAX_ISA caps oneDNN too. It refuses, without harm, once it has made its choice. */
    if (wf_cpu_isa() == WEFT_ISA_AVX2)
        (void)dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);
    return was;
}

static void threads_end(int was)
{
    omp_set_num_threads(was);
}

/* threads 0: one image, one thread, our layouts; else a batch, so many threads, oneDNN's layouts. */
static bool create(wf_dnnl_conv *c, dnnl_engine_t engine, const wf_conv2d_desc *d,
                   wf_conv2d_pass pass, int batch_threads, dnnl_alg_kind_t algorithm, char *why,
                   size_t size)
{
    const bool batch = batch_threads > 0;
    operands o = {0};
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    const char *name = "";
    bool ok = false;
    memset(c, 0, sizeof *c);
    snprintf(why, size, "oneDNN has no kernel for it");
    int threads = threads_begin(batch ? batch_threads : 1);
    if (!operands_init(&o, d, batch, algorithm)) {
        snprintf(why, size, "out of memory");
        goto done;
    }
    if (pass != WF_CONV2D_FORWARD && describe(&hint, &o, engine, WF_CONV2D_FORWARD, NULL))
        goto done;
    if (describe(&pd, &o, engine, pass, hint) ||
        dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name))
        goto done;
    const dnnl_version_t *v = dnnl_version();
    if (!batch && !wf_dnnl_admits(v->major, v->minor, wf_cpu_isa(), name, d, pass, why, size))
        goto done;
    snprintf(c->name, sizeof c->name, "%s", name);
    ok = settle(c, &o, pd, pass);
    if (!ok) {
        wf_dnnl_conv_destroy(c);
        snprintf(why, size, "oneDNN could not create %s", name);
    }
done:
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (hint)
        dnnl_primitive_desc_destroy(hint);
    operands_done(&o);
    threads_end(threads);
    return ok;
}

bool wf_dnnl_conv_create(wf_dnnl_conv *c, dnnl_engine_t engine, const wf_conv2d_desc *d,
                         wf_conv2d_pass pass, char *why, size_t size)
{
    return create(c, engine, d, pass, 0, dnnl_convolution_direct, why, size);
}

bool wf_dnnl_conv_create_batch(wf_dnnl_conv *c, dnnl_engine_t engine, const wf_conv2d_desc *d,
                               wf_conv2d_pass pass, int threads, bool no_winograd, char *why,
                               size_t size)
{
    return create(c, engine, d, pass, threads,
                  no_winograd ? dnnl_convolution_direct : dnnl_convolution_auto, why, size);
}

void wf_dnnl_conv_destroy(wf_dnnl_conv *c)
{
    if (c->primitive)
        dnnl_primitive_destroy(c->primitive);
    wf_dnnl_md_free(c->src);
    wf_dnnl_md_free(c->dst);
    wf_dnnl_md_free(c->weights);
    wf_dnnl_md_free(c->bias);
    wf_dnnl_md_free(c->scratch);
    memset(c, 0, sizeof *c);
}

dnnl_primitive_t wf_dnnl_reorder_create(dnnl_engine_t engine, wf_dnnl_const_md from,
                                        wf_dnnl_const_md to)
{
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t reorder = NULL;
    int threads = threads_begin(1);
    if (!dnnl_reorder_primitive_desc_create(&pd, from, engine, to, engine, NULL)) {
        if (dnnl_primitive_create(&reorder, pd))
            reorder = NULL;
        dnnl_primitive_desc_destroy(pd);
    }
    threads_end(threads);
    return reorder;
}

dnnl_primitive_t wf_dnnl_matmul_create(dnnl_engine_t engine, wf_dnnl_const_md a, wf_dnnl_const_md b,
                                       wf_dnnl_const_md c, int threads, char *name, size_t size)
{
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t matmul = NULL;
    const char *info = "";
    int was = threads_begin(threads);
#if V3
    dnnl_status_t status = dnnl_matmul_primitive_desc_create(&pd, engine, a, b, NULL, c, NULL);
#else
    dnnl_matmul_desc_t md;
    dnnl_status_t status = dnnl_matmul_desc_init(&md, a, b, NULL, c);
    if (!status)
        status = dnnl_primitive_desc_create(&pd, &md, NULL, engine, NULL);
#endif
    if (!status && dnnl_primitive_create(&matmul, pd))
        matmul = NULL;
    if (matmul && !dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&info))
        snprintf(name, size, "%s", info);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    threads_end(was);
    return matmul;
}
