/* The convolutions that kernels are tried with: tests/shapes/conv2d_small and odd, or the file that
 * WEFT_TEST_SHAPES names. Read before the first test, freed after the last. */
#ifndef TESTS_KERNELS_CONV2D_SHAPES_H
#define TESTS_KERNELS_CONV2D_SHAPES_H

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/shapes/shapes.h"

static wf_shape_case *shapes;
static int n_shapes;

static int add_shapes(const char *path)
{
    char why[400];
    int n = 0;
    wf_shape_case *more = wf_shapes_read(path, &n, why, sizeof why);
    wf_shape_case *all = more ? realloc(shapes, (size_t)(n_shapes + n) * sizeof *shapes) : NULL;
    if (!all) {
        fprintf(stderr, "%s\n", more ? "out of memory" : why);
        free(more);
        return -1;
    }
    memcpy(all + n_shapes, more, (size_t)n * sizeof *more);
    free(more);
    shapes = all;
    n_shapes += n;
    return 0;
}

static int read_shapes(void **unused)
{
    const char *path = getenv("WEFT_TEST_SHAPES");
    omp_set_num_threads(1); /* as in every worker: Note [oneDNN and threads] */
    if (path)
        return add_shapes(path);
    return add_shapes(wf_shapes_files[WF_SHAPES_SMALL]) ||
                   add_shapes(wf_shapes_files[WF_SHAPES_ODD])
               ? -1
               : 0;
}

static int free_shapes(void **unused)
{
    free(shapes);
    return 0;
}

#endif
