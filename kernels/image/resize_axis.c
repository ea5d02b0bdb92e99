/* The weights of one dimension of a resize. Any thread. */
#include <math.h>
#include <string.h>

#include "kernels/image/resize.h"

/* The filters and half their widths, over pixels of the input where it is enlarged, of the result
 * where it is made smaller. */
static double bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* Keys, "Cubic convolution interpolation" (1981), with a = -1/2. */
static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static double half_width(wf_resize_filter filter)
{
    return filter == WF_RESIZE_BICUBIC ? 2.0 : 1.0;
}

/* Input pixels for each pixel of the result. The difference is a float, as PIL's. */
static double scale_of(float from, float to, int out)
{
    return (double)(to - from) / out;
}

static double support_of(wf_resize_filter filter, double scale)
{
    return half_width(filter) * (scale < 1.0 ? 1.0 : scale);
}

int wf_resize_room(wf_resize_filter filter, float from, float to, int out)
{
    if (filter == WF_RESIZE_NEAREST)
        return 1;
    return (int)ceil(support_of(filter, scale_of(from, to, out))) * 2 + 1;
}

/* PIL's nearest neighbour adds up the position, one rounding a pixel, and leaves a pixel black that
 * the sum takes beyond the input. */
static void fill_nearest(const wf_resize_axis *a, int in, float from, float to, bool mirror)
{
    const double scale = scale_of(from, to, a->out);
    double at = (double)from + scale * 0.5;
    for (int i = 0; i < a->out; i++, at += scale) {
        const int o = mirror ? a->out - 1 - i : i;
        const bool inside = at < in;
        a->first[o] = inside ? (int32_t)at : in - 1;
        a->count[o] = inside;
        a->weights[o] = 1 << WF_RESIZE_BITS;
    }
}

static int32_t fixed(double w)
{
    const double scaled = w * (1 << WF_RESIZE_BITS);
    return (int32_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

void wf_resize_axis_fill(const wf_resize_axis *a, wf_resize_filter filter, int in, float from,
                         float to, bool mirror, double *w)
{
    if (filter == WF_RESIZE_NEAREST) {
        fill_nearest(a, in, from, to, mirror);
        return;
    }
    const double scale = scale_of(from, to, a->out), support = support_of(filter, scale);
    const double narrow = 1.0 / (scale < 1.0 ? 1.0 : scale);
    for (int i = 0; i < a->out; i++) {
        const int o = mirror ? a->out - 1 - i : i;
        const double centre = (double)from + (i + 0.5) * scale;
        int first = (int)(centre - support + 0.5), end = (int)(centre + support + 0.5);
        first = first < 0 ? 0 : first;
        end = end > in ? in : end;
        double sum = 0;
        for (int x = first; x < end; x++) {
            const double at = (x - centre + 0.5) * narrow;
            const double weight = filter == WF_RESIZE_BICUBIC ? bicubic(at) : bilinear(at);
            w[x - first] = weight;
            sum += weight;
        }
        int32_t *fix = a->weights + (size_t)o * (size_t)a->room;
        for (int t = 0; t < end - first; t++)
            fix[t] = fixed(sum != 0.0 ? w[t] / sum : w[t]);
        a->first[o] = first;
        a->count[o] = end - first;
    }
}

void wf_resize_span(const wf_resize_axis *a, int *first, int *end)
{
    /* Positions rise, or fall where the axis is mirrored. */
    const int last = a->out - 1;
    const int end0 = a->first[0] + a->count[0], end1 = a->first[last] + a->count[last];
    *first = a->first[0] < a->first[last] ? a->first[0] : a->first[last];
    *end = end0 > end1 ? end0 : end1;
}

size_t wf_resize_scratch(const wf_resize_axis *a, int C)
{
    int first, end;
    wf_resize_span(a, &first, &end);
    /* The bytes of 16 rows, turned: those that are read, in whole blocks of 32, and the result's. */
    const size_t in = ((size_t)(end - first) * (size_t)C + 31) / 32 * 32;
    return (in + (size_t)a->out * (size_t)C) * WF_RESIZE_ROWS;
}
