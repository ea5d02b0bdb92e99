/* Time limits, and what may begin before one is over: see weft/job.h. No state; the caller brings
 * the clock. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "weft/job.h"

/* ---- the text -------------------------------------------------------------------------------- */

#define LONGEST (3660.0 * 86400) /* seconds: ten years */

/* Reads up to `most` numbers with colons between them. Returns how many; 0: it is no such list. */
static int read_numbers(const char *text, int most, double *number)
{
    for (int n = 0; n < most; n++) {
        size_t digits = strspn(text, "0123456789");
        if (digits == 0 || digits > 9)
            return 0;
        number[n] = strtod(text, NULL); /* digits only: no locale has a say */
        text += digits;
        if (*text == '\0')
            return n + 1;
        if (*text++ != ':')
            return 0;
    }
    return 0;
}

weft_status weft_time_limit_parse(const char *text, double *seconds, weft_error *err)
{
    double part[3] = {0}, limit = -1;
    const char *dash = text ? strchr(text, '-') : NULL;
    if (!text || !seconds)
        return wf_error_set(err, WEFT_ERR_INVALID, "time limit: there is no text");
    if (dash) { /* days-hours[:minutes[:seconds]] */
        char days[16] = "";
        double day;
        size_t digits = (size_t)(dash - text);
        if (digits < sizeof days)
            memcpy(days, text, digits);
        if (read_numbers(days, 1, &day) == 1 && read_numbers(dash + 1, 3, part) > 0)
            limit = 86400 * day + 3600 * part[0] + 60 * part[1] + part[2];
    } else {
        int n = read_numbers(text, 3, part);
        if (n == 3)
            limit = 3600 * part[0] + 60 * part[1] + part[2];
        else if (n > 0) /* minutes[:seconds] */
            limit = 60 * part[0] + part[1];
    }
    if (limit < 0)
        return wf_error_set(
            err, WEFT_ERR_INVALID,
            "'%.60s' is no time limit, expected minutes, M:SS, H:MM:SS, D-H, D-H:MM "
            "or D-H:MM:SS",
            text);
    if (limit < 1 || limit > LONGEST)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "a time limit of '%.60s', expected at least a second and at most ten "
                            "years",
                            text);
    *seconds = limit;
    return WEFT_OK;
}

/* ---- the policy ------------------------------------------------------------------------------ */

#define LEAVE_SECONDS 5.0    /* for the process to end, and for files to reach the disk */
#define GUESSED_RATE 50e6    /* bytes a second: a slow network file system */
#define STEP_DECAY 0.98      /* of the bound for steps, with each faster step */
#define EVALUATION_MORE 1.25 /* times the slowest evaluation: caches may be cold, neighbours loud */

void weft_wall_time_init(weft_wall_time *w, double start, double end, double margin,
                         double checkpoint_bytes)
{
    if (!w)
        return;
    *w = (weft_wall_time){.start = start,
                          .end = end,
                          .margin = margin,
                          .write = 1 + fmax(checkpoint_bytes, 0) / GUESSED_RATE};
}

void weft_wall_time_step(weft_wall_time *w, double seconds)
{
    if (w)
        w->step = fmax(seconds, STEP_DECAY * w->step);
}

/* The first measured write replaces the guess, which may be far off. */
void weft_wall_time_write(weft_wall_time *w, double seconds)
{
    if (!w)
        return;
    w->write = w->wrote ? fmax(seconds, w->write) : seconds;
    w->wrote = true;
}

void weft_wall_time_evaluation(weft_wall_time *w, double seconds)
{
    if (w)
        w->evaluation = fmax(seconds, w->evaluation);
}

double weft_wall_time_margin(const weft_wall_time *w)
{
    if (!w)
        return 0;
    return w->margin >= 0 ? w->margin : w->step + 2 * w->write + LEAVE_SECONDS;
}

/* Whether something that takes `seconds` may begin now. */
static weft_wall_answer answer(const weft_wall_time *w, double now, double seconds)
{
    double needed = seconds + weft_wall_time_margin(w);
    if (now + needed <= w->end)
        return WEFT_WALL_GO;
    return w->start + needed <= w->end ? WEFT_WALL_LEAVE : WEFT_WALL_NEVER;
}

weft_wall_answer weft_wall_time_may_step(const weft_wall_time *w, double now, bool first)
{
    if (!w)
        return WEFT_WALL_GO;
    weft_wall_answer a = answer(w, now, w->step);
    return first && a != WEFT_WALL_NEVER && now < w->end ? WEFT_WALL_GO : a;
}

weft_wall_answer weft_wall_time_may_evaluate(const weft_wall_time *w, double now, double batches)
{
    if (!w)
        return WEFT_WALL_GO;
    return answer(w, now, w->evaluation > 0 ? EVALUATION_MORE * w->evaluation : batches * w->step);
}
