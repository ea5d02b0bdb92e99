/* googlenet: torchvision's googlenet.py (Szegedy et al. 2014, with BatchNorm). As there, the third
 * branch's second convolution is 3x3, where the paper has 5x5. Threading rule: the context's. */
#include "modules/internal.h"
#include "modules/models/models.h"
#include "weft/layers.h"

static weft_module *conv3x3(weft_context *ctx, int in, int out)
{
    return wf_basic_conv2d_create(ctx, in, out, 3, &(weft_conv2d_layer_opts){.padding = {1, 1}});
}

static weft_module *conv1x1(weft_context *ctx, int in, int out)
{
    return wf_basic_conv2d_create(ctx, in, out, 1, NULL);
}

/* ---- Inception: four branches side by side ---- */

typedef struct inception {
    weft_module base;
    weft_module *branch[4];
} inception;

static weft_tensor *inception_forward(weft_module *m, weft_tensor *x)
{
    inception *self = (inception *)m;
    weft_tensor *y[4];
    for (int i = 0; i < 4; i++)
        y[i] = weft_call(self->branch[i], x);
    return weft_concat(y, 4, 1);
}

static const weft_module_class inception_class = {
    .name = "Inception", .size = sizeof(inception), .version = 1, .forward = inception_forward};

/* width: output channels of branch 1, of the two convolutions of branch 2, of the two of branch 3,
 * and of branch 4. */
static weft_module *inception_create(weft_context *ctx, int in, const int width[6])
{
    inception *self = weft_module_create(ctx, &inception_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    weft_pool2d_opts same = {.stride = {1, 1}, .padding = {1, 1}, .ceil_mode = true};
    weft_register_module(m, "branch1", &self->branch[0], conv1x1(ctx, in, width[0]));
    weft_register_module(
        m, "branch2", &self->branch[1],
        WEFT_SEQUENTIAL(ctx, conv1x1(ctx, in, width[1]), conv3x3(ctx, width[1], width[2])));
    weft_register_module(
        m, "branch3", &self->branch[2],
        WEFT_SEQUENTIAL(ctx, conv1x1(ctx, in, width[3]), conv3x3(ctx, width[3], width[4])));
    weft_register_module(
        m, "branch4", &self->branch[3],
        WEFT_SEQUENTIAL(ctx, weft_max_pool2d_create(ctx, 3, &same), conv1x1(ctx, in, width[5])));
    return weft_module_ok(m);
}

/* ---- InceptionAux: a classifier on the way ---- */

typedef struct aux {
    weft_module base;
    weft_module *conv, *fc1, *fc2, *dropout;
} aux;

static weft_tensor *aux_forward(weft_module *m, weft_tensor *x)
{
    aux *self = (aux *)m;
    x = weft_call(self->conv, weft_adaptive_avg_pool2d(x, 4, 4));
    x = weft_relu(weft_call(self->fc1, weft_flatten(x, 1)));
    return weft_call(self->fc2, weft_call(self->dropout, x));
}

static const weft_module_class aux_class = {
    .name = "InceptionAux", .size = sizeof(aux), .version = 1, .forward = aux_forward};

static weft_module *aux_create(weft_context *ctx, int in, int classes, double dropout)
{
    aux *self = weft_module_create(ctx, &aux_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    weft_register_module(m, "conv", &self->conv, conv1x1(ctx, in, 128));
    weft_register_module(m, "fc1", &self->fc1, weft_linear_create(ctx, 128 * 4 * 4, 1024, NULL));
    weft_register_module(m, "fc2", &self->fc2, weft_linear_create(ctx, 1024, classes, NULL));
    weft_register_module(m, "dropout", &self->dropout, weft_dropout_create(ctx, dropout));
    return weft_module_ok(m);
}

/* ---- the network ---- */

typedef struct googlenet {
    weft_module base;
    weft_module *trunk[16]; /* called in order */
    int n_trunk;
    weft_module *aux1, *aux2; /* NULL without aux_logits */
    int aux1_at, aux2_at;     /* they read the outputs of trunk[aux1_at] and trunk[aux2_at] */
    weft_module *avgpool, *dropout, *fc;
    wf_input_transform transform;
} googlenet;

/* In training mode with auxiliary classifiers, the outputs are the logits, those of aux2, and those
 * of aux1. */
static weft_status forward(weft_module *m, int n_in, weft_tensor *const *in, int *n_out,
                           weft_tensor **out)
{
    googlenet *self = (googlenet *)m;
    bool with_aux = m->training && self->aux1 != NULL;
    if (n_in != 1)
        return wf_fail(m->ctx, WEFT_ERR_INVALID, "GoogLeNet takes one tensor, not %d", n_in);
    weft_tensor *x = wf_transform_input(&self->transform, in[0]);
    for (int i = 0; i < self->n_trunk; i++) {
        x = weft_call(self->trunk[i], x);
        if (with_aux && i == self->aux1_at)
            out[2] = weft_call(self->aux1, x);
        if (with_aux && i == self->aux2_at)
            out[1] = weft_call(self->aux2, x);
    }
    x = weft_flatten(weft_call(self->avgpool, x), 1);
    out[0] = weft_call(self->fc, weft_call(self->dropout, x));
    *n_out = with_aux ? 3 : 1;
    return wf_step_status(m->ctx);
}

static const weft_module_class googlenet_class = {.name = "GoogLeNet",
                                                  .size = sizeof(googlenet),
                                                  .version = 1,
                                                  .forward_many = forward,
                                                  .aux_loss_weight = 0.3};

static weft_module *pool(weft_context *ctx, int kernel)
{
    weft_pool2d_opts halving = {.stride = {2, 2}, .ceil_mode = true};
    return weft_max_pool2d_create(ctx, kernel, &halving);
}

static void add(googlenet *self, const char *name, weft_module *part)
{
    weft_register_module(&self->base, name, &self->trunk[self->n_trunk++], part);
}

static void add_inception(googlenet *self, const char *name, int in, const int width[6])
{
    add(self, name, inception_create(self->base.ctx, in, width));
}

static void add_trunk(googlenet *self, int channels)
{
    weft_context *ctx = self->base.ctx;
    weft_conv2d_layer_opts halving = {.stride = {2, 2}, .padding = {3, 3}};
    add(self, "conv1", wf_basic_conv2d_create(ctx, channels, 64, 7, &halving));
    add(self, "maxpool1", pool(ctx, 3));
    add(self, "conv2", conv1x1(ctx, 64, 64));
    add(self, "conv3", conv3x3(ctx, 64, 192));
    add(self, "maxpool2", pool(ctx, 3));
    add_inception(self, "inception3a", 192, (int[]){64, 96, 128, 16, 32, 32});
    add_inception(self, "inception3b", 256, (int[]){128, 128, 192, 32, 96, 64});
    add(self, "maxpool3", pool(ctx, 3));
    add_inception(self, "inception4a", 480, (int[]){192, 96, 208, 16, 48, 64});
    self->aux1_at = self->n_trunk - 1;
    add_inception(self, "inception4b", 512, (int[]){160, 112, 224, 24, 64, 64});
    add_inception(self, "inception4c", 512, (int[]){128, 128, 256, 24, 64, 64});
    add_inception(self, "inception4d", 512, (int[]){112, 144, 288, 32, 64, 64});
    self->aux2_at = self->n_trunk - 1;
    add_inception(self, "inception4e", 528, (int[]){256, 160, 320, 32, 128, 128});
    add(self, "maxpool4", pool(ctx, 2));
    add_inception(self, "inception5a", 832, (int[]){256, 160, 320, 32, 128, 128});
    add_inception(self, "inception5b", 832, (int[]){384, 192, 384, 48, 128, 128});
}

static weft_status init(weft_module *m, void *user)
{
    return wf_init_trunc_normal(m, 0.01);
}

weft_module *wf_model_googlenet(weft_context *ctx, const weft_model_opts *opts)
{
    double dropout = wf_model_number(ctx, opts, "dropout", 0.2);
    double dropout_aux = wf_model_number(ctx, opts, "dropout_aux", 0.7);
    bool with_aux = wf_model_bool(ctx, opts, "aux_logits", false);
    bool transform = wf_model_bool(ctx, opts, "transform_input", false);
    int classes = opts->num_classes;
    googlenet *self = weft_module_create(ctx, &googlenet_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    add_trunk(self, opts->in_channels);
    if (with_aux) {
        weft_register_module(m, "aux1", &self->aux1, aux_create(ctx, 512, classes, dropout_aux));
        weft_register_module(m, "aux2", &self->aux2, aux_create(ctx, 528, classes, dropout_aux));
    }
    weft_register_module(m, "avgpool", &self->avgpool, weft_adaptive_avg_pool2d_create(ctx, 1, 1));
    weft_register_module(m, "dropout", &self->dropout, weft_dropout_create(ctx, dropout));
    weft_register_module(m, "fc", &self->fc, weft_linear_create(ctx, 1024, classes, NULL));
    if (transform)
        wf_register_input_transform(m, &self->transform, opts->in_channels);
    return wf_model_ok(m, init);
}
