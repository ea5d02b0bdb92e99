/* Convolution of f32 by oneDNN: what fits and what it costs. run.h has the rest. Pure functions. */
#include <stdio.h>

#include "kernels/onednn/run.h"
#include "kernels/select.h"

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    if (d->src_type != WEFT_F32 || d->weights_type != WEFT_F32 || d->dst_type != WEFT_F32) {
        snprintf(why, size, "f32 only");
        return false;
    }
    return !wf_dnnl_misfit(d, pass, why, size);
}

static double share_weights(const wf_costs *c, const wf_conv2d_desc *d, bool point, bool strided)
{
    if (point)
        return strided ? c->onednn_weights_point_strided : c->onednn_weights_point;
    if (d->S >= 5 && d->src_block > 1)
        return c->onednn_weights_wide;
    return d->Q < 8            ? c->onednn_weights_tiny
           : d->src_block == 1 ? c->onednn_weights_plain
                               : c->onednn_weights;
}

static double share_data(const wf_costs *c, const wf_conv2d_desc *d, bool point, bool strided)
{
    const bool tiny = d->Q < 8;
    const bool apart = strided && d->R == d->stride[0] && d->S == d->stride[1];
    const double share = strided
                             ? tiny && !point ? c->onednn_data_strided_tiny : c->onednn_data_strided
                         : point ? c->onednn_data_point
                                 : c->onednn_data;
    return share * (tiny ? c->onednn_data_tiny : 1) * (apart ? c->onednn_data_apart : 1);
}

static double share_forward(const wf_costs *c, const wf_conv2d_desc *d, bool point, bool strided)
{
    const bool tiny = d->Q < 8;
    if (d->groups > 1 && d->C / d->groups < 32 && !strided)
        return c->onednn_forward_grouped;
    if (strided)
        return tiny && !point ? c->onednn_forward_strided_tiny : c->onednn_forward_strided;
    if (tiny)
        return point ? c->onednn_forward_tiny_point : c->onednn_forward_tiny;
    return point ? c->onednn_forward_point : c->onednn_forward;
}

/* Such a pass is bound by memory as much as by arithmetic: the factor is on all of it. */
static double depthwise_pace(const wf_machine_class *m, const wf_conv2d_desc *d, bool weights)
{
    if (!weights)
        return m->cost->onednn_depthwise;
    const size_t image = wf_act_count(wf_conv2d_src(d)) + wf_act_count(wf_conv2d_dst(d));
    return image * sizeof(float) > 3 * m->l2_bytes ? m->cost->onednn_depthwise_weights_large
           : d->Q < 8                              ? m->cost->onednn_depthwise_weights_tiny
                                                   : m->cost->onednn_depthwise_weights;
}

/* By what its kernels are good at: most are near the peak, but for weight gradients, short rows and
 * groups of few channels. */
static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    const wf_machine_class *m = wf_machine_class_of(isa);
    const wf_costs *c = m->cost;
    const bool point = d->R == 1 && d->S == 1, strided = d->stride[0] > 1 || d->stride[1] > 1;
    const bool weights = pass == WF_CONV2D_BACKWARD_WEIGHTS;
    double share = weights                           ? share_weights(c, d, point, strided)
                   : pass == WF_CONV2D_BACKWARD_DATA ? share_data(c, d, point, strided)
                                                     : share_forward(c, d, point, strided);
    if (pass == WF_CONV2D_FORWARD && d->src_block == 1)
        share *= c->onednn_forward_plain;
    if (point && strided && !weights)
        share *= c->onednn_strided_point;
    const double cycles = wf_conv2d_expect(d, isa, share);
    return d->groups > 1 && d->groups == d->C ? cycles / depthwise_pace(m, d, weights) : cycles;
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    return wf_dnnl_create(k, false, why, size);
}

const wf_conv2d_impl wf_conv2d_onednn = {
    .name = "onednn",
    .isa = WEFT_ISA_AVX2,
    .fits = fits,
    .expect = expect,
    .create = create,
    .destroy = wf_dnnl_destroy,
    .pack = wf_dnnl_pack,
    .forward = wf_dnnl_forward,
    .backward_data = wf_dnnl_backward_data,
    .backward_weights = wf_dnnl_backward_weights,
    .reduce = wf_dnnl_reduce,
};
