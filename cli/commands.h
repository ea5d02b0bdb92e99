/* One function a command, each in cli/cmd_<name>.c: runs it and returns the exit status. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "options.h"

int cmd_plan(const cli_options *options);
int cmd_train(const cli_options *options);
int cmd_eval(const cli_options *options);
int cmd_report(const cli_options *options);
int cmd_predict(const cli_options *options);
int cmd_info(const cli_options *options);
int cmd_summary(const cli_options *options);
int cmd_explain(const cli_options *options);
int cmd_look(const cli_options *options);
int cmd_pack(const cli_options *options);
int cmd_tune(const cli_options *options);
int cmd_check(const cli_options *options);
int cmd_models(const cli_options *options);
int cmd_version(const cli_options *options);

#endif
