/* Random programs: a graph of up to a few dozen ops of every kind, on small tensors, recorded from a
 * number. The same number gives the same program, whatever runs it. */
#ifndef TESTS_ENGINE_RANDOM_PROGRAM_H
#define TESTS_ENGINE_RANDOM_PROGRAM_H

#include <stdio.h>

#include "weft/weft.h"

enum {
    PROGRAM_NODES = 200,     /* values of a program at most */
    PROGRAM_STORED = 120,    /* stored tensors at most */
    PROGRAM_ELEMENTS = 3000, /* of a value at most */
    PROGRAM_LINE = 400       /* bytes of an op's text */
};

/* A value of the program, and what PyTorch's twin calls it. */
typedef struct program_node {
    weft_tensor *t;
    char name[12];
    bool state; /* stored, and written by an op: no op reads it by the way */
} program_node;

/* A program and the stored tensors it reads. Begin with zeros but for what stands first. */
typedef struct random_program {
    weft_context *ctx;
    uint64_t number;
    weft_dtype dtype; /* f32 or f64 */
    bool torch;       /* only ops that PyTorch computes alike: nothing is drawn */
    FILE *twin;       /* the same in Python, line by line; or NULL */
    bool recompute;   /* puts scopes of weft_recompute_begin around some ops */
    bool reads;       /* reads some values in the middle of the step */

    uint64_t rng, aside; /* random numbers: of the program, and of what does not change it */
    int n_nodes;
    program_node node[PROGRAM_NODES];
    int n_stored, next_stored; /* made so far; taken in this recording */
    weft_tensor *stored[PROGRAM_STORED];
    bool failed;             /* a call failed; the context has the error */
    char line[PROGRAM_LINE]; /* the last op */
} random_program;

/* Records the program's ops. Stored tensors are made by the first call, and used again by later
 * ones. */
void program_record(random_program *p);
/* Records a loss of some of the values and its backward pass, perhaps a second one of another
 * value. Returns the loss; NULL if no value depends on a tensor that requires a gradient. */
weft_tensor *program_backward(random_program *p);
/* Drops the stored tensors. */
void program_done(random_program *p);

/* The next random number, below n. */
int64_t program_below(uint64_t *rng, int64_t n);

/* For program_ops.c: appends a value, with the op's text in Python, and returns its place. */
int program_add(random_program *p, weft_tensor *t, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The next stored tensor, about normal times `scale`, or labels below `classes` if that is not 0. */
int program_stored(random_program *p, weft_shape shape, double scale, int64_t classes);
/* The next stored tensor that nothing trains, full of `value`: state that ops write. */
int program_state(random_program *p, weft_shape shape, double value);
/* Any value; one of this rank, made if there is none. */
int program_pick(random_program *p);
int program_pick_rank(random_program *p, int rank);
/* Records one random op. */
void program_op(random_program *p);

#endif
