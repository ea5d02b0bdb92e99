/* Writes a network's summary as a table like torchinfo's: one line for each call, indented by
 * depth, then the totals. Columns are as wide as their widest text. Threading rule: the
 * context's. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/c_locale.h"
#include "modules/summary.h"

enum { COLUMNS = 5, NUMBERS = 3 /* from this column on, texts are right-aligned */ };
static const char *const titles[COLUMNS] = {"Layer (name): depth-index", "Input Shape",
                                            "Output Shape", "Param #", "Mult-Adds"};

typedef struct table {
    const wf_summary *s;
    int depth;           /* how many levels below the network are shown */
    int *index;          /* per level: rows so far */
    int width[COLUMNS];  /* in characters */
    wf_text *text;       /* NULL: only measure the widths */
    wf_pointer_map seen; /* parameters counted so far */
    bool failed;         /* out of memory */
} table;

/* The number of characters of a UTF-8 text. */
static int characters(const char *text)
{
    int n = 0;
    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void add_row(table *t, const char *const cell[COLUMNS])
{
    for (int i = 0; i < COLUMNS; i++) {
        int n = characters(cell[i]);
        if (t->text == NULL) {
            t->width[i] = n > t->width[i] ? n : t->width[i];
            continue;
        }
        int pad = t->width[i] - n, before = i >= NUMBERS ? pad : 0;
        bool last = i == COLUMNS - 1;
        wf_text_add(t->text, "%s%*s%s%*s", i > 0 ? "  " : "", before, "", cell[i],
                    last ? 0 : pad - before, "");
    }
    if (t->text != NULL)
        wf_text_add(t->text, "\n");
}

/* A line over the whole width. */
static void add_rule(const table *t)
{
    int width = 2 * (COLUMNS - 1);
    for (int i = 0; i < COLUMNS; i++)
        width += t->width[i];
    for (int i = 0; i < width; i++)
        wf_text_add(t->text, "=");
    wf_text_add(t->text, "\n");
}

/* 1234567 as "1,234,567". */
static const char *grouped(int64_t value, char *text, size_t size)
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

static int64_t macs_below(const wf_summary *s, int node)
{
    int64_t macs = s->nodes[node].macs;
    for (int i = s->nodes[node].first; i >= 0; i = s->nodes[i].next)
        macs += macs_below(s, i);
    return macs;
}

typedef struct counts {
    int64_t counted, trained; /* elements that no row has counted before */
    bool any;
} counts;

static void count_tensor(table *t, weft_tensor *parameter, counts *c)
{
    c->any = true;
    if (wf_pointer_map_find(&t->seen, parameter) != NULL)
        return;
    t->failed = t->failed || !wf_pointer_map_add(&t->seen, parameter, NULL);
    int64_t n = weft_shape_count(weft_tensor_shape(parameter));
    c->counted += n;
    c->trained += weft_requires_grad(parameter) ? n : 0;
}

/* Counts m's own parameters; with `all`, also those of all modules below it. */
static counts count(table *t, weft_module *m, bool all)
{
    counts c = {0};
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    t->failed = t->failed || weft_parameters(m, all ? 0 : WEFT_WALK_SHALLOW, &list) != WEFT_OK;
    for (int i = 0; i < list.n; i++)
        count_tensor(t, list.item[i].tensor, &c);
    weft_tensor_list_done(&list);
    return c;
}

/* Writes "1,234"; "(1,234)" where all are frozen; "--" where there are none; "(recursive)" where
 * they were counted before. */
static void format_count(counts c, char *text, size_t size)
{
    char number[32];
    grouped(c.counted, number, sizeof(number));
    if (!c.any)
        snprintf(text, size, "--");
    else if (c.counted == 0)
        snprintf(text, size, "(recursive)");
    else
        snprintf(text, size, c.trained == 0 ? "(%s)" : "%s", number);
}

/* Writes "│ │ └─", which precedes a row `level` levels below the network. */
static size_t indent(int level, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (int i = 1; i < level && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "│    ");
    if (level > 0 && n < size)
        n += (size_t)snprintf(text + n, size - n, level == 1 ? "├─" : "└─");
    return n < size ? n : size - 1;
}

static void add_node(table *t, int i, int level)
{
    const wf_summary_node *node = &t->s->nodes[i];
    weft_module *m = t->s->modules.item[node->module].module;
    const char *path = t->s->modules.item[node->module].name, *dot = strrchr(path, '.');
    char name[256], in[96] = "--", out[96] = "--", parameters[40], macs[32] = "--";
    size_t n = indent(level, name, sizeof(name));
    if (level == 0)
        snprintf(name, sizeof(name), "%s", m->cls->name);
    else
        snprintf(name + n, sizeof(name) - n, "%s (%s): %d-%d", m->cls->name,
                 dot != NULL ? dot + 1 : path, level, ++t->index[level]);
    if (node->called) {
        weft_shape_format(node->in, in, sizeof(in));
        weft_shape_format(node->out, out, sizeof(out));
    } else if (node->spare) {
        snprintf(out, sizeof(out), "(not called)");
    }
    bool opens = node->first >= 0 && level < t->depth;
    int64_t work = opens ? node->macs : macs_below(t->s, i);
    format_count(count(t, m, !opens), parameters, sizeof(parameters));
    if (work > 0)
        grouped(work, macs, sizeof(macs));
    add_row(t, (const char *const[COLUMNS]){name, in, out, parameters, macs});
    for (int k = opens ? node->first : -1; k >= 0; k = t->s->nodes[k].next)
        add_node(t, k, level + 1);
}

static void add_totals(const table *t)
{
    const weft_totals *a = &t->s->totals;
    char number[32];
    double mega = 1e-6;
    wf_text_add(t->text, "Total params: %s\n", grouped(a->parameters, number, sizeof(number)));
    wf_text_add(t->text, "Trainable params: %s\n", grouped(a->trainable, number, sizeof(number)));
    wf_text_add(t->text, "Non-trainable params: %s\n",
                grouped(a->parameters - a->trainable, number, sizeof(number)));
    bool small = a->macs < 1000000000;
    wf_text_add(t->text, "Total mult-adds (%s): %.2f\n", small ? "M" : "G",
                (double)a->macs * (small ? 1e-6 : 1e-9));
    add_rule(t);
    wf_text_add(t->text, "Input size (MB): %.2f\n", (double)a->input_bytes * mega);
    wf_text_add(t->text, "Forward/backward pass size (MB): %.2f\n",
                (double)a->activation_bytes * mega);
    wf_text_add(t->text, "Params size (MB): %.2f\n", (double)a->parameter_bytes * mega);
    wf_text_add(t->text, "Estimated total size (MB): %.2f\n",
                (double)(a->input_bytes + a->activation_bytes + a->parameter_bytes) * mega);
}

/* Goes over the rows. It is called twice: for the widths, then for the text. */
static void add_table(table *t, wf_text *text)
{
    for (int pass = 0; pass < 2; pass++) {
        t->text = pass == 0 ? NULL : text;
        memset(t->index, 0, ((size_t)t->depth + 2) * sizeof(*t->index));
        if (pass == 1)
            add_rule(t);
        add_row(t, titles);
        if (pass == 1)
            add_rule(t);
        add_node(t, 0, 0);
        wf_pointer_map_done(&t->seen);
    }
    text->failed = text->failed || t->failed;
    add_rule(t);
    add_totals(t);
    add_rule(t);
}

weft_status weft_module_summary_with(weft_module *m, weft_shape input,
                                     const weft_summary_opts *opts, FILE *out)
{
    WF_TRY(wf_module_check_with(m, out, "weft_module_summary"));
    wf_summary s;
    wf_text text = {0};
    const weft_summary_opts usual = WEFT_SUMMARY_OPTS_INIT;
    table t = {.s = &s, .depth = opts != NULL ? opts->depth : usual.depth};
    if (t.depth < 0)
        return wf_fail(m->ctx, WEFT_ERR_INVALID, "summary: depth %d is negative", t.depth);
    WF_TRY(wf_summary_make(&s, m, input));
    t.depth = t.depth < s.n ? t.depth : s.n; /* no tree is deeper */
    t.index = wf_zalloc_array((size_t)t.depth + 2, sizeof(*t.index));
    wf_c_locale locale;
    bool failed = t.index == NULL || !wf_c_locale_begin(&locale);
    if (!failed) {
        add_table(&t, &text);
        wf_c_locale_end(&locale);
    }
    weft_status status = WEFT_OK;
    if (failed || text.failed)
        status = wf_module_nomem(m);
    else if (fwrite(text.text, 1, text.length, out) != text.length)
        status = wf_fail(m->ctx, WEFT_ERR_IO, "cannot write the summary of %s", m->cls->name);
    wf_free(t.index);
    wf_text_done(&text);
    wf_summary_done(&s);
    return status;
}

weft_status weft_module_summary(weft_module *m, weft_shape input, FILE *out)
{
    return weft_module_summary_with(m, input, NULL, out);
}
