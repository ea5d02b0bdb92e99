/* Weft's half of the sweep against PyTorch: runs cases and writes what came out.
 *
 *     sweep_driver IN OUT
 *
 * Both files hold one case after the other, in the same order. A case of IN is a line of words,
 *     op  n_options option...  n_in (dtype grad rank dim...)...  n_seeds (dtype rank dim...)...
 * and the numbers of its inputs and seeds, row-major, in the machine's order. grad 1: the gradient
 * is wanted. Seed i is the gradient of output i; one of rank -1 stands for none; no seeds: forward
 * only. A case of OUT is a line "n (dtype rank dim...)..." and numbers: the outputs, the gradients
 * wanted (of dtype -1 where none arrived), and for batch_norm its statistics after the step. A case
 * that failed is a line "error TEXT". Everything runs on one thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/parity/sweep_ops.h"

enum { MAX_RESULTS = SWEEP_MAX_IN + SWEEP_MAX_OUT + 2 };

typedef struct test_case {
    char op[32];
    sweep_call call;
    bool grad[SWEEP_MAX_IN];
    int n_seeds;
    weft_tensor *seed[SWEEP_MAX_OUT]; /* NULL: none */
    int n;
    weft_tensor *result[MAX_RESULTS];
} test_case;

static void die(const char *what)
{
    fprintf(stderr, "sweep_driver: %s\n", what);
    exit(1);
}

static double word(FILE *f)
{
    double v;
    if (fscanf(f, "%lf", &v) != 1)
        die("a number was expected");
    return v;
}

/* The words of a tensor, whose numbers come behind the line; rank -1: no tensor. */
typedef struct header {
    weft_dtype dtype;
    weft_shape shape;
} header;

static header read_header(FILE *f)
{
    header h = {.shape.rank = (int)word(f)};
    for (int i = 0; i < h.shape.rank; i++)
        h.shape.dim[i] = (int64_t)word(f);
    return h;
}

static weft_tensor *read_tensor(FILE *f, weft_context *ctx, const header *h)
{
    if (h->shape.rank < 0)
        return NULL;
    size_t bytes = (size_t)weft_shape_count(h->shape) * weft_dtype_size(h->dtype);
    void *data = malloc(bytes + 1);
    if (!data || fread(data, 1, bytes, f) != bytes)
        die("the file ends early");
    weft_tensor *t = weft_tensor_from(ctx, h->dtype, h->shape, data);
    free(data);
    if (!t)
        die(weft_error_text(ctx));
    return t;
}

static bool read_case(FILE *f, weft_context *ctx, test_case *c)
{
    header in[SWEEP_MAX_IN], seed[SWEEP_MAX_OUT];
    *c = (test_case){.n = 0};
    if (fscanf(f, "%31s", c->op) != 1)
        return false;
    c->call.n_options = (int)word(f);
    for (int i = 0; i < c->call.n_options; i++)
        c->call.option[i] = word(f);
    c->call.n = (int)word(f);
    for (int i = 0; i < c->call.n; i++) {
        weft_dtype dtype = (weft_dtype)word(f);
        c->grad[i] = word(f) != 0;
        in[i] = read_header(f);
        in[i].dtype = dtype;
    }
    c->n_seeds = (int)word(f);
    for (int i = 0; i < c->n_seeds; i++) {
        weft_dtype dtype = (weft_dtype)word(f);
        seed[i] = read_header(f);
        seed[i].dtype = dtype;
    }
    if (fgetc(f) != '\n')
        die("the line goes on");
    for (int i = 0; i < c->call.n; i++)
        c->call.in[i] = read_tensor(f, ctx, &in[i]);
    for (int i = 0; i < c->n_seeds; i++)
        c->seed[i] = read_tensor(f, ctx, &seed[i]);
    return true;
}

/* Fills result[]; the caller unrefs what was kept: the first n_out of them. */
static weft_status run(weft_context *ctx, test_case *c, int *n_out)
{
    weft_tensor *out[SWEEP_MAX_OUT] = {NULL};
    for (int i = 0; i < c->call.n; i++)
        if (c->grad[i])
            weft_set_requires_grad(c->call.in[i], true);
    int n = sweep_record(c->op, &c->call, out);
    if (n < 0)
        die(c->op);
    for (int i = 0; i < n; i++) {
        if (weft_tensor_is_stored(out[i])) /* the input itself, which is no op's output */
            out[i] = weft_scale(out[i], 1);
        if (!(c->result[c->n] = weft_keep(out[i])))
            return weft_error_status(ctx);
        *n_out = ++c->n;
    }
    int last = -1;
    for (int i = 0; i < c->n_seeds; i++)
        if (c->seed[i])
            last = i;
    for (int i = 0; i <= last && i < n; i++)
        if (c->seed[i])
            weft_backward_with(out[i], c->seed[i], i < last);
    if (weft_error_status(ctx) != WEFT_OK || weft_sync(ctx) != WEFT_OK)
        return weft_error_status(ctx);
    for (int i = 0; i < c->call.n; i++)
        if (c->grad[i])
            c->result[c->n++] = weft_grad(c->call.in[i]);
    if (strcmp(c->op, "batch_norm") == 0)
        for (int i = c->call.n - 2; i < c->call.n; i++)
            c->result[c->n++] = c->call.in[i];
    return weft_error_status(ctx);
}

static void write_case(FILE *f, const test_case *c)
{
    fprintf(f, "%d", c->n);
    for (int i = 0; i < c->n; i++) {
        weft_shape s = c->result[i] ? weft_tensor_shape(c->result[i]) : WEFT_SCALAR;
        fprintf(f, " %d %d", c->result[i] ? (int)weft_tensor_dtype(c->result[i]) : -1, s.rank);
        for (int d = 0; d < s.rank; d++)
            fprintf(f, " %lld", (long long)s.dim[d]);
    }
    fputc('\n', f);
    for (int i = 0; i < c->n; i++) {
        weft_tensor *t = c->result[i];
        if (t && fwrite(weft_tensor_const_data(t), weft_dtype_size(weft_tensor_dtype(t)),
                        (size_t)weft_shape_count(weft_tensor_shape(t)),
                        f) != (size_t)weft_shape_count(weft_tensor_shape(t)))
            die("cannot write the results");
    }
}

int main(int argc, char **argv)
{
    weft_context *ctx = NULL;
    weft_options options = {.threads = 1, .seed = 11};
    FILE *in = argc == 3 ? fopen(argv[1], "rb") : NULL;
    FILE *out = in ? fopen(argv[2], "wb") : NULL;
    if (!out || weft_context_create(&ctx, &options, NULL) != WEFT_OK)
        die("usage: sweep_driver IN OUT");
    test_case c;
    while (read_case(in, ctx, &c)) {
        int kept = 0;
        if (run(ctx, &c, &kept) == WEFT_OK) {
            write_case(out, &c);
        } else {
            fprintf(out, "error %s\n", weft_error_text(ctx));
            weft_discard(ctx);
            weft_error_clear(ctx);
        }
        for (int i = 0; i < kept; i++)
            weft_tensor_unref(c.result[i]);
        for (int i = 0; i < c.call.n; i++)
            weft_tensor_unref(c.call.in[i]);
        for (int i = 0; i < c.n_seeds; i++)
            weft_tensor_unref(c.seed[i]);
    }
    fclose(in);
    if (fclose(out) != 0)
        die("cannot write the results");
    weft_context_destroy(ctx);
    return 0;
}
