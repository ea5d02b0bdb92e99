/* Random programs give the same bits however they run: op by op, or as a plan of one thread, of
 * three, in random order, without some passes, read in the middle, in scopes that compute again,
 * and, each of these, as a step that is replayed. By hand,
 * test_engine_random_programs FIRST END runs the programs of these numbers. */
#include <stdlib.h>
#include <string.h>

#include "tests/engine/random_program.h"
#include "tests/engine/values.h"

enum { PROGRAMS = 12, STEPS = 3, MAX_RESULTS = PROGRAM_STORED * 2 + 40, MAX_BYTES = 1 << 22 };

/* What a run of a program came to: bytes, and where each result ends. */
typedef struct outcome {
    bool failed;
    int n;
    size_t end[MAX_RESULTS];
    char what[MAX_RESULTS][24];
    char data[MAX_BYTES];
    char error[WEFT_ERROR_TEXT + PROGRAM_LINE];
} outcome;

typedef struct variant {
    const char *name;
    weft_options options;
    bool recompute, reads;
} variant;
static const variant variants[] = {
    {"one thread", {.threads = 1}, false, false},
    {"three threads", {.threads = 3}, false, false},
    {"random order", {.executor = WEFT_EXECUTOR_RANDOM, .schedule_seed = 5}, false, false},
    {"sequence", {.threads = 2, .executor = WEFT_EXECUTOR_SEQUENCE}, false, false},
    {"no simplify, no slices",
     {.threads = 2, .passes_off = WEFT_PASS_SIMPLIFY | WEFT_PASS_SLICES},
     false,
     false},
    {"no fuse, no memory",
     {.threads = 2, .passes_off = WEFT_PASS_FUSE | WEFT_PASS_MEMORY},
     false,
     false},
    {"recompute", {.threads = 2}, true, false},
    {"reads", {.threads = 2}, false, true},
    {"random order, recompute, reads",
     {.executor = WEFT_EXECUTOR_RANDOM, .schedule_seed = 6},
     true,
     true},
};

static void keep_bytes(outcome *r, const char *what, int i, weft_tensor *t)
{
    const size_t bytes =
        weft_dtype_size(weft_tensor_dtype(t)) * (size_t)weft_shape_count(weft_tensor_shape(t));
    const size_t start = r->n ? r->end[r->n - 1] : 0;
    assert_true(start + bytes <= sizeof r->data && r->n < MAX_RESULTS);
    assert_int_equal(weft_read(t, r->data + start, bytes), WEFT_OK);
    snprintf(r->what[r->n], sizeof r->what[0], "%s %d", what, i);
    r->end[r->n++] = start + bytes;
}

/* Runs a program for a few steps, and notes values, gradients and parameters of the last. */
static void run(uint64_t number, const variant *v, weft_amp amp, outcome *r)
{
    static random_program p;
    weft_options options = v->options;
    weft_optimizer *opt = NULL;
    options.seed = number;
    options.amp = amp;
    options.lint = WEFT_LINT_OFF;
    memset(&p, 0, sizeof p);
    p.number = number;
    p.dtype = number % 3 == 0 && amp == WEFT_AMP_OFF ? WEFT_F64 : WEFT_F32;
    p.recompute = v->recompute;
    p.reads = v->reads;
    r->failed = false;
    r->n = 0;
    assert_int_equal(weft_context_create(&p.ctx, &options, NULL), WEFT_OK);
    for (int step = 0; step < STEPS && !r->failed; step++) {
        weft_tensor *kept[6] = {NULL};
        r->n = 0;
        program_record(&p);
        for (int i = 0; i < 6 && !p.failed; i++)
            kept[i] = weft_keep(p.node[p.n_nodes - 1 - program_below(&p.rng, p.n_nodes)].t);
        weft_tensor *loss = program_backward(&p);
        if (!opt && loss) {
            weft_tensor_list all = WEFT_TENSOR_LIST_INIT;
            const weft_sgd_opts o = {.lr = 0.05, .momentum = 0.9};
            opt = weft_sgd_create(p.ctx, NULL, &o);
            for (int i = 0; i < p.n_stored; i++) {
                char name[12];
                snprintf(name, sizeof name, "s%d", i);
                if (weft_requires_grad(p.stored[i]))
                    weft_tensor_list_add(&all, name, p.stored[i]);
            }
            weft_optimizer_add_group(opt, &all, NAN, NAN);
            weft_tensor_list_done(&all);
        }
        if (!p.failed && (loss ? weft_optimizer_step(opt) : weft_sync(p.ctx)) != WEFT_OK)
            p.failed = true;
        r->failed = p.failed;
        if (p.failed)
            snprintf(r->error, sizeof r->error, "%s (after %s)", weft_error_text(p.ctx), p.line);
        for (int i = 0; i < 6 && !p.failed; i++)
            if (kept[i])
                keep_bytes(r, "value", i, kept[i]);
        for (int i = 0; i < p.n_stored && !p.failed; i++) {
            weft_tensor *grad = weft_grad(p.stored[i]);
            if (grad)
                keep_bytes(r, "gradient", i, grad);
            if (weft_requires_grad(p.stored[i]))
                keep_bytes(r, "parameter", i, p.stored[i]);
        }
        for (int i = 0; i < 6; i++)
            weft_tensor_unref(kept[i]);
        if (opt && step == 1) /* else gradients add up */
            weft_optimizer_zero_grad(opt);
    }
    weft_optimizer_destroy(opt);
    program_done(&p);
    weft_context_destroy(p.ctx);
}

static int wrong; /* runs that were told */

/* NaN may differ in its payload: what is no number only has to be none in both. */
static bool same(const char *a, const char *b, size_t bytes, size_t size)
{
    for (size_t i = 0; i + size <= bytes; i += size) {
        float fa, fb;
        double da, db;
        memcpy(&fa, a + i, sizeof fa);
        memcpy(&fb, b + i, sizeof fb);
        memcpy(&da, a + i, sizeof da < size ? sizeof da : size);
        memcpy(&db, b + i, sizeof db < size ? sizeof db : size);
        const bool none = size == 8 ? da != da && db != db : fa != fa && fb != fb;
        if (memcmp(a + i, b + i, size) != 0 && !none)
            return false;
    }
    return true;
}

static void compare(uint64_t number, const char *name, const outcome *want, const outcome *got)
{
    if (want->failed || got->failed || want->n != got->n) {
        if (!want->failed || !got->failed || strcmp(want->error, got->error) != 0)
            print_error("%d: program %d, %s: %s %d results, interpreted: %s %d\n", ++wrong,
                        (int)number, name, got->failed ? got->error : "", got->n,
                        want->failed ? want->error : "", want->n);
        return;
    }
    for (int i = 0; i < want->n; i++) {
        const size_t start = i ? want->end[i - 1] : 0;
        const size_t size = number % 3 == 0 ? 8 : 4;
        if (!same(want->data + start, got->data + start, want->end[i] - start, size)) {
            print_error("%d: program %d, %s: %s differs\n", ++wrong, (int)number, name,
                        want->what[i]);
            return;
        }
    }
}

static uint64_t first_program = 0, end_program = PROGRAMS;

static void random_programs_have_the_same_bits_however_they_run(void **state)
{
    static outcome want, got;
    static const variant op_by_op = {
        "interpreted", {.executor = WEFT_EXECUTOR_INTERPRETER}, false, false};
    (void)state;
    int failed = 0;
    for (uint64_t i = first_program; i < end_program; i++) {
        run(i, &op_by_op, WEFT_AMP_OFF, &want);
        if (want.failed && failed++ < 10)
            print_message("program %d: %s\n", (int)i, want.error);
        for (size_t k = 0; k < sizeof variants / sizeof *variants; k++) {
            run(i, &variants[k], WEFT_AMP_OFF, &got);
            compare(i, variants[k].name, &want, &got);
        }
        if (i % 3 != 0) {
            run(i, &op_by_op, WEFT_AMP_BF16, &want);
            run(i, &variants[1], WEFT_AMP_BF16, &got);
            compare(i, "bf16", &want, &got);
            run(i, &variants[2], WEFT_AMP_BF16, &got);
            compare(i, "bf16 in random order", &want, &got);
        }
    }
    assert_int_equal(failed, 0);
    assert_int_equal(wrong, 0);
}

int main(int argc, char **argv)
{
    if (argc >= 3) {
        first_program = strtoull(argv[1], NULL, 10);
        end_program = strtoull(argv[2], NULL, 10);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_programs_have_the_same_bits_however_they_run)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
