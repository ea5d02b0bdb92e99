/* From what is known of each sample to findings and figures. One thread. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/inspect/inspection.h"
#include "engine/base/alloc.h"

#define TINY 32
#define LONG_RATIO 4.0

static const char *const names[] = {"unreadable", "damaged", "leak", "conflict",
                                    "duplicate",  "tiny",    "long"};

const char *weft_finding_name(weft_finding_kind kind)
{
    return kind >= 0 && kind < WEFT_FINDING_KINDS ? names[kind] : NULL;
}

static bool add(weft_inspection *ins, weft_finding finding)
{
    if (ins->n_findings == ins->findings_capacity) {
        int64_t capacity = ins->findings_capacity ? 2 * ins->findings_capacity : 64;
        weft_finding *more =
            wf_realloc_array(ins->findings, (size_t)capacity, sizeof *ins->findings);
        if (!more)
            return false;
        ins->findings = more;
        ins->findings_capacity = capacity;
    }
    ins->findings[ins->n_findings++] = finding;
    ins->counts[finding.kind]++;
    return true;
}

/* ---- equal samples --------------------------------------------------------------------------- */

typedef struct hashed {
    uint64_t hash[2];
    int64_t sample;
    int split;
} hashed;

static int by_hash(const void *a, const void *b)
{
    const hashed *x = a, *y = b;
    for (int i = 0; i < 2; i++)
        if (x->hash[i] != y->hash[i])
            return x->hash[i] < y->hash[i] ? -1 : 1;
    if (x->split != y->split)
        return x->split < y->split ? -1 : 1;
    return x->sample < y->sample ? -1 : x->sample > y->sample;
}

/* `n` samples of the same pixels, ordered by split and number. Each but the first of its split is a
 * duplicate or in conflict with that one; the first of each later split is a leak, once. */
static bool add_equal(weft_inspection *ins, const hashed *h, int64_t n)
{
    int64_t first = 0; /* of its split */
    for (int64_t i = 1; i < n; i++) {
        bool leak = h[i].split != h[first].split;
        int64_t other = leak ? 0 : first;
        weft_finding_kind kind = WEFT_FINDING_LEAK;
        if (leak)
            first = i;
        else
            kind = ins->samples[h[i].split][h[i].sample].label ==
                           ins->samples[h[first].split][h[first].sample].label
                       ? WEFT_FINDING_DUPLICATE
                       : WEFT_FINDING_CONFLICT;
        if (!add(ins,
                 (weft_finding){kind, h[i].split, h[i].sample, h[other].split, h[other].sample}))
            return false;
    }
    return true;
}

static bool find_equal(weft_inspection *ins)
{
    int64_t n = 0, total = 0;
    for (int i = 0; i < ins->n; i++)
        total += ins->split[i].decoded;
    hashed *all = wf_alloc_array((size_t)total, sizeof *all);
    if (!all)
        return false;
    for (int i = 0; i < ins->n; i++)
        for (int64_t s = 0; s < ins->split[i].samples; s++) {
            const wf_inspected *k = &ins->samples[i][s];
            if (k->state == WF_INSPECTED_GOOD)
                all[n++] = (hashed){{k->hash[0], k->hash[1]}, s, i};
        }
    qsort(all, (size_t)n, sizeof *all, by_hash);
    bool good = true;
    for (int64_t from = 0, to; good && from < n; from = to) {
        for (to = from + 1; to < n && !memcmp(all[from].hash, all[to].hash, sizeof all->hash);)
            to++;
        good = add_equal(ins, all + from, to - from);
    }
    wf_free(all);
    return good;
}

/* ---- one split ------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    const int32_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void summarize_sides(int32_t *sides, int64_t n, int *min, int *median, int *max)
{
    if (n == 0)
        return;
    qsort(sides, (size_t)n, sizeof *sides, by_size);
    *min = sides[0];
    *median = sides[n / 2];
    *max = sides[n - 1];
}

/* The most frequent first: the numbers of formats depend on which file a thread met first. */
static void describe_formats(const weft_inspection *ins, int64_t *counts, char *text, size_t size)
{
    size_t at = 0;
    text[0] = 0;
    for (;;) {
        int most = 0;
        for (int f = 1; f < WF_INSPECTED_FORMATS && ins->format_name[f]; f++)
            if (counts[f] > counts[most] ||
                (counts[f] == counts[most] &&
                 strcmp(ins->format_name[f], ins->format_name[most]) < 0))
                most = f;
        if (counts[most] == 0 || at >= size)
            return;
        at += (size_t)snprintf(text + at, size - at, "%s%s %" PRId64, at ? ", " : "",
                               ins->format_name[most], counts[most]);
        counts[most] = 0;
    }
}

static bool summarize(weft_inspection *ins, int i)
{
    const weft_dataset *ds = ins->splits[i];
    weft_inspected_split *sum = &ins->split[i];
    int64_t *per_class = (int64_t *)(uintptr_t)sum->per_class; /* ours */
    int64_t formats[WF_INSPECTED_FORMATS] = {0};
    sum->samples = ds->info.count;
    sum->classes = ds->info.classes;
    int32_t *sides = wf_alloc_array((size_t)sum->samples * 2, sizeof *sides);
    if (!sides)
        return false;
    for (int64_t s = 0; s < sum->samples; s++) {
        const wf_inspected *k = &ins->samples[i][s];
        if (k->label >= 0 && k->label < sum->classes)
            per_class[k->label]++;
        if (k->state != WF_INSPECTED_GOOD)
            continue;
        sides[sum->decoded] = k->height;
        sides[sum->samples + sum->decoded++] = k->width;
        if (ds->info.pictures) {
            formats[k->format]++;
            sum->grey += k->grey;
            sum->oriented += k->oriented;
        }
    }
    summarize_sides(sides, sum->decoded, &sum->height_min, &sum->height_median, &sum->height_max);
    summarize_sides(sides + sum->samples, sum->decoded, &sum->width_min, &sum->width_median,
                    &sum->width_max);
    wf_free(sides);
    describe_formats(ins, formats, ins->formats[i], sizeof ins->formats[i]);
    sum->formats = ins->formats[i];
    return true;
}

static bool find_shapes(weft_inspection *ins, int i, const weft_inspect_opts *opts)
{
    int tiny = opts->tiny ? opts->tiny : TINY;
    double ratio = opts->long_ratio > 0 ? opts->long_ratio : LONG_RATIO;
    const weft_inspected_split *sum = &ins->split[i];
    bool vary = sum->height_min != sum->height_max || sum->width_min != sum->width_max;
    for (int64_t s = 0; s < sum->samples; s++) {
        const wf_inspected *k = &ins->samples[i][s];
        weft_finding finding = {k->state, i, s, -1, -1};
        if (k->state == WF_INSPECTED_GOOD) {
            int shorter = k->height < k->width ? k->height : k->width;
            int longer = k->height < k->width ? k->width : k->height;
            if (!vary)
                continue;
            if (shorter < tiny)
                finding.kind = WEFT_FINDING_TINY;
            else if (longer >= ratio * shorter)
                finding.kind = WEFT_FINDING_LONG;
            else
                continue;
        }
        if (!add(ins, finding))
            return false;
    }
    return true;
}

static int by_kind(const void *a, const void *b)
{
    const weft_finding *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    if (x->split != y->split)
        return x->split < y->split ? -1 : 1;
    return x->sample < y->sample ? -1 : x->sample > y->sample;
}

static int by_sample(const void *a, const void *b)
{
    const struct wf_damage *x = a, *y = b;
    if (x->split != y->split)
        return x->split < y->split ? -1 : 1;
    return x->sample < y->sample ? -1 : x->sample > y->sample;
}

bool wf_inspection_conclude(weft_inspection *ins, const weft_inspect_opts *opts)
{
    for (int i = 0; i < ins->n; i++)
        if (!summarize(ins, i) || !find_shapes(ins, i, opts))
            return false;
    if (!find_equal(ins))
        return false;
    if (ins->n_findings > 0)
        qsort(ins->findings, (size_t)ins->n_findings, sizeof *ins->findings, by_kind);
    if (ins->n_damages > 0)
        qsort(ins->damages, (size_t)ins->n_damages, sizeof *ins->damages, by_sample);
    return true;
}

/* ---- the public functions -------------------------------------------------------------------- */

const weft_inspected_split *weft_inspection_split(const weft_inspection *ins, int i)
{
    return ins && i >= 0 && i < ins->n ? &ins->split[i] : NULL;
}

const weft_finding *weft_inspection_findings(const weft_inspection *ins, int64_t *n)
{
    if (n)
        *n = ins ? ins->n_findings : 0;
    return ins ? ins->findings : NULL;
}

int64_t weft_inspection_count(const weft_inspection *ins, weft_finding_kind kind)
{
    return ins && weft_finding_name(kind) ? ins->counts[kind] : 0;
}

static const char *damage_text(const weft_inspection *ins, const weft_finding *f)
{
    struct wf_damage key = {f->split, f->sample, NULL};
    const struct wf_damage *found =
        ins->n_damages ? bsearch(&key, ins->damages, (size_t)ins->n_damages, sizeof key, by_sample)
                       : NULL;
    return found ? found->text : "";
}

int weft_inspection_describe(const weft_inspection *ins, const weft_finding *f, char *text,
                             size_t size)
{
    size = text ? size : 0;
    if (!ins || !f)
        return snprintf(text, size, "%s", "");
    if (f->kind == WEFT_FINDING_UNREADABLE || f->kind == WEFT_FINDING_DAMAGED)
        return snprintf(text, size, "%s", damage_text(ins, f));
    wf_sample_name name = wf_dataset_name(ins->splits[f->split], f->sample);
    if (f->kind == WEFT_FINDING_TINY || f->kind == WEFT_FINDING_LONG) {
        const wf_inspected *k = &ins->samples[f->split][f->sample];
        return snprintf(text, size, "%s: %dx%d pixels", name.text, k->width, k->height);
    }
    wf_sample_name other = wf_dataset_name(ins->splits[f->other_split], f->other_sample);
    return snprintf(text, size, "%s: the same pixels as %s", name.text, other.text);
}
