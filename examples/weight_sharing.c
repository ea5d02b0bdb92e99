/* Two layers that share one weight: one gradient, saved under both
 * names: weight_sharing.py in C. */
#include <stdio.h>

#include <weft/weft.h>

typedef struct tied {
    weft_module base;
    weft_module *first, *second;
} tied;

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    tied *self = (tied *)m;
    return weft_call(self->second, weft_call(self->first, x));
}

static const weft_module_class tied_class = {"Tied", sizeof(tied), .forward = forward};

static weft_module *tied_create(weft_context *ctx)
{
    tied *self = weft_module_create(ctx, &tied_class, NULL);
    if (self == NULL)
        return NULL;
    weft_linear_opts no_bias = {.no_bias = true};
    weft_module *m = &self->base;
    weft_register_module(m, "first", &self->first, weft_linear_create(ctx, 2, 2, &no_bias));
    weft_register_module(m, "second", &self->second, weft_linear_create(ctx, 2, 2, &no_bias));
    weft_tensor *weight = weft_get_parameter(m, "first.weight");
    weft_register_parameter(self->second, "weight", NULL, weft_tensor_ref(weight));
    return weft_module_ok(self);
}

static void print_names(const char *title, const weft_tensor_list *list)
{
    printf("%s", title);
    for (int i = 0; i < list->n; i++)
        printf(" %s", list->item[i].name);
    puts("");
}

int main(void)
{
    weft_context *ctx = weft_context_default();
    weft_module *net = tied_create(ctx);
    weft_tensor *weight = weft_get_parameter(net, "second.weight");
    weft_init_constant(weight, 0.5);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(1, 2), 1);
    weft_tensor *y = weft_sum(weft_call(net, x), WEFT_ALL_DIMS, false);
    weft_backward(y);
    float g[4] = {0};
    weft_read(weft_grad(weight), g, sizeof(g));
    printf("y %.1f, gradient %.1f\n", weft_item(y), g[0]);
    weft_tensor_list parameters = WEFT_TENSOR_LIST_INIT, state = WEFT_TENSOR_LIST_INIT;
    weft_parameters(net, 0, &parameters);
    weft_state_dict(net, &state);
    print_names("parameters", &parameters);
    print_names("state", &state);
    weft_status failed = weft_print_error(ctx, stderr);
    weft_tensor_list_done(&parameters);
    weft_tensor_list_done(&state);
    weft_tensor_unref(x);
    weft_module_unref(net);
    weft_context_destroy(ctx);
    return failed;
}
