/* Class names: reads them from text, and renumbers a data set's labels so that they follow other
 * names. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset.h"
#include "engine/base/error.h"
#include "engine/base/alloc.h"
#include "engine/base/c_locale.h"
#include "engine/files/regular_file.h"

int64_t wf_count_names(const char *text)
{
    int64_t lines = 0;
    size_t length = strlen(text);
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    return lines + (length > 0 && text[length - 1] != '\n');
}

weft_status wf_dataset_set_names(weft_dataset *ds, const char *text, const char *where,
                                 weft_error *err)
{
    int64_t n = wf_count_names(text), classes = ds->info.classes;
    if (n != classes)
        return wf_error_set(err, WEFT_ERR_FORMAT,
                            "%s: %" PRId64 " names for %" PRId64 " classes; one a line is expected",
                            where, n, classes);
    enum { LONGEST_ESCAPE = 4 }; /* longest escape of one byte */
    size_t size = (strlen(text) + 1) * LONGEST_ESCAPE;
    char *copy = wf_strdup(text), *rest = copy, *kept = wf_alloc(size), *at = kept;
    const char **names = wf_alloc_array((size_t)classes, sizeof *names);
    if (!copy || !kept || !names) {
        wf_free(copy);
        wf_free(kept);
        wf_free(names);
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory for %" PRId64 " names", where,
                            classes);
    }
    for (int64_t i = 0; i < classes; i++) {
        char *name = strsep(&rest, "\n");
        name[strcspn(name, "\r")] = '\0';
        /* Names are saved in the weights' metadata, which must be UTF-8. */
        names[i] = at;
        at += weft_quote(name, at, size - (size_t)(at - kept)) + 1;
    }
    wf_free(copy);
    wf_free(ds->name_text);
    wf_free(ds->names);
    ds->name_text = kept;
    ds->info.class_names = ds->names = names;
    return WEFT_OK;
}

weft_status wf_dataset_set_name_list(weft_dataset *ds, const char *const *names, int64_t n,
                                     const char *where, weft_error *err)
{
    size_t size = 1;
    for (int64_t i = 0; i < n; i++)
        size += weft_quote(names[i], NULL, 0) + 1;
    char *text = wf_alloc(size), *at = text;
    if (!text)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory for %" PRId64 " names", where,
                            n);
    *at = '\0';
    for (int64_t i = 0; i < n; i++) {
        at += weft_quote(names[i], at, size - (size_t)(at - text));
        *at++ = '\n';
        *at = '\0';
    }
    weft_status status = wf_dataset_set_names(ds, text, where, err);
    wf_free(text);
    return status;
}

/* ---- following the names of others ---------------------------------------------------------- */

typedef struct numbered {
    const char *name;
    int number;
} numbered;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const numbered *)a)->name, ((const numbered *)b)->name);
}

/* The names, sorted; NULL: out of memory. *twice: a name that occurs twice, or NULL. */
static numbered *sorted(const char *const *names, int n, const char **twice)
{
    numbered *list = wf_alloc_array((size_t)n + 1, sizeof *list);
    *twice = NULL;
    if (!list)
        return NULL;
    for (int i = 0; i < n; i++)
        list[i] = (numbered){names[i], i};
    qsort(list, (size_t)n, sizeof *list, by_name);
    for (int i = 1; i < n && !*twice; i++)
        if (strcmp(list[i - 1].name, list[i].name) == 0)
            *twice = list[i].name;
    return list;
}

wf_class_name wf_quote_class(const char *name)
{
    wf_class_name q;
    weft_quote(name, q.text, sizeof q.text);
    return q;
}

/* "a, b, c", or the first of many and their number; returns text. */
static const char *format_names(const char *const *names, int n, char *text, size_t size)
{
    size_t at = 0;
    int shown = 0;
    text[0] = '\0';
    for (; shown < n && at + 128 < size; shown++)
        at += (size_t)snprintf(text + at, size - at, "%s%s", shown ? ", " : "",
                               wf_quote_class(names[shown]).text);
    if (shown < n)
        snprintf(text + at, size - at, ", ... (%d in all)", n);
    return text;
}

static weft_status refuse(const weft_dataset *ds, const char *const *names, int n,
                          const char *where, weft_error *err)
{
    char ours[384], theirs[384];
    return wf_error_set(err, WEFT_ERR_INVALID, "%s: its classes are %s; those of %s are %s",
                        ds->source,
                        format_names(ds->info.class_names, ds->info.classes, ours, sizeof ours),
                        where, format_names(names, n, theirs, sizeof theirs));
}

/* Sets map[k] to the number in `names` of the data set's class k. */
static weft_status map_names(const weft_dataset *ds, const char *const *names, int n,
                             const char *where, int64_t *map, weft_error *err)
{
    const char *twice, *twice_here;
    numbered *theirs = sorted(names, n, &twice);
    numbered *ours = sorted(ds->info.class_names, ds->info.classes, &twice_here);
    weft_status status = WEFT_OK;
    if (!theirs || !ours)
        status = wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", ds->source);
    for (int k = 0; k < ds->info.classes && status == WEFT_OK; k++) {
        numbered key = {ds->info.class_names[k], 0};
        const numbered *hit = bsearch(&key, theirs, (size_t)n, sizeof *theirs, by_name);
        if (!hit)
            status = refuse(ds, names, n, where, err);
        else
            map[k] = hit->number;
    }
    if (status == WEFT_OK && (twice || twice_here))
        status = wf_error_set(err, WEFT_ERR_INVALID,
                              "%s: its classes are in another order than those of %s, and two are "
                              "named \"%s\"",
                              ds->source, where, wf_quote_class(twice ? twice : twice_here).text);
    wf_free(theirs);
    wf_free(ours);
    return status;
}

/* The names as text, one per line; NULL: out of memory. */
static char *join(const char *const *names, int n)
{
    size_t length = 1;
    for (int i = 0; i < n; i++)
        length += strlen(names[i]) + 1;
    char *text = wf_alloc(length), *at = text;
    for (int i = 0; text && i < n; i++) {
        size_t k = strlen(names[i]);
        memcpy(at, names[i], k);
        at[k] = '\n';
        at += k + 1;
    }
    if (text)
        *at = '\0';
    return text;
}

weft_status weft_dataset_follow_names(weft_dataset *ds, const char *const *names, int n,
                                      const char *where, bool *moved, weft_error *err)
{
    bool ignored;
    moved = moved ? moved : &ignored;
    *moved = false;
    if (!ds || (!names && n > 0))
        return wf_error_set(err, WEFT_ERR_INVALID, "the %s NULL",
                            ds ? "list of names is" : "data set is");
    if (!ds->info.class_names || n < 1)
        return WEFT_OK;
    int classes = ds->info.classes, same = 0;
    while (same < classes && same < n && strcmp(ds->info.class_names[same], names[same]) == 0)
        same++;
    if (same == classes && classes == n)
        return WEFT_OK;
    char *text = join(names, n);
    int64_t *map = wf_alloc_array((size_t)classes, sizeof *map);
    weft_status status = WEFT_OK;
    if (!text || !map)
        status = wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", ds->source);
    if (status == WEFT_OK && same < classes)
        status = map_names(ds, names, n, where, map, err);
    if (status == WEFT_OK) {
        ds->info.classes = n;
        status = wf_dataset_set_names(ds, text, where, err);
        if (status != WEFT_OK)
            ds->info.classes = classes;
    }
    if (status == WEFT_OK && same < classes) {
        int64_t n_labels = ds->stored_count ? ds->stored_count : ds->info.count;
        for (int64_t i = 0; ds->labels && i < n_labels; i++)
            ds->labels[i] = map[ds->labels[i]];
        *moved = true;
    }
    wf_free(text);
    wf_free(map);
    return status;
}

/* ---- weights of classes --------------------------------------------------------------------- */

weft_status weft_class_weights_read(const char *path, float *weights, int n, weft_error *err)
{
    FILE *in;
    char line[256];
    int got = 0;
    bool good = true;
    if (!path || !weights || n < 1)
        return wf_error_set(err, WEFT_ERR_INVALID, "weights of classes: no file, or no room");
    WF_TRY(wf_fopen_regular(path, 0, &in, err));
    float *read = wf_alloc_array((size_t)n, sizeof *read);
    wf_c_locale locale;
    bool plain = read && wf_c_locale_begin(&locale); /* numbers have decimal points */
    while (plain && good && fgets(line, sizeof line, in)) {
        char *end;
        double value = strtod(line, &end);
        if (line[strspn(line, " \t\r\n")] == '\0')
            continue;
        good = end != line && end[strspn(end, " \t\r\n")] == '\0' && isfinite(value) &&
               value >= 0 && got < n;
        if (good)
            read[got++] = (float)value;
    }
    fclose(in);
    if (plain)
        wf_c_locale_end(&locale);
    weft_status status = WEFT_OK;
    if (!plain)
        status = wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    else if (!good || got < n)
        status = wf_error_set(err, WEFT_ERR_FORMAT,
                              "%s: expected a number that is not negative for each of the %d "
                              "classes, one a line",
                              path, n);
    else
        memcpy(weights, read, (size_t)n * sizeof *read);
    wf_free(read);
    return status;
}
