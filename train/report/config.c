/* Writes options and environment as a JSON document. Single-threaded, as the context. */
#include "train/report/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/tensor/context.h"
#include "engine/base/error.h"
#include "engine/files/json_text.h"
#include "engine/step/place.h"

json_t *wf_setting_json(const weft_setting *s)
{
    switch (s->kind) {
    case WEFT_SETTING_TEXT: return wf_json_text(s->text);
    case WEFT_SETTING_INT: return json_integer(s->integer);
    case WEFT_SETTING_NUMBER: return isfinite(s->number) ? json_real(s->number) : json_null();
    case WEFT_SETTING_BOOL: return json_boolean(s->truth);
    }
    return NULL;
}

json_t *wf_config_json(weft_context *ctx, const char *command, const weft_setting *settings, int n,
                       weft_error *err)
{
    json_t *options = json_object();
    for (int i = 0; i < n; i++) {
        if (json_object_set_new(options, settings[i].name, wf_setting_json(&settings[i])) != 0) {
            json_decref(options);
            wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for the options");
            return NULL;
        }
    }
    time_t now = time(NULL);
    struct tm tm;
    char started[32];
    strftime(started, sizeof(started), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    json_t *config =
        json_pack("{s:s, s:o, s:o, s:o}", "started", started, "command", wf_json_text(command),
                  "options", options, "environment", wf_place_json(ctx));
    if (!config && weft_error_status(ctx) != WEFT_OK)
        wf_error_set(err, weft_error_status(ctx), "%s", weft_error_text(ctx));
    if (!config)
        wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for the configuration");
    return config;
}
