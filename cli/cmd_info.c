/* weft info, models, version. */
#include <fnmatch.h>

#include "commands.h"
#include "session.h"

int cmd_info(const cli_options *options)
{
    session s = {.command = "info", .options = options, .err = WEFT_ERROR_INIT};
    int status = session_open_context(&s);
    if (status == 0 && weft_info(s.ctx, stdout))
        status = session_fail(&s);
    session_done(&s);
    return status;
}

int cmd_models(const cli_options *options)
{
    int n;
    const weft_model_info *models = weft_models(&n);
    const char *pattern = options->pattern ? options->pattern : "*";
    for (int i = 0; i < n; i++)
        if (fnmatch(pattern, models[i].name, 0) == 0)
            printf("%-20s  %dx%dx%d, %d classes  %s\n", models[i].name,
                   models[i].defaults.in_channels, models[i].defaults.height,
                   models[i].defaults.width, models[i].defaults.num_classes, models[i].about);
    return 0;
}

int cmd_version(const cli_options *options)
{
    printf("weft %s\n", weft_version());
    return 0;
}
