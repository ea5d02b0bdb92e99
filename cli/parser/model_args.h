/* The values of --model-arg: "key=value,key=value". */
#ifndef CLI_PARSER_MODEL_ARGS_H
#define CLI_PARSER_MODEL_ARGS_H

#include <weft/models.h>

#include "flags.h"

/* Cuts `text` up into pairs, which point into it. Returns their number; -1, with the piece at fault
 * in *bad, where one is not of the form key=value or there are too many. "" has no pairs. */
int model_args_split(char *text, weft_model_arg args[FLAG_LIST_MAX], const char **bad);

#endif
