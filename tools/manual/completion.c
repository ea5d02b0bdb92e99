/* A completion function for bash: commands, flags, the values of flags.
 *
 * bash cuts the line at '=' (COMP_WORDBREAKS), so "--opt=s" arrives as three words. The function
 * uses no helper of bash-completion, whose names change between versions. */
#include <string.h>

#include <weft/models.h>

#include "manual.h"

/* What stands behind a flag, by what help calls its value. */
static const char *values_of(const flag *f)
{
    static const struct {
        const char *value, *word;
    } kinds[] = {{"FILE", "file"},       {"FILE|none", "file"}, {"PATH", "file"},
                 {"DIR", "folder"},      {"MODEL", "model"},    {"NETWORKS", "models"},
                 {"KEY=VALUE", "key"},   {"RUN_DIR", "folder"}, {"DATA", "file"},
                 {"[FILE ...]", "file"}, {"[PATTERN]", "model"}};
    const char *value = !flags_has_name(f) ? f->name : f->value;
    if (strcmp(f->name, "model") == 0)
        return "model";
    for (size_t i = 0; value && i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(value, kinds[i].value) == 0)
            return kinds[i].word;
    return "none";
}

static bool takes_value(const flag *f)
{
    return f->kind != FLAG_BOOL && flags_has_name(f);
}

/* "train:--opt|explain:--opt": commands and a word, as a pattern of bash's case. extglob's shorter
 * patterns may be off where the file is read. */
static void put_pattern(const flag_table *t, unsigned commands, const char *word, bool *more,
                        FILE *out)
{
    for (int i = 0; i < t->n_commands; i++)
        if (commands & t->commands[i].bit) {
            fprintf(out, "%s%s:%s", *more ? "|" : "    ", t->commands[i].name, word);
            *more = true;
        }
}

static void put_function(const manual *m, FILE *out)
{
    fputc('_', out);
    for (const char *c = m->program; *c; c++)
        fputc(*c == '-' ? '_' : *c, out);
}

/* Whether one of the first n models has the key. */
static bool is_in_earlier(const weft_model_info *models, int n, const char *key, size_t length)
{
    for (int i = 0; i < n; i++)
        for (const char *at = models[i].args; *at; at += strcspn(at, " "), at += *at == ' ')
            if (strcspn(at, " ") == length && strncmp(at, key, length) == 0)
                return true;
    return false;
}

static void put_lists(FILE *out)
{
    int n;
    const weft_model_info *models = weft_models(&n);
    fputs("    local models='", out);
    for (int i = 0; i < n; i++)
        fprintf(out, "%s%s", i > 0 ? " " : "", models[i].name);
    fputs("' keys='", out);
    for (int i = 0; i < n; i++)
        for (const char *at = models[i].args; *at; at += strcspn(at, " "), at += *at == ' ')
            if (!is_in_earlier(models, i, at, strcspn(at, " ")))
                fprintf(out, "%.*s= ", (int)strcspn(at, " "), at);
    fputs("'\n", out);
}

/* The flags of each command, then what goes behind each flag. */
static void put_tables(const manual *m, FILE *out)
{
    const flag_table *t = m->table;
    fputs("    case $command: in\n", out);
    for (int c = 0; c < t->n_commands; c++) {
        const unsigned bit = t->commands[c].bit;
        const char *argument = NULL;
        put_pattern(t, bit, "", &(bool){false}, out);
        fputs(") flags='", out);
        for (int i = 0, k = 0; i < t->n_flags; i++) {
            const flag *f = &t->flags[i];
            if (!(f->commands & bit))
                continue;
            if (!flags_has_name(f)) {
                argument = values_of(f);
                continue;
            }
            fprintf(out, "%s--%s", k++ > 0 ? " " : "", f->name);
            if (f->alias)
                fprintf(out, " --%s", f->alias);
        }
        fprintf(out, "' argument=%s ;;\n", argument ? argument : "none");
    }
    fputs("    esac\n    case $command:$before in\n", out);
    for (int i = 0; i < t->n_flags; i++) {
        const flag *f = &t->flags[i];
        if (!takes_value(f))
            continue;
        char name[64], alias[64], letter[3] = {'-', f->letter};
        bool more = false;
        snprintf(name, sizeof name, "--%s", f->name);
        put_pattern(t, f->commands, name, &more, out);
        snprintf(alias, sizeof alias, "--%s", f->alias ? f->alias : "");
        put_pattern(t, f->alias ? f->commands : 0, alias, &more, out);
        put_pattern(t, f->letter ? f->commands : 0, letter, &more, out);
        if (f->choices)
            fprintf(out, ") kind=words words='%s' ;;\n", f->choices);
        else
            fprintf(out, ") kind=%s ;;\n", values_of(f));
    }
    fputs("    esac\n", out);
}

static void put_words_of_commands(const manual *m, FILE *out)
{
    for (int i = 0; i < m->table->n_commands; i++)
        fprintf(out, "%s%s", i > 0 ? " " : "", m->table->commands[i].name);
}

/* Finds the command: a word, or the flag that names a mode; '': none. */
static void put_command(const manual *m, FILE *out)
{
    if (!m->commands_are_flags) {
        fputs("    if ((COMP_CWORD == 1)); then\n        COMPREPLY=($(compgen -W '", out);
        put_words_of_commands(m, out);
        fprintf(out, " %s' -- \"$current\"))\n        return\n    fi\n", m->extra);
        fputs("    command=${COMP_WORDS[1]}\n"
              "    if [[ $command == help ]]; then\n        COMPREPLY=($(compgen -W '",
              out);
        put_words_of_commands(m, out);
        fputs("' -- \"$current\"))\n        return\n    fi\n", out);
        return;
    }
    fputs("    for ((i = 1; i < COMP_CWORD; i++)); do\n        case ${COMP_WORDS[i]} in\n", out);
    for (int i = 0; i < m->table->n_commands; i++)
        if (*m->table->commands[i].name)
            fprintf(out, "        --%s) command=%s ;;\n", m->table->commands[i].name,
                    m->table->commands[i].name);
    fputs("        esac\n    done\n", out);
}

/* With no mode yet, the flags of the modes are offered, too. */
static void put_modes(const manual *m, FILE *out)
{
    if (!m->commands_are_flags)
        return;
    fputs("    if [[ -z $command ]]; then\n        flags+='", out);
    for (int i = 0; i < m->table->n_commands; i++)
        if (*m->table->commands[i].name)
            fprintf(out, " --%s", m->table->commands[i].name);
    fprintf(out, " %s'\n    fi\n", m->extra);
}

void manual_write_completion(const manual *m, FILE *out)
{
    fprintf(out, "# bash completion for %s, written by weft-manual from its table of flags.\n\n",
            m->program);
    put_function(m, out);
    fputs("()\n{\n"
          "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    local command='' flags='' argument=none kind='' words='' word i\n",
          out);
    put_lists(out);
    fputs("    COMPREPLY=()\n"
          "    # --flag=value arrives as three words.\n"
          "    if [[ $current == '=' ]]; then\n"
          "        current=''\n"
          "    elif [[ $before == '=' ]] && ((COMP_CWORD > 1)); then\n"
          "        before=${COMP_WORDS[COMP_CWORD - 2]}\n"
          "    fi\n",
          out);
    put_command(m, out);
    put_tables(m, out);
    put_modes(m, out);
    fputs(
        "    if [[ -z $kind && $current == -* ]]; then\n"
        "        # A flag that is there already is not offered again.\n"
        "        for word in $flags; do\n"
        "            [[ \" ${COMP_WORDS[*]:1:COMP_CWORD-1} \" == *\" $word \"* ]] || words+=\" $word\"\n"
        "        done\n"
        "        kind=words\n"
        "    fi\n"
        "    case ${kind:-$argument} in\n"
        "    words) mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\") ;;\n"
        "    model) mapfile -t COMPREPLY < <(compgen -W \"$models\" -- \"$current\") ;;\n"
        "    models)\n"
        "        word=${current%\"${current##*,}\"}\n"
        "        mapfile -t COMPREPLY < <(compgen -P \"$word\" -W \"$models all\" -- \"${current##*,}\")\n"
        "        ;;\n"
        "    key)\n"
        "        mapfile -t COMPREPLY < <(compgen -W \"$keys\" -- \"$current\")\n"
        "        ;;\n"
        "    file)\n"
        "        mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
        "        compopt -o filenames 2>/dev/null\n"
        "        ;;\n"
        "    folder)\n"
        "        mapfile -t COMPREPLY < <(compgen -d -- \"$current\")\n"
        "        compopt -o filenames 2>/dev/null\n"
        "        ;;\n"
        "    esac\n"
        "    # Behind --flag= and key= comes a value, not a blank.\n"
        "    [[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace 2>/dev/null\n"
        "    return 0\n"
        "}\n",
        out);
    fputs("complete -F ", out);
    put_function(m, out);
    fprintf(out, " %s\n", m->program);
}
