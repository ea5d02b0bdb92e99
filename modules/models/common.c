/* What the models share: options by key, initial values. Threading rule: the context's. */
#include <stdlib.h>
#include <string.h>

#include "modules/internal.h"
#include "modules/models/models.h"
#include "weft/init.h"

/* The last value given for a key, as for a command's flags. */
static const char *value_of(const weft_model_opts *opts, const char *key)
{
    for (int i = opts->n_args; i-- > 0;) {
        if (strcmp(opts->args[i].key, key) == 0)
            return opts->args[i].value;
    }
    return NULL;
}

bool wf_model_bool(weft_context *ctx, const weft_model_opts *opts, const char *key, bool missing)
{
    const char *value = value_of(opts, key);
    if (value == NULL)
        return missing;
    if (strcmp(value, "true") == 0 || strcmp(value, "True") == 0 || strcmp(value, "1") == 0)
        return true;
    if (strcmp(value, "false") == 0 || strcmp(value, "False") == 0 || strcmp(value, "0") == 0)
        return false;
    wf_fail(ctx, WEFT_ERR_INVALID, "%s: '%s' is neither true nor false", key, value);
    return missing;
}

double wf_model_number(weft_context *ctx, const weft_model_opts *opts, const char *key,
                       double missing)
{
    const char *value = value_of(opts, key);
    if (value == NULL)
        return missing;
    char *end;
    double x = strtod(value, &end);
    if (*value != '\0' && *end == '\0' && x >= 0 && x < 1)
        return x;
    wf_fail(ctx, WEFT_ERR_INVALID, "%s: '%s' is not a number from 0 up to, not including, 1", key,
            value);
    return missing;
}

weft_status wf_init_conv_fan_out(weft_module *m, void *user)
{
    if (strcmp(weft_module_name(m), "Conv2d") != 0)
        return WEFT_OK;
    return weft_init_kaiming_normal(weft_get_parameter(m, "weight"), 0, WEFT_FAN_OUT,
                                    WEFT_GAIN_RELU);
}

weft_module *wf_model_ok(void *m, weft_status (*init)(weft_module *m, void *user))
{
    m = weft_module_ok(m);
    if (m == NULL || init == NULL || weft_module_apply(m, init, NULL) == WEFT_OK)
        return m;
    weft_module_unref(m);
    return NULL;
}
