/* Files of --config: what they say, what the command line says over it, and that a hostile one gives
 * one sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/config_file.h"
#include "cli/options.h"

enum { MAX_ARGS = 10 };

/* A file with this text; unlink it. */
static char *file_of(const char *end, const char *text)
{
    static char path[64];
    snprintf(path, sizeof(path), "/tmp/weft-config-XXXXXX%s", end);
    int fd = mkstemps(path, (int)strlen(end));
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

static bool parse(const char *end, const char *text, const char *const *args, cli_options *o,
                  char error[512])
{
    char *path = file_of(end, text), *argv[MAX_ARGS + 2] = {"--config", path};
    int argc = 2;
    for (; args && args[argc - 2]; argc++)
        argv[argc] = (char *)args[argc - 2];
    error[0] = '\0';
    bool good = cli_parse(CMD_TRAIN, argc, argv, o, error, 512);
    unlink(path);
    if (!good && strncmp(error, path, strlen(path)) == 0) /* the path is another each time */
        memmove(error, error + strlen(path) + 2, strlen(error + strlen(path) + 2) + 1);
    return good;
}

static void yaml_and_json_say_the_same(void **state)
{
    static const struct {
        const char *end, *text;
    } files[] = {
        {".yaml", "# a recipe\nlr: 0.5\nopt: rmsproptf\nlr_scheduler: steplr\nlr-step-size: 2\n"
                  "no-augment: true\nweight-decay: 2e-5\nfreeze: [conv1, 'bn1']\nmodel: ~\n"
                  "data-path: \"a: b\"\nnorm-weight-decay: 0.0\nmax-steps:\n"},
        {".json", "{\"lr\": 0.5, \"opt\": \"rmsproptf\", \"lr_scheduler\": \"steplr\",\n"
                  "\"lr-step-size\": 2, \"no-augment\": true, \"weight-decay\": 2e-5,\n"
                  "\"freeze\": [\"conv1\", \"bn1\"], \"model\": null, \"data-path\": \"a: b\",\n"
                  "\"norm-weight-decay\": 0, \"max-steps\": null}"},
        {".yml", "{lr: 0.5, opt: rmsproptf, lr_scheduler: steplr, lr-step-size: 2,\n"
                 "no-augment: true, wd: 2e-5, freeze: [conv1, bn1], data-path: 'a: b',\n"
                 "norm-weight-decay: 0}"},
    };
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        cli_options o;
        char error[512];
        if (!parse(files[i].end, files[i].text, NULL, &o, error))
            fail_msg("%s: %s", files[i].end, error);
        assert_true(o.lr == 0.5 && o.weight_decay == 2e-5 && o.norm_weight_decay == 0);
        assert_string_equal(o.opt, "rmsprop_tf");
        assert_string_equal(o.lr_scheduler, "step");
        assert_int_equal(o.lr_step_size, 2);
        assert_true(o.no_augment && o.model == NULL && o.max_steps == 0);
        assert_string_equal(o.data_path, "a: b");
        assert_int_equal(o.freeze.n, 2);
        assert_string_equal(o.freeze.item[1], "bn1");
        assert_true(flags_given(&cli_table, CMD_TRAIN, &o, "lr"));
        assert_true(!flags_given(&cli_table, CMD_TRAIN, &o, "epochs"));
        cli_options_done(&o);
    }
}

static void the_command_line_wins(void **state)
{
    static const char *const args[] = {
        "--lr", "0.25", "--set", "no_shuffle=false", "--freeze", "fc", "--set", "wd=0.125", NULL};
    cli_options o;
    char error[512];
    if (!parse(".yaml", "lr: 0.5\nno-shuffle: true\nepochs: 3\nfreeze: [a, b]\nwd: 1\n", args, &o,
               error))
        fail_msg("%s", error);
    assert_true(o.lr == 0.25 && !o.no_shuffle && o.epochs == 3 && o.weight_decay == 0.125);
    assert_int_equal(o.freeze.n, 1);
    assert_string_equal(o.freeze.item[0], "fc");
    cli_options_done(&o);
    assert_true(parse(".yaml", "", NULL, &o, error)); /* nothing said */
    assert_true(o.lr == 0.05);
    cli_options_done(&o);
}

/* What had no part in the run is null there; what has none in the new one does not matter; and the
 * new run goes elsewhere. */
static void a_runs_record_is_a_configuration(void **state)
{
    static const char record[] =
        "{\"command\": \"weft train\", \"options\": {\"lr\": 0.5, \"lr-scheduler\": \"step\",\n"
        "\"lr-step-size\": 7, \"lr-min\": null, \"output-dir\": \"/runs/old\",\n"
        "\"overwrite\": true, \"freeze\": \"a,b\"}, \"environment\": {\"threads\": 2}}";
    static const char *const args[] = {"--lr-scheduler=cosine", NULL};
    cli_options o;
    char error[512];
    if (!parse(".json", record, args, &o, error))
        fail_msg("%s", error);
    assert_true(o.lr == 0.5 && o.output_dir == NULL && !o.overwrite);
    assert_string_equal(o.freeze.item[0], "a,b");
    cli_options_done(&o);
    assert_true(parse(".json", record, NULL, &o, error));
    assert_int_equal(o.lr_step_size, 7);
    cli_options_done(&o);
    assert_false(parse(".yaml", "lr-scheduler: cosine\nlr-step-size: 7\n", NULL, &o, error));
    assert_string_equal(error, "--lr-step-size goes with --lr-scheduler step; here it is cosine");
}

static void mistakes_are_one_sentence(void **state)
{
    static const struct {
        const char *end, *text, *error;
    } cases[] = {
        {".yaml", "lr: 0.1\nlr-schedulr: step\n",
         "line 2: unknown key 'lr-schedulr'; did you mean lr-scheduler?"},
        {".yaml", "learning_rate: 0.1\n", "line 1: unknown key 'learning_rate'; did you mean lr?"},
        {".yaml", "zzzzzzzz: 0.1\n", "line 1: unknown key 'zzzzzzzz'"},
        {".json", "{\"lrr\": 1}", "unknown key 'lrr'; did you mean lr?"},
        {".yaml", "lr: fast\n", "line 1: lr: 'fast' is not a number"},
        {".yaml", "lr: true\n", "line 1: lr: 'true' is not a number"},
        {".yaml", "no-shuffle: 1\n", "line 1: no-shuffle: '1' is neither true nor false"},
        {".yaml", "lr: [1, 2]\n", "line 1: lr takes one value, not a list"},
        {".json", "{\"lr\": [1]}", "lr takes one value, not a list"},
        {".yaml", "lr: 1\nlr: 2\n", "line 2: 'lr' is there twice, first in line 1"},
        {".yaml", "wd: 1\nweight_decay: 2\n", "line 2: wd and weight_decay are one flag"},
        {".yaml", "model-ema: true\nmodel_ema: false\n",
         "line 2: model-ema and model_ema are one flag"},
        {".json", "{\"lr-min\": 0.1, \"lr_min\": 0.2}", "lr-min and lr_min are one flag"},
        {".yaml", "lr_min: [0.1, 0.2]\n", "line 1: lr_min takes one value, not a list"},
        {".json", "{\"lr\": 1, \"lr\": 2}", "line 1: no JSON: duplicate object key near '\"lr\"'"},
        {".yaml", "lr:\n  base: 1\n",
         "line 2: 'lr' is nested; expected a value or a list of values"},
        {".json", "{\"lr\": {\"base\": 1}}",
         "'lr' is nested; expected a value or a list of values"},
        {".yaml", "freeze: [[a]]\n", "line 1: 'freeze' is nested; expected a list of plain values"},
        {".yaml", "? [a]\n: 1\n", "line 1: a name is nested; expected 'name: value'"},
        {".yaml", "- lr\n", "line 1: expected lines of the form 'name: value'"},
        {".yaml", "lr\n", "line 1: expected lines of the form 'name: value'"},
        {".json", "[1]", "expected one object of names and values"},
        {".yaml", "lr: &a 1\nwd: *a\n", "line 1: anchors and aliases are not taken"},
        {".yaml", "lr: !!python/object:os.system 1\n", "line 1: tags are not taken"},
        {".yaml", "lr: 1\n---\nwd: 1\n", "line 2: a second document; expected one"},
        {".yaml", "config: x\n", "a configuration cannot name another one"},
        {".yaml", "set: lr=1\n", "line 1: unknown key 'set'"},
        {".yaml", "data-path: ''\n", "line 1: data-path needs a value"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cli_options o;
        char error[512];
        assert_false(parse(cases[i].end, cases[i].text, NULL, &o, error));
        assert_string_equal(error, cases[i].error);
    }
}

static void set_is_checked_as_a_flag(void **state)
{
    static const struct {
        const char *pair, *error;
    } cases[] = {{"lr", "--set: 'lr' is not of the form key=value"},
                 {"=1", "--set: '=1' is not of the form key=value"},
                 {"lrr=1", "unknown key 'lrr'; did you mean lr?"},
                 {"lr=x", "lr: 'x' is not a number"},
                 {"tune=1", "tune: '1' is neither true nor false"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cli_options o;
        char error[512], *argv[] = {"--set", (char *)cases[i].pair};
        assert_false(cli_parse(CMD_TRAIN, 2, argv, &o, error, sizeof(error)));
        assert_string_equal(error, cases[i].error);
    }
}

/* Nesting, aliases that multiply, and size: refused before anything is built of them. */
static void hostile_files_are_refused(void **state)
{
    static char deep[200001], many[CONFIG_BYTES + 2];
    cli_options o;
    char error[512];
    memset(deep, '[', sizeof(deep) - 1);
    memcpy(deep, "freeze: ", 8);
    assert_false(parse(".yaml", deep, NULL, &o, error));
    assert_string_equal(error, "line 1: 'freeze' is nested; expected a list of plain values");
    assert_false(parse(".json", deep + 8, NULL, &o, error));
    assert_non_null(strstr(error, "maximum parsing depth reached"));
    memset(many, ' ', sizeof(many) - 1);
    assert_false(parse(".yaml", many, NULL, &o, error));
    assert_string_equal(error, "more than 1048576 bytes");
    size_t n = 0;
    for (int i = 0; i < CONFIG_PAIRS + 1; i++)
        n += (size_t)snprintf(many + n, sizeof(many) - n, "%sx", i == 0 ? "freeze: [" : ", ");
    snprintf(many + n, sizeof(many) - n, "]\n");
    assert_false(parse(".yaml", many, NULL, &o, error));
    assert_string_equal(error, "line 1: more than 1024 values");
    static const char *const bombs[] = {"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n",
                                        "lr: \"\\xg\"\n",
                                        "lr: 'x\n",
                                        "\tlr: 1\n",
                                        "lr: \xff\xfe\n",
                                        "%YAML 9.9\n---\nlr: 1\n"};
    for (size_t i = 0; i < sizeof(bombs) / sizeof(bombs[0]); i++) {
        assert_false(parse(".yaml", bombs[i], NULL, &o, error));
        assert_true(strlen(error) > 0 && strchr(error, '\n') == NULL);
    }
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
    char error[512];
    config_file c;
    assert_false(config_file_read("/nonexistent/x.yaml", &c, error, sizeof(error)));
    assert_string_equal(error, "/nonexistent/x.yaml: No such file or directory");
    assert_false(config_file_read("/tmp", &c, error, sizeof(error)));
    assert_string_equal(error, "/tmp: no regular file; expected YAML or JSON");
    assert_false(config_file_read("/dev/zero", &c, error, sizeof(error)));
    assert_int_equal(c.n, 0);
    config_file_done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_and_json_say_the_same),
        cmocka_unit_test(the_command_line_wins),
        cmocka_unit_test(a_runs_record_is_a_configuration),
        cmocka_unit_test(mistakes_are_one_sentence),
        cmocka_unit_test(set_is_checked_as_a_flag),
        cmocka_unit_test(hostile_files_are_refused),
        cmocka_unit_test(a_file_that_cannot_be_read_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
