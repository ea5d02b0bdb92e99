/* Line plots in SVG: axes with round ticks, a legend, lines and points. Colours are CSS classes.
 * The page's style, or wf_plot_style in a file of its own, defines them for light and dark.
 *
 * Writes to a stream; the owner of the stream checks it for errors. Any thread. */
#ifndef WF_REPORT_PLOT_H
#define WF_REPORT_PLOT_H

#include <stdbool.h>
#include <stdio.h>

typedef struct wf_plot_line {
    const char *name;    /* name in the legend; NULL: not in the legend */
    const char *css;     /* "train", "test", "averages" or "other" */
    const double *x, *y; /* (n); points that are not finite are left out */
    int n;
    bool points; /* marks, with the values as tooltips */
    bool faint;  /* drawn behind the others: many noisy values */
} wf_plot_line;

enum { WF_PLOT_LINES = 4 };
typedef struct wf_plot {
    const char *title;
    const char *unit;           /* of y, for the tooltips and the axis; "" for none */
    double x, y, width, height; /* of the whole panel in the figure */
    wf_plot_line line[WF_PLOT_LINES];
    int n_lines;
    double x_max;     /* the x axis goes from 0 to this value at least */
    bool from_zero;   /* y starts at 0 */
    bool may_log;     /* y is logarithmic where the values span several decades */
    double y_ceiling; /* upper limit of the y axis; INFINITY: none */
    int mark; /* the point of line mark_line that gets a ring, with mark_text as key; -1: none */
    int mark_line;
    const char *mark_text;
    const double *cuts; /* (n_cuts) values of x that get a dashed vertical line */
    int n_cuts;
    const char *cut_text; /* the tooltip of these lines */
} wf_plot;

void wf_plot_write(FILE *out, const wf_plot *plot);

/* The style of figures, without its <style> element. */
extern const char wf_plot_style[];

/* Chooses up to `most` round ticks over [low, high], whose distance is 1, 2 or 5 times a power of
 * ten. Returns their number; *start is the first, *step their distance. */
int wf_plot_ticks(double low, double high, int most, double *start, double *step);

#endif
