/* Scales, axes, lines and marks. See plot.h. */
#include "train/report/plot.h"

#include <math.h>
#include <string.h>

#include "train/report/markup.h"

/* Okabe and Ito's colours, which people with all common kinds of colour blindness can tell apart.
 * Lines also differ by their marks. */
const char wf_plot_style[] =
    "svg{--bg:#fff;--fg:#1f2328;--mute:#59636e;--rule:#dfe3e8;--train:#0072b2;--test:#d55e00;"
    "--averages:#00805a;--other:#4b5563}\n"
    "@media (prefers-color-scheme:dark){svg{--bg:#14171b;--fg:#e6e8eb;--mute:#9aa4ae;"
    "--rule:#2d333a;--train:#56b4e9;--test:#f0a030;--averages:#3fcf9f;--other:#a8b3bf}}\n"
    "svg text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;"
    "fill:var(--mute)}\n"
    "svg .title{font-weight:600;font-size:13px;fill:var(--fg)}\n"
    "svg .back{fill:var(--bg)}\n"
    "svg .grid{stroke:var(--rule);stroke-width:1}\n"
    "svg .cut{stroke:var(--fg);stroke-width:1;stroke-dasharray:2 4;opacity:.6}\n"
    "svg .axis{stroke:var(--mute);stroke-width:1}\n"
    "svg .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}\n"
    "svg .faint{stroke-width:1;opacity:.45}\n"
    "svg .train{stroke:var(--train);fill:var(--train)}\n"
    "svg .test{stroke:var(--test);fill:var(--test)}\n"
    "svg .averages{stroke:var(--averages);fill:var(--averages)}\n"
    "svg .other{stroke:var(--other);fill:var(--other)}\n"
    "svg .hollow{fill:var(--bg);stroke-width:2}\n"
    "svg .line,svg .ring{fill:none}\n"
    "svg .ring{stroke-width:1.5}\n"
    "svg .note{fill:var(--fg);stroke:var(--bg);stroke-width:4;paint-order:stroke;"
    "stroke-linejoin:round}\n";

enum { LEFT = 56, RIGHT = 14, ABOVE = 34, BELOW = 40, MOST_POINTS = 700, MOST_MARKS = 40 };
#define LOG_RATIO 200.0

typedef struct axis {
    double low, high;
    double from, to; /* coordinates in the figure */
    bool logarithmic;
} axis;

static double place(const axis *a, double v)
{
    double t = a->logarithmic ? log(v / a->low) / log(a->high / a->low)
                              : (v - a->low) / (a->high - a->low);
    return a->from + t * (a->to - a->from);
}

int wf_plot_ticks(double low, double high, int most, double *start, double *step)
{
    double span = high - low, s = pow(10, floor(log10(span / most)));
    static const double factors[] = {1, 2, 5, 10, 20};
    for (int i = 0; i < 5; i++) {
        *step = s * factors[i];
        *start = ceil(low / *step - 1e-9) * *step;
        int n = (int)floor((high - *start) / *step + 1e-9) + 1;
        if (n <= most)
            return n;
    }
    return 0;
}

static void write_tick(FILE *out, double value, double step)
{
    if (fabs(value) < step * 1e-6)
        value = 0;
    if (step < 1e-4 && value != 0)
        fprintf(out, "%.3g", value);
    else if (step >= 1000 && value != 0)
        fprintf(out, "%gk", value / 1000);
    else
        fprintf(out, "%.*f", step < 1 ? (int)ceil(-log10(step) - 1e-9) : 0, value);
}

static bool usable(const wf_plot_line *l, int i)
{
    return isfinite(l->x[i]) && isfinite(l->y[i]);
}

/* The range of y that covers all lines. */
static axis y_axis(const wf_plot *p)
{
    axis a = {.low = INFINITY, .high = -INFINITY};
    for (int k = 0; k < p->n_lines; k++)
        for (int i = 0; i < p->line[k].n; i++)
            if (usable(&p->line[k], i)) {
                a.low = fmin(a.low, p->line[k].y[i]);
                a.high = fmax(a.high, p->line[k].y[i]);
            }
    if (!(a.low <= a.high))
        a.low = a.high = 0;
    a.logarithmic = p->may_log && a.low > 0 && a.high / a.low >= LOG_RATIO;
    a.from = p->y + p->height - BELOW;
    a.to = p->y + ABOVE;
    if (a.logarithmic) {
        a.low /= 1.2;
        a.high *= 1.2;
        return a;
    }
    double pad = 0.06 * (a.high - a.low);
    if (pad == 0)
        pad = a.high != 0 ? 0.1 * fabs(a.high) : 1;
    a.high = fmin(a.high + pad, p->y_ceiling >= a.high ? p->y_ceiling : a.high + pad);
    if (a.low >= 0) /* quantities that cannot be negative: the axis does not go below zero */
        a.low = p->from_zero ? 0 : fmax(a.low - pad, 0);
    else
        a.low -= pad;
    return a;
}

static axis x_axis(const wf_plot *p)
{
    axis a = {.low = 0, .high = p->x_max, .from = p->x + LEFT, .to = p->x + p->width - RIGHT};
    for (int k = 0; k < p->n_lines; k++)
        for (int i = 0; i < p->line[k].n; i++)
            if (usable(&p->line[k], i))
                a.high = fmax(a.high, p->line[k].x[i]);
    if (a.high <= 0)
        a.high = 1;
    return a;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static void write_y_tick(FILE *out, const axis *x, double at, double value, double step)
{
    fprintf(out, "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>", x->from,
            at, x->to, at);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", x->from - 8, at + 4);
    if (step > 0)
        write_tick(out, value, step);
    else
        fprintf(out, "%g", value);
    fputs("</text>\n", out);
}

static void write_axes(FILE *out, const wf_plot *p, const axis *x, const axis *y)
{
    double start, step;
    if (y->logarithmic) {
        int first = (int)ceil(log10(y->low)), last = (int)floor(log10(y->high));
        int every = (last - first) / 7 + 1;
        for (int e = first; e <= last; e += every)
            write_y_tick(out, x, place(y, pow(10, e)), pow(10, e), 0);
    } else {
        int n = wf_plot_ticks(y->low, y->high, 6, &start, &step);
        for (int i = 0; i < n; i++)
            write_y_tick(out, x, place(y, start + i * step), start + i * step, step);
    }
    int n = wf_plot_ticks(x->low, x->high, 10, &start, &step);
    for (int i = 0; i < n; i++) {
        double at = place(x, start + i * step);
        fprintf(out, "<line class=\"axis\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>", at,
                y->from, at, y->from + 4);
        fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", at, y->from + 18);
        write_tick(out, start + i * step, step);
        fputs("</text>\n", out);
    }
    fprintf(out, "<line class=\"axis\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
            x->from, y->from, x->to, y->from);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">epoch</text>\n",
            (x->from + x->to) / 2, y->from + 34);
    fprintf(out, "<text class=\"title\" x=\"%.1f\" y=\"%.1f\">", x->from, p->y + 16);
    wf_markup_text(out, p->title);
    fputs("</text>\n", out);
}

/* Writes the legend, right-aligned above the plot. */
static void write_legend(FILE *out, const wf_plot *p, const axis *x)
{
    double at = x->to;
    for (int k = p->n_lines - 1; k >= 0; k--) {
        const wf_plot_line *l = &p->line[k];
        if (!l->name)
            continue;
        double y = p->y + 16;
        at -= 7.0 * (double)strlen(l->name);
        fprintf(out, "<text x=\"%.1f\" y=\"%.1f\">", at, y);
        wf_markup_text(out, l->name);
        fputs("</text>", out);
        fprintf(out, "<path class=\"line %s%s\" d=\"M%.1f %.1fh22\"/>", l->css,
                l->faint ? " faint" : "", at - 28, y - 4);
        if (l->points)
            fprintf(out, "<circle class=\"%s%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>", l->css,
                    strcmp(l->css, "test") == 0 ? " hollow" : "", at - 17, y - 4);
        at -= 28 + 16;
        fputc('\n', out);
    }
}

/* Draws a line. In a long line, neighbouring points become their mean. */
static void write_line(FILE *out, const wf_plot_line *l, const axis *x, const axis *y)
{
    int bucket = (l->n + MOST_POINTS - 1) / MOST_POINTS;
    const char *command = "M";
    fprintf(out, "<path class=\"line %s%s\" d=\"", l->css, l->faint ? " faint" : "");
    for (int i = 0; i < l->n; i += bucket) {
        double sx = 0, sy = 0;
        int n = 0;
        for (int j = i; j < i + bucket && j < l->n; j++)
            if (usable(l, j)) {
                sx += l->x[j];
                sy += l->y[j];
                n++;
            }
        if (n == 0)
            continue;
        fprintf(out, "%s%.1f %.1f", command, place(x, sx / n), place(y, sy / n));
        command = "L";
    }
    fputs("\"/>\n", out);
}

static void write_points(FILE *out, const wf_plot *p, const wf_plot_line *l, const axis *x,
                         const axis *y)
{
    bool test = strcmp(l->css, "test") == 0;
    /* Where there are many points, marks some of them, including the last. */
    int every = (l->n + MOST_MARKS - 1) / MOST_MARKS;
    for (int i = l->n ? (l->n - 1) % every : 0; i < l->n; i += every) {
        if (!usable(l, i))
            continue;
        fprintf(out, "<circle class=\"%s%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>", l->css,
                test ? " hollow" : "", place(x, l->x[i]), place(y, l->y[i]));
        fprintf(out, "epoch %g: ", round(l->x[i] * 100) / 100);
        if (l->name) {
            wf_markup_text(out, l->name);
            fputc(' ', out);
        }
        fprintf(out, "%.4g", l->y[i]);
        wf_markup_text(out, p->unit);
        fputs("</title></circle>\n", out);
    }
}

static int count_usable(const wf_plot_line *l)
{
    int n = 0;
    for (int i = 0; i < l->n; i++)
        n += usable(l, i);
    return n;
}

/* Writes values beside points that have no line, as after a single epoch: nothing else in the plot
 * shows them. The first line's value is above its point, the second's below. False: there are
 * lines. */
static bool write_values(FILE *out, const wf_plot *p, const axis *x, const axis *y)
{
    for (int k = 0; k < p->n_lines; k++)
        if (count_usable(&p->line[k]) > 1)
            return false;
    int above = 0;
    for (int k = 0; k < p->n_lines; k++)
        for (int i = 0; i < p->line[k].n; i++) {
            const wf_plot_line *l = &p->line[k];
            if (!l->points || !usable(l, i))
                continue;
            fprintf(out, "<text class=\"note\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.4g",
                    place(x, l->x[i]) - 8, place(y, l->y[i]) + (above++ == 0 ? -8 : 18), l->y[i]);
            wf_markup_text(out, p->unit);
            fputs("</text>\n", out);
        }
    return true;
}

static void write_mark(FILE *out, const wf_plot *p, const axis *x, const axis *y)
{
    const wf_plot_line *l = &p->line[p->mark_line];
    if (p->mark < 0 || p->mark >= l->n || !usable(l, p->mark))
        return;
    const double centers[2][2] = {
        {place(x, l->x[p->mark]), place(y, l->y[p->mark])},
        /* In the lower right corner, which rising curves leave empty. */
        {x->to - 7.0 * (double)strlen(p->mark_text) - 16, y->from - 14},
    };
    for (int i = 0; i < 2; i++)
        fprintf(out, "<circle class=\"%s ring\" cx=\"%.1f\" cy=\"%.1f\" r=\"6.5\"/>", l->css,
                centers[i][0], centers[i][1]);
    fprintf(out, "<text class=\"note\" x=\"%.1f\" y=\"%.1f\">", centers[1][0] + 13,
            centers[1][1] + 4);
    wf_markup_text(out, p->mark_text);
    fputs("</text>\n", out);
}

static void write_cuts(FILE *out, const wf_plot *p, const axis *x, const axis *y)
{
    for (int i = 0; i < p->n_cuts; i++) {
        double at = place(x, p->cuts[i]);
        fprintf(
            out,
            "<line class=\"cut\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"><title>epoch %g: ",
            at, y->from, at, y->to, round(p->cuts[i] * 100) / 100);
        wf_markup_text(out, p->cut_text);
        fputs("</title></line>\n", out);
    }
}

void wf_plot_write(FILE *out, const wf_plot *p)
{
    axis x = x_axis(p), y = y_axis(p);
    write_axes(out, p, &x, &y);
    write_legend(out, p, &x);
    write_cuts(out, p, &x, &y);
    for (int k = 0; k < p->n_lines; k++)
        if (p->line[k].n > 0)
            write_line(out, &p->line[k], &x, &y);
    for (int k = 0; k < p->n_lines; k++)
        if (p->line[k].points)
            write_points(out, p, &p->line[k], &x, &y);
    if (!write_values(out, p, &x, &y))
        write_mark(out, p, &x, &y);
}
