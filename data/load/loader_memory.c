/* All the memory that a loader will ever use, but for what decoders grow to. See loader_state.h. */
#include "data/load/loader_state.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"

#define ALIGN 64

static size_t round_up(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* Allocates one block for each slot's images and each thread's scratch, all on multiples of ALIGN
 * bytes. */
static bool allocate_pixels(weft_loader *l, size_t batch, size_t threads)
{
    size_t images, slots, total;
    size_t sample = (size_t)l->info.channels * (size_t)l->info.height * (size_t)l->info.width;
    /* an image of bytes to be normalised, or two of the data set's type to be cropped */
    size_t scratch = round_up(l->opts.transform ? sample : 2 * l->ds->sample_bytes);
    if (__builtin_mul_overflow(batch, sample * weft_dtype_size(wf_loader_type(l)), &images) ||
        __builtin_mul_overflow(images = round_up(images), (size_t)l->n_slots, &slots) ||
        __builtin_add_overflow(slots, threads * scratch + ALIGN, &total))
        return false;
    l->bytes = total;
    l->pixels = wf_alloc(total);
    if (!l->pixels)
        return false;
    char *at = l->pixels;
    at += round_up((uintptr_t)at) - (uintptr_t)at;
    for (int i = 0; i < l->n_slots; i++, at += images)
        l->slots[i].images = at;
    for (size_t i = 0; i < threads; i++, at += scratch)
        l->threads[i].scratch = at;
    return true;
}

static bool allocate_slot(const weft_loader *l, wf_slot *s, size_t batch)
{
    s->labels = wf_alloc_array(batch, sizeof *s->labels);
    s->samples = wf_alloc_array(batch, sizeof *s->samples);
    s->out = wf_zalloc_array(batch, sizeof *s->out);
    bool good = s->labels && s->samples && s->out;
    if (good && l->classes > 0) {
        s->targets = wf_alloc_array(batch, (size_t)l->classes * sizeof *s->targets);
        good = s->targets != NULL;
    }
    if (good && l->n_readers > 0) {
        s->bytes = wf_zalloc_array(batch, sizeof *s->bytes);
        s->reads = wf_zalloc_array(batch, sizeof *s->reads);
        good = s->bytes && s->reads;
    }
    return good;
}

static bool allocate_threads(weft_loader *l, int threads)
{
    for (int i = 0; i < threads; i++) {
        wf_loader_thread *w = &l->threads[i];
        w->loader = l;
        w->number = i;
        w->stage = wf_stage_create(l->ds);
        if (l->classes > 0)
            w->mix = wf_transform_state_create();
        if (!w->stage || (l->classes > 0 && !w->mix))
            return false;
    }
    for (int i = 0; i < l->n_readers; i++)
        l->readers[i].loader = l;
    return true;
}

/* The samples of each class, for WEFT_SAMPLE_BALANCED. */
static bool allocate_classes(weft_loader *l)
{
    const weft_dataset *ds = l->ds;
    int64_t n = ds->info.count, classes = ds->info.classes;
    if (l->opts.sampler != WEFT_SAMPLE_BALANCED)
        return true;
    l->by_class = wf_alloc_array((size_t)n, sizeof *l->by_class);
    l->class_starts = wf_zalloc_array((size_t)classes + 2, sizeof *l->class_starts);
    if (!l->by_class || !l->class_starts)
        return false;
    /* counts two places on; then their sums: class k begins at starts[k] once it is filled */
    for (int64_t i = 0; i < n; i++)
        l->class_starts[wf_dataset_label(ds, i) + 2]++;
    for (int64_t k = 1; k <= classes; k++)
        l->class_starts[k + 1] += l->class_starts[k];
    for (int64_t i = 0; i < n; i++)
        l->by_class[l->class_starts[wf_dataset_label(ds, i) + 1]++] = i;
    return true;
}

weft_status wf_loader_allocate(weft_loader *l, weft_error *err)
{
    size_t C = (size_t)l->info.channels, count = (size_t)l->info.count;
    size_t batch = (size_t)(l->opts.batch < l->samples ? l->opts.batch : l->samples);
    size_t threads = l->n_threads ? (size_t)l->n_threads : 1;
    l->mean = wf_alloc_array(C, sizeof *l->mean);
    l->std = wf_alloc_array(C, sizeof *l->std);
    l->order = wf_alloc_array(count, sizeof *l->order);
    l->slots = wf_zalloc_array((size_t)l->n_slots, sizeof *l->slots);
    l->threads = wf_zalloc_array(threads, sizeof *l->threads);
    l->readers = wf_zalloc_array((size_t)l->n_readers, sizeof *l->readers);
    if (l->opts.bad == WEFT_BAD_SKIP)
        l->bad = wf_zalloc_array(count, sizeof *l->bad);
    bool good = l->mean && l->std && l->order && l->slots && l->threads && l->readers &&
                (l->bad || l->opts.bad != WEFT_BAD_SKIP) && allocate_pixels(l, batch, threads) &&
                allocate_threads(l, (int)threads) && allocate_classes(l);
    for (int i = 0; good && i < l->n_slots; i++)
        good = allocate_slot(l, &l->slots[i], batch);
    if (!good)
        return wf_error_set(err, WEFT_ERR_NOMEM,
                            "loader: out of memory for %d batches of %zu samples", l->n_slots,
                            batch);
    l->bytes += count * sizeof *l->order +
                (size_t)l->n_slots * (2 * batch * sizeof(int64_t) + sizeof *l->slots);
    if (l->ds
            ->read) { /* what it grows to; files of many sizes leave gaps of half as much (measured) */
        l->bytes += threads * wf_stage_memory(l->ds);
        if (l->n_readers > 0)
            l->bytes += (size_t)l->n_slots * batch * l->ds->file_bytes * 3 / 2;
    }
    for (size_t c = 0; c < C; c++) {
        float std = l->opts.std ? l->opts.std[c] : 1.0f;
        l->mean[c] = l->opts.mean ? l->opts.mean[c] : 0.0f;
        l->std[c] = std == 0.0f ? 1.0f : std;
    }
    return WEFT_OK;
}

static void free_slot(const weft_loader *l, wf_slot *s)
{
    for (int64_t i = 0; s->bytes && i < l->opts.batch && i < l->samples; i++)
        wf_bytes_done(&s->bytes[i]);
    wf_free(s->bytes);
    wf_free(s->reads);
    wf_free(s->labels);
    wf_free(s->samples);
    wf_free(s->targets);
    wf_free(s->out);
}

void wf_loader_free(weft_loader *l)
{
    for (int i = 0; l->slots && i < l->n_slots; i++)
        free_slot(l, &l->slots[i]);
    for (int i = 0; l->threads && i < (l->n_threads ? l->n_threads : 1); i++) {
        wf_stage_destroy(l->threads[i].stage);
        wf_transform_state_destroy(l->threads[i].mix);
    }
    wf_free(l->pixels);
    wf_free(l->slots);
    wf_free(l->threads);
    wf_free(l->readers);
    wf_free((void *)l->bad);
    wf_free(l->order);
    wf_free(l->by_class);
    wf_free(l->class_starts);
    wf_free(l->mean);
    wf_free(l->std);
}
