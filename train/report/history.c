/* Reads summary.csv, log.jsonl and resumed.jsonl. See history.h. */
#include "train/report/history.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/c_locale.h"
#include "engine/base/error.h"
#include "engine/files/json_text.h"
#include "engine/files/regular_file.h"
#include "engine/base/alloc.h"
#include "train/report/markup.h"

enum { MOST_ITEMS = 1 << 24 };

void wf_history_done(wf_history *h)
{
    wf_free(h->epochs);
    wf_free(h->steps);
    wf_free(h->resumed);
    *h = (wf_history){0};
}

/* Makes room for one more item. False: out of memory, or the file is absurdly long. */
static bool grow(void **items, int n, int *capacity, size_t size)
{
    if (n < *capacity)
        return true;
    int more = *capacity ? 2 * *capacity : 64;
    void *p = more <= MOST_ITEMS ? wf_realloc_array(*items, (size_t)more, size) : NULL;
    if (!p)
        return false;
    *items = p;
    *capacity = more;
    return true;
}

/* An epoch that occurs again replaces everything from this epoch on: the run was resumed. */
static bool add_epoch(wf_history *h, const wf_history_epoch *e)
{
    if (!isfinite(e->epoch) || e->epoch < 1)
        return true;
    while (h->n_epochs && h->epochs[h->n_epochs - 1].epoch >= e->epoch)
        h->n_epochs--;
    if (!grow((void **)&h->epochs, h->n_epochs, &h->cap_epochs, sizeof(*e)))
        return false;
    h->epochs[h->n_epochs++] = *e;
    return true;
}

static bool add_step(wf_history *h, const wf_history_step *s)
{
    if (!isfinite(s->at) || s->at < 0)
        return true;
    while (h->n_steps && h->steps[h->n_steps - 1].at >= s->at)
        h->n_steps--;
    if (!grow((void **)&h->steps, h->n_steps, &h->cap_steps, sizeof(*s)))
        return false;
    h->steps[h->n_steps++] = *s;
    return true;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Larger than any file that training writes. */
#define MOST_BYTES ((int64_t)1 << 30)

/* The whole file with a zero at its end, owned by the caller; NULL with status WEFT_OK where there
 * is no file. */
static weft_status read_text(const char *directory, const char *name, char **text, weft_error *err)
{
    char *path = wf_asprintf("%s/%s", directory, name), *bytes = NULL;
    size_t size = 0, capacity = 0;
    *text = NULL;
    if (!path)
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for %s", name);
    FILE *in = NULL;
    weft_error why = WEFT_ERROR_INIT;
    weft_status status = wf_fopen_regular(path, MOST_BYTES, &in, &why);
    if (status == WEFT_ERR_NOT_FOUND)
        status = WEFT_OK;
    else if (status != WEFT_OK)
        wf_error_set(err, status, "%s", why.text);
    while (in && status == WEFT_OK) {
        if (capacity - size < 2) {
            capacity = capacity ? 2 * capacity : 1 << 16;
            char *more = wf_realloc_array(bytes, capacity, 1);
            if (!more) {
                status = wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for %s", path);
                break;
            }
            bytes = more;
        }
        size_t n = fread(bytes + size, 1, capacity - size - 1, in);
        size += n;
        bytes[size] = '\0';
        if (n == 0) {
            if (ferror(in))
                status =
                    wf_error_set(err, WEFT_ERR_IO, "cannot read %s: %s", path, strerror(errno));
            break;
        }
    }
    if (in)
        fclose(in);
    wf_free(path);
    if (status == WEFT_OK)
        *text = bytes;
    else
        wf_free(bytes);
    return status;
}

/* Returns the first line of *text and moves *text behind it. NULL: there is no complete line. */
static char *next_line(char **text)
{
    char *line = *text, *end = line ? strchr(line, '\n') : NULL;
    if (!end)
        return NULL;
    *end = '\0';
    *text = end + 1;
    if (end > line && end[-1] == '\r')
        end[-1] = '\0';
    return line;
}

/* ---- summary.csv ----------------------------------------------------------------------------- */

/* Columns are found by their names, because later versions may add columns. */
static const struct {
    const char *name;
    size_t offset;
} columns[] = {
    {"epoch", offsetof(wf_history_epoch, epoch)},
    {"train_loss", offsetof(wf_history_epoch, train_loss)},
    {"train_acc1", offsetof(wf_history_epoch, train_acc1)},
    {"test_loss", offsetof(wf_history_epoch, test_loss)},
    {"test_acc1", offsetof(wf_history_epoch, test_acc1)},
    {"lr", offsetof(wf_history_epoch, lr)},
    {"img_per_s", offsetof(wf_history_epoch, img_per_s)},
    {"seconds", offsetof(wf_history_epoch, seconds)},
    {"ema_loss", offsetof(wf_history_epoch, ema_loss)},
    {"ema_acc1", offsetof(wf_history_epoch, ema_acc1)},
};
enum { N_COLUMNS = sizeof(columns) / sizeof(columns[0]), MOST_FIELDS = 64 };

static weft_status read_summary(wf_history *h, char *text)
{
    int column_of[MOST_FIELDS], n_fields = 0;
    char *line = next_line(&text), *rest = line, *field;
    while (line && n_fields < MOST_FIELDS && (field = strsep(&rest, ",")) != NULL) {
        column_of[n_fields] = -1;
        for (int c = 0; c < N_COLUMNS; c++)
            if (strcmp(field, columns[c].name) == 0)
                column_of[n_fields] = c;
        n_fields++;
    }
    while ((line = next_line(&text)) != NULL) {
        wf_history_epoch e = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
        rest = line;
        for (int i = 0; i < n_fields && (field = strsep(&rest, ",")) != NULL; i++) {
            char *end;
            double value = strtod(field, &end);
            if (column_of[i] >= 0 && end != field && *end == '\0')
                *(double *)((char *)&e + columns[column_of[i]].offset) = value;
        }
        e.at = e.epoch;
        if (!add_epoch(h, &e))
            return WEFT_ERR_NOMEM;
    }
    return WEFT_OK;
}

/* ---- log.jsonl ------------------------------------------------------------------------------- */

static bool read_step(wf_history *h, const json_t *o)
{
    double epoch = wf_json_value(o, "epoch");
    const wf_history_step s = {wf_json_value(o, "epochs_done"), wf_json_value(o, "loss"),
                               wf_json_value(o, "acc1"), wf_json_value(o, "lr"),
                               wf_json_value(o, "img_per_s")};
    if (!add_step(h, &s))
        return false;
    /* An epoch's figures belong to its last step. */
    for (int i = h->n_epochs - 1; i >= 0 && h->epochs[i].epoch >= epoch; i--)
        if (h->epochs[i].epoch == epoch && isfinite(s.at))
            h->epochs[i].at = s.at;
    return true;
}

static weft_status read_log(wf_history *h, char *text)
{
    char *line;
    bool good = true;
    while (good && (line = next_line(&text)) != NULL) {
        json_t *o = wf_json_loads(line);
        const char *event = wf_json_string(o, "event");
        h->status[0] = h->message[0] = '\0'; /* the log goes on after an end: the run was resumed */
        if (strcmp(event, "step") == 0)
            good = read_step(h, o);
        if (strcmp(event, "end") == 0) {
            snprintf(h->status, sizeof(h->status), "%s", wf_json_string(o, "status"));
            snprintf(h->message, sizeof(h->message), "%s", wf_json_string(o, "message"));
        }
        json_decref(o);
    }
    return good ? WEFT_OK : WEFT_ERR_NOMEM;
}

/* ---- resumed.jsonl --------------------------------------------------------------------------- */

/* Several at one place, as after kills before the next checkpoint, are one. A run that was taken
 * back to an older checkpoint has nothing behind it. */
static weft_status read_resumed(wf_history *h, char *text)
{
    char *line;
    while ((line = next_line(&text)) != NULL) {
        json_t *o = wf_json_loads(line);
        double at = wf_json_value(o, "epochs_done");
        json_decref(o);
        if (!isfinite(at) || at < 0)
            continue;
        while (h->n_resumed && h->resumed[h->n_resumed - 1] >= at)
            h->n_resumed--;
        if (!grow((void **)&h->resumed, h->n_resumed, &h->cap_resumed, sizeof(at)))
            return WEFT_ERR_NOMEM;
        h->resumed[h->n_resumed++] = at;
    }
    return WEFT_OK;
}

weft_status wf_history_read(const char *directory, wf_history *history, weft_error *err)
{
    wf_history h = {0};
    char *summary = NULL, *log = NULL, *resumed = NULL;
    wf_c_locale locale;
    if (!wf_c_locale_begin(&locale))
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for the curves of %s", directory);
    weft_status status = read_text(directory, "summary.csv", &summary, err);
    if (status == WEFT_OK)
        status = read_text(directory, "log.jsonl", &log, err);
    if (status == WEFT_OK)
        status = read_text(directory, "resumed.jsonl", &resumed, err);
    if (status == WEFT_OK &&
        (read_summary(&h, summary) || read_log(&h, log) || read_resumed(&h, resumed)))
        status = wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for the curves of %s", directory);
    wf_c_locale_end(&locale);
    wf_free(summary);
    wf_free(log);
    wf_free(resumed);
    if (status == WEFT_OK && h.n_epochs + h.n_steps == 0)
        status = wf_error_set(err, WEFT_ERR_NOT_FOUND,
                              "%s: no run there (neither summary.csv nor log.jsonl has a line)",
                              directory);
    if (status == WEFT_OK)
        *history = h;
    else
        wf_history_done(&h);
    return status;
}
