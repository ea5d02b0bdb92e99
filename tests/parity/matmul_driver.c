/* Weft's half of the parity test of matrix products: runs a list of cases.
 *
 *     matmul_driver CASES IN OUT
 *
 * A line of CASES: call, type (f32 or f64), transpose_a, transpose_b, and for a, b and y the rank and
 * the dimensions. IN holds a, b and y's gradient of every case, one after the other as they lie in
 * memory; OUT gets y and the gradients of a and b. One thread: no bit depends on their number. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft/weft.h"

static void die(weft_context *ctx, int line, const char *what)
{
    fprintf(stderr, "matmul_driver: case %d: %s: %s\n", line, what,
            ctx ? weft_error_text(ctx) : "");
    exit(1);
}

static weft_tensor *record(const char *call, weft_tensor *a, weft_tensor *b, int ta, int tb)
{
    return strcmp(call, "dot") == 0      ? weft_dot(a, b)
           : strcmp(call, "mv") == 0     ? weft_mv(a, b)
           : strcmp(call, "bmm") == 0    ? weft_bmm(a, b)
           : strcmp(call, "outer") == 0  ? weft_outer(a, b)
           : strcmp(call, "linear") == 0 ? weft_linear(a, b, NULL)
                                         : weft_matmul(a, b, ta, tb);
}

static weft_shape read_shape(FILE *f, int line)
{
    weft_shape s = {0};
    if (fscanf(f, "%d", &s.rank) != 1 || s.rank < 0 || s.rank > WEFT_MAX_RANK)
        die(NULL, line, "bad rank");
    for (int i = 0; i < s.rank; i++) {
        long long size;
        if (fscanf(f, "%lld", &size) != 1)
            die(NULL, line, "bad shape");
        s.dim[i] = size;
    }
    return s;
}

static size_t bytes_of(weft_shape s, weft_dtype type)
{
    return (size_t)weft_shape_count(s) * weft_dtype_size(type);
}

static weft_tensor *read_tensor(weft_context *ctx, FILE *f, weft_dtype type, weft_shape s, int line)
{
    const size_t size = bytes_of(s, type);
    void *data = malloc(size + 1);
    if (!data || fread(data, 1, size, f) != size)
        die(NULL, line, "IN is too short");
    weft_tensor *t = weft_tensor_from(ctx, type, s, data);
    free(data);
    if (!t)
        die(ctx, line, "an operand");
    return t;
}

static void write_tensor(weft_context *ctx, FILE *f, weft_tensor *t, weft_shape s, int line)
{
    const size_t size = t ? bytes_of(s, weft_tensor_dtype(t)) : 0;
    void *data = malloc(size + 1);
    if (!t || !data || !weft_shape_equal(weft_tensor_shape(t), s) ||
        weft_read(t, data, size) != WEFT_OK || fwrite(data, 1, size, f) != size)
        die(ctx, line, "a result");
    free(data);
}

int main(int argc, char **argv)
{
    weft_context *ctx;
    weft_options options = {.threads = 1};
    FILE *cases = argc == 4 ? fopen(argv[1], "r") : NULL, *in = cases ? fopen(argv[2], "rb") : NULL,
         *out = in ? fopen(argv[3], "wb") : NULL;
    char call[16], type_name[8];
    int ta, tb, line = 0;
    if (!out || weft_context_create(&ctx, &options, NULL) != WEFT_OK)
        die(NULL, 0, "usage: matmul_driver CASES IN OUT");
    while (fscanf(cases, "%15s %7s %d %d", call, type_name, &ta, &tb) == 4) {
        const weft_dtype type = strcmp(type_name, "f32") == 0 ? WEFT_F32 : WEFT_F64;
        line++;
        const weft_shape as = read_shape(cases, line), bs = read_shape(cases, line),
                         ys = read_shape(cases, line);
        weft_tensor *a = read_tensor(ctx, in, type, as, line),
                    *b = read_tensor(ctx, in, type, bs, line),
                    *dy = read_tensor(ctx, in, type, ys, line);
        weft_set_requires_grad(a, true);
        weft_set_requires_grad(b, true);
        weft_tensor *y = record(call, a, b, ta, tb), *kept = weft_keep(y);
        if (!kept || weft_backward_with(y, dy, false) != WEFT_OK || weft_sync(ctx) != WEFT_OK)
            die(ctx, line, call);
        write_tensor(ctx, out, kept, ys, line);
        write_tensor(ctx, out, weft_grad(a), as, line);
        write_tensor(ctx, out, weft_grad(b), bs, line);
        weft_tensor *all[] = {a, b, dy, kept};
        for (int i = 0; i < 4; i++)
            weft_tensor_unref(all[i]);
    }
    if (!feof(cases) || fclose(out) != 0)
        die(NULL, line, "a bad line, or OUT could not be written");
    fclose(in);
    fclose(cases);
    weft_context_destroy(ctx);
    return 0;
}
