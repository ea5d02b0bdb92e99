/* How batches are filled, by which threads, and how the caller gets them in order. See loader_state.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/augment.h"
#include "data/load/loader_state.h"
#include "engine/base/error.h"
#include "kernels/image/image.h"

/* The caller has waited so often lately that one more thread is worth it. */
enum { LATE_OFTEN = 3 };
/* Repetitions of a sample that have random numbers of their own. */
enum { DRAWS = 4096 };

/* ---- one sample ----------------------------------------------------------------------------- */

static int64_t batch_size(const weft_loader *l, int64_t b)
{
    int64_t left = l->samples - b * l->opts.batch;
    return left < l->opts.batch ? left : l->opts.batch;
}

weft_dtype wf_loader_type(const weft_loader *l)
{
    return l->opts.bytes && l->info.dtype == WEFT_U8 ? WEFT_U8 : WEFT_F32;
}

static size_t image_bytes(const weft_loader *l)
{
    return (size_t)l->info.channels * (size_t)l->info.height * (size_t)l->info.width *
           weft_dtype_size(wf_loader_type(l));
}

static int repeats(const weft_loader *l)
{
    if (l->opts.sampler == WEFT_SAMPLE_BALANCED)
        return DRAWS; /* a sample may come any number of times: its place tells which */
    return l->opts.sampler == WEFT_SAMPLE_REPEATED ? (l->opts.repeats ? l->opts.repeats : 3) : 1;
}

/* Makes the image of a sample. `at` is its place in the epoch. */
static weft_status make_image(const weft_loader *l, wf_loader_thread *w, int64_t sample, int64_t at,
                              const wf_bytes *bytes, void *image, int64_t *label, weft_error *err)
{
    int64_t repetition = at % repeats(l);
    if (l->opts.transform) {
        bool u8 = wf_loader_type(l) == WEFT_U8;
        wf_transform_key key = {l->opts.seed, l->epoch, sample, repetition};
        WF_TRY(wf_stage_transform(w->stage, l->opts.transform, key, l->opts.fast_decode, sample,
                                  bytes, u8 ? image : w->scratch, label, err));
        size_t pixels = (size_t)l->info.height * (size_t)l->info.width;
        if (!u8)
            wf_image_get(wf_cpu_isa())
                ->normalize(l->info.channels, pixels, l->mean, l->std, w->scratch, image);
        return WEFT_OK;
    }
    const void *pixels;
    WF_TRY(wf_stage_view(w->stage, sample, bytes, &pixels, label, err));
    /* an odd constant: another stream of draws for each repetition */
    uint64_t seed = l->opts.seed ^ (uint64_t)repetition * 0x9e3779b97f4a7c15u;
    wf_crop crop = wf_augment_draw(l->opts.hflip, l->opts.shift, seed, l->epoch, sample);
    if (wf_loader_type(l) == WEFT_U8)
        wf_augment_crop(image, pixels, &l->ds->info, crop, w->scratch);
    else
        wf_augment(image, pixels, &l->ds->info, crop, l->mean, l->std, w->scratch);
    return WEFT_OK;
}

/* ---- samples that are left out -------------------------------------------------------------- */

static bool may_leave_out(const weft_loader *l, weft_status status)
{
    return l->bad && (status == WEFT_ERR_FORMAT || status == WEFT_ERR_NOT_FOUND);
}

static void leave_out(weft_loader *l, int64_t sample, const weft_error *why)
{
    if (atomic_exchange(&l->bad[sample], 1))
        return;
    pthread_mutex_lock(&l->lock);
    if (l->left_out++ == 0)
        snprintf(l->first_left_out, sizeof l->first_left_out, "%s", why->text);
    pthread_mutex_unlock(&l->lock);
}

/* The same, and leaves out what is damaged: WEFT_OK with *out set. */
static weft_status try_image(weft_loader *l, wf_loader_thread *w, int64_t sample, int64_t at,
                             const wf_bytes *bytes, void *image, int64_t *label, bool *out,
                             weft_error *err)
{
    *out = l->bad && atomic_load(&l->bad[sample]);
    if (*out)
        return WEFT_OK;
    if (!l->bad)
        return make_image(l, w, sample, at, bytes, image, label, err);
    weft_error why = WEFT_ERROR_INIT;
    weft_status status = make_image(l, w, sample, at, bytes, image, label, &why);
    if (may_leave_out(l, status)) {
        leave_out(l, sample, &why);
        *out = true;
        return WEFT_OK;
    }
    return status == WEFT_OK ? status : wf_error_set(err, status, "%s", why.text);
}

/* ---- the bytes of a sample: Note [Reading ahead] -------------------------------------------- */

/* Those that were read ahead; NULL: the stage reads them. */
static const wf_bytes *bytes_of(weft_loader *l, wf_slot *s, int64_t i)
{
    unsigned char nobody = WF_READ_NOBODY;
    if (!s->reads || atomic_compare_exchange_strong(&s->reads[i], &nobody, WF_READ_BUSY))
        return NULL;
    if (atomic_load(&s->reads[i]) == WF_READ_BUSY) {
        pthread_mutex_lock(&l->lock);
        l->waiting++;
        while (atomic_load(&s->reads[i]) == WF_READ_BUSY)
            pthread_cond_wait(&l->here, &l->lock);
        l->waiting--;
        pthread_mutex_unlock(&l->lock);
    }
    return atomic_load(&s->reads[i]) == WF_READ_DONE ? &s->bytes[i] : NULL;
}

static bool can_read(const weft_loader *l)
{
    return l->next_read < l->batches && l->next_read < l->low + l->n_slots;
}

void *wf_loader_read(void *arg)
{
    wf_loader_thread *w = arg;
    weft_loader *l = w->loader;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        if (l->next_read < l->low) { /* others have read those samples: their slot is another's */
            l->next_read = l->low;
            l->next_read_sample = 0;
        }
        if (!can_read(l)) {
            pthread_cond_wait(&l->read, &l->lock);
            continue;
        }
        int64_t b = l->next_read, i = l->next_read_sample++;
        if (l->next_read_sample >= batch_size(l, b)) {
            l->next_read++;
            l->next_read_sample = 0;
        }
        wf_slot *s = &l->slots[b % l->n_slots];
        unsigned char nobody = WF_READ_NOBODY;
        if (!atomic_compare_exchange_strong(&s->reads[i], &nobody, WF_READ_BUSY))
            continue;
        int64_t sample = l->order[b * l->opts.batch + i];
        l->busy++;
        pthread_mutex_unlock(&l->lock);
        weft_status status = wf_dataset_read(l->ds, sample, &s->bytes[i], NULL);
        pthread_mutex_lock(&l->lock);
        atomic_store(&s->reads[i], status == WEFT_OK ? WF_READ_DONE : WF_READ_FAILED);
        if (l->waiting > 0)
            pthread_cond_broadcast(&l->here);
        if (--l->busy == 0)
            pthread_cond_signal(&l->done);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- chunks --------------------------------------------------------------------------------- */

int64_t wf_loader_chunks(const weft_loader *l, int64_t b)
{
    return (batch_size(l, b) + l->chunk - 1) / l->chunk;
}

/* Call it with the lock held. */
static weft_status none_left(const weft_loader *l, weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_FORMAT, "%s: no sample is left; the first left out: %s",
                        l->ds->source, l->first_left_out);
}

/* Puts a sample into place i of batch b. Where it is damaged and batches must be full, the next
 * good one of the epoch's order stands in, which any thread finds to be the same. */
static weft_status fill_place(weft_loader *l, wf_loader_thread *w, wf_slot *s, int64_t b, int64_t i,
                              weft_error *err)
{
    void *image = (char *)s->images + (size_t)i * image_bytes(l);
    int64_t at = b * l->opts.batch + i;
    const wf_bytes *bytes = bytes_of(l, s, i);
    for (int64_t k = 0; k < l->samples; k++, bytes = NULL) {
        int64_t sample = l->order[(at + k) % l->samples];
        bool out;
        WF_TRY(try_image(l, w, sample, at, bytes, image, &s->labels[i], &out, err));
        s->samples[i] = sample;
        s->out[i] = out;
        if (!out || !l->opts.drop_last)
            return WEFT_OK;
    }
    pthread_mutex_lock(&l->lock);
    weft_status status = none_left(l, err);
    pthread_mutex_unlock(&l->lock);
    return status;
}

/* Closes the gaps that samples left out have made. */
static void close_gaps(weft_loader *l, wf_slot *s, int64_t n)
{
    size_t bytes = image_bytes(l);
    int64_t to = 0;
    for (int64_t i = 0; i < n; i++) {
        if (s->out[i])
            continue;
        if (to < i) {
            memcpy((char *)s->images + (size_t)to * bytes, (char *)s->images + (size_t)i * bytes,
                   bytes);
            s->labels[to] = s->labels[i];
            s->samples[to] = s->samples[i];
        }
        to++;
    }
    s->count = to;
}

/* After the last chunk. */
static void finish(weft_loader *l, wf_loader_thread *w, wf_slot *s, int64_t b)
{
    if (s->err.status != WEFT_OK)
        return;
    close_gaps(l, s, batch_size(l, b));
    if (!s->targets || s->count == 0)
        return;
    wf_transform_mix(w->mix, l->opts.transform, l->opts.seed, l->epoch, b, s->count,
                     l->info.channels, l->classes, s->images, s->labels, s->targets, &s->err);
}

void wf_loader_fill(weft_loader *l, wf_loader_thread *w, int64_t b, int64_t chunk)
{
    wf_slot *s = &l->slots[b % l->n_slots];
    int64_t n = batch_size(l, b), i = chunk * l->chunk;
    int64_t end = i + l->chunk < n ? i + l->chunk : n;
    weft_error err = WEFT_ERROR_INIT;
    for (; i < end; i++)
        if (atomic_load_explicit(&l->cancel, memory_order_relaxed) ||
            fill_place(l, w, s, b, i, &err) != WEFT_OK)
            break;
    pthread_mutex_lock(&l->lock);
    if (err.status != WEFT_OK && i < s->error_at) {
        s->err = err;
        s->error_at = i;
    }
    bool last = --s->chunks_left == 0;
    pthread_mutex_unlock(&l->lock);
    if (last && !atomic_load(&l->cancel))
        finish(l, w, s, b);
    if (!last)
        return;
    pthread_mutex_lock(&l->lock);
    s->ready = true;
    pthread_cond_signal(&l->done); /* at most one caller waits */
    pthread_mutex_unlock(&l->lock);
}

static bool can_take(const weft_loader *l)
{
    return l->next_fill < l->batches && l->next_fill < l->low + l->n_slots;
}

/* Takes the next chunk. */
static int64_t take(weft_loader *l, int64_t *chunk)
{
    int64_t b = l->next_fill;
    wf_slot *s = &l->slots[b % l->n_slots];
    if (l->next_chunk == 0)
        s->chunks_left = (int)wf_loader_chunks(l, b);
    *chunk = l->next_chunk++;
    if (l->next_chunk == wf_loader_chunks(l, b)) {
        l->next_fill++;
        l->next_chunk = 0;
    }
    return b;
}

void *wf_loader_work(void *arg)
{
    wf_loader_thread *w = arg;
    weft_loader *l = w->loader;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        bool idle = w->number >= l->active;
        if (idle || !can_take(l)) {
            pthread_cond_wait(idle ? &l->idle : &l->work, &l->lock);
            continue;
        }
        int64_t chunk, b = take(l, &chunk);
        l->busy++;
        pthread_mutex_unlock(&l->lock);
        wf_loader_fill(l, w, b, chunk);
        pthread_mutex_lock(&l->lock);
        if (--l->busy == 0)
            pthread_cond_signal(&l->done);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- the caller ----------------------------------------------------------------------------- */

void wf_loader_clear(weft_loader *l, wf_slot *s)
{
    s->ready = false;
    s->chunks_left = 0;
    s->err = (weft_error)WEFT_ERROR_INIT;
    s->error_at = INT64_MAX;
    for (int64_t i = 0; s->reads && i < l->opts.batch && i < l->samples; i++)
        atomic_store_explicit(&s->reads[i], WF_READ_NOBODY, memory_order_relaxed);
}

/* Whether this process was forked from the one that has the loader's threads. Then the lock and the
 * state under it are as these threads left them at the fork. */
static weft_status check_process(const weft_loader *l, weft_error *err)
{
    if (l->n_threads == 0 || l->process == getpid())
        return WEFT_OK;
    return wf_error_set(err, WEFT_ERR_STATE,
                        "loader: its %d threads belong to process %ld, which this one was forked "
                        "from; create a loader here",
                        l->n_threads, (long)l->process);
}

static void wake_threads(weft_loader *l)
{
    pthread_cond_broadcast(&l->work);
    pthread_cond_broadcast(&l->read);
}

weft_status weft_loader_start(weft_loader *l, int64_t epoch, int64_t first_batch, weft_error *err)
{
    if (!l)
        return wf_error_set(err, WEFT_ERR_INVALID, "loader: the loader to start is NULL");
    if (epoch < 0 || epoch > UINT32_MAX || first_batch < 0 || first_batch > l->batches)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "loader: epoch %" PRId64 ", first batch %" PRId64
                            ": expected epoch 0 to %" PRIu32 ", first batch 0 to %" PRId64,
                            epoch, first_batch, UINT32_MAX, l->batches);
    WF_TRY(check_process(l, err));
    pthread_mutex_lock(&l->lock);
    /* no thread takes a chunk or a sample now; then wait for those that have one */
    l->next_fill = l->next_read = l->batches;
    atomic_store(&l->cancel, true);
    while (l->busy > 0)
        pthread_cond_wait(&l->done, &l->lock);
    atomic_store(&l->cancel, false);
    l->epoch = epoch;
    wf_loader_order(l);
    for (int i = 0; i < l->n_slots; i++)
        wf_loader_clear(l, &l->slots[i]);
    l->next_fill = l->next_out = l->low = l->next_read = first_batch;
    l->next_chunk = l->next_read_sample = 0;
    wake_threads(l);
    pthread_mutex_unlock(&l->lock);
    return WEFT_OK;
}

/* One more thread works where batches come too late. Call it with the lock held. */
static void note_late(weft_loader *l, bool late)
{
    if (!late) {
        l->late -= l->late > 0;
        return;
    }
    if (++l->late < LATE_OFTEN || l->active >= l->n_threads)
        return;
    l->late = 0;
    l->active++;
    pthread_cond_broadcast(&l->idle);
}

/* Waits until batch next_out is ready, and returns its slot. Call it with the lock held. */
static wf_slot *await(weft_loader *l)
{
    wf_slot *s = &l->slots[l->next_out % l->n_slots];
    if (l->n_threads == 0 && !s->ready) {
        int64_t chunk, n = wf_loader_chunks(l, l->next_out);
        l->next_fill = l->next_out;
        for (int64_t i = 0; i < n; i++) {
            int64_t b = take(l, &chunk);
            pthread_mutex_unlock(&l->lock);
            wf_loader_fill(l, &l->threads[0], b, chunk);
            pthread_mutex_lock(&l->lock);
        }
    }
    if (l->next_out > 1) /* the first ones cannot be ready in time */
        note_late(l, !s->ready);
    while (!s->ready)
        pthread_cond_wait(&l->done, &l->lock);
    return s;
}

/* The next batch that has samples. Call it with the lock held. */
static weft_status next_batch(weft_loader *l, weft_batch *next, weft_error *err)
{
    *next = (weft_batch){.index = l->batches};
    while (next->count == 0 && l->next_out < l->batches) {
        if (l->low < l->next_out) { /* the caller does not need the batch before any more */
            wf_loader_clear(l, &l->slots[l->low % l->n_slots]);
            l->low++;
            wake_threads(l);
        }
        const wf_slot *s = await(l);
        if (s->err.status != WEFT_OK)
            return wf_error_set(err, s->err.status, "%s", s->err.text);
        *next = (weft_batch){.count = s->count,
                             .index = l->next_out,
                             .dtype = wf_loader_type(l),
                             .images = s->images,
                             .labels = s->labels,
                             .samples = s->samples,
                             .targets = s->targets};
        l->next_out++;
    }
    if (next->count > 0)
        return WEFT_OK;
    next->index = l->batches;
    return l->bad && l->left_out == l->ds->info.count ? none_left(l, err) : WEFT_OK;
}

weft_status weft_loader_next(weft_loader *l, weft_batch *batch, weft_error *err)
{
    if (!l || !batch)
        return wf_error_set(err, WEFT_ERR_INVALID, "loader: %s is NULL",
                            l ? "the place for a batch" : "the loader to take a batch from");
    weft_batch next;
    WF_TRY(check_process(l, err));
    pthread_mutex_lock(&l->lock);
    weft_status status = next_batch(l, &next, err);
    if (status == WEFT_OK)
        *batch = next;
    pthread_mutex_unlock(&l->lock);
    return status;
}

int64_t weft_loader_left_out(const weft_loader *loader, const char **first)
{
    weft_loader *l = (weft_loader *)loader;
    int64_t n = 0;
    if (l) {
        pthread_mutex_lock(&l->lock);
        n = l->left_out;
        pthread_mutex_unlock(&l->lock);
    }
    if (first)
        *first = n > 0 ? l->first_left_out : NULL;
    return n;
}
