/* The policies of automatic augmentation: AutoAugment (Cubuk et al. 2019), RandAugment (Cubuk et al.
 * 2020) and TrivialAugmentWide (Mueller and Hutter 2021). Ops, magnitudes and probabilities are those of
 * torchvision 0.29's autoaugment.py. */
#include <math.h>

#include "data/transform/policy.h"

/* ---- magnitudes ----------------------------------------------------------------------------- */

/* torch.linspace(start, end, bins)[i] in f32: it counts from the nearer end, and rounds once, as
 * PyTorch does wherever the machine has fused multiply-adds. */
static double linspace(double start, double end, int bins, int i)
{
    const float first = (float)start, last = (float)end, step = (last - first) / (float)(bins - 1);
    return (double)(i < bins / 2 ? fmaf(step, (float)i, first)
                                 : fmaf(-step, (float)(bins - 1 - i), last));
}

/* What bits are left of 8 when the strongest takes `most` of them. */
static double bits_of(int most, int bins, int i)
{
    return 8 - (double)rintf((float)i / (float)((bins - 1) / (double)most));
}

double wf_aug_magnitude(weft_auto_augment policy, wf_aug op, int bin, int height, int width,
                        bool *is_signed)
{
    const bool wide = policy == WEFT_AUGMENT_TA_WIDE;
    const int bins = wide || policy == WEFT_AUGMENT_RA ? 31 : 10;
    *is_signed = op >= WF_AUG_SHEAR_X && op <= WF_AUG_SHARPNESS;
    switch (op) {
    case WF_AUG_SHEAR_X:
    case WF_AUG_SHEAR_Y: return linspace(0, wide ? 0.99 : 0.3, bins, bin);
    case WF_AUG_TRANSLATE_X: return linspace(0, wide ? 32.0 : 150.0 / 331.0 * width, bins, bin);
    case WF_AUG_TRANSLATE_Y: return linspace(0, wide ? 32.0 : 150.0 / 331.0 * height, bins, bin);
    case WF_AUG_ROTATE: return linspace(0, wide ? 135.0 : 30.0, bins, bin);
    case WF_AUG_BRIGHTNESS:
    case WF_AUG_COLOR:
    case WF_AUG_CONTRAST:
    case WF_AUG_SHARPNESS: return linspace(0, wide ? 0.99 : 0.9, bins, bin);
    case WF_AUG_POSTERIZE: return bits_of(wide ? 6 : 4, bins, bin);
    case WF_AUG_SOLARIZE: return linspace(255, 0, bins, bin);
    default: return 0;
    }
}

/* ---- AutoAugment's policies ----------------------------------------------------------------- */

/* An op, the probability that it is applied, and the bin of its magnitude. */
typedef struct rule {
    wf_aug op;
    double p;
    int bin;
} rule;

enum { SUBPOLICIES = 25 };

#define INVERT WF_AUG_INVERT
#define EQUALIZE WF_AUG_EQUALIZE
#define AUTO WF_AUG_AUTO_CONTRAST
#define POSTERIZE WF_AUG_POSTERIZE
#define SOLARIZE WF_AUG_SOLARIZE
#define ROTATE WF_AUG_ROTATE
#define COLOR WF_AUG_COLOR
#define CONTRAST WF_AUG_CONTRAST
#define SHARP WF_AUG_SHARPNESS
#define BRIGHT WF_AUG_BRIGHTNESS
#define SHEAR_X WF_AUG_SHEAR_X
#define SHEAR_Y WF_AUG_SHEAR_Y
#define MOVE_X WF_AUG_TRANSLATE_X
#define MOVE_Y WF_AUG_TRANSLATE_Y

static const rule imagenet[SUBPOLICIES][2] = {
    {{POSTERIZE, 0.4, 8}, {ROTATE, 0.6, 9}},  {{SOLARIZE, 0.6, 5}, {AUTO, 0.6, 0}},
    {{EQUALIZE, 0.8, 0}, {EQUALIZE, 0.6, 0}}, {{POSTERIZE, 0.6, 7}, {POSTERIZE, 0.6, 6}},
    {{EQUALIZE, 0.4, 0}, {SOLARIZE, 0.2, 4}}, {{EQUALIZE, 0.4, 0}, {ROTATE, 0.8, 8}},
    {{SOLARIZE, 0.6, 3}, {EQUALIZE, 0.6, 0}}, {{POSTERIZE, 0.8, 5}, {EQUALIZE, 1.0, 0}},
    {{ROTATE, 0.2, 3}, {SOLARIZE, 0.6, 8}},   {{EQUALIZE, 0.6, 0}, {POSTERIZE, 0.4, 6}},
    {{ROTATE, 0.8, 8}, {COLOR, 0.4, 0}},      {{ROTATE, 0.4, 9}, {EQUALIZE, 0.6, 0}},
    {{EQUALIZE, 0.0, 0}, {EQUALIZE, 0.8, 0}}, {{INVERT, 0.6, 0}, {EQUALIZE, 1.0, 0}},
    {{COLOR, 0.6, 4}, {CONTRAST, 1.0, 8}},    {{ROTATE, 0.8, 8}, {COLOR, 1.0, 2}},
    {{COLOR, 0.8, 8}, {SOLARIZE, 0.8, 7}},    {{SHARP, 0.4, 7}, {INVERT, 0.6, 0}},
    {{SHEAR_X, 0.6, 5}, {EQUALIZE, 1.0, 0}},  {{COLOR, 0.4, 0}, {EQUALIZE, 0.6, 0}},
    {{EQUALIZE, 0.4, 0}, {SOLARIZE, 0.2, 4}}, {{SOLARIZE, 0.6, 5}, {AUTO, 0.6, 0}},
    {{INVERT, 0.6, 0}, {EQUALIZE, 1.0, 0}},   {{COLOR, 0.6, 4}, {CONTRAST, 1.0, 8}},
    {{EQUALIZE, 0.8, 0}, {EQUALIZE, 0.6, 0}},
};

static const rule cifar10[SUBPOLICIES][2] = {
    {{INVERT, 0.1, 0}, {CONTRAST, 0.2, 6}},   {{ROTATE, 0.7, 2}, {MOVE_X, 0.3, 9}},
    {{SHARP, 0.8, 1}, {SHARP, 0.9, 3}},       {{SHEAR_Y, 0.5, 8}, {MOVE_Y, 0.7, 9}},
    {{AUTO, 0.5, 0}, {EQUALIZE, 0.9, 0}},     {{SHEAR_Y, 0.2, 7}, {POSTERIZE, 0.3, 7}},
    {{COLOR, 0.4, 3}, {BRIGHT, 0.6, 7}},      {{SHARP, 0.3, 9}, {BRIGHT, 0.7, 9}},
    {{EQUALIZE, 0.6, 0}, {EQUALIZE, 0.5, 0}}, {{CONTRAST, 0.6, 7}, {SHARP, 0.6, 5}},
    {{COLOR, 0.7, 7}, {MOVE_X, 0.5, 8}},      {{EQUALIZE, 0.3, 0}, {AUTO, 0.4, 0}},
    {{MOVE_Y, 0.4, 3}, {SHARP, 0.2, 6}},      {{BRIGHT, 0.9, 6}, {COLOR, 0.2, 8}},
    {{SOLARIZE, 0.5, 2}, {INVERT, 0.0, 0}},   {{EQUALIZE, 0.2, 0}, {AUTO, 0.6, 0}},
    {{EQUALIZE, 0.2, 0}, {EQUALIZE, 0.6, 0}}, {{COLOR, 0.9, 9}, {EQUALIZE, 0.6, 0}},
    {{AUTO, 0.8, 0}, {SOLARIZE, 0.2, 8}},     {{BRIGHT, 0.1, 3}, {COLOR, 0.7, 0}},
    {{SOLARIZE, 0.4, 5}, {AUTO, 0.9, 0}},     {{MOVE_Y, 0.9, 9}, {MOVE_Y, 0.7, 9}},
    {{AUTO, 0.9, 0}, {SOLARIZE, 0.8, 3}},     {{EQUALIZE, 0.8, 0}, {INVERT, 0.1, 0}},
    {{MOVE_Y, 0.7, 9}, {AUTO, 0.9, 0}},
};

/* ---- choices -------------------------------------------------------------------------------- */

static wf_aug_step step(const weft_transform *t, wf_aug op, int bin, int height, int width,
                        bool negative)
{
    bool is_signed;
    const double m = wf_aug_magnitude(t->auto_augment, op, bin, height, width, &is_signed);
    return (wf_aug_step){op, is_signed && negative ? -m : m};
}

static int auto_augment(const weft_transform *t, int height, int width, const wf_transform_key *key,
                        wf_aug_step *steps)
{
    const wf_random r = wf_transform_draw(key, WF_DRAW_POLICY);
    const rule *chosen =
        (t->auto_augment == WEFT_AUGMENT_IMAGENET ? imagenet
                                                  : cifar10)[wf_draw_below(r.v[0], SUBPOLICIES)];
    int n = 0;
    for (int i = 0; i < 2; i++)
        if (wf_draw_happens(r.v[1 + i], chosen[i].p))
            steps[n++] =
                step(t, chosen[i].op, chosen[i].bin, height, width, r.v[3] >> (31 - i) & 1);
    return n;
}

int wf_choose_augs(const weft_transform *t, int height, int width, const wf_transform_key *key,
                   wf_aug_step steps[WF_AUG_MOST_STEPS])
{
    if (t->auto_augment == WEFT_AUGMENT_NONE)
        return 0;
    if (t->auto_augment == WEFT_AUGMENT_IMAGENET || t->auto_augment == WEFT_AUGMENT_CIFAR10)
        return auto_augment(t, height, width, key, steps);
    /* All ops but Invert, each as likely. */
    const bool wide = t->auto_augment == WEFT_AUGMENT_TA_WIDE;
    const int n = wide ? 1 : t->ra_ops;
    for (int i = 0; i < n; i++) {
        const wf_random r = wf_transform_draw(key, WF_DRAW_POLICY + (uint32_t)i);
        steps[i] =
            step(t, (wf_aug)wf_draw_below(r.v[0], WF_AUG_INVERT),
                 wide ? wf_draw_below(r.v[2], 31) : t->ra_magnitude, height, width, r.v[1] >> 31);
    }
    return n;
}
