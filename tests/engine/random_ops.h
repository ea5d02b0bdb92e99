/* What the files of ops share: short names for a program's values. */
#ifndef TESTS_ENGINE_RANDOM_OPS_H
#define TESTS_ENGINE_RANDOM_OPS_H

#include "tests/engine/random_program.h"

#define BELOW(n) program_below(&p->rng, n)
#define T(i) (p->node[i].t)
#define NAME(i) (p->node[i].name)

static inline weft_shape shape_of(const random_program *p, int i)
{
    return weft_tensor_shape(T(i));
}

static inline int64_t count_of(const random_program *p, int i)
{
    return weft_shape_count(shape_of(p, i));
}

static inline const char *truth(int64_t x)
{
    return x ? "True" : "False";
}

/* "[2, 3]" */
static inline const char *list(char text[100], weft_shape s)
{
    return weft_shape_format(s, text, 100);
}

/* Records a random op of images (N, C, H, W). */
void program_image(random_program *p);

#endif
