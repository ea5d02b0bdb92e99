/* weft report: a run's page and figure, made again from the files in its directory. */
#include "commands.h"
#include "session.h"

int cmd_report(const cli_options *options)
{
    const session s = {.command = "report", .options = options};
    if (!options->run_dir)
        return session_usage(&s, "RUN_DIR is needed: the directory that weft train left");
    session failed = {.command = "report", .err = WEFT_ERROR_INIT};
    if (weft_run_write_report(options->run_dir, &failed.err))
        return session_fail(&failed);
    cli_print(stdout, "%s/report.html\n%s/curve.svg\n", options->run_dir, options->run_dir);
    return 0;
}
