/* Ops as a program records them; see ops.h. A step is one op: its result is written to a stored
 * tensor that is there already, and so are the gradients. Forward: without a gradient. Both:
 * forward, kept, and backward from a stored seed.
 *
 * Operands are plain f32 tensors (N, 64, 56, 56) of more than two last-level caches each. What is
 * compared is a copy by all threads, 64 KiB at a time, of as many bytes as the passes have to read
 * and write, each operand once. */
#include "bench/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/graph/graph.h"
#include "engine/machine/workers.h"
#include "engine/tensor/context.h"
#include "engine/tune/measure.h"
#include "weft/weft.h"

enum { MAX_IN = 3, MAX_SAMPLES = 512, C = 64, SIDE = 56, PIECE = 65536 /* bytes */ };

typedef weft_tensor *(*op_fn)(weft_tensor *const *in);
typedef enum shape_kind { FULL, CHANNEL, ROW, COLUMN, IMAGE, ONE } shape_kind;

typedef struct op_case {
    const char *name;
    op_fn fn;
    int n; /* inputs; what is behind the first may be smaller */
    /* Full tensors read and written; backward 0: no gradient. The gradients of add, sub and bias are the
     * seed itself, which the step copies for each operand: 2; summing it for a smaller operand: 1. */
    double forward, backward;
    shape_kind second;
} op_case;

#define UNARY(name, call)                                                                          \
    static weft_tensor *run_##name(weft_tensor *const *in)                                         \
    {                                                                                              \
        return call;                                                                               \
    }
#define X in[0]
UNARY(neg, weft_neg(X))
UNARY(abs, weft_abs(X))
UNARY(exp, weft_exp(X))
UNARY(log, weft_log(X))
UNARY(sqrt, weft_sqrt(X))
UNARY(rsqrt, weft_rsqrt(X))
UNARY(reciprocal, weft_reciprocal(X))
UNARY(square, weft_pow(X, 2))
UNARY(pow, weft_pow(X, 2.3))
UNARY(clamp, weft_clamp(X, 0.3, 0.9))
UNARY(scale, weft_scale(X, 3))
UNARY(add_scalar, weft_add_scalar(X, 3))
UNARY(relu, weft_relu(X))
UNARY(relu6, weft_relu6(X))
UNARY(leaky_relu, weft_leaky_relu(X, 0.1))
UNARY(elu, weft_elu(X, 1))
UNARY(sigmoid, weft_sigmoid(X))
UNARY(tanh, weft_tanh(X))
UNARY(silu, weft_silu(X))
UNARY(gelu, weft_gelu(X))
UNARY(gelu_tanh, weft_gelu_tanh(X))
UNARY(hardsigmoid, weft_hardsigmoid(X))
UNARY(hardswish, weft_hardswish(X))
UNARY(mish, weft_mish(X))
UNARY(softplus, weft_softplus(X, 1, 20))
UNARY(prelu, weft_prelu(X, weft_reshape(in[1], WEFT_SHAPE(C))))
UNARY(bias, weft_bias(X, weft_reshape(in[1], WEFT_SHAPE(C))))
UNARY(add, weft_add(X, in[1]))
UNARY(sub, weft_sub(X, in[1]))
UNARY(mul, weft_mul(X, in[1]))
UNARY(div, weft_div(X, in[1]))
UNARY(maximum, weft_maximum(X, in[1]))
UNARY(minimum, weft_minimum(X, in[1]))
UNARY(pow_tensor, weft_pow_tensor(X, in[1]))
UNARY(eq, weft_eq(X, in[1]))
UNARY(lt, weft_lt(X, in[1]))
UNARY(where, weft_where(X, in[1], in[2]))

static const op_case cases[] = {
    {"neg", run_neg, 1, 2, 2},
    {"abs", run_abs, 1, 2, 3},
    {"exp", run_exp, 1, 2, 3},
    {"log", run_log, 1, 2, 3},
    {"sqrt", run_sqrt, 1, 2, 3},
    {"rsqrt", run_rsqrt, 1, 2, 3},
    {"reciprocal", run_reciprocal, 1, 2, 3},
    {"square", run_square, 1, 2, 3},
    {"pow", run_pow, 1, 2, 3},
    {"clamp", run_clamp, 1, 2, 3},
    {"scale", run_scale, 1, 2, 2},
    {"add_scalar", run_add_scalar, 1, 2, 2},
    {"relu", run_relu, 1, 2, 3},
    {"relu6", run_relu6, 1, 2, 3},
    {"leaky_relu", run_leaky_relu, 1, 2, 3},
    {"elu", run_elu, 1, 2, 3},
    {"sigmoid", run_sigmoid, 1, 2, 3},
    {"tanh", run_tanh, 1, 2, 3},
    {"silu", run_silu, 1, 2, 3},
    {"gelu", run_gelu, 1, 2, 3},
    {"gelu_tanh", run_gelu_tanh, 1, 2, 3},
    {"hardsigmoid", run_hardsigmoid, 1, 2, 3},
    {"hardswish", run_hardswish, 1, 2, 3},
    {"mish", run_mish, 1, 2, 3},
    {"softplus", run_softplus, 1, 2, 3},
    {"prelu", run_prelu, 2, 2, 3, CHANNEL},
    {"bias", run_bias, 2, 2, 3, CHANNEL},
    {"add", run_add, 2, 3, 4},
    {"sub", run_sub, 2, 3, 4},
    {"mul", run_mul, 2, 3, 5},
    {"div", run_div, 2, 3, 5},
    {"maximum", run_maximum, 2, 3, 5},
    {"minimum", run_minimum, 2, 3, 5},
    {"pow_tensor", run_pow_tensor, 2, 3, 5},
    {"eq", run_eq, 2, 3, 0},
    {"lt", run_lt, 2, 3, 0},
    {"where", run_where, 3, 4, 4},
    {"add_channel", run_add, 2, 2, 3, CHANNEL},
    {"add_row", run_add, 2, 2, 3, ROW},
    {"add_column", run_add, 2, 2, 3, COLUMN},
    {"add_image", run_add, 2, 2, 3, IMAGE},
    {"add_one", run_add, 2, 2, 3, ONE},
    {"sub_channel", run_sub, 2, 2, 3, CHANNEL},
    {"mul_channel", run_mul, 2, 2, 3, CHANNEL},
    {"mul_row", run_mul, 2, 2, 3, ROW},
    {"mul_one", run_mul, 2, 2, 3, ONE},
    {"div_channel", run_div, 2, 2, 3, CHANNEL},
    {"div_one", run_div, 2, 2, 3, ONE},
    {"maximum_one", run_maximum, 2, 2, 3, ONE},
    {"lt_one", run_lt, 2, 2, 0, ONE},
};

typedef struct bed {
    const op_case *c;
    weft_context *ctx;
    weft_tensor *in[MAX_IN], *seed, *out;
    double copied; /* bytes of one tensor */
    int threads;
} bed;

static weft_shape shape_of(shape_kind kind, int64_t n)
{
    switch (kind) {
    case CHANNEL: return WEFT_SHAPE(C, 1, 1);
    case ROW: return WEFT_SHAPE(SIDE);
    case COLUMN: return WEFT_SHAPE(SIDE, 1);
    case IMAGE: return WEFT_SHAPE(n, 1, 1, 1);
    case ONE: return WEFT_SCALAR;
    default: return WEFT_SHAPE(n, C, SIDE, SIDE);
    }
}

/* In [0.25, 1.25): every op's derivative is finite there. */
static weft_tensor *filled(weft_context *ctx, weft_shape shape, uint32_t key)
{
    weft_tensor *t = weft_tensor_create(ctx, WEFT_F32, shape);
    float *x = t ? weft_tensor_data(t) : NULL;
    for (int64_t i = 0; x && i < weft_shape_count(shape); i++)
        x[i] = 0.25f + (float)(((uint32_t)i * 2654435761u + key) >> 8) * 0x1p-24f;
    return t;
}

static bool step(bed *b, bool both)
{
    weft_context *ctx = b->ctx;
    const bool was = both ? false : weft_no_grad_begin(ctx);
    weft_tensor *y = b->c->fn(b->in);
    if (!both)
        weft_no_grad_end(ctx, was);
    bool good = y && wf_graph_assign(b->out, y, false) == WEFT_OK;
    if (good && both) {
        y->kept = b->out; /* else weft_backward_with keeps it in memory of its own */
        good = weft_backward_with(y, b->seed, false) == WEFT_OK;
    }
    good = good && weft_sync(ctx) == WEFT_OK;
    for (int i = 0; i < b->c->n; i++)
        weft_zero_grad(b->in[i]);
    return good;
}

/* A tensor's bytes, from one place to another. */
static void copy_share(void *user, int worker, int workers)
{
    const bed *b = user;
    const size_t bytes = (size_t)b->copied, pieces = (bytes + PIECE - 1) / PIECE;
    const char *from = weft_tensor_const_data(b->seed);
    char *to = b->in[0] ? weft_tensor_data(b->out) : NULL;
    const size_t first = pieces * (size_t)worker / (size_t)workers,
                 end = pieces * ((size_t)worker + 1) / (size_t)workers;
    for (size_t p = first; p < end; p++) {
        const size_t at = p * PIECE, n = bytes - at < PIECE ? bytes - at : PIECE;
        memcpy(to + at, from + at, n);
    }
}

static bool bed_init(bed *b, const op_case *c, const bench_machine *m, weft_error *err)
{
    *b = (bed){.c = c, .threads = m->threads};
    const weft_options options = {.threads = m->threads};
    if (weft_context_create(&b->ctx, &options, err) != WEFT_OK)
        return false;
    const int64_t image = (int64_t)C * SIDE * SIDE * (int64_t)sizeof(float);
    const int64_t n = 1 + 2 * (int64_t)m->last_level_bytes / image;
    const weft_shape full = shape_of(FULL, n);
    bool good = (b->seed = filled(b->ctx, full, 7)) != NULL &&
                (b->out = weft_tensor_create(b->ctx, WEFT_F32, full)) != NULL;
    for (int i = 0; i < c->n && good; i++) {
        b->in[i] = filled(b->ctx, shape_of(i > 0 ? c->second : FULL, n), 31 * (uint32_t)i);
        good = b->in[i] != NULL;
        if (good && c->backward > 0 && !(c->fn == run_where && i == 0))
            weft_set_requires_grad(b->in[i], true);
    }
    b->copied = (double)weft_shape_count(full) * sizeof(float);
    if (!good)
        wf_error_set(err, WEFT_ERR_NOMEM, "%s", weft_error_text(b->ctx));
    return good;
}

static void bed_done(bed *b)
{
    for (int i = 0; i < MAX_IN; i++)
        weft_tensor_unref(b->in[i]);
    weft_tensor_unref(b->seed);
    weft_tensor_unref(b->out);
    weft_context_destroy(b->ctx);
}

enum { COPY, FORWARD, BOTH, TURNS };

static double least(const double *x, int n)
{
    double y = x[0];
    for (int i = 1; i < n; i++)
        y = x[i] < y ? x[i] : y;
    return y;
}

/* The shortest samples into seconds[]: whoever else uses the machine only adds to a sample, and to
 * a copy by two threads more than to arithmetic by one. false: the context has the error. */
static bool take_turns(bed *b, const bench_machine *m, double limit, double seconds[TURNS])
{
    static double samples[TURNS][MAX_SAMPLES];
    int n = 0;
    for (double end = wf_seconds() + limit; n < MAX_SAMPLES && (n < 6 || wf_seconds() < end); n++)
        for (int turn = 0; turn < TURNS; turn++) {
            const double start = wf_seconds();
            if (turn == COPY)
                wf_on_workers(m->topology, b->threads, copy_share, b);
            else if (turn == BOTH && b->c->backward == 0)
                continue;
            else if (!step(b, turn == BOTH))
                return false;
            samples[turn][n] = wf_seconds() - start;
        }
    for (int turn = 0; turn < TURNS; turn++) /* the first two warm up */
        seconds[turn] = least(samples[turn] + 2, n - 2);
    return true;
}

/* Whether one of the words of `list`, with commas between them, is in the name. */
static bool named(const char *name, const char *list)
{
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        char word[64];
        const size_t n = strcspn(at, ",");
        if (n < sizeof(word)) {
            memcpy(word, at, n);
            word[n] = '\0';
            if (strstr(name, word))
                return true;
        }
    }
    return false;
}

weft_status bench_ops_measure(const bench_ops_spec *spec, const bench_machine *machine, FILE *out,
                              weft_error *err)
{
    const bool all = !spec->only || strcmp(spec->only, "all") == 0;
    int n = 0;
    fprintf(out, "%-14s %9s %9s %9s   %s\n", "op", "copy ms", "forward", "both",
            "by a copy of as many bytes");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const op_case *c = &cases[i];
        double s[TURNS];
        bed b;
        if (!all && !named(c->name, spec->only))
            continue;
        const bool good =
            bed_init(&b, c, machine, err) && take_turns(&b, machine, spec->seconds, s);
        if (!good && !err->status)
            wf_error_set(err, WEFT_ERR_STATE, "%s", weft_error_text(b.ctx));
        bed_done(&b);
        if (!good)
            return err->status;
        const double forward = s[FORWARD] / (s[COPY] * c->forward / 2),
                     both = s[BOTH] / (s[COPY] * (c->forward + c->backward) / 2);
        n++;
        if (c->backward > 0)
            fprintf(out, "%-14s %9.3f %9.3f %9.3f   forward %.2f, both %.2f\n", c->name,
                    1e3 * s[COPY], 1e3 * s[FORWARD], 1e3 * s[BOTH], forward, both);
        else
            fprintf(out, "%-14s %9.3f %9.3f %9s   forward %.2f\n", c->name, 1e3 * s[COPY],
                    1e3 * s[FORWARD], "", forward);
        fflush(out);
    }
    if (n == 0)
        return wf_error_set(err, WEFT_ERR_INVALID, "no op has '%s' in its name", spec->only);
    return WEFT_OK;
}
