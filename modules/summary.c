/* The table of a network's layers: records one forward and lets hooks note the shapes.
 *
 * Threading rule: the context's. */
#include <inttypes.h>
#include <string.h>

#include "modules/internal.h"

typedef struct row {
    weft_module *m;
    bool training; /* as it was */
    uint64_t hook;
    weft_shape out;
    int calls;
    int64_t macs;
} row;

static weft_status note_shape(void *user, weft_module *m, int n_in, weft_tensor *const *in,
                              int n_out, weft_tensor **out)
{
    row *r = user;
    if (n_out < 1)
        return WEFT_OK;
    r->out = weft_tensor_shape(out[0]);
    r->calls++;
    if (m->cls->macs != NULL && n_in > 0 && in[0] != NULL)
        r->macs += m->cls->macs(m, weft_tensor_shape(in[0]), r->out);
    return WEFT_OK;
}

/* Runs the forward in evaluation mode, without gradients, so that nothing has an effect. */
static weft_status record(weft_module *m, weft_shape input, row *rows, int n)
{
    weft_context *ctx = m->ctx;
    weft_status status = WEFT_OK;
    weft_dtype dtype = WEFT_F32; /* the parameters' type */
    weft_tensor_list parameters = WEFT_TENSOR_LIST_INIT;
    WF_TRY(weft_parameters(m, 0, &parameters));
    if (parameters.n > 0)
        dtype = weft_tensor_dtype(parameters.item[0].tensor);
    weft_tensor_list_done(&parameters);
    for (int i = 0; i < n && status == WEFT_OK; i++) {
        rows[i].hook = weft_register_forward_hook(rows[i].m, note_shape, &rows[i], 0);
        if (rows[i].hook == 0) {
            status = WEFT_ERR_NOMEM;
            break;
        }
        rows[i].training = rows[i].m->training;
        rows[i].m->training = false;
    }
    if (status == WEFT_OK) {
        bool was = weft_no_grad_begin(ctx);
        weft_tensor *x = weft_tensor_create(ctx, dtype, input);
        if (weft_call(m, x) == NULL)
            status = weft_error_status(ctx);
        weft_no_grad_end(ctx, was);
        weft_status ended = weft_sync(ctx); /* all of it is dead code */
        status = status != WEFT_OK ? status : ended;
        weft_tensor_unref(x);
    }
    for (int i = 0; i < n && rows[i].hook != 0; i++) {
        weft_hook_remove(rows[i].m, rows[i].hook);
        rows[i].m->training = rows[i].training;
    }
    return status;
}

/* 1234567 as "1,234,567". */
static char *grouped(int64_t value, char *text, size_t size)
{
    char digits[32];
    int n = snprintf(digits, sizeof(digits), "%" PRId64, value);
    size_t k = 0;
    for (int i = 0; i < n && k + 2 < size; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            text[k++] = ',';
        text[k++] = digits[i];
    }
    text[k] = '\0';
    return text;
}

static int64_t own_parameters(const weft_module *m)
{
    int64_t n = 0;
    for (int i = 0; i < m->state->n_parts; i++) {
        const wf_part *p = &m->state->parts[i];
        if (p->kind == WF_PARAMETER && wf_part_tensor(p) != NULL)
            n += weft_shape_count(weft_tensor_shape(wf_part_tensor(p)));
    }
    return n;
}

static void add_table(wf_text *t, weft_module *m, weft_shape input, const weft_module_list *list,
                      const row *rows)
{
    char shape[96], count[32];
    size_t width = 5;
    int64_t macs = 0;
    for (int i = 0; i < list->n; i++) {
        size_t length = strlen(list->item[i].name);
        width = length > width ? length : width;
    }
    wf_text_add(t, "%s, input %s\n", m->cls->name, weft_shape_format(input, shape, sizeof(shape)));
    wf_text_add(t, "%-*s  %-17s  %-20s  %14s  %12s\n", (int)width, "layer", "type", "output",
                "parameters", "GMACs");
    for (int i = 0; i < list->n; i++) {
        const weft_module *layer = list->item[i].module;
        int64_t parameters = own_parameters(layer);
        macs += rows[i].macs;
        if (wf_child_count(layer) > 0 && parameters == 0)
            continue; /* its children say it all */
        wf_text_add(t, "%-*s  %-17s  %-20s  %14s  %12.6f\n", (int)width, list->item[i].name,
                    layer->cls->name,
                    rows[i].calls > 0 ? weft_shape_format(rows[i].out, shape, sizeof(shape))
                                      : "(not called)",
                    grouped(parameters, count, sizeof(count)), (double)rows[i].macs * 1e-9);
    }
    int64_t all = weft_parameter_count(m, false), trainable = weft_parameter_count(m, true);
    wf_text_add(t, "%-*s  %-17s  %-20s  %14s  %12.6f\n", (int)width, "total", "", "",
                grouped(all, count, sizeof(count)), (double)macs * 1e-9);
    t->failed = t->failed || all < 0 || trainable < 0;
    if (trainable != all)
        wf_text_add(t, "%s parameters are trainable\n", grouped(trainable, count, sizeof(count)));
}

weft_status weft_module_summary(weft_module *m, weft_shape input, FILE *out)
{
    if (wf_module_check(m, NULL, "weft_module_summary") != WEFT_OK || out == NULL)
        return WEFT_ERR_STATE;
    weft_module_list list = WEFT_MODULE_LIST_INIT;
    WF_TRY(weft_modules(m, 0, &list));
    wf_text text = {0};
    row *rows = wf_zalloc_array((size_t)list.n, sizeof(*rows));
    weft_status status = rows != NULL ? WEFT_OK : wf_module_nomem(m);
    if (status == WEFT_OK) {
        for (int i = 0; i < list.n; i++)
            rows[i].m = list.item[i].module;
        status = record(m, input, rows, list.n);
    }
    if (status == WEFT_OK) {
        add_table(&text, m, input, &list, rows);
        if (text.failed)
            status = wf_module_nomem(m);
        else if (fwrite(text.text, 1, text.length, out) != text.length)
            status = wf_fail(m->ctx, WEFT_ERR_IO, "cannot write the summary of %s", m->cls->name);
    }
    wf_text_done(&text);
    wf_free(rows);
    weft_module_list_done(&list);
    return status;
}
