/* Weft's half of test_torch_state.py: a network with every kind of entry, to and from a file.
 *
 *     state_tool save FILE     every element is numbered
 *     state_tool check FILE    loads strictly; the numbers must be there
 *     state_tool print FILE    writes the network's text
 *
 * Element k of entry i is i + k/8, exact in every type; integers are 100*i + k. */
#include <stdio.h>
#include <string.h>

#include "weft/weft.h"

static const weft_module_class bag_class = {.name = "Bag", .size = sizeof(weft_module)};

static weft_module *net_create(weft_context *ctx)
{
    weft_module *m = weft_module_create(ctx, &bag_class, NULL);
    weft_register_module(m, "features", NULL,
                         WEFT_SEQUENTIAL(ctx, weft_conv2d_create(ctx, 3, 4, 3, NULL),
                                         weft_batch_norm2d_create(ctx, 4, NULL),
                                         weft_relu_create(ctx)));
    weft_register_module(m, "first", NULL, weft_linear_create(ctx, 4, 4, NULL));
    weft_register_module(m, "second", NULL, weft_linear_create(ctx, 4, 4, NULL));
    weft_register_parameter(weft_get_module(m, "second"), "weight", NULL,
                            weft_tensor_ref(weft_get_parameter(m, "first.weight")));
    weft_register_parameter(m, "wide", NULL, weft_tensor_create(ctx, WEFT_F64, WEFT_SHAPE(2, 3)));
    weft_register_buffer(m, "scalar", NULL, weft_tensor_create(ctx, WEFT_F32, WEFT_SCALAR), true);
    weft_register_buffer(m, "bytes", NULL, weft_tensor_create(ctx, WEFT_U8, WEFT_SHAPE(5)), true);
    weft_register_buffer(m, "hidden", NULL, weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(5)),
                         false);
    return weft_module_ok(m);
}

/* Writes the numbers, or counts what differs from them. */
static int64_t number(const weft_tensor_list *state, bool write)
{
    int64_t wrong = 0;
    for (int i = 0; i < state->n; i++) {
        weft_tensor *t = state->item[i].tensor;
        int shared = i; /* a shared tensor is numbered under its first name */
        for (int k = i - 1; k >= 0; k--)
            shared = state->item[k].tensor == t ? k : shared;
        void *data = weft_tensor_data(t);
        int64_t n = weft_shape_count(weft_tensor_shape(t));
        for (int64_t k = 0; k < n; k++) {
            double value = shared + (double)k / 8, integer = 100 * shared + (double)k;
#define CASE(dtype, type, want)                                                                    \
    case dtype:                                                                                    \
        if (write)                                                                                 \
            ((type *)data)[k] = (type)(want);                                                      \
        wrong += ((type *)data)[k] != (type)(want);                                                \
        break;
            switch (weft_tensor_dtype(t)) {
                CASE(WEFT_F32, float, value)
                CASE(WEFT_F64, double, value)
                CASE(WEFT_I64, int64_t, integer)
                CASE(WEFT_U8, uint8_t, (int)integer & 255)
            default: wrong++;
            }
        }
    }
    return wrong;
}

int main(int argc, char **argv)
{
    weft_context *ctx;
    if (argc != 3 || weft_context_create(&ctx, &(weft_options){.threads = 1}, NULL) != WEFT_OK)
        return 2;
    bool print = strcmp(argv[1], "print") == 0, save = strcmp(argv[1], "save") == 0;
    weft_module *net = net_create(ctx);
    weft_tensor_list state = WEFT_TENSOR_LIST_INIT;
    weft_status status = weft_state_dict(net, &state);
    int64_t wrong = 0;
    FILE *out = print ? fopen(argv[2], "w") : NULL;
    if (out != NULL) {
        status = weft_module_print(net, out);
        fclose(out);
    } else if (status == WEFT_OK && save) {
        number(&state, true);
        status = weft_module_save(net, argv[2]);
    } else if (status == WEFT_OK) {
        status = weft_module_load(net, argv[2], true);
        wrong = number(&state, false);
    }
    printf("%lld wrong; %s\n", (long long)wrong, weft_error_text(ctx));
    weft_tensor_list_done(&state);
    weft_module_unref(net);
    weft_context_destroy(ctx);
    return status != WEFT_OK || wrong != 0;
}
