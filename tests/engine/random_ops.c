/* See random_program.h: the ops but those of images. Each is recorded here, and said in Python in the
 * same line. */
#include "tests/engine/random_ops.h"

/* x*x + 0.5: above 0. */
static int positive(random_program *p, int x)
{
    x = program_add(p, weft_mul(T(x), T(x)), "%s * %s", NAME(x), NAME(x));
    return program_add(p, weft_add_scalar(T(x), 0.5), "%s + 0.5", NAME(x));
}

/* ---- element by element ---------------------------------------------------------------------- */

typedef struct unary {
    weft_tensor *(*op)(weft_tensor *x);
    const char *torch;
    bool positive; /* wants x above 0 */
} unary;
static const unary unaries[] = {
    {weft_relu, "F.relu(%s)", false},
    {weft_relu6, "F.relu6(%s)", false},
    {weft_sigmoid, "torch.sigmoid(%s)", false},
    {weft_tanh, "torch.tanh(%s)", false},
    {weft_silu, "F.silu(%s)", false},
    {weft_gelu, "F.gelu(%s)", false},
    {weft_gelu_tanh, "F.gelu(%s, approximate='tanh')", false},
    {weft_hardsigmoid, "F.hardsigmoid(%s)", false},
    {weft_hardswish, "F.hardswish(%s)", false},
    {weft_mish, "F.mish(%s)", false},
    {weft_neg, "-%s", false},
    {weft_abs, "%s.abs()", false},
    {weft_detach, "%s.detach()", false},
    {weft_check_finite, "%s * 1", false},
    {weft_log, "%s.log()", true},
    {weft_sqrt, "%s.sqrt()", true},
    {weft_rsqrt, "%s.rsqrt()", true},
    {weft_reciprocal, "%s.reciprocal()", true},
};

static void one_operand(random_program *p)
{
    int x = program_pick(p);
    const int k = (int)BELOW(20 + 8);
    const double a = (double)(1 + BELOW(8)) / 4;
    if (k < (int)(sizeof unaries / sizeof *unaries)) {
        x = unaries[k].positive ? positive(p, x) : x;
        program_add(p, unaries[k].op(T(x)), unaries[k].torch, NAME(x));
    } else if (k == 18) {
        x = program_add(p, weft_clamp(T(x), -a, 3), "%s.clamp(%g, 3)", NAME(x), -a);
        program_add(p, weft_exp(T(x)), "%s.exp()", NAME(x));
    } else if (k == 19) {
        x = positive(p, x);
        program_add(p, weft_pow(T(x), a - 1), "%s ** %g", NAME(x), a - 1);
    } else if (k == 20) {
        program_add(p, weft_leaky_relu(T(x), a / 10), "F.leaky_relu(%s, %.17g)", NAME(x), a / 10);
    } else if (k == 21) {
        program_add(p, weft_elu(T(x), a), "F.elu(%s, %g)", NAME(x), a);
    } else if (k == 22) {
        program_add(p, weft_softplus(T(x), a, 20), "F.softplus(%s, %g, 20)", NAME(x), a);
    } else if (k < 25) {
        program_add(p, weft_scale(T(x), a - 1), "%s * %g", NAME(x), a - 1);
    } else if (k == 25) {
        program_add(p, weft_add_scalar(T(x), a - 1), "%s + %g", NAME(x), a - 1);
    } else if (!p->torch && k == 26) {
        program_add(p, weft_dropout(T(x), a / 4, true), "dropout");
    } else if (!p->torch && shape_of(p, x).rank > 0) {
        program_add(p,
                    BELOW(2) ? weft_stochastic_depth(T(x), a / 4, true)
                             : weft_alpha_dropout(T(x), a / 4, true),
                    "dropout");
    }
}

/* Something that broadcasts with x: another value, a part of x, or a tensor of its own. */
static int partner(random_program *p, int x)
{
    const weft_shape s = shape_of(p, x);
    for (int tries = 0; tries < 4; tries++) {
        const int y = program_pick(p);
        const weft_shape o = shape_of(p, y);
        bool fits = true;
        weft_shape both = s.rank > o.rank ? s : o;
        for (int i = 1; i <= s.rank && i <= o.rank; i++) {
            const int64_t a = s.dim[s.rank - i], b = o.dim[o.rank - i];
            fits = fits && (a == b || a == 1 || b == 1);
            both.dim[both.rank - i] = a > b ? a : b;
        }
        if (fits && weft_shape_count(both) <= PROGRAM_ELEMENTS)
            return y;
    }
    weft_shape o = s;
    const int drop = BELOW(3) == 0 && s.rank > 0 ? (int)BELOW(s.rank) : 0;
    o.rank -= drop;
    for (int i = 0; i < o.rank; i++)
        o.dim[i] = BELOW(3) == 0 ? 1 : s.dim[i + drop];
    if (o.rank == s.rank && s.rank < WEFT_MAX_RANK && BELOW(4) == 0 &&
        weft_shape_count(s) * 2 < PROGRAM_ELEMENTS) {
        for (int i = s.rank; i > 0; i--)
            o.dim[i] = o.dim[i - 1];
        o.dim[0] = 2;
        o.rank++;
    }
    return program_stored(p, o, 1, 0);
}

typedef struct binary {
    weft_tensor *(*op)(weft_tensor *a, weft_tensor *b);
    const char *torch;
} binary;
static const binary binaries[] = {
    {weft_add, "%s + %s"},
    {weft_add, "%s + %s"},
    {weft_sub, "%s - %s"},
    {weft_mul, "%s * %s"},
    {weft_mul, "%s * %s"},
    {weft_maximum, "torch.maximum(%s, %s)"},
    {weft_minimum, "torch.minimum(%s, %s)"},
    {weft_eq, "(%s == %s).to(D)"},
    {weft_ne, "(%s != %s).to(D)"},
    {weft_lt, "(%s < %s).to(D)"},
    {weft_le, "(%s <= %s).to(D)"},
    {weft_gt, "(%s > %s).to(D)"},
    {weft_ge, "(%s >= %s).to(D)"},
};

static void two_operands(random_program *p)
{
    const int x = program_pick(p);
    int y = partner(p, x);
    const int k = (int)BELOW(16);
    if (k < 13) {
        const bool turn = BELOW(2);
        program_add(p, binaries[k].op(T(turn ? y : x), T(turn ? x : y)), binaries[k].torch,
                    NAME(turn ? y : x), NAME(turn ? x : y));
    } else if (k == 13) {
        y = positive(p, y);
        program_add(p, weft_div(T(x), T(y)), "%s / %s", NAME(x), NAME(y));
    } else if (k == 14) {
        y = positive(p, y);
        const int e = program_add(p, weft_clamp(T(x), -2, 2), "%s.clamp(-2, 2)", NAME(x));
        program_add(p, weft_pow_tensor(T(y), T(e)), "%s ** %s", NAME(y), NAME(e));
    } else {
        const int c = program_add(p, weft_gt(T(x), T(y)), "(%s > %s).to(D)", NAME(x), NAME(y));
        program_add(p, weft_where(T(c), T(y), T(x)), "torch.where(%s != 0, %s, %s)", NAME(c),
                    NAME(y), NAME(x));
    }
}

/* ---- shapes ---------------------------------------------------------------------------------- */

static void other_shape(random_program *p)
{
    const int x = program_pick(p);
    const weft_shape s = shape_of(p, x);
    char a[100];
    weft_shape o = s;
    weft_dims d = {.n = s.rank};
    if (s.rank == 0) {
        program_add(p, weft_reshape(T(x), WEFT_SHAPE(1, 1)), "%s.reshape(1, 1)", NAME(x));
        return;
    }
    const int dim = (int)BELOW(s.rank), other = (int)BELOW(s.rank);
    const int64_t size = s.dim[dim], from = BELOW(size), upto = from + 1 + BELOW(size - from);
    switch (BELOW(9)) {
    case 0: /* two neighbours become one, or one is torn in two */
        if (s.rank > 1 && dim > 0) {
            o.dim[dim - 1] *= o.dim[dim];
            for (int i = dim; i + 1 < o.rank; i++)
                o.dim[i] = o.dim[i + 1];
            o.rank--;
        } else {
            o = (weft_shape){.rank = 2, .dim = {s.dim[0], weft_shape_count(s) / s.dim[0]}};
        }
        program_add(p, weft_reshape(T(x), o), "%s.reshape(%s)", NAME(x), list(a, o));
        break;
    case 1: program_add(p, weft_flatten(T(x), dim), "%s.flatten(%d)", NAME(x), dim); break;
    case 2:
        for (int i = 0; i < s.rank; i++) {
            const int k = (int)BELOW(i + 1);
            d.dim[i] = d.dim[k];
            d.dim[k] = i;
        }
        for (int i = 0; i < s.rank; i++)
            o.dim[i] = d.dim[i];
        program_add(p, weft_permute(T(x), d), "%s.permute(%s)", NAME(x), list(a, o));
        break;
    case 3:
        program_add(p, weft_transpose(T(x), dim, other), "%s.transpose(%d, %d)", NAME(x), dim,
                    other);
        break;
    case 4:
        program_add(p, weft_narrow(T(x), dim, from, upto - from), "%s.narrow(%d, %d, %d)", NAME(x),
                    dim, (int)from, (int)(upto - from));
        break;
    case 5: {
        const int64_t step = 1 + BELOW(3);
        program_add(p, weft_slice(T(x), dim, from - size, upto, step), "sliced(%s, %d, %d, %d, %d)",
                    NAME(x), dim, (int)(from - size), (int)upto, (int)step);
        break;
    }
    case 6:
        if (count_of(p, x) * 2 <= PROGRAM_ELEMENTS && s.rank < WEFT_MAX_RANK) {
            for (int i = s.rank; i > 0; i--)
                o.dim[i] = s.dim[i - 1];
            o.dim[0] = 2;
            o.rank++;
            program_add(p, weft_expand(T(x), o), "%s.expand(%s)", NAME(x), list(a, o));
        }
        break;
    case 7: {
        weft_tensor *part[3] = {NULL};
        const int n = size > 1 ? 2 : 1;
        const int64_t sizes[] = {n == 2 ? from : size, size - from};
        if (weft_split_with_sizes(T(x), n, sizes, dim, part) != WEFT_OK)
            p->failed = true;
        for (int i = 0; i < n && !p->failed; i++)
            if (weft_shape_count(weft_tensor_shape(part[i])) > 0)
                program_add(p, part[i], "%s.narrow(%d, %d, %d)", NAME(x), dim,
                            (int)(i ? sizes[0] : 0), (int)sizes[i]);
        break;
    }
    default: {
        weft_tensor *part[3] = {NULL};
        if (weft_chunk(T(x), 3, dim, part) != WEFT_OK)
            p->failed = true;
        for (int i = 0; i < 3 && part[i]; i++)
            program_add(p, part[i], "%s.chunk(3, %d)[%d]", NAME(x), dim, i);
    }
    }
}

static void together(random_program *p)
{
    const int x = program_pick(p);
    const weft_shape s = shape_of(p, x);
    if (s.rank == 0 || s.rank == WEFT_MAX_RANK || count_of(p, x) * 3 > PROGRAM_ELEMENTS)
        return;
    int y = x;
    for (int tries = 0; tries < 6; tries++) {
        const int k = program_pick(p);
        y = weft_shape_equal(shape_of(p, k), s) && k != x ? k : y;
    }
    if (y == x)
        y = program_stored(p, s, 1, 0);
    const int dim = (int)BELOW(s.rank), n = 2 + (int)BELOW(2);
    weft_tensor *all[] = {T(x), T(y), T(BELOW(2) ? x : y)};
    const char *last = all[2] == T(x) ? NAME(x) : NAME(y);
    if (BELOW(3))
        program_add(p, weft_concat(all, n, dim), "torch.cat([%s, %s, %s][:%d], %d)", NAME(x),
                    NAME(y), last, n, dim);
    else
        program_add(p, weft_stack(all, n, dim), "torch.stack([%s, %s, %s][:%d], %d)", NAME(x),
                    NAME(y), last, n, dim);
}

/* ---- over dimensions ------------------------------------------------------------------------- */

static void over_dimensions(random_program *p)
{
    const int x = program_pick(p);
    const weft_shape s = shape_of(p, x);
    weft_dims d = WEFT_ALL_DIMS;
    weft_shape o = {.rank = 0};
    char a[100];
    const bool keep = BELOW(2);
    for (int i = 0; i < s.rank; i++)
        if (BELOW(2))
            o.dim[o.rank++] = BELOW(2) ? i : i - s.rank;
    if (o.rank > 0) {
        d.n = o.rank;
        for (int i = 0; i < o.rank; i++)
            d.dim[i] = (int)o.dim[i];
    } else {
        for (o.rank = 0; o.rank < s.rank; o.rank++)
            o.dim[o.rank] = o.rank;
    }
    list(a, o);
    switch (BELOW(8)) {
    case 0:
        program_add(p, weft_sum(T(x), d, keep), "summed(%s, %s, %s)", NAME(x), a, truth(keep));
        break;
    case 1:
    case 2:
        program_add(p, weft_mean(T(x), d, keep), "meaned(%s, %s, %s)", NAME(x), a, truth(keep));
        break;
    case 3:
        program_add(p, weft_max(T(x), d, keep), "%s.amax(%s, %s)", NAME(x), a, truth(keep));
        break;
    case 4:
        program_add(p, weft_min(T(x), d, keep), "%s.amin(%s, %s)", NAME(x), a, truth(keep));
        break;
    case 5: program_add(p, weft_softmax(T(x), d), "softmaxed(%s, %s)", NAME(x), a); break;
    case 6: program_add(p, weft_log_softmax(T(x), d), "softmaxed(%s, %s).log()", NAME(x), a); break;
    default:
        if (s.rank > 0 && count_of(p, x) * 3 <= PROGRAM_ELEMENTS && s.rank < WEFT_MAX_RANK) {
            const int dim = (int)BELOW(s.rank);
            const int64_t k = s.dim[dim];
            weft_tensor *where = weft_argmax(T(x), WEFT_DIMS(dim), keep);
            if (k * (count_of(p, x) / k) <= PROGRAM_ELEMENTS)
                program_add(p, weft_one_hot(where, (int)k, p->dtype),
                            "F.one_hot(%s.argmax(%d, %s), %d).to(D)", NAME(x), dim, truth(keep),
                            (int)k);
        }
    }
}

/* ---- products -------------------------------------------------------------------------------- */

static void products(random_program *p)
{
    const int x = program_pick_rank(p, 1 + (int)BELOW(4));
    const weft_shape s = shape_of(p, x);
    const int64_t k = s.dim[s.rank - 1], n = 1 + BELOW(9);
    if (BELOW(2)) {
        if (count_of(p, x) / k * n > PROGRAM_ELEMENTS)
            return;
        const int w = program_stored(p, WEFT_SHAPE(n, k), 0.5, 0);
        if (BELOW(2)) {
            const int b = program_stored(p, WEFT_SHAPE(n), 0.5, 0);
            program_add(p, weft_linear(T(x), T(w), T(b)), "F.linear(%s, %s, %s)", NAME(x), NAME(w),
                        NAME(b));
        } else {
            program_add(p, weft_linear(T(x), T(w), NULL), "F.linear(%s, %s)", NAME(x), NAME(w));
        }
        return;
    }
    if (s.rank == 1) {
        const int y = program_stored(p, BELOW(2) ? s : WEFT_SHAPE(k, n), 0.5, 0);
        program_add(p, weft_matmul(T(x), T(y), false, false), "torch.matmul(%s, %s)", NAME(x),
                    NAME(y));
        return;
    }
    /* x (..., m, k), or read as its transpose; the other factor has some of its dimensions in front */
    const bool ta = BELOW(2), tb = BELOW(2);
    const int64_t inner = ta ? s.dim[s.rank - 2] : k, rows = ta ? k : s.dim[s.rank - 2];
    if (count_of(p, x) / (inner * rows) * rows * n > PROGRAM_ELEMENTS)
        return;
    weft_shape o = s;
    const int drop = (int)BELOW(s.rank - 1);
    o.rank -= drop;
    for (int i = 0; i + 2 < o.rank; i++)
        o.dim[i] = BELOW(3) ? s.dim[i + drop] : 1;
    o.dim[o.rank - 2] = tb ? n : inner;
    o.dim[o.rank - 1] = tb ? inner : n;
    const bool itself = BELOW(4) == 0 && rows * rows * (count_of(p, x) / (inner * rows)) <= 3000;
    const int y = itself ? x : program_stored(p, o, 0.5, 0);
    if (itself)
        program_add(p, weft_matmul(T(x), T(x), ta, !ta), "torch.matmul(%s%s, %s%s)", NAME(x),
                    ta ? ".mT" : "", NAME(x), ta ? "" : ".mT");
    else
        program_add(p, weft_matmul(T(x), T(y), ta, tb), "torch.matmul(%s%s, %s%s)", NAME(x),
                    ta ? ".mT" : "", NAME(y), tb ? ".mT" : "");
}

/* ---- losses ---------------------------------------------------------------------------------- */

static void losses(random_program *p)
{
    static const char *const names[] = {"mean", "sum", "none"};
    const int reduction = (int)BELOW(3);
    if (BELOW(2)) {
        const int x = program_pick_rank(p, 2);
        const weft_shape s = shape_of(p, x);
        const int y = program_stored(p, WEFT_SHAPE(s.dim[0]), 1, s.dim[1]);
        const double smooth = BELOW(2) ? 0.25 : 0;
        const weft_cross_entropy_opts o = {.label_smoothing = smooth,
                                           .reduction = (weft_reduction)reduction};
        program_add(p, weft_cross_entropy(T(x), T(y), &o),
                    "F.cross_entropy(%s, %s, reduction='%s', label_smoothing=%g)", NAME(x), NAME(y),
                    names[reduction], smooth);
        return;
    }
    const int x = program_pick(p), y = program_stored(p, shape_of(p, x), 1, 0);
    const weft_bce_opts o = {.reduction = (weft_reduction)reduction};
    switch (BELOW(3)) {
    case 0:
        program_add(p, weft_mse_loss(T(x), T(y), (weft_reduction)reduction),
                    "F.mse_loss(%s, %s, reduction='%s')", NAME(x), NAME(y), names[reduction]);
        break;
    case 1:
        program_add(p, weft_l1_loss(T(x), T(y), (weft_reduction)reduction),
                    "F.l1_loss(%s, %s, reduction='%s')", NAME(x), NAME(y), names[reduction]);
        break;
    default:
        program_add(p, weft_bce_with_logits(T(x), T(y), &o),
                    "F.binary_cross_entropy_with_logits(%s, %s, reduction='%s')", NAME(x), NAME(y),
                    names[reduction]);
    }
}

void program_op(random_program *p)
{
    switch (BELOW(12)) {
    case 0:
    case 1: one_operand(p); break;
    case 2:
    case 3: two_operands(p); break;
    case 4:
    case 5: other_shape(p); break;
    case 6: together(p); break;
    case 7: over_dimensions(p); break;
    case 8: products(p); break;
    case 9: losses(p); break;
    default: program_image(p);
    }
}
