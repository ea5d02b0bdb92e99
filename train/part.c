/* The numbers of a part, as JSON. See part.h. */
#include "train/part.h"

#include <math.h>
#include <string.h>

static weft_status no_memory(weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a checkpoint");
}

/* JSON has no words for these. */
json_t *wf_ckpt_json_number(double value)
{
    if (isfinite(value))
        return json_real(value);
    return json_string(isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
}

bool wf_ckpt_number_of(const json_t *value, double *number)
{
    const char *text = json_string_value(value);
    if (json_is_number(value))
        *number = json_number_value(value);
    else if (text && strcmp(text, "nan") == 0)
        *number = NAN;
    else if (text && (strcmp(text, "inf") == 0 || strcmp(text, "-inf") == 0))
        *number = text[0] == '-' ? -INFINITY : INFINITY;
    else
        return false;
    return true;
}

weft_status wf_ckpt_put_json(wf_ckpt_out *out, const char *key, json_t *value)
{
    return json_object_set_new(out->numbers, key, value) == 0 ? WEFT_OK : no_memory(out->err);
}

weft_status wf_ckpt_put_int(wf_ckpt_out *out, const char *key, int64_t value)
{
    return wf_ckpt_put_json(out, key, json_integer((json_int_t)value));
}

weft_status wf_ckpt_put_number(wf_ckpt_out *out, const char *key, double value)
{
    return wf_ckpt_put_json(out, key, wf_ckpt_json_number(value));
}

weft_status wf_ckpt_put_text(wf_ckpt_out *out, const char *key, const char *text)
{
    return wf_ckpt_put_json(out, key, json_string(text));
}

weft_status wf_ckpt_need(const wf_ckpt_in *in)
{
    if (in->numbers)
        return WEFT_OK;
    return wf_error_set(in->err, WEFT_ERR_FORMAT, "the checkpoint has no part '%s'", in->part);
}

static weft_status misfit(const wf_ckpt_in *in, const char *key, const char *kind)
{
    WF_TRY(wf_ckpt_need(in));
    return wf_error_set(in->err, WEFT_ERR_FORMAT, "state.json: %s.%s is missing or no %s", in->part,
                        key, kind);
}

weft_status wf_ckpt_get_int(const wf_ckpt_in *in, const char *key, int64_t *value)
{
    const json_t *found = json_object_get(in->numbers, key);
    if (!json_is_integer(found))
        return misfit(in, key, "integer");
    *value = (int64_t)json_integer_value(found);
    return WEFT_OK;
}

weft_status wf_ckpt_get_number(const wf_ckpt_in *in, const char *key, double *value)
{
    return wf_ckpt_number_of(json_object_get(in->numbers, key), value) ? WEFT_OK
                                                                       : misfit(in, key, "number");
}

weft_status wf_ckpt_get_text(const wf_ckpt_in *in, const char *key, const char **text)
{
    const char *found = json_string_value(json_object_get(in->numbers, key));
    if (!found)
        return misfit(in, key, "text");
    *text = found;
    return WEFT_OK;
}
