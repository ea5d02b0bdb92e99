/* The figure of a run's course: four panels. In a page each panel is a drawing of its own, and the
 * page places them as its width allows. See figures.h. */
#include <math.h>
#include <stdio.h>

#include "engine/base/alloc.h"
#include "train/report/figures.h"
#include "train/report/markup.h"
#include "train/report/plot.h"

enum { WIDTH = 1120, HEIGHT = 580, GAP_X = 36, GAP_Y = 24 };
enum { PANEL_W = (WIDTH - GAP_X) / 2, PANEL_H = (HEIGHT - GAP_Y) / 2 };

int wf_best_epoch(const wf_history *h)
{
    int best = -1;
    for (int i = 0; i < h->n_epochs; i++)
        if (isfinite(h->epochs[i].test_acc1) &&
            (best < 0 || h->epochs[i].test_acc1 > h->epochs[best].test_acc1))
            best = i;
    return best;
}

/* The columns of the history as separate arrays, which lines need. */
typedef struct columns {
    double *memory;
    double *epoch_at, *step_at;
    double *values[11];
} columns;

enum {
    TRAIN_LOSS,
    TEST_LOSS,
    TRAIN_ACC,
    TEST_ACC,
    EMA_LOSS,
    EMA_ACC,
    EPOCH_RATE,
    STEP_LOSS,
    STEP_ACC,
    STEP_LR,
    STEP_RATE
};

static bool fill(columns *c, const wf_history *h)
{
    size_t E = (size_t)h->n_epochs, S = (size_t)h->n_steps;
    c->memory = wf_alloc_array((STEP_LOSS + 1) * E + 5 * S + 1, sizeof(double));
    if (!c->memory)
        return false;
    double *at = c->memory;
    c->epoch_at = at;
    for (int k = 0; k < STEP_LOSS; k++)
        c->values[k] = at += E;
    c->step_at = at += E;
    for (int k = STEP_LOSS; k <= STEP_RATE; k++)
        c->values[k] = at += S;
    for (size_t i = 0; i < E; i++) {
        const wf_history_epoch *e = &h->epochs[i];
        const double row[] = {e->train_loss, e->test_loss, e->train_acc1, e->test_acc1,
                              e->ema_loss,   e->ema_acc1,  e->img_per_s};
        c->epoch_at[i] = e->at;
        for (int k = 0; k < STEP_LOSS; k++)
            c->values[k][i] = row[k];
    }
    for (size_t i = 0; i < S; i++) {
        const wf_history_step *s = &h->steps[i];
        const double row[] = {s->loss, s->acc1, s->lr, s->img_per_s};
        c->step_at[i] = s->at;
        for (int k = STEP_LOSS; k <= STEP_RATE; k++)
            c->values[k][i] = row[k - STEP_LOSS];
    }
    return true;
}

static bool any(const double *values, int n)
{
    for (int i = 0; i < n; i++)
        if (isfinite(values[i]))
            return true;
    return false;
}

static void add_line(wf_plot *p, const columns *c, const wf_history *h, int values,
                     const char *name, const char *css)
{
    if (any(c->values[values], h->n_epochs))
        p->line[p->n_lines++] = (wf_plot_line){.name = name,
                                               .css = css,
                                               .x = c->epoch_at,
                                               .y = c->values[values],
                                               .n = h->n_epochs,
                                               .points = true};
}

/* Adds the lines of one panel: first the noisy steps, then the epochs of training, then the
 * averages', where there are any, and last those of testing. */
static void add_lines(wf_plot *p, const columns *c, const wf_history *h, int steps, int train,
                      int averages, int test)
{
    int S = h->n_steps;
    if (steps >= 0 && any(c->values[steps], S))
        p->line[p->n_lines++] = (wf_plot_line){
            .css = "train", .x = c->step_at, .y = c->values[steps], .n = S, .faint = true};
    add_line(p, c, h, train, "train", "train");
    add_line(p, c, h, averages, "averages", "averages");
    add_line(p, c, h, test, h->validation ? "validation" : "test", "test");
}

/* Loss, accuracy, learning rate and throughput, in reading order, below `top`. `note` is the text
 * of the best epoch's mark, of 64 bytes. */
static void make_panels(wf_plot panels[4], const wf_history *h, const columns *c, double top,
                        char *note)
{
    int best = wf_best_epoch(h);
    double x_max = h->n_epochs ? h->epochs[h->n_epochs - 1].at : 0;
    wf_plot *loss = &panels[0], *accuracy = &panels[1], *lr = &panels[2], *rate = &panels[3];
    for (int i = 0; i < 4; i++)
        panels[i] = (wf_plot){.x = i % 2 * (PANEL_W + GAP_X),
                              .y = top + i / 2 * (PANEL_H + GAP_Y),
                              .width = PANEL_W,
                              .height = PANEL_H,
                              .x_max = x_max,
                              .from_zero = true,
                              .y_ceiling = INFINITY,
                              .unit = "",
                              .mark = -1,
                              .cuts = h->resumed,
                              .n_cuts = h->n_resumed,
                              .cut_text = "resumed"};
    loss->title = "Loss";
    loss->may_log = true;
    add_lines(loss, c, h, STEP_LOSS, TRAIN_LOSS, EMA_LOSS, TEST_LOSS);

    accuracy->title = "Top-1 accuracy, %";
    accuracy->unit = " %";
    accuracy->from_zero = false;
    accuracy->y_ceiling = 100;
    add_lines(accuracy, c, h, STEP_ACC, TRAIN_ACC, EMA_ACC, TEST_ACC);
    if (best >= 0) {
        snprintf(note, 64, "best %.2f %%, epoch %.0f", h->epochs[best].test_acc1,
                 h->epochs[best].epoch);
        accuracy->mark = best;
        accuracy->mark_line = accuracy->n_lines - 1;
        accuracy->mark_text = note;
    }

    lr->title = "Learning rate";
    lr->line[lr->n_lines++] =
        (wf_plot_line){.css = "other", .x = c->step_at, .y = c->values[STEP_LR], .n = h->n_steps};

    rate->title = "Throughput of training, images/s";
    rate->unit = " images/s";
    if (any(c->values[STEP_RATE], h->n_steps))
        rate->line[rate->n_lines++] = (wf_plot_line){.css = "other",
                                                     .x = c->step_at,
                                                     .y = c->values[STEP_RATE],
                                                     .n = h->n_steps,
                                                     .faint = true};
    rate->line[rate->n_lines++] = (wf_plot_line){.css = "other",
                                                 .x = c->epoch_at,
                                                 .y = c->values[EPOCH_RATE],
                                                 .n = h->n_epochs,
                                                 .points = true};
}

/* Writes what the figure shows, in words. */
static void write_description(FILE *out, const wf_history *h)
{
    fputs("<desc>Four line plots against epochs.", out);
    if (h->n_epochs) {
        const wf_history_epoch *e = &h->epochs[h->n_epochs - 1];
        const struct {
            const char *name, *unit;
            double value;
        } figures[] = {
            {"training loss", "", e->train_loss},
            {"training accuracy", " %", e->train_acc1},
            {h->validation ? "validation loss" : "test loss", "", e->test_loss},
            {h->validation ? "validation accuracy" : "test accuracy", " %", e->test_acc1},
            {"loss of the averages", "", e->ema_loss},
            {"accuracy of the averages", " %", e->ema_acc1}};
        const char *before = ":";
        fprintf(out, " After epoch %.0f", e->epoch);
        for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
            if (isfinite(figures[i].value)) {
                fprintf(out, "%s %s %.4g%s", before, figures[i].name, figures[i].value,
                        figures[i].unit);
                before = ",";
            }
        fputc('.', out);
    }
    fputs("</desc>\n", out);
}

/* Writes the figure: as wide as the page allows, but not wider than it was drawn for. */
static void write_figure(FILE *out, const wf_history *h, const wf_plot panels[4], const char *title,
                         double top)
{
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100%%\" viewBox=\"0 0 %d %g\" "
            "preserveAspectRatio=\"xMidYMin meet\" style=\"max-width:%dpx\" role=\"img\">\n<title>",
            WIDTH, HEIGHT + top, WIDTH);
    wf_markup_text(out, title);
    fputs("</title>\n", out);
    write_description(out, h);
    fprintf(out, "<style>%s</style>\n<rect class=\"back\" width=\"100%%\" height=\"100%%\"/>\n",
            wf_plot_style);
    fprintf(out, "<text class=\"title\" x=\"56\" y=\"22\">");
    wf_markup_text(out, title);
    fputs("</text>\n", out);
    for (int i = 0; i < 4; i++)
        wf_plot_write(out, &panels[i]);
    fputs("</svg>\n", out);
}

/* Writes the panels one by one: a page shows them in pairs, or below each other on a narrow
 * screen. */
static void write_drawings(FILE *out, const wf_history *h, const wf_plot panels[4],
                           const char *title)
{
    fputs("<div class=\"curves\">\n", out);
    for (int i = 0; i < 4; i++) {
        const wf_plot *p = &panels[i];
        fprintf(out, "<svg viewBox=\"%g %g %g %g\" role=\"img\">\n<title>", p->x, p->y, p->width,
                p->height);
        wf_markup_text(out, title);
        fputs(": ", out);
        wf_markup_text(out, p->title);
        fputs("</title>\n", out);
        if (i == 0)
            write_description(out, h);
        wf_plot_write(out, p);
        fputs("</svg>\n", out);
    }
    fputs("</div>\n", out);
}

weft_status wf_curves_write(FILE *out, const wf_history *h, const char *title, bool alone,
                            weft_error *err)
{
    double top = alone ? 34 : 0;
    char note[64] = "";
    columns c = {0};
    wf_plot panels[4];
    if (!fill(&c, h))
        return wf_nomem(err, (size_t)(h->n_epochs + h->n_steps), "the curves of a run");
    make_panels(panels, h, &c, top, note);
    if (alone)
        write_figure(out, h, panels, title, top);
    else
        write_drawings(out, h, panels, title);
    wf_free(c.memory);
    return WEFT_OK;
}
