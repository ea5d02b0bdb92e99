/* A module with one linear layer.
 *
 *     class Net(nn.Module):
 *         def __init__(self):
 *             super().__init__()
 *             self.fc = nn.Linear(10, 5)
 *
 *         def forward(self, x):
 *             return self.fc(x)
 *
 *     y = Net()(torch.randn(1, 10))
 *     print(list(y.shape))                                      # [1, 5]
 */
#include <stdio.h>

#include <weft/weft.h>

typedef struct net {
    weft_module base;
    weft_module *fc;
} net;

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    return weft_call(((net *)m)->fc, x);
}

static const weft_module_class net_class = {"Net", sizeof(net), .forward = forward};

static weft_module *net_create(weft_context *ctx)
{
    net *self = weft_module_create(ctx, &net_class);
    if (self != NULL)
        weft_register_module(&self->base, "fc", &self->fc, weft_linear_create(ctx, 10, 5, NULL));
    return weft_module_ok(self);
}

int main(void)
{
    weft_context *ctx;
    if (weft_context_create(&ctx, NULL, NULL) != WEFT_OK)
        return 1;
    weft_module *model = net_create(ctx);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(1, 10));
    weft_tensor *y = weft_call(model, x);
    char shape[64];
    puts(y != NULL ? weft_shape_format(weft_tensor_shape(y), shape, sizeof(shape))
                   : weft_error_text(ctx));
    weft_tensor_unref(x);
    weft_module_unref(model);
    weft_context_destroy(ctx);
    return y == NULL;
}
