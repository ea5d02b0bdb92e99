/* A man page in the macros of man(7): NAME, SYNOPSIS, DESCRIPTION, the commands, the flags by group,
 * then the sections of prose. Each flag stands once, with the commands that take it. */
#include <string.h>

#include <weft/context.h>

#include "manual.h"

/* When the prose last changed: a page has a date, and a build must not depend on the day. */
#define PROSE_DATE "2026-11-30"

static const flag *mode_flag(const manual *m, const flag_command *c)
{
    return *c->name ? flags_find(m->table, c->bit, c->name, strlen(c->name)) : NULL;
}

/* "weft report [flags] RUN_DIR", "weft-bench --step MODEL [flags]". */
static void put_call(const manual *m, const flag_command *c, FILE *out)
{
    const char *argument = flags_argument(m->table, c->bit);
    const flag *mode = m->commands_are_flags ? mode_flag(m, c) : NULL;
    roff_word('B', m->program, out);
    if (*c->name) {
        fputc(' ', out);
        roff_word('B', m->commands_are_flags ? "--" : "", out);
        roff_word('B', c->name, out);
    }
    if (mode && mode->value) {
        fputc(' ', out);
        roff_word('I', mode->value, out);
    }
    fputs(" [\\fIflags\\fR]", out);
    if (argument) {
        fputc(' ', out);
        roff_word('I', argument, out);
    }
    fputc('\n', out);
}

static void put_synopsis(const manual *m, FILE *out)
{
    fputs(".SH SYNOPSIS\n", out);
    for (int i = 0; i < m->table->n_commands; i++) {
        if (i > 0)
            fputs(".br\n", out);
        put_call(m, &m->table->commands[i], out);
    }
    if (!m->commands_are_flags) {
        fputs(".br\n", out);
        roff_word('B', m->program, out);
        fputs(" \\fBhelp\\fR [\\fIcommand\\fR]\n", out);
    }
}

static void put_commands(const manual *m, FILE *out)
{
    fprintf(out, ".SH %s\n", m->commands_are_flags ? "MODES" : "COMMANDS");
    for (int i = 0; i < m->table->n_commands; i++) {
        const flag_command *c = &m->table->commands[i];
        fputs(".TP\n", out);
        put_call(m, c, out);
        char about[256];
        snprintf(about, sizeof about, "%c%s.",
                 *c->about >= 'a' && *c->about <= 'z' ? *c->about - 'a' + 'A' : *c->about,
                 c->about + 1);
        roff_text(about, out);
        if (c->more) {
            fputs(".IP\n", out);
            roff_text(c->more, out);
        }
    }
}

/* ---- flags ----------------------------------------------------------------------------------- */

static void put_flag_names(const flag *f, FILE *out)
{
    char word[128];
    if (f->letter) {
        snprintf(word, sizeof word, "-%c", f->letter);
        roff_word('B', word, out);
        fputs(", ", out);
    }
    snprintf(word, sizeof word, "%s%s", !flags_has_name(f) ? "" : "--", f->name);
    roff_word(!flags_has_name(f) ? 'I' : 'B', word, out);
    if (f->alias) {
        snprintf(word, sizeof word, "--%s", f->alias);
        fputs(", ", out);
        roff_word('B', word, out);
    }
    if (f->value && *f->value) {
        fputc(' ', out);
        roff_word('I', f->value, out);
    }
    fputc('\n', out);
}

/* "train, eval": the commands that take the flag; nothing where all do. */
static void put_takers(const manual *m, const flag *f, FILE *out)
{
    const flag_table *t = m->table;
    int n = 0;
    for (int i = 0; i < t->n_commands; i++)
        n += (f->commands & t->commands[i].bit) != 0;
    if (n == t->n_commands || !flags_has_name(f))
        return;
    char text[512] = "(";
    for (int i = 0, k = 0; i < t->n_commands; i++) {
        const flag_command *c = &t->commands[i];
        const size_t length = strlen(text);
        if (f->commands & c->bit)
            snprintf(text + length, sizeof text - length, "%s`%s%s`", k++ > 0 ? ", " : "",
                     *c->name && m->commands_are_flags ? "--" : "",
                     *c->name ? c->name : "benchmarks");
    }
    fputs(".br\n", out);
    strcat(text, ")");
    roff_text(text, out);
}

static void put_flags(const manual *m, FILE *out)
{
    const char *group = "";
    fputs(".SH FLAGS\n", out);
    roff_text(
        "`--flag value` and `--flag=value` mean the same. The last of repeated flags wins, but "
        "for those that may be repeated.",
        out);
    for (int i = 0; i < m->table->n_flags; i++) {
        const flag *f = &m->table->flags[i];
        if (strcmp(f->group, group) != 0) {
            fprintf(out, ".SS %c%s\n", f->group[0] - 'a' + 'A', f->group + 1);
            group = f->group;
        }
        fputs(".TP\n", out);
        put_flag_names(f, out);
        char text[1024] = "";
        FILE *memory = fmemopen(text, sizeof text, "w");
        if (memory) {
            fprintf(memory, "%s%s%s", f->help, f->choices ? ": " : "",
                    f->choices ? f->choices : "");
            flags_put_default(f, m->table->defaults, memory);
            fclose(memory);
        }
        roff_text(text, out);
        put_takers(m, f, out);
    }
}

/* ---- the page -------------------------------------------------------------------------------- */

static void put_section(const manual_section *s, FILE *out)
{
    fprintf(out, ".SH %s\n", s->title);
    if (s->text)
        roff_text(s->text, out);
    for (int i = 0; i < s->n_items; i++) {
        fputs(".TP\n", out);
        roff_word('B', s->items[i].term, out);
        fputc('\n', out);
        roff_text(s->items[i].text, out);
    }
    if (s->example) {
        fputs(".PP\n.nf\n.RS 4\n", out);
        roff_lines(s->example, out);
        fputs(".RE\n.fi\n", out);
    }
}

void manual_write_page(const manual *m, FILE *out)
{
    fprintf(out, ".\\\" Written by weft-manual from the program's table of flags.\n");
    fputs(".TH ", out);
    for (const char *c = m->program; *c; c++)
        fputc(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c, out);
    fprintf(out, " 1 %s \"weft %s\" \"User Commands\"\n", PROSE_DATE, weft_version());
    fputs(".ad l\n.nh\n.SH NAME\n", out);
    roff_word('R', m->program, out);
    fputs(" \\- ", out);
    roff_text(m->about, out);
    put_synopsis(m, out);
    fputs(".SH DESCRIPTION\n", out);
    roff_text(m->description, out);
    put_commands(m, out);
    put_flags(m, out);
    for (int i = 0; i < m->n_sections; i++)
        put_section(&m->sections[i], out);
}
