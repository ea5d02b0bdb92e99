/* The reference for one type: included by ref.c with T (DTYPE, NAME), what images hold; REAL
 * (REAL_DTYPE), what per-channel arrays hold and arithmetic is in; GET(p, i) and PUT(p, i, v), element i of an
 * image; ROUND(v), v as an image would hold it; and FN(name). */

static void FN(ref_stats)(wf_act act, const void *image, double *partial)
{
    const size_t half = wf_norm_partial_count(act.C) / 2;
    const int64_t pixels = (int64_t)act.H * act.W;
    for (int c = 0; c < act.C; c++) {
        const T *x = (const T *)image + wf_act_index(act, c, 0, 0);
        double sum = 0, m2 = 0;
        for (int64_t p = 0; p < pixels; p++)
            sum += (double)GET(x, p * act.block);
        double mean = sum / (double)pixels;
        for (int64_t p = 0; p < pixels; p++) {
            double d = (double)GET(x, p * act.block) - mean;
            m2 += d * d;
        }
        partial[c] = mean;
        partial[half + (size_t)c] = m2;
    }
}

/* Zeroes the padding channels of an image. */
static void FN(ref_pad)(wf_act act, void *image)
{
    const int64_t pixels = (int64_t)act.H * act.W;
    for (int c = act.C; c < wf_round_up(act.C, act.block); c++)
        for (int64_t p = 0; p < pixels; p++)
            ((T *)image)[wf_act_index(act, c, 0, 0) + (size_t)(p * act.block)] = 0;
}

static REAL FN(activate)(wf_norm_f f, REAL z)
{
    if (f == WF_NORM_RELU || f == WF_NORM_RELU6) {
        z = z < 0 ? 0 : z; /* NaN stays */
        return f == WF_NORM_RELU6 && z > 6 ? 6 : z;
    }
    if (wf_norm_recomputes(f))
        activation_of(REAL_DTYPE, f).forward(1, 0, 0, &z, &z);
    return z;
}

/* Scale and shift of a channel, for z; and dy under f. */
typedef struct FN(again) {
    wf_norm_f f;
    REAL scale, shift;
} FN(again);
static FN(again) FN(again_of)(wf_norm_f f, int c, const void *mean, const void *invstd,
                              const void *gamma, const void *beta)
{
    FN(again) g = {f, 0, 0};
    if (wf_norm_recomputes(f)) {
        g.scale = ((const REAL *)gamma)[c] * ((const REAL *)invstd)[c];
        g.shift = ((const REAL *)beta)[c] - ((const REAL *)mean)[c] * g.scale;
    }
    return g;
}
static REAL FN(under)(FN(again) g, REAL x, REAL dy)
{
    REAL z = ROUND(x * g.scale + g.shift);
    if (wf_norm_recomputes(g.f)) {
        activation_of(REAL_DTYPE, g.f).backward(1, 0, 0, &z, &dy, &dy);
        dy = ROUND(dy);
    }
    return dy;
}

static void FN(ref_apply)(const wf_norm_apply *a)
{
    const wf_act act = a->act;
    const int64_t pixels = (int64_t)act.H * act.W;
    const REAL *mean = a->mean, *invstd = a->invstd, *gamma = a->gamma, *beta = a->beta;
    for (int c = 0; c < act.C; c++) {
        const size_t first = wf_act_index(act, c, 0, 0);
        const T *x = (const T *)a->x + first;
        const T *res = a->residual ? (const T *)a->residual + first : NULL;
        T *y = (T *)a->y + first;
        uint8_t *mask = a->mask ? a->mask + c / 8 * pixels : NULL;
        REAL scale = gamma[c] * invstd[c], shift = beta[c] - mean[c] * scale;
        for (int64_t p = 0; p < pixels; p++) {
            REAL v = ROUND(GET(x, p * act.block) * scale + shift);
            if (res)
                v = ROUND(v + GET(res, p * act.block));
            v = FN(activate)(a->f, v);
            PUT(y, p * act.block, v);
            if (mask) {
                uint8_t before = c % 8 ? mask[p] : 0;
                bool open = a->f == WF_NORM_RELU6 ? v > 0 && v < 6 : !(v <= 0);
                mask[p] = (uint8_t)(before | open << (c % 8));
            }
        }
    }
    FN(ref_pad)(act, a->y);
}

static void FN(ref_backward_reduce)(const wf_norm_reduce *a)
{
    const wf_act act = a->act;
    const size_t half = wf_norm_partial_count(act.C) / 2;
    const int64_t pixels = (int64_t)act.H * act.W;
    for (int c = 0; c < act.C; c++) {
        const size_t first = wf_act_index(act, c, 0, 0);
        const T *x = (const T *)a->x + first, *dy = (const T *)a->dy + first;
        const double mean = (double)((const REAL *)a->mean)[c];
        const FN(again) again = FN(again_of)(a->f, c, a->mean, a->invstd, a->gamma, a->beta);
        double sum = 0, dot = 0;
        for (int64_t p = 0; p < pixels; p++) {
            if (!mask_at(a->mask, c, pixels, p))
                continue;
            const REAL at = GET(x, p * act.block);
            REAL dz = FN(under)(again, at, GET(dy, p * act.block));
            double d = (double)dz;
            if (wf_norm_recomputes(a->f))
                PUT((T *)a->dz, first + (size_t)(p * act.block), dz);
            sum += d;
            dot += d * ((double)at - mean);
        }
        a->partial[c] = sum;
        a->partial[half + (size_t)c] = dot;
    }
    if (wf_norm_recomputes(a->f))
        FN(ref_pad)(act, a->dz);
}

static void FN(ref_backward_apply)(const wf_norm_dx *a)
{
    const wf_act act = a->act;
    const int64_t pixels = (int64_t)act.H * act.W;
    const REAL *mean = a->mean, *invstd = a->invstd, *gamma = a->gamma;
    const REAL *dgamma = a->dgamma, *dbeta = a->dbeta;
    for (int c = 0; c < act.C; c++) {
        const size_t first = wf_act_index(act, c, 0, 0);
        const T *x = a->training ? (const T *)a->x + first : NULL;
        const T *dy = (const T *)a->dy + first;
        T *dx = (T *)a->dx + first;
        T *dres = a->dresidual ? (T *)a->dresidual + first : NULL;
        const REAL scale = gamma[c] * invstd[c];
        REAL slope = 0, offset = 0, center = 0;
        if (a->training) {
            slope = -scale * invstd[c] * dgamma[c] / (REAL)a->count;
            offset = -scale * dbeta[c] / (REAL)a->count;
            center = mean[c];
        }
        for (int64_t p = 0; p < pixels; p++) {
            REAL d = mask_at(a->mask, c, pixels, p) ? GET(dy, p * act.block) : 0;
            REAL v = scale * d;
            if (x)
                v += slope * (GET(x, p * act.block) - center) + offset;
            if (dres)
                PUT(dres, p * act.block, d);
            PUT(dx, p * act.block, v);
        }
    }
    FN(ref_pad)(act, a->dx);
    if (a->dresidual)
        FN(ref_pad)(act, a->dresidual);
}

extern const wf_norm_fns FN(wf_norm_fns_ref);
const wf_norm_fns FN(wf_norm_fns_ref) = {.name = "ref:" NAME,
                                         .isa = WEFT_ISA_SCALAR,
                                         .dtype = DTYPE,
                                         .lanes = 0,
                                         .stats = FN(ref_stats),
                                         .apply = FN(ref_apply),
                                         .backward_reduce = FN(ref_backward_reduce),
                                         .backward_apply = FN(ref_backward_apply)};
