/* Reads and walks files of shapes; see networks.h. */
#include "bench/networks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "engine/base/alloc.h"
#include "tests/shapes/shapes.h"

typedef struct walk {
    const char *only;
    int batch;
    weft_dtype images;
    weft_isa isa;
    bench_visit visit;
    void *user;
    weft_error *err;
} walk;

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* "resnet50" is one of this tree's files, everything else a path. */
static const char *find_file(const char *name)
{
    for (int i = 0; wf_shapes_files[i] && !strchr(name, '/'); i++)
        if (strcmp(base_name(wf_shapes_files[i]), name) == 0)
            return wf_shapes_files[i];
    return name;
}

static weft_status layer(const walk *w, const char *network, const wf_shape_case *c)
{
    const int block = wf_isa_block(w->isa);
    bench_layer at = {.network = network, .name = c->name, .count = c->count, .desc = c->desc};
    if (w->batch)
        at.desc.N = w->batch;
    at.desc.src_block = at.desc.src_type == WEFT_U8 || at.desc.C < block ? 1 : block;
    at.desc.dst_block = block;
    at.desc.dst_type = w->images;
    if (at.desc.src_block > 1)
        at.desc.src_type = w->images;
    for (at.pass = WF_CONV2D_FORWARD; at.pass <= WF_CONV2D_BACKWARD_WEIGHTS; at.pass++) {
        if (at.pass == WF_CONV2D_BACKWARD_DATA && at.desc.src_block == 1)
            continue;
        if (w->only && !strstr(c->name, w->only) &&
            strcmp(wf_conv2d_pass_name(at.pass), w->only) != 0)
            continue;
        WF_TRY(w->visit(w->user, &at, w->err));
    }
    return WEFT_OK;
}

static weft_status network(const walk *w, const char *path)
{
    int n = 0;
    char why[WEFT_ERROR_TEXT];
    wf_shape_case *cases = wf_shapes_read(path, &n, why, sizeof why);
    if (!cases)
        return wf_error_set(w->err, WEFT_ERR_INVALID, "%s", why);
    weft_status status = WEFT_OK;
    for (int i = 0; i < n && status == WEFT_OK; i++) {
        if (!*cases[i].name)
            snprintf(cases[i].name, sizeof cases[i].name, "line %d", i + 1);
        status = layer(w, base_name(path), &cases[i]);
    }
    free(cases);
    return status;
}

weft_status bench_networks_visit(const char *networks, const char *only, int batch,
                                 weft_dtype images, weft_isa isa, bench_visit visit, void *user,
                                 weft_error *err)
{
    const walk w = {only, batch, images, isa, visit, user, err};
    weft_status status = WEFT_OK;
    if (strcmp(networks, "all") == 0) {
        for (int i = WF_SHAPES_NETWORKS; wf_shapes_files[i] && status == WEFT_OK; i++)
            status = network(&w, wf_shapes_files[i]);
        return status;
    }
    char *names = wf_strdup(networks), *rest = NULL;
    if (!names)
        return wf_nomem(err, strlen(networks), "names");
    for (char *name = strtok_r(names, ",", &rest); name && status == WEFT_OK;
         name = strtok_r(NULL, ",", &rest))
        status = network(&w, find_file(name));
    wf_free(names);
    return status;
}
