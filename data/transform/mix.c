/* Mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019) of a batch, as torchvision's MixUp and
 * CutMix: image i with image i-1, the first with the last, all of a batch in the same shares.
 *
 * Mixup computes lambda x + (1 - lambda) x' in f32 and rounds it to the nearest level, ties to even.
 * The result is within 0.5 level of the exact mixture but for the f32 roundings, below 2^-14 of a
 * level; torchvision mixes floats, so that half a level is what mixing bytes costs. Cutmix moves
 * bytes and is exact. */
#include <math.h>
#include <string.h>

#include "data/transform/mix.h"
#include "engine/base/error.h"

/* ---- Beta ----------------------------------------------------------------------------------- */

/* Where in a batch's blocks of numbers each thing lies. */
enum { DRAW_CHOICE, DRAW_BOX, DRAW_FIRST = 16, DRAW_SECOND = 2048, TRIES = 2000 };

typedef struct batch_key {
    uint64_t seed, batch;
    uint32_t epoch;
} batch_key;

static wf_random draw(const batch_key *k, uint32_t at)
{
    return wf_random_draw(k->seed, WF_STREAM_MIX, k->batch, k->epoch, at, 0);
}

/* In (0, 1): never 0, so that it has a logarithm. */
static double open_uniform(uint32_t bits)
{
    return ((double)bits + 0.5) * 0x1p-32;
}

/* The logarithm of a draw from Gamma(shape, 1). Marsaglia and Tsang, "A simple method for generating
 * gamma variables" (2000): d v with v = (1 + c x)^3, d = shape - 1/3, c = 1 / sqrt(9 d), x normal;
 * kept if log u < x^2/2 + d - d v + d log v. For shape below 1, Gamma(shape + 1) u^(1/shape) (their
 * section 6). Logarithms, because with a small shape that power has no double. x is by Box and
 * Muller (1958). A try fails once in twenty, at most; were all to fail, x = 0. */
static double log_gamma_draw(const batch_key *k, uint32_t at, double shape)
{
    double boost = 0;
    if (shape < 1) {
        boost = log(open_uniform(draw(k, at).v[0])) / shape;
        shape += 1;
    }
    const double d = shape - 1.0 / 3.0, c = 1 / sqrt(9 * d);
    for (uint32_t i = 1; i <= TRIES; i++) {
        const wf_random r = draw(k, at + i);
        const double x =
            sqrt(-2 * log(open_uniform(r.v[0]))) * cos(2 * M_PI * open_uniform(r.v[1]));
        const double root = 1 + c * x, v = root * root * root;
        if (root > 0 && log(open_uniform(r.v[2])) < 0.5 * x * x + d - d * v + d * log(v))
            return log(d * v) + boost;
    }
    return log(d) + boost;
}

/* Beta(alpha, alpha): X / (X + Y) of two gammas. */
static double beta_draw(const batch_key *k, double alpha)
{
    const double x = log_gamma_draw(k, DRAW_FIRST, alpha);
    const double y = log_gamma_draw(k, DRAW_SECOND, alpha);
    return 1 / (1 + exp(y - x));
}

bool wf_transform_mixes(const weft_transform *t)
{
    return t->mixup_alpha > 0 || t->cutmix_alpha > 0;
}

wf_mixture wf_choose_mixture(const weft_transform *t, uint64_t seed, int64_t epoch, int64_t batch)
{
    const batch_key k = {seed, (uint64_t)batch, (uint32_t)epoch};
    wf_mixture m = {.cut = t->cutmix_alpha > 0};
    if (m.cut && t->mixup_alpha > 0)
        m.cut = draw(&k, DRAW_CHOICE).v[0] >> 31;
    m.lambda = beta_draw(&k, m.cut ? t->cutmix_alpha : t->mixup_alpha);
    if (!m.cut)
        return m;
    const wf_random r = draw(&k, DRAW_BOX);
    const int x = wf_draw_below(r.v[0], t->width), y = wf_draw_below(r.v[1], t->height);
    const double half = 0.5 * sqrt(1.0 - m.lambda);
    const int w = (int)(half * t->width), h = (int)(half * t->height);
    m.left = x - w > 0 ? x - w : 0;
    m.top = y - h > 0 ? y - h : 0;
    m.right = x + w < t->width ? x + w : t->width;
    m.bottom = y + h < t->height ? y + h : t->height;
    m.lambda = 1.0 - (double)(m.right - m.left) * (double)(m.bottom - m.top) /
                         ((double)t->width * (double)t->height);
    return m;
}

/* ---- the batch ------------------------------------------------------------------------------ */

static void mix_pair(const wf_transform_state *s, const weft_transform *t, const wf_mixture *m,
                     int channels, uint8_t *image, const uint8_t *other)
{
    const size_t plane = (size_t)t->height * (size_t)t->width;
    if (!m->cut) {
        wf_colour_get(wf_cpu_isa())
            ->mix(plane * (size_t)channels, (float)m->lambda, (float)(1.0 - m->lambda), other,
                  image);
        return;
    }
    for (int c = 0; c < channels; c++)
        for (int y = m->top; y < m->bottom; y++) {
            const size_t at = (size_t)c * plane + (size_t)y * (size_t)t->width + (size_t)m->left;
            memcpy(image + at, other + at, (size_t)(m->right - m->left));
        }
}

weft_status wf_transform_mix(wf_transform_state *s, const weft_transform *t, uint64_t seed,
                             int64_t epoch, int64_t batch, int64_t n, int channels, int classes,
                             uint8_t *images, const int64_t *labels, float *targets,
                             weft_error *err)
{
    const size_t bytes = (size_t)channels * (size_t)t->height * (size_t)t->width;
    for (int64_t i = 0; i < n; i++)
        if (labels[i] < 0 || labels[i] >= classes)
            return wf_error_set(err, WEFT_ERR_INVALID,
                                "mixup: label %lld of image %lld of the batch: expected 0 to %d",
                                (long long)labels[i], (long long)i, classes - 1);
    wf_mixture m = {.lambda = 1};
    if (wf_transform_mixes(t) && n > 0) {
        uint8_t *last = wf_transform_buffer(s, WF_BUFFER_IMAGE, bytes, err);
        if (!last)
            return WEFT_ERR_NOMEM;
        m = wf_choose_mixture(t, seed, epoch, batch);
        memcpy(last, images + (size_t)(n - 1) * bytes, bytes);
        for (int64_t i = n - 1; i >= 0; i--) /* downwards: image i-1 is still itself */
            mix_pair(s, t, &m, channels, images + (size_t)i * bytes,
                     i > 0 ? images + (size_t)(i - 1) * bytes : last);
    }
    memset(targets, 0, (size_t)n * (size_t)classes * sizeof *targets);
    for (int64_t i = 0; i < n; i++) {
        float *target = targets + i * classes;
        target[labels[i > 0 ? i - 1 : n - 1]] = (float)(1.0 - m.lambda);
        target[labels[i]] += (float)m.lambda;
    }
    return WEFT_OK;
}
