/* Where this process runs: host, batch job, cores, memory, versions.
 *
 * Threading: the context's. */
#include "engine/step/place.h"

#include <gnu/libc-version.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <zlib.h>

#include "engine/base/c_locale.h"
#include "engine/base/quote.h"
#include "engine/files/json_text.h"
#include "engine/machine/job.h"
#include "engine/machine/memory.h"
#include "engine/step/commit.h"
#include "engine/step/info.h"
#include "engine/step/wisdom.h"
#include "engine/tensor/context.h"
#include "kernels/machine.h"
#include "kernels/onednn/admitted.h"
#include "kernels/onednn/version.h"
#include "weft/job.h"
#include "weft/tune.h"

const char *weft_commit(void)
{
    return WF_COMMIT;
}

/* ---- as JSON --------------------------------------------------------------------------------- */

/* Text, or null where it is "". */
static json_t *text_or_null(const char *text)
{
    return text[0] ? wf_json_text(text) : json_null();
}

static json_t *bytes_or_null(uint64_t bytes)
{
    return bytes ? json_integer((json_int_t)bytes) : json_null();
}

static json_t *job_json(void)
{
    weft_job job;
    weft_job_get(&job);
    if (!*job.scheduler)
        return json_null();
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "scheduler",
                     job.scheduler, "id", text_or_null(job.id), "array_id",
                     text_or_null(job.array_id), "array_index", text_or_null(job.array_index),
                     "name", text_or_null(job.name), "queue", text_or_null(job.queue), "nodes",
                     text_or_null(job.nodes), "cpus", bytes_or_null((uint64_t)job.cpus), "restarts",
                     job.restarts >= 0 ? json_integer(job.restarts) : json_null(), "end",
                     job.end > 0 ? json_integer((json_int_t)job.end) : json_null());
}

/* The scheduler's variables that are set. */
static json_t *variables_json(void)
{
    json_t *set = json_object();
    for (int i = 0; wf_job_variable(i); i++) {
        const char *name = wf_job_variable(i), *text = getenv(name);
        if (text && json_object_set_new(set, name, wf_json_text(text)) != 0) {
            json_decref(set);
            return NULL;
        }
    }
    return set;
}

/* The chosen cpus, "0-3,8"; of one NUMA node, or of all (-1). */
static json_t *cpus_json(const wf_topology *t, int node)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    wf_info_cpus(t, node, out);
    json_t *json = fclose(out) == 0 ? json_string(text) : NULL;
    free(text);
    return json;
}

static json_t *nodes_json(const wf_topology *t)
{
    json_t *list = json_array();
    for (int node = 0; node < wf_topology_machine(t)->nodes; node++)
        if (json_array_append_new(list, json_pack("{s:o, s:o}", "memory",
                                                  bytes_or_null(wf_topology_node_memory(t, node)),
                                                  "cpus", cpus_json(t, node))) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *memory_json(void)
{
    wf_memory_limit l;
    if (wf_memory_get_limit(NULL, &l, NULL) != WEFT_OK)
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:o}", "machine", bytes_or_null(l.machine), "limit",
                     bytes_or_null(l.total), "available", bytes_or_null(l.available), "why",
                     wf_json_text(l.why));
}

static json_t *machine_json(const wf_machine *m)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:o, s:o}", "packages", m->packages,
                     "numa_nodes", m->nodes, "cores", m->cores, "hardware_threads",
                     m->hardware_threads, "allowed_hardware_threads", m->allowed_hardware_threads,
                     "quota", m->quota > 0 ? json_real(m->quota) : json_null(), "l1d",
                     bytes_or_null(m->l1d), "l2", bytes_or_null(m->l2), "l3", bytes_or_null(m->l3));
}

static json_t *libraries_json(const char *onednn)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "onednn", onednn, "hwloc", wf_hwloc_version(),
                     "jansson", jansson_version_str(), "zlib", zlibVersion(), "libc",
                     gnu_get_libc_version());
}

static json_t *system_json(const struct utsname *name)
{
    char text[2 * sizeof name->sysname + sizeof name->machine + 3];
    snprintf(text, sizeof text, "%s %s %s", name->sysname, name->release, name->machine);
    return wf_json_text(text);
}

/* What the records had from the beginning: results depend on it. */
static json_t *results_json(weft_context *ctx, const char *onednn)
{
    weft_wisdom_info wisdom;
    if (weft_wisdom_get_info(ctx, &wisdom) != WEFT_OK)
        return NULL;
    return json_pack("{s:s, s:o, s:s, s:o, s:s, s:s, s:s, s:i, s:s, s:o}", "weft", weft_version(),
                     "commit", text_or_null(weft_commit()), "onednn", onednn, "cpu",
                     wf_json_text(wf_topology_machine(ctx->topology)->cpu_model), "isa",
                     weft_isa_name(ctx->isa), "amp",
                     weft_context_amp(ctx) == WEFT_AMP_BF16 ? "bf16" : "off", "machine",
                     weft_context_machine(ctx), "threads", weft_threads(ctx), "wisdom", wisdom.hash,
                     "avoid", wf_json_text(getenv("WEFT_AVOID")));
}

/* Where it ran. */
static json_t *where_json(const weft_context *ctx, const char *onednn)
{
    const wf_topology *t = ctx->topology;
    const char *binding, *openmp = wf_topology_openmp(t);
    const bool bound = wf_topology_binds(t, &binding);
    struct utsname name;
    if (uname(&name) != 0)
        memset(&name, 0, sizeof name);
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:s, s:o, s:o, s:o, s:o, s:o}", "host",
                     text_or_null(name.nodename), "system", system_json(&name), "job", job_json(),
                     "variables", variables_json(), "cpus", cpus_json(t, -1), "cpus_why",
                     wf_json_text(wf_topology_why(t)), "bound", bound, "binding", binding, "openmp",
                     text_or_null(openmp), "numa", nodes_json(t), "memory", memory_json(),
                     "hardware", machine_json(wf_topology_machine(t)), "libraries",
                     libraries_json(onednn));
}

json_t *wf_place_json(weft_context *ctx)
{
    int dnnl[3];
    char onednn[48];
    wf_onednn_version(&dnnl[0], &dnnl[1], &dnnl[2]);
    snprintf(onednn, sizeof onednn, "%d.%d.%d", dnnl[0], dnnl[1], dnnl[2]);
    json_t *json = results_json(ctx, onednn), *where = where_json(ctx, onednn);
    if (!json || !where || json_object_update(json, where) != 0) {
        json_decref(json);
        json = NULL;
        if (ctx->error.status == WEFT_OK)
            wf_fail(ctx, WEFT_ERR_NOMEM, "out of memory for a description of the machine");
    }
    json_decref(where);
    return json;
}

weft_status weft_info_json(weft_context *ctx, FILE *out)
{
    if (!ctx)
        return wf_no_context("info_json");
    if (!out)
        return wf_fail(ctx, WEFT_ERR_INVALID, "info: there is no file to write to");
    json_t *json = wf_place_json(ctx);
    if (!json)
        return weft_error_status(ctx);
    char *text = wf_json_dumps(json, JSON_INDENT(2));
    json_decref(json);
    if (!text)
        return wf_fail(ctx, WEFT_ERR_NOMEM, "out of memory for a description of the machine");
    bool written = fprintf(out, "%s\n", text) > 0 && fflush(out) == 0;
    free(text);
    return written ? WEFT_OK : wf_fail(ctx, WEFT_ERR_IO, "info: cannot write");
}

/* ---- as one line ----------------------------------------------------------------------------- */

static void write_job(FILE *out)
{
    weft_job job;
    weft_job_get(&job);
    if (!*job.scheduler)
        return;
    fprintf(out, ", %s job %s", job.scheduler, job.id);
    if (job.array_index[0])
        fprintf(out, " (%s of array %s)", job.array_index, job.array_id);
    if (job.restarts > 0)
        fprintf(out, ", restart %d", job.restarts);
}

static void write_place(const weft_context *ctx, FILE *out)
{
    const wf_topology *t = ctx->topology;
    const wf_machine *m = wf_topology_machine(t);
    const char *binding;
    struct utsname name;
    wf_memory_limit l;
    char total[WF_BYTES_TEXT], available[WF_BYTES_TEXT];
    bool known = uname(&name) == 0;
    fputs(known ? name.nodename : "?", out);
    write_job(out);
    fputs(", cpus ", out);
    wf_info_cpus(t, -1, out);
    fprintf(out, " (%s), ", wf_topology_why(t));
    wf_topology_binds(t, &binding);
    fprintf(out, "%s, %d of %d NUMA node%s", binding, m->used_nodes, m->nodes,
            m->nodes == 1 ? "" : "s");
    if (wf_memory_get_limit(NULL, &l, NULL) == WEFT_OK)
        fprintf(out, ", %s of %s free (%s)", wf_bytes_text(available, l.available),
                wf_bytes_text(total, l.total), l.why);
    if (known)
        fprintf(out, ", %s %s", name.sysname, name.release);
    fprintf(out, ", weft %s%s%s", weft_version(), *weft_commit() ? " " : "", weft_commit());
}

size_t weft_info_line(const weft_context *ctx, char *text, size_t size)
{
    char *line = NULL;
    size_t length = 0;
    size = text ? size : 0;
    if (size > 0)
        text[0] = '\0';
    FILE *out = ctx ? open_memstream(&line, &length) : NULL;
    if (!out)
        return 0;
    wf_c_locale locale;
    const bool c = wf_c_locale_begin(&locale);
    write_place(ctx, out);
    if (c)
        wf_c_locale_end(&locale);
    if (fclose(out) != 0)
        length = 0;
    else if (size > 0)
        snprintf(text, size, "%s", line);
    free(line);
    return length;
}
