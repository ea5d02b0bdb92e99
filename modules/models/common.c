/* What the models share: options by key, initial values. Threading rule: the context's. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/c_locale.h"
#include "modules/internal.h"
#include "modules/models/models.h"
#include "weft/init.h"

/* The value of a key; the last one where it is given several times, like a command's flags. */
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

/* Reads all of `text` as a number with a decimal point in any locale. NaN: it is not a number. */
static double number_of(const char *text)
{
    wf_c_locale locale;
    if (*text == '\0' || !wf_c_locale_begin(&locale))
        return NAN;
    char *end;
    double x = strtod(text, &end);
    wf_c_locale_end(&locale);
    return *end == '\0' ? x : NAN;
}

double wf_model_number(weft_context *ctx, const weft_model_opts *opts, const char *key,
                       double missing)
{
    const char *value = value_of(opts, key);
    if (value == NULL)
        return missing;
    double x = number_of(value);
    if (x >= 0 && x < 1)
        return x;
    wf_fail(ctx, WEFT_ERR_INVALID, "%s: '%s' is not a number from 0 up to, not including, 1", key,
            value);
    return missing;
}

double wf_model_positive(weft_context *ctx, const weft_model_opts *opts, const char *key,
                         double missing)
{
    const char *value = value_of(opts, key);
    if (value == NULL)
        return missing;
    double x = number_of(value);
    if (x > 0 && x <= 100)
        return x;
    wf_fail(ctx, WEFT_ERR_INVALID, "%s: '%s' is not a number above 0 and up to 100", key, value);
    return missing;
}

bool wf_is_layer(const weft_module *m, const char *name)
{
    return strcmp(weft_module_name(m), name) == 0;
}

static weft_status zero_bias(weft_module *m)
{
    const wf_part *bias = wf_part_find(m, "bias", strlen("bias"));
    weft_tensor *t = bias != NULL ? wf_part_tensor(bias) : NULL;
    return t != NULL ? weft_init_constant(t, 0) : WEFT_OK;
}

weft_status wf_init_conv_fan_out(weft_module *m, void *user)
{
    if (!wf_is_layer(m, "Conv2d"))
        return WEFT_OK;
    WF_TRY(
        weft_init_kaiming_normal(weft_get_parameter(m, "weight"), 0, WEFT_FAN_OUT, WEFT_GAIN_RELU));
    return zero_bias(m);
}

weft_status wf_init_conv_and_linear(weft_module *m, void *user)
{
    if (!wf_is_layer(m, "Linear"))
        return wf_init_conv_fan_out(m, user);
    WF_TRY(weft_init_normal(weft_get_parameter(m, "weight"), 0, 0.01));
    return zero_bias(m);
}

weft_module *wf_model_ok(void *m, weft_status (*init)(weft_module *m, void *user))
{
    weft_module *module = weft_module_ok(m);
    if (module == NULL)
        return NULL;
    /* a wrong value of an option may have set an error */
    weft_status status = weft_error_status(module->ctx);
    if (status == WEFT_OK && init != NULL)
        status = weft_module_apply(module, init, NULL);
    if (status == WEFT_OK)
        return module;
    weft_module_unref(module);
    return NULL;
}
