/* A module tree as text, as PyTorch's repr.
 *
 * Threading rule: the context's. */
#include <string.h>

#include "modules/internal.h"

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
    wf_text_add(t, "%s(\n", m->cls->name);
    if (extra[0] != '\0')
        wf_text_add(t, "%*s%s\n", indent + 2, "", extra);
    for (int i = 0; i < children; i++) {
        const wf_part *p = wf_part_child(m, i);
        wf_text_add(t, "%*s(%s): ", indent + 2, "", p->name);
        if (wf_part_module(p) != NULL)
            add_module(t, wf_part_module(p), indent + 2);
        else
            wf_text_add(t, "None");
        wf_text_add(t, "\n");
    }
    wf_text_add(t, "%*s)", indent, "");
}

weft_status weft_module_print(weft_module *m, FILE *out)
{
    if (!wf_module_valid(m) || out == NULL)
        return WEFT_ERR_STATE;
    wf_text text = {0};
    add_module(&text, m, 0);
    weft_status status = WEFT_OK;
    if (text.failed)
        status = wf_module_nomem(m);
    else if (fwrite(text.text, 1, text.length, out) != text.length)
        status = wf_fail(m->ctx, WEFT_ERR_IO, "cannot write the text of %s", m->cls->name);
    wf_text_done(&text);
    return status;
}
