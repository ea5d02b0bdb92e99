/* Parts of data sets. See subset.h. */
#include "data/load/subset.h"

#include <inttypes.h>
#include <math.h>

#include "data/random.h"
#include "data/load/stage.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"

/* The labels of data sets that compute them. */
static weft_status make_labels(weft_dataset *ds, weft_error *err)
{
    int64_t *labels = wf_alloc_array((size_t)ds->info.count, sizeof *labels);
    wf_stage *stage = wf_stage_create(ds);
    weft_status status = labels && stage ? WEFT_OK : WEFT_ERR_NOMEM;
    for (int64_t i = 0; i < ds->info.count && status == WEFT_OK; i++) {
        const void *pixels;
        status = wf_stage_view(stage, i, NULL, &pixels, &labels[i], err);
    }
    wf_stage_destroy(stage);
    if (status == WEFT_OK)
        ds->labels = labels;
    else
        wf_free(labels);
    return status == WEFT_ERR_NOMEM
               ? wf_error_set(err, status, "%s: out of memory for labels", ds->source)
               : status;
}

/* How many of a class's n samples are kept apart. */
static int64_t share_of(int64_t n, double share)
{
    int64_t keep = llround((double)n * share);
    keep = keep < 1 ? 1 : keep;
    return n < 2 ? 0 : keep < n ? keep : n - 1;
}

/* Sets marks[i] for the samples of a class that are kept: the first of a shuffled list. */
static void mark_class(const int64_t *members, int64_t n, int64_t keep, uint64_t seed, int64_t k,
                       int64_t *list, bool *marks)
{
    for (int64_t i = 0; i < n; i++)
        list[i] = members[i];
    for (int64_t i = 0; i < keep; i++) {
        wf_random r = wf_random_at(seed, WF_STREAM_SPLIT, (uint64_t)i, (uint32_t)k);
        int64_t j = i + (int64_t)wf_random_below(r.v[0], r.v[1], (uint64_t)(n - i));
        int64_t swap = list[i];
        list[i] = list[j];
        list[j] = swap;
        marks[list[i]] = true;
    }
}

static void mark(const weft_dataset *ds, double share, uint64_t seed, int64_t *starts,
                 int64_t *members, int64_t *list, bool *marks)
{
    int64_t n = ds->info.count, classes = ds->info.classes;
    for (int64_t i = 0; i < n; i++)
        starts[ds->labels[i] + 1]++;
    for (int64_t k = 0; k < classes; k++)
        starts[k + 1] += starts[k];
    for (int64_t i = 0; i < n; i++)
        members[starts[ds->labels[i]]++] = i; /* then starts[k] is where class k ends */
    for (int64_t k = 0; k < classes; k++) {
        int64_t first = k ? starts[k - 1] : 0, size = starts[k] - first;
        mark_class(members + first, size, share_of(size, share), seed, k, list, marks);
    }
}

weft_status wf_dataset_keep(weft_dataset *ds, double share, uint64_t seed, bool kept,
                            weft_error *err)
{
    int64_t n = ds->info.count;
    if (ds->info.classes < 1)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "%s: has no labels; a part for validation is taken class by class",
                            ds->source);
    if (!ds->labels)
        WF_TRY(make_labels(ds, err));
    int64_t *starts = wf_zalloc_array((size_t)ds->info.classes + 1, sizeof *starts);
    int64_t *members = wf_alloc_array((size_t)n, sizeof *members);
    int64_t *stored = wf_alloc_array((size_t)n, sizeof *stored);
    bool *marks = wf_zalloc_array((size_t)n, sizeof *marks);
    int64_t count = 0;
    weft_status status = WEFT_OK;
    if (starts && members && stored && marks) {
        mark(ds, share, seed, starts, members, stored, marks);
        for (int64_t i = 0; i < n; i++)
            if (marks[i] == kept)
                stored[count++] = i;
        if (count == 0)
            status = wf_error_set(err, WEFT_ERR_INVALID,
                                  "%s: no class has two samples, of which one could be kept apart "
                                  "for validation",
                                  ds->source);
    } else {
        status = wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", ds->source);
    }
    wf_free(starts);
    wf_free(members);
    wf_free(marks);
    if (status != WEFT_OK) {
        wf_free(stored);
        return status;
    }
    ds->stored = stored;
    ds->stored_count = n;
    ds->info.count = count;
    return WEFT_OK;
}
