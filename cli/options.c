/* Parses the command line of a command, with the file of --config under it, and checks what its flags
 * mean beside each other. */
#include "options.h"

#include <stdlib.h>
#include <string.h>

#include "config_file.h"
#include "parser/sizes.h"

/* As torch.optim.SGD: Nesterov's step without a momentum would be another optimizer. */
static bool check_momentum(unsigned command, const cli_options *options, char *error,
                           size_t error_size)
{
    if (!flags_given(&cli_table, command, options, "momentum") || options->momentum != 0 ||
        strcmp(options->opt, "sgd_nesterov") != 0)
        return true;
    snprintf(error, error_size,
             "--momentum 0: Nesterov's momentum must be above 0; --opt sgd does without");
    return false;
}

static bool check_warmup(unsigned command, const cli_options *options, char *error,
                         size_t error_size)
{
    if (!flags_given(&cli_table, command, options, "lr-warmup-epochs") ||
        !flags_given(&cli_table, command, options, "lr-warmup-steps"))
        return true;
    snprintf(error, error_size, "--lr-warmup-epochs and --lr-warmup-steps exclude each other");
    return false;
}

static bool check_monitor(const cli_options *options, char *error, size_t error_size)
{
    if (options->model_ema || strncmp(options->monitor, "ema_", 4) != 0)
        return true;
    snprintf(error, error_size, "--monitor %s goes with --model-ema", options->monitor);
    return false;
}

static bool read_memory(cli_options *o, char *error, size_t error_size)
{
    for (int i = 0; i < o->recompute.n && o->recompute.n > 1; i++)
        if (strcmp(o->recompute.item[i], "off") == 0 || strcmp(o->recompute.item[i], "auto") == 0) {
            snprintf(error, error_size, "--recompute %s does not go with other patterns",
                     o->recompute.item[i]);
            return false;
        }
    if (!o->memory_limit || sizes_read(o->memory_limit, &o->memory_bytes))
        return true;
    snprintf(error, error_size, "--memory-limit: '%s' is no number of bytes, such as 8G or 800M",
             o->memory_limit);
    return false;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* A value before `pair` that sets the same flag by another name, such as wd and weight-decay. */
static const config_pair *find_twin(unsigned command, const config_file *c, const config_pair *pair,
                                    const flag *f)
{
    for (const config_pair *p = c->pairs; p < pair; p++)
        if (strcmp(p->key, pair->key) != 0 && flags_find_key(&cli_table, command, p->key) == f)
            return p;
    return NULL;
}

/* Sets one value of the file. Those of a run's record count as defaults, so that what had no part in
 * that run, or has none in this one, is no mistake. */
static bool set_pair(unsigned command, const config_file *c, const config_pair *pair,
                     cli_options *options, char *error, size_t error_size)
{
    char why[512];
    bool given[FLAGS_MAX];
    memcpy(given, options->given, sizeof(given));
    bool good = flags_set(&cli_table, command, options, pair->key, pair->value, why, sizeof(why));
    const flag *f = flags_find_key(&cli_table, command, pair->key);
    const config_pair *twin = good ? find_twin(command, c, pair, f) : NULL;
    if (twin) {
        snprintf(why, sizeof(why), "%.64s and %.64s are one flag", twin->key, pair->key);
        good = false;
    }
    if (good && pair->listed && f && f->kind != FLAG_LIST) {
        snprintf(why, sizeof(why), "%s takes one value, not a list", pair->key);
        good = false;
    }
    if (c->record)
        memcpy(options->given, given, sizeof(given));
    if (good)
        return true;
    if (pair->line > 0)
        snprintf(error, error_size, "%s: line %d: %s", options->config, pair->line, why);
    else
        snprintf(error, error_size, "%s: %s", options->config, why);
    return false;
}

/* Lists of the file that the command line has, too, make room for those. */
static void empty_lists(const bool given[FLAGS_MAX], cli_options *options)
{
    for (int i = 0; i < cli_table.n_flags; i++)
        if (given[i] && cli_table.flags[i].kind == FLAG_LIST)
            ((flag_list *)((char *)options + cli_table.flags[i].offset))->n = 0;
}

/* The defaults, then the file, then argv. */
static bool parse_over(unsigned command, int argc, char **argv, const config_file *c,
                       cli_options *options, char *error, size_t error_size)
{
    bool given[FLAGS_MAX];
    const char *path = options->config;
    memcpy(given, options->given, sizeof(given));
    memcpy(options, cli_table.defaults, sizeof(*options));
    options->config = path;
    for (int i = 0; i < c->n; i++) {
        if (!set_pair(command, c, &c->pairs[i], options, error, error_size))
            return false;
        if (options->config != path) {
            snprintf(error, error_size, "%s: a configuration cannot name another one", path);
            return false;
        }
    }
    empty_lists(given, options);
    return flags_take(&cli_table, command, argc, argv, options, error, error_size);
}

static bool read_config(unsigned command, int argc, char **argv, cli_options *options, char *error,
                        size_t error_size)
{
    config_file *c = malloc(sizeof(*c));
    if (!c) {
        snprintf(error, error_size, "out of memory");
        return false;
    }
    bool good = config_file_read(options->config, c, error, error_size) &&
                parse_over(command, argc, argv, c, options, error, error_size);
    options->file = c;
    if (!good)
        cli_options_done(options);
    return good;
}

/* ---- all of it ------------------------------------------------------------------------------- */

bool cli_parse(unsigned command, int argc, char **argv, cli_options *options, char *error,
               size_t error_size)
{
    if (!flags_parse(&cli_table, command, argc, argv, options, error, error_size))
        return false;
    if (options->help)
        return true;
    if (options->config && !read_config(command, argc, argv, options, error, error_size))
        return false;
    if (flags_check_needs(&cli_table, command, options, error, error_size) &&
        check_momentum(command, options, error, error_size) &&
        check_warmup(command, options, error, error_size) &&
        check_monitor(options, error, error_size) && read_memory(options, error, error_size))
        return true;
    cli_options_done(options);
    return false;
}

void cli_options_done(cli_options *options)
{
    if (options->file)
        config_file_done(options->file);
    free(options->file);
    options->file = NULL;
}
