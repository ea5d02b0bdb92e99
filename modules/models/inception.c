/* inception_v3: torchvision's inception.py (Szegedy et al. 2015, "Rethinking the Inception
 * architecture for computer vision"). Threading rule: the context's. */
#include "modules/internal.h"
#include "modules/models/models.h"
#include "weft/init.h"
#include "weft/layers.h"

/* ---- blocks: tables of steps, some of whose outputs are joined ---- */

/* A BasicConv2d; where name is NULL, 3x3 average pooling, or with HALVE maximum pooling. */
typedef struct step {
    const char *name;
    int back; /* 0: it reads the block's input; else the output of so many steps before */
    int out;  /* output channels; WIDTH: the block's width */
    int kernel[2];
    int flags;
} step;

enum { WIDTH = -1 };
enum {
    JOIN = 1,  /* its output is part of the block's output */
    HALVE = 2, /* stride 2, no padding; without it the size stays */
};
enum { STEPS = 11 }; /* at most */

static const step steps_a[] = {
    {"branch1x1", 0, 64, {1, 1}, JOIN},
    {"branch5x5_1", 0, 48, {1, 1}, 0},
    {"branch5x5_2", 1, 64, {5, 5}, JOIN},
    {"branch3x3dbl_1", 0, 64, {1, 1}, 0},
    {"branch3x3dbl_2", 1, 96, {3, 3}, 0},
    {"branch3x3dbl_3", 1, 96, {3, 3}, JOIN},
    {NULL, 0, 0, {3, 3}, 0},
    {"branch_pool", 1, WIDTH, {1, 1}, JOIN},
    {0},
};
static const step steps_b[] = {
    {"branch3x3", 0, 384, {3, 3}, JOIN | HALVE}, {"branch3x3dbl_1", 0, 64, {1, 1}, 0},
    {"branch3x3dbl_2", 1, 96, {3, 3}, 0},        {"branch3x3dbl_3", 1, 96, {3, 3}, JOIN | HALVE},
    {NULL, 0, 0, {3, 3}, JOIN | HALVE},          {0},
};
static const step steps_c[] = {
    {"branch1x1", 0, 192, {1, 1}, JOIN},      {"branch7x7_1", 0, WIDTH, {1, 1}, 0},
    {"branch7x7_2", 1, WIDTH, {1, 7}, 0},     {"branch7x7_3", 1, 192, {7, 1}, JOIN},
    {"branch7x7dbl_1", 0, WIDTH, {1, 1}, 0},  {"branch7x7dbl_2", 1, WIDTH, {7, 1}, 0},
    {"branch7x7dbl_3", 1, WIDTH, {1, 7}, 0},  {"branch7x7dbl_4", 1, WIDTH, {7, 1}, 0},
    {"branch7x7dbl_5", 1, 192, {1, 7}, JOIN}, {NULL, 0, 0, {3, 3}, 0},
    {"branch_pool", 1, 192, {1, 1}, JOIN},    {0},
};
static const step steps_d[] = {
    {"branch3x3_1", 0, 192, {1, 1}, 0},   {"branch3x3_2", 1, 320, {3, 3}, JOIN | HALVE},
    {"branch7x7x3_1", 0, 192, {1, 1}, 0}, {"branch7x7x3_2", 1, 192, {1, 7}, 0},
    {"branch7x7x3_3", 1, 192, {7, 1}, 0}, {"branch7x7x3_4", 1, 192, {3, 3}, JOIN | HALVE},
    {NULL, 0, 0, {3, 3}, JOIN | HALVE},   {0},
};
static const step steps_e[] = {
    {"branch1x1", 0, 320, {1, 1}, JOIN},
    {"branch3x3_1", 0, 384, {1, 1}, 0},
    {"branch3x3_2a", 1, 384, {1, 3}, JOIN},
    {"branch3x3_2b", 2, 384, {3, 1}, JOIN},
    {"branch3x3dbl_1", 0, 448, {1, 1}, 0},
    {"branch3x3dbl_2", 1, 384, {3, 3}, 0},
    {"branch3x3dbl_3a", 1, 384, {1, 3}, JOIN},
    {"branch3x3dbl_3b", 2, 384, {3, 1}, JOIN},
    {NULL, 0, 0, {3, 3}, 0},
    {"branch_pool", 1, 192, {1, 1}, JOIN},
    {0},
};

typedef struct block {
    weft_module base;
    const step *steps;
    weft_module *conv[STEPS]; /* NULL: pooling */
} block;

static bool is_end(const step *s)
{
    return s->kernel[0] == 0;
}

static weft_tensor *pool(const step *s, weft_tensor *x)
{
    if (s->flags & HALVE)
        return weft_max_pool2d(x, &(weft_pool2d_opts){.kernel = {3, 3}, .stride = {2, 2}});
    return weft_avg_pool2d(
        x, &(weft_pool2d_opts){.kernel = {3, 3}, .stride = {1, 1}, .padding = {1, 1}});
}

static weft_tensor *block_forward(weft_module *m, weft_tensor *x)
{
    block *self = (block *)m;
    weft_tensor *y[STEPS], *joined[STEPS];
    int n = 0;
    for (int i = 0; !is_end(&self->steps[i]); i++) {
        const step *s = &self->steps[i];
        weft_tensor *from = s->back > 0 ? y[i - s->back] : x;
        y[i] = self->conv[i] != NULL ? weft_call(self->conv[i], from) : pool(s, from);
        if (s->flags & JOIN)
            joined[n++] = y[i];
    }
    return weft_concat(joined, n, 1);
}

typedef struct block_kind {
    weft_module_class cls;
    const step *steps;
} block_kind;
#define KIND(letter, name_)                                                                        \
    static const block_kind kind_##letter = {                                                      \
        {.name = name_, .size = sizeof(block), .version = 1, .forward = block_forward},            \
        steps_##letter};
KIND(a, "InceptionA")
KIND(b, "InceptionB")
KIND(c, "InceptionC")
KIND(d, "InceptionD")
KIND(e, "InceptionE")

static weft_module *conv(weft_context *ctx, int in, int out, const step *s)
{
    weft_conv2d_layer_opts opts = {.kernel_w = s->kernel[1]};
    for (int i = 0; i < 2; i++) {
        opts.stride[i] = s->flags & HALVE ? 2 : 1;
        opts.padding[i] = s->flags & HALVE ? 0 : s->kernel[i] / 2;
    }
    return wf_basic_conv2d_create(ctx, in, out, s->kernel[0], &opts);
}

/* *channels: of the input; afterwards of the output. */
static weft_module *block_create(weft_context *ctx, const block_kind *kind, int width,
                                 int *channels)
{
    block *self = weft_module_create(ctx, &kind->cls, NULL);
    if (self == NULL)
        return NULL;
    self->steps = kind->steps;
    int out[STEPS], joined = 0;
    for (int i = 0; !is_end(&self->steps[i]); i++) {
        const step *s = &self->steps[i];
        int in = s->back > 0 ? out[i - s->back] : *channels;
        out[i] = s->name == NULL ? in : s->out == WIDTH ? width : s->out;
        if (s->name != NULL)
            weft_register_module(&self->base, s->name, &self->conv[i], conv(ctx, in, out[i], s));
        if (s->flags & JOIN)
            joined += out[i];
    }
    *channels = joined;
    return weft_module_ok(self);
}

/* ---- InceptionAux: a classifier on the way, of maps that are 17x17 or larger ---- */

typedef struct aux {
    weft_module base;
    weft_module *conv0, *conv1, *fc;
} aux;

static weft_tensor *aux_forward(weft_module *m, weft_tensor *x)
{
    aux *self = (aux *)m;
    x = weft_avg_pool2d(x, &(weft_pool2d_opts){.kernel = {5, 5}, .stride = {3, 3}});
    x = weft_call(self->conv1, weft_call(self->conv0, x));
    return weft_call(self->fc, weft_flatten(weft_adaptive_avg_pool2d(x, 1, 1), 1));
}

static const weft_module_class aux_class = {
    .name = "InceptionAux", .size = sizeof(aux), .version = 1, .forward = aux_forward};

static weft_module *aux_create(weft_context *ctx, int in, int classes)
{
    aux *self = weft_module_create(ctx, &aux_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    weft_register_module(m, "conv0", &self->conv0, wf_basic_conv2d_create(ctx, in, 128, 1, NULL));
    weft_register_module(m, "conv1", &self->conv1, wf_basic_conv2d_create(ctx, 128, 768, 5, NULL));
    weft_register_module(m, "fc", &self->fc, weft_linear_create(ctx, 768, classes, NULL));
    return weft_module_ok(m);
}

/* ---- the network ---- */

/* smallest image whose feature map at the auxiliary classifier is 17x17 */
enum { AUX_SMALLEST = 299 };

typedef struct inception {
    weft_module base;
    weft_module *trunk[18]; /* called in order */
    int n_trunk;
    weft_module *aux; /* NULL without aux_logits */
    int aux_at;       /* it reads the output of trunk[aux_at] */
    weft_module *avgpool, *dropout, *fc;
    wf_input_transform transform;
} inception;

/* In training mode with an auxiliary classifier, the outputs are the logits and the auxiliary
 * logits. */
static weft_status forward(weft_module *m, int n_in, weft_tensor *const *in, int *n_out,
                           weft_tensor **out)
{
    inception *self = (inception *)m;
    bool with_aux = m->training && self->aux != NULL;
    if (n_in != 1)
        return wf_fail(m->ctx, WEFT_ERR_INVALID, "Inception3 takes one tensor, not %d", n_in);
    weft_tensor *x = wf_transform_input(&self->transform, in[0]);
    for (int i = 0; i < self->n_trunk; i++) {
        x = weft_call(self->trunk[i], x);
        if (with_aux && i == self->aux_at)
            out[1] = weft_call(self->aux, x);
    }
    x = weft_call(self->dropout, weft_call(self->avgpool, x));
    out[0] = weft_call(self->fc, weft_flatten(x, 1));
    *n_out = with_aux ? 2 : 1;
    return wf_step_status(m->ctx);
}

static const weft_module_class inception_class = {.name = "Inception3",
                                                  .size = sizeof(inception),
                                                  .version = 1,
                                                  .forward_many = forward,
                                                  .aux_loss_weight = 0.4};

static void add(inception *self, const char *name, weft_module *part)
{
    weft_register_module(&self->base, name, &self->trunk[self->n_trunk++], part);
}

static void add_stem(inception *self, int channels)
{
    weft_context *ctx = self->base.ctx;
    weft_conv2d_layer_opts halving = {.stride = {2, 2}}, same = {.padding = {1, 1}};
    weft_pool2d_opts pool = {.stride = {2, 2}};
    add(self, "Conv2d_1a_3x3", wf_basic_conv2d_create(ctx, channels, 32, 3, &halving));
    add(self, "Conv2d_2a_3x3", wf_basic_conv2d_create(ctx, 32, 32, 3, NULL));
    add(self, "Conv2d_2b_3x3", wf_basic_conv2d_create(ctx, 32, 64, 3, &same));
    add(self, "maxpool1", weft_max_pool2d_create(ctx, 3, &pool));
    add(self, "Conv2d_3b_1x1", wf_basic_conv2d_create(ctx, 64, 80, 1, NULL));
    add(self, "Conv2d_4a_3x3", wf_basic_conv2d_create(ctx, 80, 192, 3, NULL));
    add(self, "maxpool2", weft_max_pool2d_create(ctx, 3, &pool));
}

/* Adds the blocks, and the auxiliary classifier between them. Returns the number of output
 * channels. */
static int add_blocks(inception *self, bool with_aux, int classes)
{
    static const struct {
        const char *name;
        const block_kind *kind;
        int width;
    } blocks[] = {
        {"Mixed_5b", &kind_a, 32},  {"Mixed_5c", &kind_a, 64},  {"Mixed_5d", &kind_a, 64},
        {"Mixed_6a", &kind_b, 0},   {"Mixed_6b", &kind_c, 128}, {"Mixed_6c", &kind_c, 160},
        {"Mixed_6d", &kind_c, 160}, {"Mixed_6e", &kind_c, 192}, {"Mixed_7a", &kind_d, 0},
        {"Mixed_7b", &kind_e, 0},   {"Mixed_7c", &kind_e, 0},
    };
    weft_context *ctx = self->base.ctx;
    int channels = 192;
    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        /* before the last block that halves the feature map */
        if (with_aux && blocks[i].kind == &kind_d) {
            self->aux_at = self->n_trunk - 1;
            weft_register_module(&self->base, "AuxLogits", &self->aux,
                                 aux_create(ctx, channels, classes));
        }
        add(self, blocks[i].name, block_create(ctx, blocks[i].kind, blocks[i].width, &channels));
    }
    return channels;
}

/* Children come before their parents. torchvision sets a deviation of 0.01 for the auxiliary conv1,
 * but on an object that its own initialisation does not read. */
static weft_status init(weft_module *m, void *user)
{
    if (m->cls == &aux_class)
        return wf_init_trunc_normal(weft_get_module(m, "fc"), 0.001);
    return wf_init_trunc_normal(m, 0.1);
}

weft_module *wf_model_inception_v3(weft_context *ctx, const weft_model_opts *opts)
{
    double dropout = wf_model_number(ctx, opts, "dropout", 0.5);
    bool with_aux = wf_model_bool(ctx, opts, "aux_logits", false);
    bool transform = wf_model_bool(ctx, opts, "transform_input", false);
    if (with_aux && (opts->height < AUX_SMALLEST || opts->width < AUX_SMALLEST)) {
        wf_fail(ctx, WEFT_ERR_SHAPE,
                "inception_v3: images of %dx%d are too small for aux_logits, which needs at least "
                "%dx%d",
                opts->height, opts->width, AUX_SMALLEST, AUX_SMALLEST);
        return NULL;
    }
    inception *self = weft_module_create(ctx, &inception_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    add_stem(self, opts->in_channels);
    int channels = add_blocks(self, with_aux, opts->num_classes);
    weft_register_module(m, "avgpool", &self->avgpool, weft_adaptive_avg_pool2d_create(ctx, 1, 1));
    weft_register_module(m, "dropout", &self->dropout, weft_dropout_create(ctx, dropout));
    weft_register_module(m, "fc", &self->fc,
                         weft_linear_create(ctx, channels, opts->num_classes, NULL));
    if (transform)
        wf_register_input_transform(m, &self->transform, opts->in_channels);
    return wf_model_ok(m, init);
}
