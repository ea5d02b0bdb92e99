/* A module tree as text, as PyTorch's repr.
 *
 * Threading rule: the context's. */
#include <string.h>

#include "engine/base/c_locale.h"
#include "modules/internal.h"

static void add_module(wf_text *t, const weft_module *m, int indent);

static void add_child(wf_text *t, const weft_module *child, int indent)
{
    if (child != NULL)
        add_module(t, child, indent);
    else
        wf_text_add(t, "None");
}

/* How many children from `first` on are printed alike. */
static int equal_neighbours(const weft_module *m, int first, int children, int indent, bool *failed)
{
    wf_text a = {0};
    int n = 1;
    add_child(&a, wf_part_module(wf_part_child(m, first)), indent);
    for (; first + n < children && !a.failed; n++) {
        wf_text b = {0};
        add_child(&b, wf_part_module(wf_part_child(m, first + n)), indent);
        bool same = !b.failed && strcmp(a.text, b.text) == 0;
        *failed = *failed || b.failed;
        wf_text_done(&b);
        if (!same)
            break;
    }
    *failed = *failed || a.failed;
    wf_text_done(&a);
    return n;
}

static void add_module(wf_text *t, const weft_module *m, int indent)
{
    char extra[512] = "";
    if (m->cls->extra_repr != NULL)
        m->cls->extra_repr(m, extra, sizeof(extra));
    int children = wf_child_count(m);
    if (children == 0) {
        wf_text_add(t, "%s(%s)", m->cls->name, extra);
        return;
    }
    bool folds = m->cls == &wf_module_list_class;
    wf_text_add(t, "%s(\n", m->cls->name);
    if (extra[0] != '\0')
        wf_text_add(t, "%*s%s\n", indent + 2, "", extra);
    for (int i = 0, n; i < children; i += n) {
        const wf_part *p = wf_part_child(m, i);
        n = folds ? equal_neighbours(m, i, children, indent + 2, &t->failed) : 1;
        wf_text_add(t, "%*s(%s", indent + 2, "", p->name);
        if (n > 1)
            wf_text_add(t, "-%s): %d x ", wf_part_child(m, i + n - 1)->name, n);
        else
            wf_text_add(t, "): ");
        add_child(t, wf_part_module(p), indent + 2);
        wf_text_add(t, "\n");
    }
    wf_text_add(t, "%*s)", indent, "");
}

static weft_status look(void *user, const char *path, weft_module *m)
{
    return WEFT_OK;
}

weft_status weft_module_print(weft_module *m, FILE *out)
{
    WF_TRY(wf_module_check_with(m, out, "weft_module_print"));
    weft_status alive = wf_walk(m, 0, look, NULL); /* finds children that were destroyed */
    if (alive != WEFT_OK)
        return alive == WEFT_ERR_NOMEM ? wf_module_nomem(m) : alive;
    wf_text text = {0};
    wf_c_locale locale;
    if (!wf_c_locale_begin(&locale))
        return wf_module_nomem(m);
    weft_module_ref(m); /* extra_repr is the user's code */
    add_module(&text, m, 0);
    weft_module_unref(m);
    wf_c_locale_end(&locale);
    weft_status status = WEFT_OK;
    if (text.failed)
        status = wf_module_nomem(m);
    else if (fwrite(text.text, 1, text.length, out) != text.length)
        status = wf_fail(m->ctx, WEFT_ERR_IO, "cannot write the text of %s", m->cls->name);
    wf_text_done(&text);
    return status;
}
