/* The flag parser: what it accepts, what it says of what it does not; the tables of weft and of
 * weft-bench. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench/options.h"
#include "cli/options.h"

enum { MAX_ARGS = 8 };
#define OPTIMIZERS "sgd sgd_nesterov adam adamw rmsprop rmsprop_tf adagrad lamb lars lion"

static bool parse(unsigned command, const char *const *args, cli_options *options, char error[512])
{
    char *argv[MAX_ARGS];
    int argc = 0;
    for (; argc < MAX_ARGS && args[argc]; argc++)
        argv[argc] = (char *)args[argc];
    error[0] = '\0';
    return cli_parse(command, argc, argv, options, error, 512);
}

static void spellings_of_a_value_mean_the_same(void **state)
{
    static const char *const args[][MAX_ARGS] = {
        {"--batch-size", "17"}, {"--batch-size=17"}, {"-b", "17"}, {"-b17"}, {"-b", "3", "-b17"},
    };
    for (size_t i = 0; i < sizeof(args) / sizeof(args[0]); i++) {
        cli_options o;
        char error[512];
        assert_true(parse(CMD_TRAIN, args[i], &o, error));
        assert_int_equal(o.batch_size, 17);
    }
}

static void values_of_every_kind_arrive(void **state)
{
    static const char *const args[] = {"--lr=1e-3",        "--opt",       "adamw",
                                       "--no-augment",     "--data-path", "a=b",
                                       "--weight-decay=0", NULL};
    cli_options o;
    char error[512];
    assert_true(parse(CMD_TRAIN, args, &o, error));
    assert_true(o.lr == 1e-3);
    assert_string_equal(o.opt, "adamw");
    assert_true(o.no_augment);
    assert_false(o.no_shuffle);
    assert_string_equal(o.data_path, "a=b");
    assert_true(o.weight_decay == 0);
}

static void lists_grow_and_join_with_commas(void **state)
{
    static const char *const args[] = {"--model-arg", "a=1", "--model-arg=b=2,c=3",
                                       "--model-arg", "a=4", NULL};
    cli_options o;
    char error[512], text[FLAG_LIST_TEXT];
    assert_true(parse(CMD_TRAIN, args, &o, error));
    assert_int_equal(o.model_args.n, 3);
    assert_string_equal(flags_join(&o.model_args, text), "a=1,b=2,c=3,a=4");
    o.model_args.n = 0;
    assert_string_equal(flags_join(&o.model_args, text), "");
}

static void a_list_that_is_too_long_is_an_error(void **state)
{
    static char item[FLAG_LIST_TEXT];
    memset(item, 'x', sizeof(item) - 1);
    char error[512], *argv[2 * FLAG_LIST_MAX + 2];
    cli_options o;
    for (int n = 0; n < 2; n++) {
        int argc = n == 0 ? 2 : 2 * FLAG_LIST_MAX + 2;
        for (int i = 0; i < argc; i += 2) {
            argv[i] = "--model-arg";
            argv[i + 1] = n == 0 ? item : "x=1";
        }
        assert_false(cli_parse(CMD_TRAIN, argc, argv, &o, error, sizeof(error)));
        assert_string_equal(error, "--model-arg is given too often; commas may join values");
        if (n == 1)
            assert_true(cli_parse(CMD_TRAIN, argc - 2, argv, &o, error, sizeof(error)));
    }
    item[FLAG_LIST_TEXT - 2] = '\0'; /* the longest */
    argv[1] = item;
    assert_true(cli_parse(CMD_TRAIN, 2, argv, &o, error, sizeof(error)));
}

static void one_argument_without_a_name_arrives_where_it_is_taken(void **state)
{
    static const char *const args[] = {"resnet*", NULL}, *const two[] = {"a", "b", NULL};
    cli_options o;
    char error[512];
    assert_true(parse(CMD_MODELS, args, &o, error));
    assert_string_equal(o.pattern, "resnet*");
    assert_false(parse(CMD_MODELS, two, &o, error));
    assert_string_equal(error, "unexpected argument 'b'");
    assert_false(parse(CMD_TRAIN, args, &o, error));
    static const char *const dash[] = {"--", "-x", NULL}, *const given[] = {"--lr", "0", NULL};
    assert_true(parse(CMD_MODELS, dash, &o, error));
    assert_string_equal(o.pattern, "-x");
    assert_true(parse(CMD_TRAIN, given, &o, error));
    assert_true(flags_given(&cli_table, CMD_TRAIN, &o, "lr") &&
                !flags_given(&cli_table, CMD_TRAIN, &o, "wd"));
}

/* Flag by flag, since the bytes between the members may differ. */
static void what_is_not_given_keeps_its_default(void **state)
{
    static const size_t sizes[] = {
        [FLAG_BOOL] = sizeof(bool),       [FLAG_INT] = sizeof(int64_t),
        [FLAG_NUMBER] = sizeof(double),   [FLAG_TEXT] = sizeof(char *),
        [FLAG_CHOICE] = sizeof(char *),   [FLAG_LIST] = sizeof(int),
        [FLAG_ARGUMENT] = sizeof(char *), [FLAG_ARGUMENTS] = sizeof(int)};
    static const char *const args[] = {NULL};
    cli_options o;
    const char *d = cli_table.defaults;
    char error[512];
    assert_true(parse(CMD_TRAIN, args, &o, error));
    for (int i = 0; i < cli_table.n_flags; i++) {
        const flag *f = &cli_table.flags[i];
        if (memcmp((char *)&o + f->offset, d + f->offset, sizes[f->kind]) != 0)
            fail_msg("--%s", f->name);
    }
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *args[MAX_ARGS];
        const char *error;
    } cases[] = {
        {{"--epoch", "3"}, "unknown flag --epoch; did you mean --epochs?"},
        {{"--bacth-size=3"}, "unknown flag --bacth-size; did you mean --batch-size?"},
        {{"--data_path", "x"}, "unknown flag --data_path; did you mean --data-path?"},
        {{"--weight-decy=1"}, "unknown flag --weight-decy; did you mean --weight-decay?"},
        {{"--num-workers", "2"}, "unknown flag --num-workers; did you mean --workers?"},
        {{"--learning_rate=1"}, "unknown flag --learning_rate; did you mean --lr?"},
        {{"-lr", "1"}, "unknown flag -lr; did you mean --lr?"},
        {{"--bs", "1"}, "unknown flag --bs; did you mean --batch-size?"},
        {{"--optimizer=sgd"}, "unknown flag --optimizer; did you mean --opt?"},
        {{"--sched", "x"}, "unknown flag --sched; did you mean --lr-scheduler?"},
        {{"--min-lr", "0"}, "unknown flag --min-lr; did you mean --lr-min?"},
        {{"--smoothing", "0"}, "unknown flag --smoothing; did you mean --label-smoothing?"},
        {{"--arch", "x"}, "unknown flag --arch; did you mean --model?"},
        {{"--data-dir", "x"}, "unknown flag --data-dir; did you mean --data-path?"},
        {{"--zzzzzz"}, "unknown flag --zzzzzz"},
        {{"--", "--epochs", "3"}, "unexpected argument '--epochs'"},
        {{"-q"}, "unknown flag -q"},
        {{"--input", "x"}, "unknown flag --input"},
        {{"stray"}, "unexpected argument 'stray'"},
        {{""}, "unexpected argument ''"},
        {{"--epochs"}, "--epochs needs a value"},
        {{"--epochs", "--lr", "1"}, "--epochs needs a value"},
        {{"--data-path="}, "--data-path needs a value"},
        {{"-b"}, "-b needs a value"},
        {{"--epochs", "3x"}, "--epochs: '3x' is not a whole number"},
        {{"--epochs="}, "--epochs: '' is not a whole number"},
        {{"--epochs", "1.5"}, "--epochs: '1.5' is not a whole number"},
        {{"--epochs", "99999999999999999999"},
         "--epochs: '99999999999999999999' is not a whole number"},
        {{"--epochs", "0"}, "--epochs: 0 is not between 1 and 1000000"},
        {{"-b-4"}, "-b: -4 is not between 1 and 1000000"},
        {{"--lr", "fast"}, "--lr: 'fast' is not a number"},
        {{"--lr", "nan"}, "--lr: 'nan' is not a number"},
        {{"--lr", "-0.1"}, "--lr: -0.1 is not between 0 and 1e+06"},
        {{"--opt", "sg"}, "--opt: 'sg' is none of: " OPTIMIZERS},
        {{"--opt", "sgd adamw"}, "--opt: 'sgd adamw' is none of: " OPTIMIZERS},
        {{"--model-arg", ""}, "--model-arg needs a value"},
        {{"--no-augment=1"}, "--no-augment takes no value"},
        {{"--amp", "fp16"}, "--amp: 'fp16' is none of: off bf16 auto"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cli_options o;
        char error[512];
        assert_false(parse(CMD_TRAIN, cases[i].args, &o, error));
        assert_string_equal(error, cases[i].error);
    }
}

static void flags_belong_to_their_commands(void **state)
{
    static const char *const args[] = {"--epochs", "3", NULL};
    cli_options o;
    char error[512];
    assert_true(parse(CMD_TRAIN, args, &o, error));
    assert_false(parse(CMD_EVAL, args, &o, error));
}

static void check_flag(const flag_table *table, const flag *f)
{
    unsigned known = 0;
    for (int i = 0; i < table->n_commands; i++)
        known |= table->commands[i].bit;
    assert_true((f->commands & known) != 0);
    assert_non_null(f->help);
    assert_non_null(f->group);
    assert_true((f->kind == FLAG_CHOICE) == (f->choices != NULL));
    assert_true((f->kind == FLAG_BOOL) == (f->value == NULL));
    assert_true(f->offset < table->options_size);
    if (f->kind == FLAG_INT || f->kind == FLAG_NUMBER)
        assert_true(f->min < f->max);
    char names[512];
    snprintf(names, sizeof names, "%s", f->elsewhere ? f->elsewhere : "");
    for (char *rest = names, *name; (name = strsep(&rest, " ")) != NULL;)
        for (int i = 0; *name && i < table->n_commands; i++)
            if (f->commands & table->commands[i].bit &&
                flags_find(table, table->commands[i].bit, name, strlen(name)))
                fail_msg("--%s is a flag, and suggested as --%s", name, f->name);
}

/* A default that help shows is one that the parser would take. */
static void check_default(const flag_table *table, const flag *f)
{
    const char *at = (const char *)table->defaults + f->offset;
    if (f->kind == FLAG_INT)
        assert_true(*(const int64_t *)at <= f->max);
    if (f->kind == FLAG_NUMBER)
        assert_true(f->below ? *(const double *)at < f->max : *(const double *)at <= f->max);
    if (f->kind == FLAG_CHOICE) {
        char words[256];
        bool found = false;
        snprintf(words, sizeof words, "%s", f->choices);
        for (char *rest = words, *word; (word = strsep(&rest, " ")) != NULL;)
            found |= strcmp(word, *(const char *const *)at) == 0;
        assert_true(found);
    }
}

static void the_tables_are_consistent(void **state)
{
    static const flag_table *const tables[] = {&cli_table, &bench_table};
    for (size_t k = 0; k < 2; k++) {
        const flag_table *t = tables[k];
        assert_true(t->n_flags <= FLAGS_MAX);
        for (int i = 0; i < t->n_commands; i++) {
            assert_true(t->commands[i].bit && !(t->commands[i].bit & (t->commands[i].bit - 1)));
            for (int j = 0; j < i; j++)
                assert_true(t->commands[i].bit != t->commands[j].bit);
        }
        for (int i = 0; i < t->n_flags; i++) {
            const flag *f = &t->flags[i];
            check_flag(t, f);
            check_default(t, f);
            for (int j = 0; j < i; j++) {
                const flag *g = &t->flags[j];
                /* A group stands together. */
                assert_true(strcmp(f->group, g->group) != 0 ||
                            strcmp(f->group, t->flags[i - 1].group) == 0);
                if (!(f->commands & g->commands))
                    continue;
                assert_string_not_equal(f->name, g->name);
                assert_true(!f->letter || f->letter != g->letter);
            }
        }
    }
}

static bool parse_bench(int argc, char **argv, bench_options *o, char error[512])
{
    error[0] = '\0';
    return bench_parse(&argc, argv, o, error, 512);
}

/* weft-bench leaves to Google Benchmark what is its, and takes the rest wherever it stands. */
static void the_benchmark_librarys_flags_are_left(void **state)
{
    char *argv[] = {
        "weft-bench", "--benchmark_filter=x", "--cold", "--benchmark_list_tests", "--threads", "2",
        NULL};
    int argc = 6;
    bench_options o;
    char error[512];
    assert_true(bench_parse(&argc, argv, &o, error, sizeof error));
    assert_int_equal(argc, 3);
    assert_string_equal(argv[1], "--benchmark_filter=x");
    assert_string_equal(argv[2], "--benchmark_list_tests");
    assert_null(argv[3]);
    assert_true(o.cold && o.list && o.mode == BENCH_SUITE);
    assert_int_equal(o.threads, 2);
}

static void the_benchs_flags_choose_a_mode(void **state)
{
    char error[512];
    bench_options o;
    char *step[] = {"weft-bench", "--step=lenet",    "--model-arg",
                    "a=1,b=2",    "--model-arg=c=3", NULL};
    assert_true(parse_bench(5, step, &o, error));
    assert_int_equal(o.mode, BENCH_STEP);
    assert_int_equal(o.n_args, 3);
    assert_string_equal(o.args[1].key, "b");
    assert_string_equal(o.args[2].value, "3");
    char *layers[] = {"weft-bench", "--layers", "all", "--against=oneDNN-without-winograd", NULL};
    assert_true(parse_bench(4, layers, &o, error));
    assert_int_equal(o.mode, BENCH_LAYERS);
    char *pairs[] = {"weft-bench", "--step", "lenet", "--model-arg", "a=1,b", NULL};
    assert_false(parse_bench(5, pairs, &o, error));
    assert_string_equal(error, "--model-arg: 'b' is not of the form key=value");
    char *help[] = {"weft-bench", "--machine", "--errors", "-h", NULL};
    assert_true(parse_bench(4, help, &o, error));
    assert_true(o.help);
    char *two[] = {"weft-bench", "--machine", "--errors", NULL};
    assert_false(parse_bench(3, two, &o, error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spellings_of_a_value_mean_the_same),
        cmocka_unit_test(values_of_every_kind_arrive),
        cmocka_unit_test(lists_grow_and_join_with_commas),
        cmocka_unit_test(a_list_that_is_too_long_is_an_error),
        cmocka_unit_test(one_argument_without_a_name_arrives_where_it_is_taken),
        cmocka_unit_test(what_is_not_given_keeps_its_default),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(flags_belong_to_their_commands),
        cmocka_unit_test(the_tables_are_consistent),
        cmocka_unit_test(the_benchmark_librarys_flags_are_left),
        cmocka_unit_test(the_benchs_flags_choose_a_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
