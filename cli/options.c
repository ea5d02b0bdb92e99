/* Parses the command line of a command and checks what its flags mean beside each other. */
#include "options.h"

#include <string.h>

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

bool cli_parse(unsigned command, int argc, char **argv, cli_options *options, char *error,
               size_t error_size)
{
    if (!flags_parse(&cli_table, command, argc, argv, options, error, error_size))
        return false;
    return options->help || (flags_check_needs(&cli_table, command, options, error, error_size) &&
                             check_momentum(command, options, error, error_size));
}
