/* Hooks that log the activations of every layer: hooks.py in C. A forward only records, so the hook
 * keeps the mean, and it is printed when the step has run. */
#include <stdio.h>

#include <weft/weft.h>

typedef struct log_entry {
    weft_shape shape;
    weft_tensor *mean;
    uint64_t handle;
} log_entry;

static weft_status log_output(void *user, weft_module *m, int n_in, weft_tensor *const *in,
                              int n_out, weft_tensor **out)
{
    log_entry *entry = user;
    entry->shape = weft_tensor_shape(out[0]);
    entry->mean = weft_keep(weft_mean(out[0], WEFT_ALL_DIMS, false));
    return entry->mean != NULL ? WEFT_OK : weft_error_status(m->ctx);
}

int main(void)
{
    weft_context *ctx = weft_context_default();
    weft_module *net = WEFT_SEQUENTIAL(ctx, weft_flatten_create(ctx),
                                       weft_linear_create(ctx, 4, 3, NULL), weft_relu_create(ctx));
    weft_init_constant(weft_get_parameter(net, "1.weight"), 0.25);
    weft_init_constant(weft_get_parameter(net, "1.bias"), 0.5);
    log_entry entries[3] = {{.mean = NULL}};
    for (int i = 0; i < 3; i++)
        entries[i].handle = weft_register_forward_hook(weft_at(net, i), log_output, &entries[i], 0);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 1, 2, 2), 1);
    weft_call(net, x);
    weft_sync(ctx);
    for (int i = 0; i < 3; i++) {
        char shape[64];
        printf("%s %s %.2f\n", weft_module_name(weft_at(net, i)),
               weft_shape_format(entries[i].shape, shape, sizeof(shape)),
               weft_item(entries[i].mean));
        weft_tensor_unref(entries[i].mean);
        weft_hook_remove(weft_at(net, i), entries[i].handle);
    }
    weft_call(net, x);
    weft_status failed = weft_print_error(ctx, stderr);
    weft_tensor_unref(x);
    weft_module_unref(net);
    weft_context_destroy(ctx);
    return failed;
}
