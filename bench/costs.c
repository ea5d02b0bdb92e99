/* Answers what layers cost; see costs.h. */
#include "bench/costs.h"

#include <jansson.h>
#include <stdlib.h>

#include "bench/networks.h"
#include "engine/base/error.h"
#include "engine/base/alloc.h"
#include "kernels/select.h"

/* One implementation of one pass of one layer. */
typedef struct row {
    wf_conv2d_desc desc;
    wf_conv2d_pass pass;
    const wf_conv2d_impl *impl;
    double more; /* what creation adds to the expected cost, as a factor */
} row;

typedef struct table {
    weft_isa isa;
    row *row;
    int n, capacity;
    json_t *names;
} table;

static weft_status add(table *t, const bench_layer *at, const wf_conv2d_impl *impl, double more,
                       weft_error *err)
{
    if (t->n == t->capacity) {
        int capacity = 2 * t->capacity + 256;
        row *grown = wf_realloc_array(t->row, (size_t)capacity, sizeof *grown);
        if (!grown)
            return wf_nomem(err, (size_t)capacity * sizeof *grown, "costs");
        t->row = grown;
        t->capacity = capacity;
    }
    t->row[t->n++] = (row){at->desc, at->pass, impl, more};
    json_array_append_new(t->names, json_pack("[s, s, s, s]", at->network, at->name,
                                              wf_conv2d_pass_name(at->pass), impl->name));
    return WEFT_OK;
}

static weft_status visit(void *user, const bench_layer *at, weft_error *err)
{
    table *t = user;
    char why[160];
    for (int i = 0; i < wf_conv2d_n_impls; i++) {
        const wf_conv2d_impl *impl = wf_conv2d_impls[i];
        wf_conv2d *k = wf_conv2d_create_impl(impl, &at->desc, at->pass, t->isa, 1, why, sizeof why);
        if (!k)
            continue;
        double more = k->cycles / wf_conv2d_cycles(impl, &at->desc, at->pass, t->isa);
        wf_conv2d_destroy(k);
        WF_TRY(add(t, at, impl, more, err));
    }
    return WEFT_OK;
}

static void write_line(json_t *json, FILE *out)
{
    json_dumpf(json, out, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));
    fputc('\n', out);
    fflush(out);
    json_decref(json);
}

static json_t *constants_json(wf_costs *costs)
{
    const char *name;
    json_t *all = json_object();
    for (int i = 0; wf_cost_at(costs, i, &name); i++)
        json_object_set_new(all, name, json_real(*wf_cost_at(costs, i, &name)));
    return all;
}

static weft_status change(wf_costs *costs, const json_t *by, weft_error *err)
{
    const char *name;
    size_t known = 0;
    for (int i = 0; wf_cost_at(costs, i, &name); i++) {
        const json_t *value = json_object_get(by, name);
        known += value != NULL;
        if (value && !(json_number_value(value) > 0))
            return wf_error_set(err, WEFT_ERR_INVALID, "%s is not a positive number", name);
        if (value)
            *wf_cost_at(costs, i, &name) = json_number_value(value);
    }
    return known == json_object_size(by)
               ? WEFT_OK
               : wf_error_set(err, WEFT_ERR_INVALID, "a line names a constant that is not there");
}

static json_t *expected(const table *t)
{
    json_t *cycles = json_array();
    for (int i = 0; i < t->n; i++) {
        const row *r = &t->row[i];
        double x = wf_conv2d_cycles(r->impl, &r->desc, r->pass, t->isa) * r->more;
        json_array_append_new(cycles, json_real(x));
    }
    return cycles;
}

static weft_status answer(const table *t, FILE *in, FILE *out, weft_error *err)
{
    const wf_machine_class *mine = wf_machine_class_of(t->isa);
    wf_machine_class changed = *mine;
    wf_costs costs = *mine->cost;
    char *line = NULL;
    size_t size = 0;
    weft_status status = WEFT_OK;
    write_line(json_pack("{s:s, s:f, s:o, s:O}", "class", mine->name, "peak", wf_peak_fmas(t->isa),
                         "constants", constants_json(&costs), "rows", t->names),
               out);
    changed.cost = &costs;
    const wf_machine_class *was = wf_machine_class_use(&changed);
    while (status == WEFT_OK && getline(&line, &size, in) > 0) {
        json_t *by = json_loads(line, 0, NULL);
        costs = *mine->cost;
        status = json_is_object(by)
                     ? change(&costs, by, err)
                     : wf_error_set(err, WEFT_ERR_INVALID, "a line is not an object of constants");
        json_decref(by);
        if (status == WEFT_OK)
            write_line(expected(t), out);
    }
    wf_machine_class_use(was);
    free(line);
    return status;
}

weft_status bench_costs_serve(const char *networks, int batch, weft_isa isa, FILE *in, FILE *out,
                              weft_error *err)
{
    table t = {.isa = isa, .names = json_array()};
    weft_status status = bench_networks_visit(networks, NULL, batch, WEFT_F32, isa, visit, &t, err);
    if (status == WEFT_OK)
        status = answer(&t, in, out, err);
    json_decref(t.names);
    wf_free(t.row);
    return status;
}
