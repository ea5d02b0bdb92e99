/* Whether a transform's members are in range. */
#include <math.h>
#include <stddef.h>

#include "engine/base/error.h"
#include "weft/transform.h"

/* What a size may be: JPEG's limit. */
#define MOST_PIXELS 65500

static weft_status bad(weft_error *err, const char *member, double value, double low, double high)
{
    return wf_error_set(err, WEFT_ERR_INVALID, "transform: %s is %g: expected %g to %g", member,
                        value, low, high);
}

typedef struct range {
    const char *member;
    size_t at; /* in weft_transform */
    double low, high;
} range;

#define NUMBER(member, low, high)                                                                  \
    {                                                                                              \
#member, offsetof(weft_transform, member), low, high                                       \
    }
static const range numbers[] = {
    NUMBER(hflip, 0, 1),      NUMBER(vflip, 0, 1),         NUMBER(brightness, 0, 1e6),
    NUMBER(contrast, 0, 1e6), NUMBER(saturation, 0, 1e6),  NUMBER(hue, 0, 0.5),
    NUMBER(grey, 0, 1),       NUMBER(blur, 0, 1),          NUMBER(rotation, 0, 180),
    NUMBER(erase, 0, 1),      NUMBER(mixup_alpha, 0, 1e6), NUMBER(cutmix_alpha, 0, 1e6),
};
static const range integers[] = {
    NUMBER(height, 1, MOST_PIXELS), NUMBER(width, 1, MOST_PIXELS),
    NUMBER(resize, 0, MOST_PIXELS), NUMBER(crop_padding, 0, MOST_PIXELS),
    NUMBER(interpolation, 0, 2),    NUMBER(auto_augment, 0, 4),
};
#undef NUMBER

/* low <= pair[0] <= pair[1] <= high */
static weft_status check_pair(const char *member, const double *pair, double low, double high,
                              weft_error *err)
{
    if (pair[0] >= low && pair[0] <= pair[1] && pair[1] <= high)
        return WEFT_OK;
    return wf_error_set(err, WEFT_ERR_INVALID,
                        "transform: %s is %g to %g: expected a range within %g to %g", member,
                        pair[0], pair[1], low, high);
}

/* Members that count only when others ask for them. */
static weft_status check_pairs(const weft_transform *t, weft_error *err)
{
    if (t->random_crop && t->resize > 0)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "transform: random_crop and resize exclude each other: the one crops "
                            "at random and resizes, the other resizes and crops the middle");
    if (t->crop_padding > 0 && (t->random_crop || t->resize > 0))
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "transform: crop_padding and %s exclude each other",
                            t->random_crop ? "random_crop" : "resize");
    if (t->random_crop) {
        WF_TRY(check_pair("scale", t->scale, 0x1p-20, 1, err));
        WF_TRY(check_pair("ratio", t->ratio, 0x1p-10, 0x1p10, err));
    }
    if (t->blur > 0)
        WF_TRY(check_pair("blur_sigma", t->blur_sigma, 1e-3, 1e3, err));
    if (t->auto_augment == WEFT_AUGMENT_RA) {
        if (t->ra_ops < 1 || t->ra_ops > 16)
            return bad(err, "ra_ops", t->ra_ops, 1, 16);
        if (t->ra_magnitude < 0 || t->ra_magnitude > 30)
            return bad(err, "ra_magnitude", t->ra_magnitude, 0, 30);
    }
    return WEFT_OK;
}

weft_status weft_transform_check(const weft_transform *t, weft_error *err)
{
    if (!t)
        return wf_error_set(err, WEFT_ERR_INVALID, "transform: it is NULL");
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        const range *r = &integers[i];
        const int v = *(const int *)(const void *)((const char *)t + r->at);
        if (!(v >= r->low && v <= r->high))
            return bad(err, r->member, v, r->low, r->high);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const range *r = &numbers[i];
        const double v = *(const double *)(const void *)((const char *)t + r->at);
        if (!(v >= r->low && v <= r->high)) /* NaN, too */
            return bad(err, r->member, v, r->low, r->high);
    }
    return check_pairs(t, err);
}
