/* The files of networks' layers have each convolution of the network as often as the network does:
 * weights of every shape are counted in both. */
#include <stdlib.h>
#include <string.h>

#include "tests/modules/fixture.h"
#include "tests/shapes/shapes.h"

static const struct {
    const char *file, *model;
    const char *begin; /* of the names that count; NULL: all */
    bool depthwise;    /* the file has no others */
    bool fives;        /* its 5x5 kernels are 3x3 in the model, as in torchvision */
} networks[] = {
    {"resnet18", "resnet18", NULL, false, false},
    {"resnet50", "resnet50", NULL, false, false},
    {"resnext50", "resnext50_32x4d", NULL, false, false},
    {"vgg16", "vgg16", NULL, false, false},
    {"googlenet", "googlenet", NULL, false, true},
    {"mobilenet_v2", "mobilenet_v2", NULL, false, false},
    {"densenet121", "densenet121", NULL, false, false},
    {"efficientnet_b0_depthwise", "efficientnet_b0", NULL, true, false},
    {"mobilenet_v3_depthwise", "mobilenet_v3_large", "mobilenet_v3_large.", true, false},
    {"mobilenet_v3_depthwise", "mobilenet_v3_small", "mobilenet_v3_small.", true, false},
    {"shufflenet_v2_depthwise", "shufflenet_v2_x1_0", NULL, true, false},
};
enum { N_NETWORKS = sizeof networks / sizeof *networks };

static const char *path_of(const char *file)
{
    for (int i = 0; wf_shapes_files[i]; i++)
        if (strcmp(strrchr(wf_shapes_files[i], '/') + 1, file) == 0)
            return wf_shapes_files[i];
    fail_msg("no file %s", file);
    return NULL;
}

/* Of the model's weights so many have this shape. */
static int in_model(const weft_tensor_list *list, weft_shape shape)
{
    int n = 0;
    for (int i = 0; i < list->n; i++)
        n += weft_shape_equal(weft_tensor_shape(list->item[i].tensor), shape);
    return n;
}

static weft_shape weights_of(const wf_conv2d_desc *d, bool fives)
{
    int R = fives && d->R == 5 ? 3 : d->R, S = fives && d->S == 5 ? 3 : d->S;
    return WEFT_SHAPE(d->K, d->C / d->groups, R, S);
}

static void check(int at)
{
    int n = 0, layers = 0, weights = 0;
    char why[160];
    weft_model_opts opts = weft_model_find(networks[at].model)->defaults;
    bool was = weft_init_skip_begin(ctx);
    weft_module *m = weft_model_create(ctx, networks[at].model, &opts);
    weft_init_skip_end(ctx, was);
    assert_non_null(m);
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_parameters(m, 0, &list), WEFT_OK);
    wf_shape_case *c = wf_shapes_read(path_of(networks[at].file), &n, why, sizeof why);
    assert_non_null(c);
    const char *begin = networks[at].begin ? networks[at].begin : "";
    for (int i = 0; i < n; i++) {
        if (strncmp(c[i].name, begin, strlen(begin)) != 0)
            continue;
        int in_file = 0;
        weft_shape shape = weights_of(&c[i].desc, networks[at].fives);
        for (int j = 0; j < n; j++)
            if (strncmp(c[j].name, begin, strlen(begin)) == 0 &&
                weft_shape_equal(weights_of(&c[j].desc, networks[at].fives), shape))
                in_file += c[j].count;
        if (in_file != in_model(&list, shape))
            fail_msg("%s: the file has %d layers of the shape of %s, the model %d",
                     networks[at].file, in_file, c[i].name, in_model(&list, shape));
        layers += c[i].count;
    }
    for (int i = 0; i < list.n; i++) {
        weft_shape shape = weft_tensor_shape(list.item[i].tensor);
        weights += shape.rank == 4 && (!networks[at].depthwise || shape.dim[1] == 1);
    }
    assert_int_equal(layers, weights);
    free(c);
    weft_tensor_list_done(&list);
    weft_module_unref(m);
}

static void files_count_layers_as_their_networks_do(void **state)
{
    for (int i = 0; i < N_NETWORKS; i++)
        check(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(files_count_layers_as_their_networks_do)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
