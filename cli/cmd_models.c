/* weft models: what networks there are, as a table or as JSON.
 *
 * It makes each network without initial values, counts its parameters and drops it before the next.
 * So no large tensor is ever touched. */
#include <fnmatch.h>
#include <string.h>

#include "commands.h"
#include "session.h"

typedef struct row {
    const weft_model_info *info;
    weft_totals totals;
} row;

static int count(session *s, row *r)
{
    const weft_model_opts *d = &r->info->defaults;
    weft_module *m = weft_model_create(s->ctx, r->info->name, NULL);
    weft_shape input = WEFT_SHAPE(1, d->in_channels, d->height, d->width);
    weft_status status = m ? weft_module_totals(m, input, &r->totals) : weft_error_status(s->ctx);
    weft_module_unref(m);
    return status == WEFT_OK ? 0 : session_fail(s);
}

/* 1234567 as "1,234,567". */
static const char *grouped(int64_t value, char *text, size_t size)
{
    char digits[32];
    size_t k = 0;
    int n = snprintf(digits, sizeof(digits), "%lld", (long long)value);
    for (int i = 0; i < n && k + 2 < size; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            text[k++] = ',';
        text[k++] = digits[i];
    }
    text[k] = '\0';
    return text;
}

/* "aux_logits,dropout"; "-" for none. */
static const char *options_of(const weft_model_info *info, char *text, size_t size)
{
    snprintf(text, size, "%s", info->args[0] ? info->args : "-");
    for (char *c = text; *c; c++)
        *c = *c == ' ' ? ',' : *c;
    return text;
}

static void print_table(const row *rows, int n)
{
    int name = 5, options = 7;
    char text[256], number[32], macs[32], input[32];
    for (int i = 0; i < n; i++) {
        int length = (int)strlen(rows[i].info->name);
        name = length > name ? length : name;
        length = (int)strlen(options_of(rows[i].info, text, sizeof(text)));
        options = length > options ? length : options;
    }
    printf("%-*s  %11s  %7s  %-9s  %7s  %-*s  %s\n", name, "model", "parameters", "GMACs  ",
           "input", "classes", options, "options", "about");
    for (int i = 0; i < n; i++) {
        const weft_model_info *info = rows[i].info;
        const weft_model_opts *d = &info->defaults;
        snprintf(input, sizeof(input), "%dx%dx%d", d->in_channels, d->height, d->width);
        /* Points stand below each other. */
        double gmacs = (double)rows[i].totals.macs * 1e-9;
        snprintf(macs, sizeof(macs), gmacs < 0.1 ? "%.4f" : "%.2f  ", gmacs);
        printf("%-*s  %11s  %7s  %-9s  %7d  %-*s  %s\n", name, info->name,
               grouped(rows[i].totals.parameters, number, sizeof(number)), macs, input,
               d->num_classes, options, options_of(info, text, sizeof(text)), info->about);
    }
}

static void print_json_text(const char *text)
{
    putchar('"');
    for (; *text; text++)
        printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    putchar('"');
}

static void print_json(const row *rows, int n)
{
    for (int i = 0; i < n; i++) {
        const weft_model_info *info = rows[i].info;
        const weft_model_opts *d = &info->defaults;
        printf("%s{\"name\": ", i ? ",\n " : "[");
        print_json_text(info->name);
        printf(", \"parameters\": %lld, \"macs\": %lld, \"input\": [%d, %d, %d], "
               "\"smallest\": %d, \"classes\": %d, \"options\": [",
               (long long)rows[i].totals.parameters, (long long)rows[i].totals.macs, d->in_channels,
               d->height, d->width, info->smallest, d->num_classes);
        const char *separator = "";
        for (const char *word = info->args; *word; separator = ", ") {
            int length = (int)strcspn(word, " ");
            printf("%s\"%.*s\"", separator, length, word);
            word += length + strspn(word + length, " ");
        }
        printf("], \"about\": ");
        print_json_text(info->about);
        putchar('}');
    }
    printf("]\n");
}

int cmd_models(const cli_options *options)
{
    enum { MOST = 256 };
    row rows[MOST];
    session s = {.command = "models", .options = options, .err = WEFT_ERROR_INIT};
    int n, chosen = 0, status = 0;
    const weft_model_info *models = weft_models(&n);
    for (int i = 0; i < n && chosen < MOST; i++)
        if (!options->pattern || fnmatch(options->pattern, models[i].name, 0) == 0)
            rows[chosen++].info = &models[i];
    if (chosen == 0)
        return session_usage(&s, "no model matches '%s'; `weft models` lists all",
                             options->pattern);
    weft_options one = {.threads = 1};
    if (weft_context_create(&s.ctx, &one, &s.err))
        status = session_fail(&s);
    if (status == 0)
        weft_init_skip_begin(s.ctx);
    for (int i = 0; i < chosen && status == 0; i++)
        status = count(&s, &rows[i]);
    if (status == 0 && options->json)
        print_json(rows, chosen);
    else if (status == 0)
        print_table(rows, chosen);
    return session_done(&s, status);
}
