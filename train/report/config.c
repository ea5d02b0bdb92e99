/* Writes options and environment as a JSON document. Single-threaded, as the context. */
#include "train/report/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/tensor/context.h"
#include "engine/base/error.h"
#include "engine/files/json_text.h"
#include "kernels/onednn/version.h"
#include "weft/tune.h"

static json_t *setting_value(const weft_setting *s)
{
    switch (s->kind) {
    case WEFT_SETTING_TEXT: return wf_json_text(s->text);
    case WEFT_SETTING_INT: return json_integer(s->integer);
    case WEFT_SETTING_NUMBER: return isfinite(s->number) ? json_real(s->number) : json_null();
    case WEFT_SETTING_BOOL: return json_boolean(s->truth);
    }
    return NULL;
}

/* Everything besides the options on which results depend. */
static json_t *environment(weft_context *ctx)
{
    int dnnl[3];
    weft_wisdom_info wisdom;
    if (weft_wisdom_get_info(ctx, &wisdom))
        return NULL;
    char onednn[32];
    wf_onednn_version(&dnnl[0], &dnnl[1], &dnnl[2]);
    snprintf(onednn, sizeof(onednn), "%d.%d.%d", dnnl[0], dnnl[1], dnnl[2]);
    return json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:i, s:s, s:o}", "weft", weft_version(),
                     "onednn", onednn, "cpu",
                     wf_json_text(wf_topology_machine(ctx->topology)->cpu_model), "isa",
                     weft_isa_name(weft_context_isa(ctx)), "amp",
                     weft_context_amp(ctx) == WEFT_AMP_BF16 ? "bf16" : "off", "machine",
                     weft_context_machine(ctx), "threads", weft_threads(ctx), "wisdom", wisdom.hash,
                     "avoid", wf_json_text(getenv("WEFT_AVOID")));
}

json_t *wf_config_json(weft_context *ctx, const char *command, const weft_setting *settings, int n,
                       weft_error *err)
{
    json_t *options = json_object();
    for (int i = 0; i < n; i++) {
        if (json_object_set_new(options, settings[i].name, setting_value(&settings[i])) != 0) {
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
                  "options", options, "environment", environment(ctx));
    if (!config)
        wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for the configuration");
    return config;
}
