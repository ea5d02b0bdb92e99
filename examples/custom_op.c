/* An op of one's own, forward and backward on plain arrays.
 *
 *     class Cube(torch.autograd.Function):
 *         @staticmethod
 *         def forward(ctx, x):
 *             ctx.save_for_backward(x)
 *             return x ** 3
 *
 *         @staticmethod
 *         def backward(ctx, grad):
 *             x, = ctx.saved_tensors
 *             return 3 * x ** 2 * grad
 *
 *     x = torch.tensor([1., 2., 3.], dtype=torch.double, requires_grad=True)
 *     Cube.apply(x).sum().backward()
 *     print(x.grad)                                  # 3 12 27
 *     print(torch.autograd.gradcheck(Cube.apply, x)) # gradcheck: ok
 */
#include <stdio.h>

#include <weft/weft.h>

static weft_status cube(const weft_custom_call *c)
{
    const double *x = c->in[0].data;
    double *y = c->out[0].data;
    for (int64_t i = 0; i < weft_shape_count(c->in[0].shape); i++)
        y[i] = x[i] * x[i] * x[i];
    return WEFT_OK;
}

static weft_status cube_backward(const weft_custom_call *c)
{
    const double *x = c->in[0].data, *dy = c->dout[0].data;
    double *dx = c->din[0].data;
    for (int64_t i = 0; i < weft_shape_count(c->in[0].shape); i++)
        dx[i] = 3 * x[i] * x[i] * dy[i];
    return WEFT_OK;
}

static const weft_custom_op cube_op = {
    .name = "cube", .n_in = 1, .n_out = 1, .forward = cube, .backward = cube_backward};

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_custom(&cube_op, NULL, in, NULL);
}

int main(void)
{
    weft_context *ctx = weft_context_default();
    weft_tensor *x = weft_tensor_from(ctx, WEFT_F64, WEFT_SHAPE(3), (double[]){1, 2, 3});
    weft_set_requires_grad(x, true);
    double g[3] = {0};
    weft_backward(weft_sum(weft_custom(&cube_op, NULL, &x, NULL), WEFT_ALL_DIMS, false));
    weft_read(weft_grad(x), g, sizeof(g));
    printf("%g %g %g\n", g[0], g[1], g[2]);
    weft_status status = weft_gradcheck(ctx, apply, NULL, &x, 1, NULL);
    printf("gradcheck: %s\n", status == WEFT_OK ? "ok" : weft_error_text(ctx));
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
    return status != WEFT_OK;
}
