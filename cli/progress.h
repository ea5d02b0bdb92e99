/* Shows training and evaluation as they go: a bar on a terminal, whole lines anywhere else.
 *
 * On a terminal one line is redrawn in place, at most ten times a second, and erased before
 * anything else is printed. Elsewhere no control character is ever written. Single-threaded. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <weft/train.h>

typedef struct cli_progress {
    FILE *out;
    bool terminal;
    bool drawn;            /* a bar is on the screen */
    int64_t print_freq;    /* lines every so many steps; 0: as below. Set it after the init. */
    const char *evaluated; /* which images an epoch's line has the loss of; NULL: "test" */
    /* Seconds, as the records tell them: of this pass, of the passes before it, and of both when
     * the bar was drawn and when a line was printed. */
    double pass_seconds, passes_seconds;
    double last_draw, last_line;
} cli_progress;

/* Draws to `out`; whether it is a terminal is found out here. */
void cli_progress_init(cli_progress *p, FILE *out);
/* A record. With print_freq: prints a line every so many steps of a pass, and after its last one.
 * Else redraws the bar if it is time, or, off a terminal, prints a line every half minute. */
void cli_progress_step(cli_progress *p, const weft_progress *record);
/* Erases the bar and prints the line of a finished epoch. */
void cli_progress_epoch(cli_progress *p, const weft_epoch *epoch);
/* Erases the bar; what is printed next starts on a clean line. */
void cli_progress_erase(cli_progress *p);

/* The text of a bar for a terminal of `width` columns, at most width-1 characters: fields are
 * left out, from the right, where they do not fit. */
void cli_progress_format(const weft_progress *record, int width, char *text, size_t size);
/* "0.3123", "1.234e+17". */
void cli_loss(double loss, char *text, size_t size);
/* The characters of n in decimal, a minus included: a column's width. */
int cli_digits(int64_t n);

#endif
