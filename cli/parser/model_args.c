/* Cuts the values of --model-arg into keys and values. No state. */
#include "model_args.h"

#include <string.h>

int model_args_split(char *text, weft_model_arg args[FLAG_LIST_MAX], const char **bad)
{
    int n = 0;
    for (char *rest = text, *item; (item = strsep(&rest, ",")) && *text;) {
        char *equals = strchr(item, '=');
        *bad = item;
        if (!equals || equals == item || n == FLAG_LIST_MAX)
            return -1;
        *equals = '\0';
        args[n++] = (weft_model_arg){item, equals + 1};
    }
    return n;
}
