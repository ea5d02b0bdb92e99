/* Rows of predictions. See predict_rows.h. */
#include "predict_rows.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ------------------------------------------------------------------------------------ */

/* The bytes of the UTF-8 character at text; 0: none begins there. */
static int utf8_length(const unsigned char *text)
{
    const int n = text[0] < 0x80                      ? 1
                  : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
                  : text[0] >= 0xe0 && text[0] < 0xf0 ? 3
                  : text[0] >= 0xf0 && text[0] < 0xf5 ? 4
                                                      : 0;
    for (int i = 1; i < n; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] >= 0xa0) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] >= 0x90))
        return 0;
    return n;
}

/* A JSON string. A byte that is not UTF-8 becomes \udcXX, as Python's surrogateescape has it. */
static void put_json(FILE *out, const char *text)
{
    fputc('"', out);
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        const int n = utf8_length(at);
        if (n == 0)
            fprintf(out, "\\udc%02x", *at);
        else if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else if (*at < 0x20 || *at == 0x7f)
            fprintf(out, "\\u%04x", *at);
        else
            fwrite(at, 1, (size_t)n, out);
        at += n ? n : 1;
    }
    fputc('"', out);
}

/* A field of CSV (RFC 4180), with the bytes that it has. */
static void put_csv(FILE *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

/* ---- rows ------------------------------------------------------------------------------------ */

bool predict_rows_begin(predict_rows *r, int classes)
{
    r->classes = classes;
    r->order = malloc((size_t)classes * sizeof(*r->order));
    if (!r->order)
        return false;
    r->top = r->top < classes ? r->top : classes;
    if (r->json)
        return true;
    fputs("path", r->out);
    for (int i = 1; i <= r->top; i++)
        fprintf(r->out, ",class_%d,probability_%d", i, i);
    fputc('\n', r->out);
    return true;
}

void predict_rows_done(predict_rows *r)
{
    free(r->order);
    r->order = NULL;
}

/* Puts the classes with the largest logits first, the lower class among equals; NaN comes last. */
static void find_top(const predict_rows *r, const float *logits)
{
    for (int k = 0; k < r->classes; k++)
        r->order[k] = k;
    for (int i = 0; i < r->top; i++) {
        int best = i;
        for (int j = i + 1; j < r->classes; j++) {
            const float a = logits[r->order[j]], b = logits[r->order[best]];
            if (a > b || (isnan(b) && !isnan(a)) || (a == b && r->order[j] < r->order[best]))
                best = j;
        }
        const int swapped = r->order[i];
        r->order[i] = r->order[best];
        r->order[best] = swapped;
    }
}

/* log(sum of exp(logits)), in double; NaN where a logit is. */
static double log_sum(const float *logits, int n)
{
    double most = -INFINITY, sum = 0;
    for (int k = 0; k < n; k++) {
        if (isnan(logits[k]))
            return (double)NAN;
        most = fmax(most, logits[k]);
    }
    if (isinf(most))
        return most;
    for (int k = 0; k < n; k++)
        sum += exp(logits[k] - most);
    return most + log(sum);
}

static const char *class_name(const predict_rows *r, int k, char *number, size_t size)
{
    if (k < r->n_names)
        return r->names[k];
    snprintf(number, size, "%d", k);
    return number;
}

static void put_row(const predict_rows *r, int64_t sample, const float *logits)
{
    char path[PATH_MAX], number[16];
    const double total = log_sum(logits, r->classes);
    weft_dataset_sample_name(r->ds, sample, path, sizeof(path));
    find_top(r, logits);
    if (r->json) {
        fputs("{\"path\": ", r->out);
        put_json(r->out, path);
        fputs(", \"top\": [", r->out);
    } else {
        put_csv(r->out, path);
    }
    for (int i = 0; i < r->top; i++) {
        const int k = r->order[i];
        const char *name = class_name(r, k, number, sizeof(number));
        const double p = exp(logits[k] - total);
        if (r->json) {
            fprintf(r->out, "%s{\"class\": ", i ? ", " : "");
            put_json(r->out, name);
            fprintf(r->out,
                    isfinite(p) ? ", \"index\": %d, \"probability\": %.6g}"
                                : ", \"index\": %d, \"probability\": null}",
                    k, p);
        } else {
            fputc(',', r->out);
            put_csv(r->out, name);
            fprintf(r->out, isfinite(p) ? ",%.6g" : ",", p);
        }
    }
    fputs(r->json ? "]}\n" : "\n", r->out);
}

weft_status predict_rows_take(void *rows, const weft_outputs *o, weft_error *err)
{
    predict_rows *r = rows;
    if (!r->order && !predict_rows_begin(r, (int)o->classes)) {
        snprintf(err->text, sizeof(err->text), "out of memory");
        return err->status = WEFT_ERR_NOMEM;
    }
    for (int64_t i = 0; i < o->n; i++)
        put_row(r, o->samples[i], o->logits + i * o->classes);
    fflush(r->out);
    if (ferror(r->out)) {
        snprintf(err->text, sizeof(err->text), "the rows cannot be written: %s", strerror(errno));
        return err->status = WEFT_ERR_IO;
    }
    return WEFT_OK;
}
