/* normalize_images: from u8 images to f32 or f64: (x / 255 - mean) / std for each channel; a tile
 * is one image.
 *
 * byte_table: the same for each of the 256 bytes. The plan puts it in place of normalize_images
 * where convolutions read the bytes themselves (plan/bytes.c). */
#include "engine/graph/ops/common.h"
#include "kernels/image/image.h"

static weft_status infer(wf_infer *f)
{
    static const char *const names[] = {"images", "mean", "std"};
    char want[WF_SHAPE_TEXT], got[WF_SHAPE_TEXT];
    const weft_shape images = f->in[0].shape;
    if (f->in[0].dtype != WEFT_U8 || images.rank != 4)
        return wf_infer_fail(f, WEFT_ERR_DTYPE, "images are %s %s, expected u8 (N, C, H, W)",
                             weft_dtype_name(f->in[0].dtype),
                             weft_shape_format(images, got, sizeof got));
    WF_TRY(wf_infer_float(f, 1));
    const weft_shape channels = WEFT_SHAPE(images.dim[1]);
    for (int i = 1; i < 3; i++)
        if (f->in[i].dtype != f->in[1].dtype || !weft_shape_equal(f->in[i].shape, channels))
            return wf_infer_fail(
                f, WEFT_ERR_SHAPE, "%s is %s %s, expected %s %s", names[i],
                weft_dtype_name(f->in[i].dtype), weft_shape_format(f->in[i].shape, got, sizeof got),
                weft_dtype_name(f->in[1].dtype), weft_shape_format(channels, want, sizeof want));
    f->out[0] = (wf_type){f->in[1].dtype, images};
    return WEFT_OK;
}

typedef struct normalize_args {
    int C;
    size_t pixels;
    wf_buf x, mean, std, y; /* x: only of normalize_images */
    weft_dtype dtype;
    const wf_image_kernels *kernels;
} normalize_args;

static void normalize(const normalize_args *g, int C, size_t pixels, const void *mean,
                      const void *std, const uint8_t *x, void *y)
{
    if (g->dtype == WEFT_F64)
        wf_image_normalize_f64(C, pixels, mean, std, x, y);
    else
        g->kernels->normalize(C, pixels, mean, std, x, y);
}

static weft_status run(const wf_tile *t, const void *args, int64_t n)
{
    const normalize_args *g = args;
    normalize(g, g->C, g->pixels, wf_data(t, g->mean), wf_data(t, g->std), wf_image(t, g->x, n),
              wf_image(t, g->y, n));
    return WEFT_OK;
}

static const char *kernel_name(const normalize_args *g)
{
    return g->dtype == WEFT_F64 ? "image:ref" : g->kernels->name;
}

static weft_status lower(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0), mean = wf_lower_in(l, 1), std = wf_lower_in(l, 2);
    wf_operand y = wf_lower_out(l, 0);
    const double count = (double)wf_operand_count(&x);
    const normalize_args g = {.C = x.act.C,
                              .pixels = (size_t)x.act.H * (size_t)x.act.W,
                              .x = x.buf,
                              .mean = mean.buf,
                              .std = std.buf,
                              .y = y.buf,
                              .dtype = y.dtype,
                              .kernels = wf_image_get(l->isa)};
    wf_task *task = wf_lower_task(l, kernel_name(&g), run, &g, sizeof g, x.N);
    wf_reads(task, x.buf, WF_TILED);
    wf_reads(task, mean.buf, WF_WHOLE);
    wf_reads(task, std.buf, WF_WHOLE);
    wf_writes(task, y.buf, WF_TILED);
    wf_cost(task, 3 * count, count * (double)(1 + weft_dtype_size(y.dtype)));
    return wf_lowered(l, task);
}

/* ---- byte_table ------------------------------------------------------------------------------ */

static weft_status infer_table(wf_infer *f)
{
    f->out[0] = (wf_type){f->in[0].dtype, WEFT_SHAPE(f->in[0].shape.dim[0], WF_BYTE_VALUES)};
    return WEFT_OK;
}

static weft_status run_table(const wf_tile *t, const void *args, int64_t tile)
{
    const normalize_args *g = args;
    const size_t size = weft_dtype_size(g->dtype);
    const char *mean = wf_data(t, g->mean), *std = wf_data(t, g->std);
    char *y = wf_data(t, g->y);
    uint8_t bytes[WF_BYTE_VALUES];
    for (int i = 0; i < WF_BYTE_VALUES; i++)
        bytes[i] = (uint8_t)i;
    for (size_t c = 0; c < (size_t)g->C; c++)
        normalize(g, 1, WF_BYTE_VALUES, mean + c * size, std + c * size, bytes,
                  y + c * WF_BYTE_VALUES * size);
    return WEFT_OK;
}

static weft_status lower_table(wf_lower *l)
{
    wf_operand mean = wf_lower_in(l, 0), std = wf_lower_in(l, 1), y = wf_lower_out(l, 0);
    const double count = (double)wf_operand_count(&y);
    const normalize_args g = {.C = (int)mean.shape.dim[0],
                              .mean = mean.buf,
                              .std = std.buf,
                              .y = y.buf,
                              .dtype = y.dtype,
                              .kernels = wf_image_get(l->isa)};
    wf_task *task = wf_lower_task(l, kernel_name(&g), run_table, &g, sizeof g, 1);
    wf_reads(task, mean.buf, WF_WHOLE);
    wf_reads(task, std.buf, WF_WHOLE);
    wf_writes(task, y.buf, WF_WHOLE);
    wf_cost(task, 3 * count, count * (double)weft_dtype_size(y.dtype));
    return wf_lowered(l, task);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

#define NO_GRADIENT "images, means and deviations are data"
#define NO_SAMPLE "it reads bytes; tests/engine/test_op_normalize_images.c runs it"

const wf_op wf_op_normalize_images = {
    .name = "normalize_images",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .flags = WF_OP_BY_IMAGE | WF_OP_CHEAP,
    .layout_rule = WF_LAYOUT_PLAIN,
    .infer = infer,
    .no_grad_reason = NO_GRADIENT,
    .lower = lower,
    .no_sample_reason = NO_SAMPLE,
};

const wf_op wf_op_byte_table = {
    .name = "byte_table",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .layout_rule = WF_LAYOUT_PLAIN,
    .infer = infer_table,
    .no_grad_reason = NO_GRADIENT,
    .lower = lower_table,
    .no_sample_reason = NO_SAMPLE,
};

weft_tensor *weft_normalize_images(weft_tensor *images, weft_tensor *mean, weft_tensor *std)
{
    return wf_record(&wf_op_normalize_images, NULL, NULL, 3, (weft_tensor *[]){images, mean, std},
                     NULL);
}
