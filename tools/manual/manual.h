/* What a program's manual and completion are written from: its table of flags, and prose.
 *
 * All texts are static. Prose is plain text: `name` in backticks becomes bold, an empty line begins
 * a paragraph. Single-threaded. */
#ifndef TOOLS_MANUAL_MANUAL_H
#define TOOLS_MANUAL_MANUAL_H

#include <stdio.h>

#include "cli/parser/flags.h"

/* One entry of a list: "CC" and what it means. */
typedef struct manual_item {
    const char *term, *text;
} manual_item;

/* A section after the flags: paragraphs, then a list; each may be missing. */
typedef struct manual_section {
    const char *title; /* in capitals */
    const char *text;
    const manual_item *items;
    int n_items;
    const char *example; /* lines shown as they are */
} manual_section;

typedef struct manual {
    const char *program; /* "weft" */
    const char *about;   /* for NAME: half a line */
    const char *description;
    const flag_table *table;
    /* How commands are called: as words ("weft train"); or by flags, of the group "modes", that
     * have the command's name ("weft-bench --step"). */
    bool commands_are_flags;
    const char *extra; /* words besides the flags and commands, for completion; or NULL */
    const manual_section *sections;
    int n_sections;
} manual;

extern const manual manual_weft, manual_weft_bench;

/* The man page, section 1. */
void manual_write_page(const manual *m, FILE *out);
/* A file for bash-completion's folder; it needs nothing of bash-completion. */
void manual_write_completion(const manual *m, FILE *out);

/* Plain text as roff: escapes, `bold`, paragraphs, lines of some 75 characters. roff_lines: lines that
 * stay as they are. roff_word: one word in `font` ('B', 'I', 'R'). */
void roff_text(const char *text, FILE *out);
void roff_lines(const char *text, FILE *out);
void roff_word(char font, const char *word, FILE *out);

#endif
