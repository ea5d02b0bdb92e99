/* What flags mean beside each other: a flag that was given is used, or refused where it would mean
 * nothing. No state. */
#include <string.h>

#include "flags.h"

bool cli_given(unsigned command, const cli_options *options, const char *name)
{
    const flag *f = cli_find_flag(command, name, strlen(name));
    return f && options->given[f - cli_flags];
}

/* "lr-scheduler=step" as the flag, and the value or NULL. */
static const flag *needed_flag(unsigned command, const char *needs, const char **value)
{
    size_t length = strcspn(needs, "=");
    *value = needs[length] ? needs + length + 1 : NULL;
    return cli_find_flag(command, needs, length);
}

bool cli_applies(unsigned command, const cli_options *options, const flag *f)
{
    if (!f->needs)
        return true;
    const bool off = f->needs[0] == '!';
    const char *value;
    const flag *other = needed_flag(command, f->needs + off, &value);
    if (!other) /* the command has no such flag to turn it off with */
        return true;
    const void *field = (const char *)options + other->offset;
    if (other->kind == FLAG_BOOL)
        return *(const bool *)field != off;
    const char *text = *(const char *const *)field;
    return text && (!value || strcmp(text, value) == 0);
}

static bool refuse(unsigned command, const cli_options *options, const flag *f, char *error,
                   size_t error_size)
{
    const bool off = f->needs[0] == '!';
    const char *value;
    const flag *other = needed_flag(command, f->needs + off, &value);
    if (off)
        snprintf(error, error_size, "--%s means nothing with --%s", f->name, other->name);
    else if (!value)
        snprintf(error, error_size, "--%s goes with --%s", f->name, other->name);
    else
        snprintf(error, error_size, "--%s goes with --%s %s; here it is %s", f->name, other->name,
                 value, *(const char *const *)((const char *)options + other->offset));
    return false;
}

bool cli_check_rules(unsigned command, const cli_options *options, char *error, size_t error_size)
{
    for (int i = 0; i < cli_n_flags; i++)
        if (options->given[i] && !cli_applies(command, options, &cli_flags[i]))
            return refuse(command, options, &cli_flags[i], error, error_size);
    /* As torch.optim.SGD: Nesterov's step without a momentum would be another optimizer. */
    if (cli_given(command, options, "momentum") && options->momentum == 0 &&
        strcmp(options->opt, "sgd_nesterov") == 0) {
        snprintf(error, error_size,
                 "--momentum 0: Nesterov's momentum must be above 0; --opt sgd does without");
        return false;
    }
    return true;
}
