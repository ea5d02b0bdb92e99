/* Crop, resize and flip in one go, from an interleaved picture to planes. */
#include "data/transform/state.h"

/* Whether the result is the input, pixel by pixel. */
static bool keeps(int in, float from, float to, int out)
{
    return from == 0 && (int)to == in && (float)in == to && out == in;
}

/* An axis in one buffer: first, count, weights; of its `out` pixels those from `crop` on stay. */
static weft_status make_axis(wf_transform_state *s, int which, const wf_placement *p, int in,
                             float from, float to, int out, int crop, int size, bool mirror,
                             wf_resize_axis *axis, weft_error *err)
{
    axis->out = out;
    axis->room = wf_resize_room(p->filter, from, to, out);
    const size_t n = (size_t)out;
    int32_t *at = wf_transform_buffer(s, which, n * (2 + (size_t)axis->room) * sizeof *at, err);
    double *weights =
        wf_transform_buffer(s, WF_BUFFER_WEIGHTS, (size_t)axis->room * sizeof *weights, err);
    if (!at || !weights)
        return WEFT_ERR_NOMEM;
    axis->first = at;
    axis->count = at + n;
    axis->weights = at + 2 * n;
    wf_resize_axis_fill(axis, p->filter, in, from, to, mirror, weights);
    const int skip = mirror ? out - crop - size : crop;
    axis->first += skip;
    axis->count += skip;
    axis->weights += (size_t)skip * (size_t)axis->room;
    axis->out = size;
    return WEFT_OK;
}

/* How the pass along rows makes planes. */
typedef struct across {
    const wf_resize_kernels *kernels;
    const wf_picture *picture;
    const wf_placement *p;
    const wf_resize_axis *axis; /* NULL: the width stays */
    uint8_t *scratch;
} across;

static const uint8_t *row_of(const across *a, int row)
{
    const size_t C = (size_t)a->picture->channels;
    const size_t at = (size_t)(a->p->top + row) * (size_t)a->picture->width + (size_t)a->p->left;
    return a->picture->pixels + at * C;
}

/* n interleaved rows, at most WF_RESIZE_ROWS. */
static void along_rows(const across *a, const uint8_t *const *rows, int n, uint8_t *y,
                       size_t stride, size_t plane)
{
    const int C = a->picture->channels;
    if (a->axis) {
        a->kernels->columns(a->axis, C, rows, n, y, stride, plane, a->scratch);
        return;
    }
    for (int r = 0; r < n; r++)
        a->kernels->split(C, a->p->crop_width, a->p->hflip,
                          rows[r] + (size_t)a->p->crop_left * (size_t)C, y + (size_t)r * stride,
                          plane);
}

/* The same of rows first, first + step, ... of the picture's part. */
static void along_picture_rows(const across *a, int first, int step, int n, uint8_t *y,
                               size_t stride, size_t plane)
{
    const uint8_t *rows[WF_RESIZE_ROWS];
    for (int r = 0; r < n; r++)
        rows[r] = row_of(a, first + r * step);
    along_rows(a, rows, n, y, stride, plane);
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Rows first, into a buffer (rows, C, W); only those that the second pass reads. */
static weft_status rows_then_columns(wf_transform_state *s, const across *a,
                                     const wf_resize_axis *down, uint8_t *y, size_t stride,
                                     size_t plane, weft_error *err)
{
    const int C = a->picture->channels, W = a->p->crop_width;
    int first, end;
    wf_resize_span(down, &first, &end);
    const size_t line = (size_t)C * (size_t)W;
    uint8_t *rows = wf_transform_buffer(s, WF_BUFFER_ROWS, (size_t)(end - first) * line, err);
    if (!rows)
        return WEFT_ERR_NOMEM;
    for (int r = first; r < end; r += WF_RESIZE_ROWS)
        along_picture_rows(a, r, 1, least(WF_RESIZE_ROWS, end - r),
                           rows + (size_t)(r - first) * line, line, (size_t)W);
    for (int i = 0; i < down->out; i++)
        for (int c = 0; c < C; c++)
            a->kernels->row(W, down->count[i], down->weights + (size_t)i * (size_t)down->room,
                            rows + (size_t)(down->first[i] - first) * line + (size_t)(c * W), line,
                            y + (size_t)c * plane + (size_t)i * stride);
    return WEFT_OK;
}

/* Columns first: WF_RESIZE_ROWS rows of the result at a time, interleaved and of the width of the
 * picture's part; of them only the pixels that the second pass reads. */
static weft_status columns_then_rows(wf_transform_state *s, const across *a,
                                     const wf_resize_axis *down, uint8_t *y, size_t stride,
                                     size_t plane, weft_error *err)
{
    const size_t C = (size_t)a->picture->channels, line = (size_t)a->p->width * C;
    int first = a->p->crop_left, end = a->p->crop_left + a->p->crop_width;
    if (a->axis)
        wf_resize_span(a->axis, &first, &end);
    uint8_t *buffer = wf_transform_buffer(s, WF_BUFFER_ROWS, WF_RESIZE_ROWS * line, err);
    if (!buffer)
        return WEFT_ERR_NOMEM;
    for (int i = 0; i < down->out; i += WF_RESIZE_ROWS) {
        const int n = least(WF_RESIZE_ROWS, down->out - i);
        const uint8_t *rows[WF_RESIZE_ROWS];
        for (int r = 0; r < n; r++) {
            uint8_t *to = buffer + (size_t)r * line;
            a->kernels->row((end - first) * (int)C, down->count[i + r],
                            down->weights + (size_t)(i + r) * (size_t)down->room,
                            row_of(a, down->first[i + r]) + (size_t)first * C,
                            (size_t)a->picture->width * C, to + (size_t)first * C);
            rows[r] = to;
        }
        along_rows(a, rows, n, y + (size_t)i * stride, stride, plane);
    }
    return WEFT_OK;
}

/* Pillow's choice since version 13: columns first where the height loses more than twice as many
 * pixels as the width. Earlier versions always begin with the rows. It decides about bits. */
static bool columns_first(const wf_placement *p)
{
    const int64_t less_high = (int64_t)p->height - p->to_height;
    return less_high > 0 && less_high > 2 * ((int64_t)p->width - p->to_width);
}

weft_status wf_place(wf_transform_state *s, const wf_picture *picture, const wf_placement *p,
                     uint8_t *y, size_t stride, size_t plane, weft_error *err)
{
    const float *box = p->box;
    wf_resize_axis x, down;
    across a = {s->resize, picture, p, NULL, NULL};
    if (!keeps(p->width, box[0], box[2], p->to_width)) {
        weft_status status = make_axis(s, WF_BUFFER_AXIS_X, p, p->width, box[0], box[2],
                                       p->to_width, p->crop_left, p->crop_width, p->hflip, &x, err);
        if (status != WEFT_OK)
            return status;
        a.axis = &x;
        a.scratch =
            wf_transform_buffer(s, WF_BUFFER_TURNED, wf_resize_scratch(&x, picture->channels), err);
        if (!a.scratch)
            return WEFT_ERR_NOMEM;
    }
    if (!keeps(p->height, box[1], box[3], p->to_height)) {
        weft_status status =
            make_axis(s, WF_BUFFER_AXIS_Y, p, p->height, box[1], box[3], p->to_height, p->crop_top,
                      p->crop_height, p->vflip, &down, err);
        if (status != WEFT_OK)
            return status;
        return (columns_first(p) ? columns_then_rows : rows_then_columns)(s, &a, &down, y, stride,
                                                                          plane, err);
    }
    for (int r = 0; r < p->crop_height; r += WF_RESIZE_ROWS) {
        const int first = p->vflip ? p->crop_top + p->crop_height - 1 - r : p->crop_top + r;
        along_picture_rows(&a, first, p->vflip ? -1 : 1, least(WF_RESIZE_ROWS, p->crop_height - r),
                           y + (size_t)r * stride, stride, plane);
    }
    return WEFT_OK;
}
