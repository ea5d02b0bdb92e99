/* Which sizes can be recorded. Threading: the recording thread.
 *
 * Note [Sizes]. Kernels count dimensions, and the elements of one image, in int. So recording
 * refuses sizes that an int cannot hold: a dimension or an image (everything behind dimension 0) of
 * 2^31 elements or more. The number of images and all counts of bytes are 64-bit everywhere; a
 * tensor has fewer than 2^63 bytes. Every cast of a dimension to int in the engine relies on this
 * check. */
#include "engine/graph/graph.h"

/* The number of elements behind dimension 0; -1: too many. */
static int64_t image_elements(const weft_shape *s)
{
    int64_t n = 1;
    for (int i = 1; i < s->rank; i++)
        if (__builtin_mul_overflow(n, s->dim[i], &n))
            return -1;
    return n;
}

static weft_status check(const wf_infer *f, const wf_type *t)
{
    char text[128];
    const weft_shape *s = &t->shape;
    int64_t bytes;
    for (int i = 0; i < s->rank; i++)
        if (s->dim[i] > INT32_MAX)
            return wf_infer_fail(f, WEFT_ERR_SHAPE,
                                 "%s is too large: dimension %d has %lld elements, at most %d are "
                                 "possible",
                                 weft_shape_format(*s, text, sizeof text), i, (long long)s->dim[i],
                                 INT32_MAX);
    int64_t image = image_elements(s);
    if (image < 0 || image > INT32_MAX)
        return wf_infer_fail(f, WEFT_ERR_SHAPE,
                             "%s is too large: at most %d elements behind dimension 0 are "
                             "possible",
                             weft_shape_format(*s, text, sizeof text), INT32_MAX);
    if (__builtin_mul_overflow(s->rank ? s->dim[0] : 1, image, &bytes) ||
        __builtin_mul_overflow(bytes, (int64_t)weft_dtype_size(t->dtype), &bytes))
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "%s is too large: more bytes than can be counted",
                             weft_shape_format(*s, text, sizeof text));
    return WEFT_OK;
}

weft_status wf_check_sizes(const wf_infer *f)
{
    for (int i = 0; i < f->n_in; i++)
        WF_TRY(check(f, &f->in[i]));
    for (int o = 0; o < f->n_out; o++)
        WF_TRY(check(f, &f->out[o]));
    return WEFT_OK;
}
