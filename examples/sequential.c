/* Linear, ReLU, linear in a row, and one step of training.
 *
 *     model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))
 *     print(model)
 *     sgd = torch.optim.SGD(model.parameters(), lr=0.1)
 *     loss = F.cross_entropy(model(torch.randn(4, 10)), torch.tensor([0, 1, 2, 3]))
 *     loss.backward()
 *     sgd.step()
 *     print("loss is finite:", math.isfinite(loss.item()))
 */
#include <math.h>
#include <stdio.h>

#include <weft/weft.h>

int main(void)
{
    weft_context *ctx = weft_context_default();
    weft_module *model =
        WEFT_SEQUENTIAL(ctx, weft_linear_create(ctx, 10, 20, NULL), weft_relu_create(ctx),
                        weft_linear_create(ctx, 20, 5, NULL));
    weft_module_print(model, stdout);
    puts("");

    weft_optimizer *sgd = weft_sgd_create(ctx, model, &(weft_sgd_opts){.lr = 0.1});
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(4, 10));
    weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(4), (int64_t[]){0, 1, 2, 3});
    weft_tensor *loss = weft_cross_entropy(weft_call(model, x), y, NULL);
    weft_backward(loss);
    weft_optimizer_step(sgd);
    printf("loss is finite: %s\n", isfinite(weft_item(loss)) ? "True" : "False");
    weft_status failed = weft_print_error(ctx, stderr);
    weft_tensor_unref(x);
    weft_tensor_unref(y);
    weft_optimizer_destroy(sgd);
    weft_module_unref(model);
    weft_context_destroy(ctx);
    return failed;
}
