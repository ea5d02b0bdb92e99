/* Draws progress records. */
#include "progress.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_SECONDS 0.1
#define LINE_SECONDS 30.0
enum { MAX_WIDTH = 512, MAX_BAR = 40, MIN_BAR = 8, DEFAULT_WIDTH = 80 };

void cli_progress_init(cli_progress *p, FILE *out)
{
    const char *term = getenv("TERM");
    bool dumb = !term || !*term || strcmp(term, "dumb") == 0;
    *p = (cli_progress){
        .out = out, .terminal = isatty(fileno(out)) && !dumb, .last_draw = -REDRAW_SECONDS};
}

/* Asked at every drawing, so a resized window needs no signal. */
static int terminal_width(FILE *out)
{
    struct winsize size;
    if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col < MAX_WIDTH ? size.ws_col : MAX_WIDTH;
    return DEFAULT_WIDTH;
}

/* ---- text ------------------------------------------------------------------------------------ */

void cli_loss(double loss, char *text, size_t size)
{
    if (isnan(loss))
        snprintf(text, size, "NaN"); /* printf would show its sign */
    else
        snprintf(text, size, fabs(loss) < 1e4 ? "%.4f" : "%.3e", loss);
}

int cli_digits(int64_t n)
{
    return snprintf(NULL, 0, "%lld", (long long)n);
}

/* The fields, most important first; each starts with its separator. Their widths do not change
 * within a pass, so that the bar does not jump. */
enum { FIELDS = 5, FIELD_SIZE = 48 };
static void format_fields(const weft_progress *r, char field[FIELDS][FIELD_SIZE])
{
    char left[32] = "-:--", loss[32];
    if (r->seconds_left >= 0)
        weft_duration_format(r->seconds_left, left, sizeof(left));
    snprintf(field[0], FIELD_SIZE, " %*lld/%lld", cli_digits(r->steps), (long long)r->step,
             (long long)r->steps);
    field[1][0] = field[2][0] = '\0';
    if (isfinite(r->loss)) {
        cli_loss(r->loss, loss, sizeof(loss));
        snprintf(field[1], FIELD_SIZE, "  loss %6s", loss);
    }
    if (isfinite(r->acc1))
        snprintf(field[2], FIELD_SIZE, "  acc %6.2f%%", r->acc1);
    snprintf(field[3], FIELD_SIZE, "  %6.0f img/s", r->img_per_s);
    snprintf(field[4], FIELD_SIZE, "  %s left", left);
}

static int format_title(const weft_progress *r, char *text, size_t size)
{
    const char *what = r->phase == WEFT_PHASE_EVAL ? "eval " : "epoch";
    if (r->epochs <= 0)
        return snprintf(text, size, "%s", r->phase == WEFT_PHASE_EVAL ? "eval" : "step");
    return snprintf(text, size, "%s %*lld/%lld", what, cli_digits(r->epochs), (long long)r->epoch,
                    (long long)r->epochs);
}

void cli_progress_format(const weft_progress *r, int width, char *text, size_t size)
{
    char field[FIELDS][FIELD_SIZE], line[MAX_WIDTH + FIELDS * FIELD_SIZE];
    int limit = (width < MAX_WIDTH ? width : MAX_WIDTH) - 1; /* the last column would wrap */
    int length = format_title(r, line, sizeof(line)), kept = 0, tail = 0;
    format_fields(r, field);
    while (kept < FIELDS && length + tail + (int)strlen(field[kept]) <= limit)
        tail += (int)strlen(field[kept++]);
    int bar = limit - length - tail - 3; /* " [", "]" */
    bar = bar > MAX_BAR ? MAX_BAR : bar;
    if (bar >= MIN_BAR) {
        int full = r->steps > 0 ? (int)(r->step * bar / r->steps) : 0;
        length += snprintf(line + length, sizeof(line) - (size_t)length, " [");
        for (int i = 0; i < bar; i++)
            line[length++] = i < full ? '=' : i == full ? '>' : ' ';
        line[length++] = ']';
        line[length] = '\0';
    }
    for (int i = 0; i < kept; i++)
        length += snprintf(line + length, sizeof(line) - (size_t)length, "%s", field[i]);
    snprintf(text, size, "%.*s", limit > 0 ? limit : 0, line);
}

/* ---- drawing --------------------------------------------------------------------------------- */

void cli_progress_erase(cli_progress *p)
{
    if (p->drawn)
        fputs("\r\033[K", p->out);
    p->drawn = false;
    fflush(p->out);
}

static void print_line(cli_progress *p, const weft_progress *r)
{
    char field[FIELDS][FIELD_SIZE], title[64];
    format_title(r, title, sizeof(title));
    format_fields(r, field);
    fputs(title, p->out);
    for (int i = 0; i < FIELDS; i++)
        fputs(field[i], p->out);
    fputc('\n', p->out);
    fflush(p->out);
}

/* The seconds of all passes so far, as their records say. */
static double time_of(cli_progress *p, const weft_progress *r)
{
    if (r->seconds < p->pass_seconds) /* another pass began */
        p->passes_seconds += p->pass_seconds;
    p->pass_seconds = r->seconds;
    return p->passes_seconds + p->pass_seconds;
}

void cli_progress_step(cli_progress *p, const weft_progress *r)
{
    double now = time_of(p, r);
    if (p->print_freq > 0) {
        if (r->step % p->print_freq == 0 || r->step == r->steps)
            print_line(p, r);
        return;
    }
    if (!p->terminal) {
        if (now - p->last_line >= LINE_SECONDS) {
            print_line(p, r);
            p->last_line = now;
        }
        return;
    }
    if (now - p->last_draw < REDRAW_SECONDS)
        return;
    char text[MAX_WIDTH + 1];
    cli_progress_format(r, terminal_width(p->out), text, sizeof(text));
    /* One write, and the rest of the line erased after the text: no flicker. */
    fprintf(p->out, "\r%s\033[K", text);
    fflush(p->out);
    p->drawn = true;
    p->last_draw = now;
}

void cli_progress_epoch(cli_progress *p, const weft_epoch *e)
{
    char took[32], train_loss[32], test_loss[32];
    weft_duration_format(e->seconds, took, sizeof(took));
    cli_loss(e->train_loss, train_loss, sizeof(train_loss));
    cli_loss(e->test_loss, test_loss, sizeof(test_loss));
    cli_progress_erase(p);
    fprintf(p->out, "epoch %*lld/%lld  train loss %s acc %.2f%%", cli_digits(e->epochs),
            (long long)e->epoch, (long long)e->epochs, train_loss, e->train_acc1);
    if (isfinite(e->test_acc1))
        fprintf(p->out, "  %s loss %s acc %.2f%%", p->evaluated ? p->evaluated : "test", test_loss,
                e->test_acc1);
    if (isfinite(e->ema_acc1))
        fprintf(p->out, "  averages %.2f%%", e->ema_acc1);
    fprintf(p->out, "  lr %.3g  %.0f img/s  %s\n", e->lr, e->img_per_s, took);
    fflush(p->out);
    p->last_line = p->passes_seconds + p->pass_seconds;
}
