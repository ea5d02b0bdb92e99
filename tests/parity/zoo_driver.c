/* Weft's half of the zoo's parity test: one network, from given weights on given images.
 *
 *     zoo_driver models                                                   prints all names
 *     zoo_driver DIR MODEL f32|f64 CLASSES LR MOMENTUM [KEY=VALUE...]
 *
 * Reads DIR/init.safetensors, strictly, and DIR/data.safetensors: "images" (steps*N, C, H, W) and
 * "labels" (steps, N), so many SGD steps. Writes DIR/weft_f32.safetensors (or f64) with "eval" and
 * "train", the logits of the first N images in both modes with the initial weights;
 * "d/<parameter>", the first step's gradients; "losses"; and DIR/weft_f32_weights.safetensors, the
 * state after all steps. KEY=VALUE are options of the model's own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft/weft.h"

enum { MAX_ARGS = 16, MAX_RESULTS = 2048, MAX_STEPS = 256 };

typedef struct run {
    weft_context *ctx;
    weft_dtype dtype;
    weft_safetensors *data;
    const weft_safetensors_entry *images, *labels;
    int64_t steps, batch;
    weft_module *net;
    double loss[MAX_STEPS];
    int n;
    weft_safetensors_entry result[MAX_RESULTS]; /* names and data are owned */
} run;

static void die(const run *r, const char *what)
{
    fprintf(stderr, "%s: %s\n", what, r->ctx ? weft_error_text(r->ctx) : "");
    exit(1);
}

static void path_in(char *path, size_t size, const char *dir, const char *name, weft_dtype dtype)
{
    snprintf(path, size, "%s/%s%s.safetensors", dir, dtype == WEFT_F64 ? "weft_f64" : "weft_f32",
             name);
}

/* ---- results --------------------------------------------------------------------------------- */

static void add_result(run *r, const char *kind, const char *name, weft_tensor *t)
{
    char key[256];
    snprintf(key, sizeof(key), "%s%s", kind, name);
    if (!t || r->n == MAX_RESULTS)
        die(r, key);
    weft_shape shape = weft_tensor_shape(t);
    size_t bytes = (size_t)weft_shape_count(shape) * weft_dtype_size(weft_tensor_dtype(t));
    void *data = malloc(bytes);
    if (!data || weft_read(t, data, bytes) != WEFT_OK)
        die(r, key);
    r->result[r->n++] = (weft_safetensors_entry){strdup(key), weft_tensor_dtype(t), shape, data};
}

/* Parameters that have no gradient are left out. */
static void add_gradients(run *r)
{
    weft_tensor_list params = WEFT_TENSOR_LIST_INIT;
    if (weft_parameters(r->net, 0, &params) != WEFT_OK)
        die(r, "weft_parameters");
    for (int i = 0; i < params.n; i++) {
        weft_tensor *g = weft_grad(params.item[i].tensor);
        if (g)
            add_result(r, "d/", params.item[i].name, g);
    }
    weft_tensor_list_done(&params);
}

static void write_results(run *r, const char *dir)
{
    char path[4096];
    weft_error error;
    double *losses = malloc(sizeof(r->loss));
    if (!losses || r->n == MAX_RESULTS)
        die(r, "losses");
    memcpy(losses, r->loss, sizeof(r->loss));
    r->result[r->n++] =
        (weft_safetensors_entry){strdup("losses"), WEFT_F64, WEFT_SHAPE(r->steps), losses};
    path_in(path, sizeof(path), dir, "", r->dtype);
    if (weft_safetensors_write(path, r->result, r->n, NULL, 0, &error) != WEFT_OK)
        die(r, path);
    path_in(path, sizeof(path), dir, "_weights", r->dtype);
    if (weft_module_save(r->net, path) != WEFT_OK)
        die(r, path);
}

/* ---- the network and its data ---------------------------------------------------------------- */

static void open_data(run *r, const char *dir)
{
    char path[4096];
    weft_error error;
    snprintf(path, sizeof(path), "%s/data.safetensors", dir);
    if (weft_safetensors_open(path, &r->data, &error) != WEFT_OK)
        die(r, path);
    r->images = weft_safetensors_find(r->data, "images");
    r->labels = weft_safetensors_find(r->data, "labels");
    if (!r->images || !r->labels || r->images->shape.rank != 4 || r->labels->shape.rank != 2 ||
        r->images->dtype != WEFT_F32 || r->labels->dtype != WEFT_I64)
        die(r, "images (steps*N, C, H, W) and labels (steps, N) are needed");
    r->steps = r->labels->shape.dim[0];
    r->batch = r->labels->shape.dim[1];
    if (r->steps < 1 || r->steps > MAX_STEPS || r->images->shape.dim[0] != r->steps * r->batch)
        die(r, "images and labels do not fit together");
}

static void make_net(run *r, const char *dir, const char *model, int classes, int n_args,
                     char **args)
{
    weft_model_arg own[MAX_ARGS];
    if (n_args > MAX_ARGS)
        die(r, "too many options");
    for (int i = 0; i < n_args; i++) {
        char *equals = strchr(args[i], '=');
        if (!equals)
            die(r, args[i]);
        *equals = '\0';
        own[i] = (weft_model_arg){args[i], equals + 1};
    }
    const int64_t *shape = r->images->shape.dim;
    r->net = weft_model_create(r->ctx, model,
                               &(weft_model_opts){.num_classes = classes,
                                                  .in_channels = (int)shape[1],
                                                  .height = (int)shape[2],
                                                  .width = (int)shape[3],
                                                  .args = own,
                                                  .n_args = n_args});
    char path[4096];
    snprintf(path, sizeof(path), "%s/init.safetensors", dir);
    if (!r->net || weft_module_to(r->net, r->dtype) != WEFT_OK ||
        weft_module_load(r->net, path, true) != WEFT_OK)
        die(r, path);
}

/* The images of a step, in the network's type; the file's are f32. */
static weft_tensor *images(const run *r, int64_t step)
{
    weft_shape shape = r->images->shape;
    shape.dim[0] = r->batch;
    int64_t n = weft_shape_count(shape);
    const float *from = (const float *)r->images->data + step * n;
    weft_tensor *t = weft_tensor_create(r->ctx, r->dtype, shape);
    if (!t)
        die(r, "images");
    if (r->dtype == WEFT_F32) {
        memcpy(weft_tensor_data(t), from, (size_t)n * sizeof(*from));
    } else {
        double *to = weft_tensor_data(t);
        for (int64_t i = 0; i < n; i++)
            to[i] = from[i];
    }
    return t;
}

/* ---- the comparison's computations ----------------------------------------------------------- */

static void evaluate(run *r)
{
    weft_tensor *x = images(r, 0);
    weft_module_eval(r->net);
    bool was = weft_no_grad_begin(r->ctx);
    weft_tensor *logits = weft_keep(weft_call(r->net, x));
    weft_no_grad_end(r->ctx, was);
    if (weft_sync(r->ctx) != WEFT_OK)
        die(r, "evaluation");
    add_result(r, "", "eval", logits);
    weft_tensor_unref(logits);
    weft_tensor_unref(x);
    weft_module_train(r->net, true);
}

static void train_step(run *r, weft_optimizer *sgd, int64_t step)
{
    weft_tensor *x = images(r, step);
    weft_tensor *y = weft_tensor_from(r->ctx, WEFT_I64, WEFT_SHAPE(r->batch),
                                      (const int64_t *)r->labels->data + step * r->batch);
    weft_optimizer_zero_grad(sgd);
    weft_tensor *logits = NULL, *loss = weft_training_loss(r->net, x, y, NULL, &logits);
    weft_tensor *kept = step == 0 ? weft_keep(logits) : NULL;
    if (!loss || weft_backward(loss) != WEFT_OK || weft_optimizer_step(sgd) != WEFT_OK)
        die(r, "a training step");
    r->loss[step] = weft_item(loss);
    if (step == 0) {
        add_result(r, "", "train", kept);
        add_gradients(r);
    }
    weft_tensor_unref(kept);
    weft_tensor_unref(x);
    weft_tensor_unref(y);
}

static int print_models(void)
{
    int n;
    const weft_model_info *model = weft_models(&n);
    for (int i = 0; i < n; i++)
        puts(model[i].name);
    return 0;
}

int main(int argc, char **argv)
{
    static run r;
    if (argc == 2 && strcmp(argv[1], "models") == 0)
        return print_models();
    if (argc < 7)
        die(&r, "usage: zoo_driver DIR MODEL f32|f64 CLASSES LR MOMENTUM [KEY=VALUE...]");
    const char *dir = argv[1];
    r.dtype = strcmp(argv[3], "f64") == 0 ? WEFT_F64 : WEFT_F32;
    open_data(&r, dir);
    weft_options options = {0};
    if (weft_context_create(&r.ctx, &options, NULL) != WEFT_OK)
        die(&r, "no context");
    make_net(&r, dir, argv[2], atoi(argv[4]), argc - 7, argv + 7);
    evaluate(&r);
    weft_optimizer *sgd = weft_sgd_create(
        r.ctx, r.net, &(weft_sgd_opts){.lr = atof(argv[5]), .momentum = atof(argv[6])});
    for (int64_t step = 0; sgd && step < r.steps; step++)
        train_step(&r, sgd, step);
    if (!sgd)
        die(&r, "no optimizer");
    write_results(&r, dir);
    for (int i = 0; i < r.n; i++) {
        free((void *)(uintptr_t)r.result[i].name);
        free((void *)(uintptr_t)r.result[i].data);
    }
    weft_optimizer_destroy(sgd);
    weft_module_unref(r.net);
    weft_safetensors_close(r.data);
    weft_context_destroy(r.ctx);
    return 0;
}
