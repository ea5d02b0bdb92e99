/* Line plots in SVG: axes with round ticks, a legend, lines and points. Colours are classes that
 * the page's style, or wf_plot_style in a file of its own, gives a meaning in light and in dark.
 *
 * Writes to a stream whose errors its owner finds. Any thread. */
#ifndef WF_REPORT_PLOT_H
#define WF_REPORT_PLOT_H

#include <stdbool.h>
#include <stdio.h>

typedef struct wf_plot_line {
    const char *name;    /* in the legend; NULL: not there */
    const char *css;     /* "train", "test" or "other" */
    const double *x, *y; /* (n); what is not finite is left out */
    int n;
    bool points; /* marks, with the values as tooltips */
    bool faint;  /* behind the others: many noisy values */
} wf_plot_line;

enum { WF_PLOT_LINES = 4 };
typedef struct wf_plot {
    const char *title;
    const char *unit;           /* of y, for the tooltips and the axis; "" for none */
    double x, y, width, height; /* of the whole panel in its figure */
    wf_plot_line line[WF_PLOT_LINES];
    int n_lines;
    double x_max;     /* the axis goes from 0 to here at least */
    bool from_zero;   /* y starts at 0 */
    bool may_log;     /* y is logarithmic where the values span several decades */
    double y_ceiling; /* y ends here at the latest; INFINITY: anywhere */
    int mark; /* the point of line mark_line that gets a ring, and mark_text a key; -1: none */
    int mark_line;
    const char *mark_text;
} wf_plot;

void wf_plot_write(FILE *out, const wf_plot *plot);

/* The style of figures, without its <style> element. */
extern const char wf_plot_style[];

/* Up to `most` round ticks (1, 2 or 5 times a power of ten apart) over [low, high]: the first, in
 * *start, the number of them, and their distance in *step. */
int wf_plot_ticks(double low, double high, int most, double *start, double *step);

#endif
