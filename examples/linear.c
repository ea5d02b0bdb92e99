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

static void init(weft_module *m)
{
    weft_register_module(m, "fc", &((net *)m)->fc, weft_linear_create(m->ctx, 10, 5, NULL));
}

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    return weft_call(((net *)m)->fc, x);
}

static const weft_module_class net_class = {"Net", sizeof(net), .init = init, .forward = forward};

int main(void)
{
    weft_context *ctx = weft_context_default();
    weft_module *model = weft_module_create(ctx, &net_class);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(1, 10));
    weft_print_shape(weft_call(model, x), stdout);
    weft_status failed = weft_print_error(ctx, stderr);
    weft_tensor_unref(x);
    weft_module_unref(model);
    weft_context_destroy(ctx);
    return failed;
}
