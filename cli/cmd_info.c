/* weft info, version. */
#include "commands.h"
#include "session.h"

int cmd_info(const cli_options *options)
{
    session s = {.command = "info", .options = options, .err = WEFT_ERROR_INIT};
    int status = session_open_context(&s);
    if (status == 0 &&
        (options->json ? weft_info_json(s.ctx, stdout) : weft_info(s.ctx, stdout)) != WEFT_OK)
        status = session_fail(&s);
    return session_done(&s, status);
}

int cmd_version(const cli_options *options)
{
    cli_print(stdout, "weft %s\n", weft_version());
    return 0;
}
