/* A user's program: built by test_install.py against an installed Weft. */
#include <stdio.h>
#include <weft/weft.h>

int main(void)
{
    weft_context *ctx = NULL;
    weft_error err = WEFT_ERROR_INIT;
    weft_options options = WEFT_OPTIONS_INIT;
    options.threads = 2;
    if (weft_context_create(&ctx, &options, &err) != WEFT_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    const float values[] = {-1, 2, 3};
    float sum = 0;
    weft_tensor *x = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(3), values);
    weft_status status = weft_read(weft_sum(weft_relu(x), WEFT_ALL_DIMS, false), &sum, sizeof(sum));
    if (status == WEFT_OK)
        printf("weft %s, %d threads, sum %g\n", weft_version(), weft_threads(ctx), sum);
    else
        fprintf(stderr, "%s\n", weft_error_text(ctx));
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
    return status == WEFT_OK ? 0 : 1;
}
