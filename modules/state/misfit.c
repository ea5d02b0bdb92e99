/* Collects what does not fit when a state is loaded, and writes one message: a line with the
 * counts, then one line for each name, sorted. Threading rule: the context's. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modules/state/state.h"

static const struct {
    const char *label, *counted;
    weft_status status;
} kinds[] = {
    [WF_MISSING] = {"missing", "missing", WEFT_ERR_NOT_FOUND},
    [WF_UNEXPECTED] = {"unexpected", "unexpected", WEFT_ERR_NOT_FOUND},
    [WF_OTHER_SHAPE] = {"shape", "of another shape", WEFT_ERR_SHAPE},
    [WF_OTHER_TYPE] = {"type", "of another type", WEFT_ERR_DTYPE},
    [WF_OTHER_VALUE] = {"value", "with a value that does not fit", WEFT_ERR_DTYPE},
    [WF_NOT_FINITE] = {"values", "with NaN or infinite values", WEFT_ERR_NUMERIC},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

void wf_misfit_add(wf_misfits *f, wf_misfit misfit)
{
    if (f->n == f->capacity) {
        int capacity = f->capacity == 0 ? 64 : 2 * f->capacity;
        wf_misfit *item = wf_realloc_array(f->item, (size_t)capacity, sizeof(*item));
        f->failed = f->failed || item == NULL;
        if (item == NULL)
            return;
        f->item = item;
        f->capacity = capacity;
    }
    f->item[f->n++] = misfit;
}

static int by_kind_and_name(const void *a, const void *b)
{
    const wf_misfit *x = a, *y = b;
    return x->kind != y->kind ? (x->kind > y->kind) - (x->kind < y->kind)
                              : strcmp(x->name, y->name);
}

static void add_line(wf_text *text, const wf_misfit *i, int width)
{
    char a[96], b[96];
    if (i->kind == WF_MISSING || i->kind == WF_UNEXPECTED) {
        wf_text_add(text, "\n  %-10s  ", kinds[i->kind].label);
        wf_text_add_quoted(text, i->name, 0);
        return;
    }
    wf_text_add(text, "\n  %-10s  ", kinds[i->kind].label);
    wf_text_add_quoted(text, i->name, width);
    wf_text_add(text, "  ");
    if (i->kind == WF_OTHER_SHAPE)
        wf_text_add(text, "%s in the network, %s given",
                    weft_shape_format(weft_tensor_shape(i->have), a, sizeof(a)),
                    weft_shape_format(weft_tensor_shape(i->given), b, sizeof(b)));
    else if (i->kind == WF_OTHER_TYPE)
        wf_text_add(text, "%s in the network, %s given",
                    weft_dtype_name(weft_tensor_dtype(i->have)),
                    i->foreign != NULL ? i->foreign : weft_dtype_name(weft_tensor_dtype(i->given)));
    else if (i->kind == WF_OTHER_VALUE)
        wf_text_add(text, "%s in the network, %s given (element %" PRId64 ")",
                    weft_dtype_name(weft_tensor_dtype(i->have)),
                    wf_format_value(weft_tensor_const_data(i->given), weft_tensor_dtype(i->given),
                                    i->bad, a, sizeof(a)),
                    i->bad);
    else
        wf_text_add(text, "%" PRId64 " of %" PRId64 " not finite", i->bad, i->of);
}

/* Adds a hint where every name has one more word in front than the network's names: wrappers such
 * as DataParallel leave it ("module."). */
static void add_hint(wf_text *text, const wf_misfits *f)
{
    const weft_tensor_list *list = f->list;
    size_t n = list->n > 0 ? strcspn(list->item[0].name, ".") + 1 : 0;
    for (int i = 0; i < list->n; i++) {
        if (strlen(list->item[i].name) <= n ||
            strncmp(list->item[i].name, list->item[0].name, n) != 0)
            return;
    }
    for (int i = 0; i < f->n; i++) {
        if (f->item[i].kind == WF_MISSING && list->n > 0 &&
            strcmp(f->item[i].name, list->item[0].name + n) == 0) {
            char prefix[64];
            snprintf(prefix, sizeof(prefix), "%.*s", (int)n, list->item[0].name);
            wf_text_add(text, "; every name given begins with '");
            wf_text_add_quoted(text, prefix, 0);
            wf_text_add(text, "', the network's do not");
            return;
        }
    }
}

static void add_counts(wf_text *text, const wf_misfits *f)
{
    const char *separator = ": ";
    for (int kind = 0; kind < KINDS; kind++) {
        int n = 0;
        for (int i = 0; i < f->n; i++)
            n += f->item[i].kind == (wf_misfit_kind)kind;
        if (n > 0) {
            wf_text_add(text, "%s%d %s", separator, n, kinds[kind].counted);
            separator = ", ";
        }
    }
}

weft_status wf_misfits_end(wf_misfits *f)
{
    if (f->n == 0 && !f->failed)
        return WEFT_OK;
    wf_text text = {.failed = f->failed};
    weft_status status = WEFT_ERR_NOMEM;
    int width = 0;
    if (!f->failed) {
        qsort(f->item, (size_t)f->n, sizeof(*f->item), by_kind_and_name);
        status = kinds[f->item[0].kind].status;
    }
    for (int i = 0; i < f->n; i++) {
        int length =
            f->item[i].kind >= WF_OTHER_SHAPE ? (int)weft_quote(f->item[i].name, NULL, 0) : 0;
        width = length > width ? length : width;
    }
    wf_text_add_quoted(&text, f->rules->what, 0);
    wf_text_add(&text, " %s %s, nothing was loaded",
                status == WEFT_ERR_NUMERIC ? "is no state for" : "does not fit", f->m->cls->name);
    add_counts(&text, f);
    add_hint(&text, f);
    for (int i = 0; i < f->n; i++)
        add_line(&text, &f->item[i], width);
    if (text.failed) {
        status = wf_module_nomem(f->m);
        wf_text_done(&text);
    } else {
        wf_fail_long(f->m->ctx, status, text.text); /* takes over the text */
    }
    wf_free(f->item);
    *f = (wf_misfits){0};
    return status;
}
