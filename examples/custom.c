/* A module with two linear layers and a parameter of its own, used in a matrix product.
 *
 *     class Net(nn.Module):
 *         def __init__(self):
 *             super().__init__()
 *             self.fc1 = nn.Linear(10, 20)
 *             self.fc2 = nn.Linear(20, 5)
 *             self.register_parameter("weight_custom", nn.Parameter(torch.randn(5, 3)))
 *
 *         def forward(self, x):
 *             x = self.fc2(torch.relu(self.fc1(x)))
 *             return torch.matmul(x, self.weight_custom)
 *
 *     net = Net()
 *     y = net(torch.randn(2, 10))
 *     y.mean().backward()
 *     for name, p in net.named_parameters():
 *         print(name, list(p.grad.shape))                       # weight_custom [5, 3] ...
 *     print(list(y.shape))                                      # [2, 3]
 */
#include <stdio.h>

#include <weft/weft.h>

typedef struct net {
    weft_module base;
    weft_module *fc1, *fc2;
    weft_tensor *weight_custom;
} net;

static void init(weft_module *m)
{
    net *self = (net *)m;
    weft_register_module(m, "fc1", &self->fc1, weft_linear_create(m->ctx, 10, 20, NULL));
    weft_register_module(m, "fc2", &self->fc2, weft_linear_create(m->ctx, 20, 5, NULL));
    weft_register_parameter(m, "weight_custom", &self->weight_custom,
                            weft_randn(m->ctx, WEFT_SHAPE(5, 3)));
}

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    net *self = (net *)m;
    x = weft_call(self->fc2, weft_relu(weft_call(self->fc1, x)));
    return weft_matmul(x, self->weight_custom, false, false);
}

static const weft_module_class net_class = {"Net", sizeof(net), .init = init, .forward = forward};

int main(void)
{
    weft_context *ctx = weft_context_default();
    weft_module *model = weft_module_create(ctx, &net_class);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(2, 10));
    weft_tensor *y = weft_call(model, x);
    weft_backward(weft_mean(y, WEFT_ALL_DIMS, false));
    weft_tensor_list parameters = WEFT_TENSOR_LIST_INIT;
    weft_parameters(model, 0, &parameters);
    for (int i = 0; i < parameters.n; i++) {
        printf("%s ", parameters.item[i].name);
        weft_print_shape(weft_grad(parameters.item[i].tensor), stdout);
    }
    weft_print_shape(y, stdout);
    weft_status failed = weft_print_error(ctx, stderr);
    weft_tensor_list_done(&parameters);
    weft_tensor_unref(x);
    weft_module_unref(model);
    weft_context_destroy(ctx);
    return failed;
}
