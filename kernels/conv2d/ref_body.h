/* The loops of ref.c for one element type: included there with T and FN defined, nowhere else. x
 * is src, y is dst, table what a src of bytes stands for; xe and ye are the steps between
 * neighbouring pixels of a row. Images that are read may be of bf16; those that are written are of T. */

/* Element i of an image of T or bf16. */
static T FN(element)(weft_dtype type, const void *x, size_t i)
{
    return type == WEFT_BF16 ? (T)from_bf16(((const uint16_t *)x)[i]) : ((const T *)x)[i];
}

/* Element i of src, which belongs to channel c; table: Note [Bytes and what they stand for]. */
static T FN(pixel)(const wf_conv2d_desc *d, const void *x, const void *table, int c, size_t i)
{
    if (!table)
        return FN(element)(d->src_type, x, i);
    return ((const T *)table)[(size_t)c * WF_BYTE_VALUES + ((const uint8_t *)x)[i]];
}

static void FN(forward)(const wf_conv2d_desc *d, const wf_conv2d_io *io, T *y)
{
    const T *w = io->weights, *bias = io->bias;
    const wf_act xa = wf_conv2d_src(d), ya = wf_conv2d_dst(d);
    const int cg = d->C / d->groups, kg = d->K / d->groups;
    const size_t xe = (size_t)xa.block * (size_t)d->stride[1], ye = (size_t)ya.block;
    memset(y, 0, wf_act_count(ya) * sizeof *y); /* padding channels too */
    for (int k = 0; k < d->K; k++) {
        for (int p = 0; bias && p < d->P; p++)
            for (int q = 0; q < d->Q; q++)
                y[wf_act_index(ya, k, p, q)] = bias[k];
        for (int c = 0; c < cg; c++)
            for (int r = 0; r < d->R; r++)
                for (int s = 0; s < d->S; s++) {
                    const T f = *w++;
                    const tap t = tap_at(d, r, s);
                    for (int p = t.p0; p < t.p1; p++) {
                        int h = t.h0 + (p - t.p0) * d->stride[0], channel = k / kg * cg + c;
                        size_t in = wf_act_index(xa, channel, h, t.w0);
                        T *out = y + wf_act_index(ya, k, p, t.q0);
                        for (int q = t.q0; q < t.q1; q++, in += xe, out += ye)
                            *out += f * FN(pixel)(d, io->in, io->table, channel, in);
                    }
                }
    }
}

static void FN(backward_data)(const wf_conv2d_desc *d, const wf_conv2d_io *io, T *dx)
{
    const T *w = io->weights;
    const wf_act xa = wf_conv2d_src(d), ya = wf_conv2d_dst(d);
    const int cg = d->C / d->groups, kg = d->K / d->groups;
    const size_t xe = (size_t)xa.block * (size_t)d->stride[1], ye = (size_t)ya.block;
    memset(dx, 0, wf_act_count(xa) * sizeof *dx);
    for (int k = 0; k < d->K; k++)
        for (int c = 0; c < cg; c++)
            for (int r = 0; r < d->R; r++)
                for (int s = 0; s < d->S; s++) {
                    const T f = *w++;
                    const tap t = tap_at(d, r, s);
                    for (int p = t.p0; p < t.p1; p++) {
                        int h = t.h0 + (p - t.p0) * d->stride[0];
                        T *in = dx + wf_act_index(xa, k / kg * cg + c, h, t.w0);
                        size_t out = wf_act_index(ya, k, p, t.q0);
                        for (int q = t.q0; q < t.q1; q++, in += xe, out += ye)
                            *in += f * FN(element)(d->dst_type, io->in, out);
                    }
                }
}

/* Adds one image's gradient to dw. */
static void FN(backward_weights)(const wf_conv2d_desc *d, const void *x, const void *table,
                                 const void *dy, T *dw)
{
    const wf_act xa = wf_conv2d_src(d), ya = wf_conv2d_dst(d);
    const int cg = d->C / d->groups, kg = d->K / d->groups;
    const size_t xe = (size_t)xa.block * (size_t)d->stride[1], ye = (size_t)ya.block;
    for (int k = 0; k < d->K; k++)
        for (int c = 0; c < cg; c++)
            for (int r = 0; r < d->R; r++)
                for (int s = 0; s < d->S; s++) {
                    const tap t = tap_at(d, r, s);
                    T sum = 0;
                    for (int p = t.p0; p < t.p1; p++) {
                        int h = t.h0 + (p - t.p0) * d->stride[0], channel = k / kg * cg + c;
                        size_t in = wf_act_index(xa, channel, h, t.w0);
                        size_t out = wf_act_index(ya, k, p, t.q0);
                        for (int q = t.q0; q < t.q1; q++, in += xe, out += ye)
                            sum += FN(pixel)(d, x, table, channel, in) *
                                   FN(element)(d->dst_type, dy, out);
                    }
                    *dw++ += sum;
                }
}
