/* Labels that are written as text. See label_text.h. */
#include "data/formats/label_text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/formats/name_order.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"

/* ODD: "1e3", "0x10", "nan": a name where others are names, but no label among numbers. */
typedef enum kind { NUMBER, NAME, ODD, NEITHER } kind;

enum { LONGEST_NAME = 4096 };

/* Digits, perhaps with a sign: a number. */
static kind kind_of(const char *text, int64_t *value)
{
    const char *at = text + (*text == '-' || *text == '+');
    size_t digits = strspn(at, "0123456789");
    if (digits > 0 && at[digits] == '\0') {
        *value = digits < 18 ? strtoll(text, NULL, 10) : INT64_MAX;
        return NUMBER;
    }
    /* "1.5", "1e3.", ".5", but not "1.fc": no names either */
    bool decimal = text[strspn(text, "+-0123456789.eE")] == '\0' && strchr(text, '.') &&
                   strpbrk(text, "0123456789");
    if (*text == '\0' || decimal || strlen(text) > LONGEST_NAME)
        return NEITHER;
    char *end;
    strtod(text, &end);
    return *end == '\0' ? ODD : NAME;
}

static weft_status refuse(const char *text, const wf_sample_name *place, weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_FORMAT,
                        "%s: the label is \"%s\", expected a whole number from 0 to %d, or the "
                        "name of a class",
                        place->text, wf_quote_class(text).text, WF_MAX_CLASSES - 1);
}

static weft_status check(const weft_dataset *ds, const char *const *texts, wf_label_place place,
                         const void *user, bool *named, weft_error *err)
{
    wf_sample_name where;
    *named = false;
    int64_t value;
    for (int64_t i = 0; i < ds->info.count; i++)
        *named = *named || kind_of(texts[i], &value) == NAME;
    for (int64_t i = 0; i < ds->info.count; i++) {
        kind k = kind_of(texts[i], &value);
        if (k == NAME || ((k == NUMBER || k == ODD) && *named) ||
            (k == NUMBER && value >= 0 && value < WF_MAX_CLASSES))
            continue;
        place(user, i, &where);
        return refuse(texts[i], &where, err);
    }
    return WEFT_OK;
}

static int by_name(const void *a, const void *b)
{
    return wf_compare_names(*(const char *const *)a, *(const char *const *)b);
}

/* The distinct texts, in order; *n becomes how many. NULL: no memory. */
static const char **distinct(const char *const *texts, int64_t count, int64_t *n)
{
    const char **names = wf_alloc_array((size_t)count, sizeof *names);
    if (!names)
        return NULL;
    memcpy(names, texts, (size_t)count * sizeof *names);
    qsort(names, (size_t)count, sizeof *names, by_name);
    *n = 0;
    for (int64_t i = 0; i < count; i++)
        if (*n == 0 || strcmp(names[*n - 1], names[i]) != 0)
            names[(*n)++] = names[i];
    return names;
}

static weft_status set_names(weft_dataset *ds, const char *const *texts, weft_error *err)
{
    int64_t n = 0;
    const char **names = distinct(texts, ds->info.count, &n);
    if (!names)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", ds->source);
    weft_status status = WEFT_OK;
    if (n > WF_MAX_CLASSES)
        status = wf_error_set(err, WEFT_ERR_FORMAT,
                              "%s: %" PRId64 " different labels, expected at most %d classes",
                              ds->source, n, WF_MAX_CLASSES);
    for (int64_t i = 0; i < ds->info.count && status == WEFT_OK; i++) {
        const char **hit = bsearch(&texts[i], names, (size_t)n, sizeof *names, by_name);
        ds->labels[i] = hit - names;
    }
    if (status == WEFT_OK) {
        ds->info.classes = (int)n;
        ds->classes_declared = true;
        status = wf_dataset_set_name_list(ds, names, n, ds->source, err);
    }
    wf_free(names);
    return status;
}

weft_status wf_set_label_texts(weft_dataset *ds, const char *const *texts, wf_label_place place,
                               const void *user, weft_error *err)
{
    bool named;
    WF_TRY(check(ds, texts, place, user, &named, err));
    ds->labels = wf_alloc_array((size_t)ds->info.count, sizeof *ds->labels);
    if (!ds->labels)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory for labels", ds->source);
    if (named)
        return set_names(ds, texts, err);
    int64_t highest = 0;
    for (int64_t i = 0; i < ds->info.count; i++) {
        kind_of(texts[i], &ds->labels[i]);
        highest = ds->labels[i] > highest ? ds->labels[i] : highest;
    }
    ds->info.classes = (int)highest + 1;
    return WEFT_OK;
}
