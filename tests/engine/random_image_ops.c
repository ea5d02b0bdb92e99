/* See random_program.h: the ops of images. */
#include "tests/engine/random_ops.h"

static int64_t divisor(random_program *p, int64_t n)
{
    const int64_t d = 1 + BELOW(n);
    return n % d == 0 ? d : BELOW(2) ? n : 1;
}

static void convolution(random_program *p, int x)
{
    const weft_shape s = shape_of(p, x);
    const int64_t c = s.dim[1], g = divisor(p, c), k = g * (1 + BELOW(g > 4 ? 1 : 9 - g));
    const int64_t r = 1 + BELOW(3), q = BELOW(3) ? r : 1 + BELOW(3);
    const int stride = 1 + (int)BELOW(2), dilation = 1 + (int)BELOW(2), pad = (int)BELOW(3);
    if (s.dim[2] + 2 * pad < dilation * (r - 1) + 1 ||
        s.dim[3] + 2 * pad < dilation * (q - 1) + 1 ||
        s.dim[0] * k * (s.dim[2] + 2 * pad) * (s.dim[3] + 2 * pad) > PROGRAM_ELEMENTS)
        return;
    const weft_conv2d_opts o = {.stride = {stride, stride},
                                .padding = {pad, pad},
                                .dilation = {dilation, dilation},
                                .groups = (int)g};
    const int w = program_stored(p, WEFT_SHAPE(k, c / g, r, q), 0.5, 0);
    const int b = BELOW(2) ? program_stored(p, WEFT_SHAPE(k), 0.5, 0) : -1;
    program_add(p, weft_conv2d(T(x), T(w), b < 0 ? NULL : T(b), &o),
                "F.conv2d(%s, %s, %s, %d, %d, %d, %d)", NAME(x), NAME(w), b < 0 ? "None" : NAME(b),
                stride, pad, dilation, (int)g);
}

static void transposed_convolution(random_program *p, int x)
{
    const weft_shape s = shape_of(p, x);
    const int64_t c = s.dim[1], g = divisor(p, c), k = g * (1 + BELOW(g > 4 ? 1 : 9 - g));
    const int r = 1 + (int)BELOW(3), stride = 1 + (int)BELOW(2), more = stride > 1 && BELOW(2);
    const int pad = (int)BELOW(r > 1 ? 2 : 1);
    const weft_conv_transpose2d_opts o = {.stride = {stride, stride},
                                          .padding = {pad, pad},
                                          .output_padding = {more, more},
                                          .groups = (int)g};
    const int64_t h = (s.dim[2] - 1) * stride - 2 * pad + r + more,
                  w = (s.dim[3] - 1) * stride - 2 * pad + r + more;
    if (h < 1 || w < 1 || s.dim[0] * k * h * w > PROGRAM_ELEMENTS)
        return;
    const int f = program_stored(p, WEFT_SHAPE(c, k / g, r, r), 0.5, 0);
    const int b = BELOW(2) ? program_stored(p, WEFT_SHAPE(k), 0.5, 0) : -1;
    program_add(p, weft_conv_transpose2d(T(x), T(f), b < 0 ? NULL : T(b), &o),
                "F.conv_transpose2d(%s, %s, %s, %d, %d, %d, %d)", NAME(x), NAME(f),
                b < 0 ? "None" : NAME(b), stride, pad, more, (int)g);
}

static void norm(random_program *p, int x)
{
    const weft_shape s = shape_of(p, x);
    const int64_t c = s.dim[1];
    const int kind = (int)BELOW(4);
    if (kind == 3) {
        const int n = 1 + (int)BELOW(s.rank);
        weft_shape o = {.rank = n};
        char a[100];
        for (int i = 0; i < n; i++)
            o.dim[i] = s.dim[s.rank - n + i];
        const int g = program_stored(p, o, 1, 0), b = program_stored(p, o, 1, 0);
        program_add(p, weft_layer_norm(T(x), n, T(g), T(b), 1e-3),
                    "F.layer_norm(%s, %s, %s, %s, 1e-3)", NAME(x), list(a, o), NAME(g), NAME(b));
        return;
    }
    const int g = program_stored(p, WEFT_SHAPE(c), 1, 0),
              b = program_stored(p, WEFT_SHAPE(c), 1, 0);
    if (kind == 2) {
        const int groups = (int)divisor(p, c);
        if (count_of(p, x) / s.dim[0] / groups > 1)
            program_add(p, weft_group_norm(T(x), groups, T(g), T(b), 1e-3),
                        "F.group_norm(%s, %d, %s, %s, 1e-3)", NAME(x), groups, NAME(g), NAME(b));
        return;
    }
    if (count_of(p, x) / c < 2)
        return;
    const weft_batch_norm_opts o = {.training = true, .eps = 1e-3, .momentum = 0.1};
    if (kind == 0) {
        program_add(p, weft_batch_norm(T(x), T(g), T(b), NULL, NULL, NULL, &o),
                    "F.batch_norm(%s, None, None, %s, %s, True, 0.1, 1e-3)", NAME(x), NAME(g),
                    NAME(b));
        return;
    }
    /* running statistics, which the step moves, from 0 and 1 */
    const int mean = program_state(p, WEFT_SHAPE(c), 0), var = program_state(p, WEFT_SHAPE(c), 1);
    program_add(p, weft_batch_norm(T(x), T(g), T(b), T(mean), T(var), NULL, &o),
                "F.batch_norm(%s, %s, %s, %s, %s, True, 0.1, 1e-3)", NAME(x), NAME(mean), NAME(var),
                NAME(g), NAME(b));
}

static void pooling(random_program *p, int x)
{
    const weft_shape s = shape_of(p, x);
    const int k = 1 + (int)BELOW(3), stride = 1 + (int)BELOW(2), pad = (int)BELOW(k / 2 + 1);
    const bool ceil = BELOW(2), exclude = BELOW(2);
    const weft_pool2d_opts o = {.kernel = {k, k},
                                .stride = {stride, stride},
                                .padding = {pad, pad},
                                .ceil_mode = ceil,
                                .exclude_padding = exclude};
    const int h = 1 + (int)BELOW(4), w = 1 + (int)BELOW(4);
    const bool fits = s.dim[2] + 2 * pad >= k && s.dim[3] + 2 * pad >= k;
    switch (BELOW(5)) {
    case 0:
        if (fits)
            program_add(p, weft_max_pool2d(T(x), &o), "F.max_pool2d(%s, %d, %d, %d, ceil_mode=%s)",
                        NAME(x), k, stride, pad, truth(ceil));
        break;
    case 1:
        if (fits)
            program_add(p, weft_avg_pool2d(T(x), &o),
                        "F.avg_pool2d(%s, %d, %d, %d, ceil_mode=%s, count_include_pad=%s)", NAME(x),
                        k, stride, pad, truth(ceil), truth(!exclude));
        break;
    case 2:
        program_add(p, weft_adaptive_avg_pool2d(T(x), h, w), "F.adaptive_avg_pool2d(%s, (%d, %d))",
                    NAME(x), h, w);
        break;
    case 3:
        if (s.dim[0] * s.dim[1] * h * w * 4 <= PROGRAM_ELEMENTS)
            program_add(p, weft_upsample2d(T(x), 2 * h, 2 * w, WEFT_UPSAMPLE_NEAREST, false),
                        "F.interpolate(%s, size=(%d, %d))", NAME(x), 2 * h, 2 * w);
        break;
    default:
        if (s.dim[0] * s.dim[1] * h * w * 4 <= PROGRAM_ELEMENTS)
            program_add(p, weft_upsample2d(T(x), 2 * h, 2 * w, WEFT_UPSAMPLE_BILINEAR, ceil),
                        "F.interpolate(%s, size=(%d, %d), mode='bilinear', align_corners=%s)",
                        NAME(x), 2 * h, 2 * w, truth(ceil));
    }
}

static void channels(random_program *p, int x)
{
    const weft_shape s = shape_of(p, x);
    const int64_t c = s.dim[1];
    const int b = program_stored(p, WEFT_SHAPE(BELOW(2) ? c : 1), 0.5, 0);
    const int groups = (int)divisor(p, c);
    if (count_of(p, b) == c && BELOW(2))
        program_add(p, weft_bias(T(x), T(b)), "%s + %s.reshape(-1, %s)", NAME(x), NAME(b),
                    s.rank == 4 ? "1, 1" : "1");
    else if (BELOW(2))
        program_add(p, weft_prelu(T(x), T(b)), "F.prelu(%s, %s)", NAME(x), NAME(b));
    else
        program_add(p, weft_channel_shuffle(T(x), groups), "F.channel_shuffle(%s, %d)", NAME(x),
                    groups);
}

void program_image(random_program *p)
{
    const int x = program_pick_rank(p, 4);
    switch (BELOW(6)) {
    case 0:
    case 1: convolution(p, x); break;
    case 2: transposed_convolution(p, x); break;
    case 3: norm(p, x); break;
    case 4: pooling(p, x); break;
    default: channels(p, x);
    }
}
