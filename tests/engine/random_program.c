/* See random_program.h: the frame of a program, its tensors and its backward pass. */
#include "tests/engine/random_program.h"

#include <math.h>
#include <stdarg.h>

static uint64_t next(uint64_t *rng) /* splitmix64, Steele, Lea and Flood 2014 */
{
    uint64_t z = *rng += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t program_below(uint64_t *rng, int64_t n)
{
    return (int64_t)(next(rng) % (uint64_t)n);
}

int program_add(random_program *p, weft_tensor *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(p->line, sizeof p->line, format, args);
    va_end(args);
    if (!t || p->n_nodes == PROGRAM_NODES) {
        p->failed = true;
        return 0;
    }
    program_node *node = &p->node[p->n_nodes];
    node->t = t;
    node->state = false;
    snprintf(node->name, sizeof node->name, "t%d", p->n_nodes);
    if (p->twin)
        fprintf(p->twin, "%s = %s\n", node->name, p->line);
    return p->n_nodes++;
}

/* Labels below `classes`; where that is 0, numbers of f32 that are about normal (a sum of four). */
static weft_tensor *made(random_program *p, int place, weft_shape shape, double scale,
                         int64_t classes)
{
    static int64_t labels[4 * PROGRAM_ELEMENTS];
    static double wide[4 * PROGRAM_ELEMENTS];
    static float narrow[4 * PROGRAM_ELEMENTS];
    uint64_t rng = p->number * 1000 + (uint64_t)place;
    for (int64_t i = 0; i < weft_shape_count(shape); i++) {
        double sum = -2;
        for (int k = 0; k < 4 && !classes; k++)
            sum += (double)program_below(&rng, 1 << 20) / (1 << 20);
        narrow[i] = (float)(1.7 * sum * scale);
        wide[i] = (double)narrow[i];
        labels[i] = classes ? program_below(&rng, classes) : 0;
    }
    return classes                ? weft_tensor_from(p->ctx, WEFT_I64, shape, labels)
           : p->dtype == WEFT_F32 ? weft_tensor_from(p->ctx, WEFT_F32, shape, narrow)
                                  : weft_tensor_from(p->ctx, WEFT_F64, shape, wide);
}

int program_stored(random_program *p, weft_shape shape, double scale, int64_t classes)
{
    if (p->next_stored == PROGRAM_STORED || p->n_nodes == PROGRAM_NODES ||
        weft_shape_count(shape) > 4 * PROGRAM_ELEMENTS) {
        p->failed = true;
        return 0;
    }
    const int place = p->next_stored++;
    const bool trained = classes == 0 && program_below(&p->rng, 4) != 0;
    if (place == p->n_stored) {
        p->stored[place] = made(p, place, shape, scale, classes);
        p->n_stored++;
        if (trained)
            weft_set_requires_grad(p->stored[place], true);
    }
    program_node *node = &p->node[p->n_nodes];
    node->t = p->stored[place];
    node->state = false;
    snprintf(node->name, sizeof node->name, "s%d", place);
    return p->n_nodes++;
}

int program_state(random_program *p, weft_shape shape, double value)
{
    const uint64_t before = p->rng;
    const int was = p->n_stored, place = program_stored(p, shape, 1, 0);
    p->rng = before;
    p->node[place].state = true;
    if (p->n_stored > was) {
        weft_set_requires_grad(p->node[place].t, false);
        weft_init_constant(p->node[place].t, value);
    }
    return place;
}

static bool readable(const program_node *node)
{
    const weft_dtype dtype = weft_tensor_dtype(node->t);
    return !node->state && (dtype == WEFT_F32 || dtype == WEFT_F64);
}

int program_pick(random_program *p)
{
    for (;;) { /* half of the time one of the last few */
        const int64_t n = p->n_nodes, few = n < 6 ? n : 6;
        const int i = (int)(program_below(&p->rng, 2) ? program_below(&p->rng, n)
                                                      : n - 1 - program_below(&p->rng, few));
        if (readable(&p->node[i]))
            return i;
    }
}

static weft_shape random_shape(random_program *p, int rank)
{
    static const int64_t channels[] = {1, 2, 3, 4, 5, 6, 8, 8, 12, 16, 17, 32};
    weft_shape s = {.rank = rank};
    for (int i = 0; i < rank; i++)
        s.dim[i] = i == 1   ? channels[program_below(&p->rng, 12)]
                   : i == 0 ? 1 + program_below(&p->rng, 3)
                            : 1 + program_below(&p->rng, rank > 4 ? 3 : 7);
    return s;
}

int program_pick_rank(random_program *p, int rank)
{
    const int start = program_pick(p);
    if (program_below(&p->rng, 8) != 0)
        for (int i = 0; i < p->n_nodes; i++) {
            const int k = (start + i) % p->n_nodes;
            if (weft_tensor_shape(p->node[k].t).rank == rank && readable(&p->node[k]))
                return k;
        }
    return program_stored(p, random_shape(p, rank), 1, 0);
}

void program_record(random_program *p)
{
    p->rng = p->number;
    p->aside = p->number ^ 0x5555;
    p->n_nodes = p->next_stored = 0;
    program_stored(p, random_shape(p, 4), 1, 0);
    for (int64_t left = program_below(&p->rng, 3); left >= 0; left--)
        program_stored(p, random_shape(p, 1 + (int)program_below(&p->rng, 4)), 1, 0);
    const int64_t ops = 2 + program_below(&p->rng, program_below(&p->rng, 2) ? 40 : 12);
    bool was = false, scope = false;
    for (int64_t i = 0; i < ops && !p->failed && p->n_nodes < PROGRAM_NODES - 20; i++) {
        if (p->recompute && !scope && program_below(&p->aside, 3) == 0) {
            was = weft_recompute_begin(p->ctx);
            scope = true;
        }
        program_op(p);
        if (scope && program_below(&p->aside, 3) == 0) {
            weft_recompute_end(p->ctx, was);
            scope = false;
        }
        if (p->reads && !p->failed && program_below(&p->aside, 6) == 0) {
            static char data[PROGRAM_ELEMENTS * 32];
            weft_tensor *t = p->node[program_below(&p->aside, p->n_nodes)].t;
            if (weft_read(t, data,
                          (size_t)weft_shape_count(weft_tensor_shape(t)) *
                              weft_dtype_size(weft_tensor_dtype(t))) != WEFT_OK)
                p->failed = true;
        }
    }
    if (scope)
        weft_recompute_end(p->ctx, was);
}

weft_tensor *program_backward(random_program *p)
{
    int loss = -1;
    const int64_t terms = 1 + program_below(&p->rng, 4);
    for (int64_t i = 0; i < terms; i++) {
        const int k = i == 0 ? p->n_nodes - 1 : program_pick(p);
        if (p->failed || !readable(&p->node[k]) || !weft_requires_grad(p->node[k].t))
            continue;
        weft_tensor *mean = weft_mean(weft_tanh(p->node[k].t), WEFT_ALL_DIMS, false);
        const int term = program_add(p, mean, "torch.tanh(%s).mean()", p->node[k].name);
        if (loss >= 0)
            loss = program_add(p, weft_add(p->node[loss].t, p->node[term].t), "%s + %s",
                               p->node[loss].name, p->node[term].name);
        else
            loss = term;
    }
    if (p->failed || loss < 0)
        return NULL;
    const int other = program_pick(p);
    const bool twice = program_below(&p->rng, 3) == 0 && weft_requires_grad(p->node[other].t) &&
                       !weft_tensor_is_stored(p->node[other].t);
    if (weft_backward_with(p->node[loss].t, NULL, twice) != WEFT_OK)
        p->failed = true;
    if (p->twin)
        fprintf(p->twin, "%s.backward(retain_graph=True)\n", p->node[loss].name);
    if (twice && !p->failed) {
        const int seed = program_stored(p, weft_tensor_shape(p->node[other].t), 0.1, 0);
        weft_tensor *s = weft_detach(p->node[seed].t);
        if (p->failed || weft_backward_with(p->node[other].t, s, false) != WEFT_OK)
            p->failed = true;
        if (p->twin)
            fprintf(p->twin, "%s.backward(%s.detach(), retain_graph=True)\n", p->node[other].name,
                    p->node[seed].name);
    }
    return p->failed ? NULL : p->node[loss].t;
}

void program_done(random_program *p)
{
    for (int i = 0; i < p->n_stored; i++)
        weft_tensor_unref(p->stored[i]);
    p->n_stored = 0;
}
