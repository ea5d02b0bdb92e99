/* The flag parser: what it accepts, what it says of what it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/flags.h"

enum { MAX_ARGS = 8 };

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
    char error[512], text[CLI_LIST_TEXT];
    assert_true(parse(CMD_TRAIN, args, &o, error));
    assert_int_equal(o.model_args.n, 3);
    assert_string_equal(cli_join(&o.model_args, text), "a=1,b=2,c=3,a=4");
    o.model_args.n = 0;
    assert_string_equal(cli_join(&o.model_args, text), "");
}

static void a_list_that_is_too_long_is_an_error(void **state)
{
    static char item[CLI_LIST_TEXT];
    memset(item, 'x', sizeof(item) - 1);
    char error[512], *argv[2 * CLI_LIST_MAX + 2];
    cli_options o;
    for (int n = 0; n < 2; n++) {
        int argc = n == 0 ? 2 : 2 * CLI_LIST_MAX + 2;
        for (int i = 0; i < argc; i += 2) {
            argv[i] = "--model-arg";
            argv[i + 1] = n == 0 ? item : "x=1";
        }
        assert_false(cli_parse(CMD_TRAIN, argc, argv, &o, error, sizeof(error)));
        assert_string_equal(error, "--model-arg is given too often; commas may join values");
        if (n == 1)
            assert_true(cli_parse(CMD_TRAIN, argc - 2, argv, &o, error, sizeof(error)));
    }
    item[CLI_LIST_TEXT - 2] = '\0'; /* the longest */
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
    assert_true(cli_given(CMD_TRAIN, &o, "lr") && !cli_given(CMD_TRAIN, &o, "wd"));
}

/* Flag by flag, since the bytes between the members may differ. */
static void what_is_not_given_keeps_its_default(void **state)
{
    static const size_t sizes[] = {[FLAG_BOOL] = sizeof(bool),      [FLAG_INT] = sizeof(int64_t),
                                   [FLAG_NUMBER] = sizeof(double),  [FLAG_TEXT] = sizeof(char *),
                                   [FLAG_CHOICE] = sizeof(char *),  [FLAG_LIST] = sizeof(int),
                                   [FLAG_ARGUMENT] = sizeof(char *)};
    static const char *const args[] = {NULL};
    cli_options o, d = cli_defaults();
    char error[512];
    assert_true(parse(CMD_TRAIN, args, &o, error));
    for (int i = 0; i < cli_n_flags; i++) {
        const flag *f = &cli_flags[i];
        if (memcmp((char *)&o + f->offset, (char *)&d + f->offset, sizes[f->kind]) != 0)
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
        {{"--opt", "sg"}, "--opt: 'sg' is none of: sgd sgd_nesterov adamw"},
        {{"--opt", "sgd adamw"}, "--opt: 'sgd adamw' is none of: sgd sgd_nesterov adamw"},
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

static void the_table_is_consistent(void **state)
{
    assert_true(cli_n_flags <= CLI_FLAGS_MAX);
    for (int i = 0; i < cli_n_flags; i++) {
        const flag *f = &cli_flags[i];
        assert_true(f->commands != 0);
        assert_non_null(f->help);
        assert_true((f->kind == FLAG_CHOICE) == (f->choices != NULL));
        assert_true((f->kind == FLAG_BOOL) == (f->value == NULL));
        if (f->kind == FLAG_INT || f->kind == FLAG_NUMBER)
            assert_true(f->min < f->max);
        char names[512];
        snprintf(names, sizeof names, "%s", f->elsewhere ? f->elsewhere : "");
        for (char *rest = names, *name; (name = strsep(&rest, " ")) != NULL;)
            for (unsigned command = 1; *name && command <= CMD_TUNE; command <<= 1)
                if (f->commands & command && cli_find_flag(command, name, strlen(name)))
                    fail_msg("--%s is a flag, and suggested as --%s", name, f->name);
        for (int j = 0; j < i; j++) {
            if (!(f->commands & cli_flags[j].commands))
                continue;
            assert_string_not_equal(f->name, cli_flags[j].name);
            assert_true(!f->letter || f->letter != cli_flags[j].letter);
        }
    }
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
        cmocka_unit_test(the_table_is_consistent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
