/* The loader: threads prepare batches in advance, and the caller gets them in order.
 *
 * The batches of an epoch are numbered. Batch b is prepared in slot b mod n_slots, by the next free
 * loader thread. Its content depends only on seed, epoch and samples. A slot is free again when the
 * caller asks for the batch after it. `lock` guards all state below it. A slot that is being filled
 * belongs to its loader thread; a ready slot belongs to the caller.
 *
 * Loader threads are created once and destroyed once; between epochs they sleep. */
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "data/augment.h"
#include "data/dataset.h"
#include "data/sampler.h"
#include "engine/base/error.h"
#include "engine/base/alloc.h"

#define MAX_THREADS 1024
#define MAX_AHEAD 4096
#define ALIGN 64

typedef struct slot {
    void *images; /* f32, or u8 */
    int64_t *labels;
    bool ready;
    weft_error err; /* status WEFT_OK: the batch is good */
} slot;

typedef struct loader_thread {
    weft_loader *loader;
    pthread_t thread;
    bool running;
    void *scratch; /* for view, then for wf_augment */
} loader_thread;

struct weft_loader {
    const weft_dataset *ds;
    weft_loader_opts opts;
    void *pixels;          /* the memory for all slots' images and all threads' scratch */
    size_t bytes;          /* of all that */
    size_t scratch_stride; /* a sample's bytes, rounded up to ALIGN */
    float *mean, *std;     /* C */
    int64_t batches;
    int64_t *order; /* (count) the samples of this epoch, in order */
    int n_slots;
    slot *slots;
    int n_threads;
    loader_thread *threads; /* n_threads, or one without a thread */
    pid_t process;          /* whose threads they are */

    pthread_mutex_t lock;
    pthread_cond_t work; /* there is a batch to fill, or the threads must end */
    pthread_cond_t done; /* a batch is ready, or no thread is busy any more */
    int64_t epoch;
    int64_t next_fill; /* the next batch that a thread takes */
    int64_t next_out;  /* the next batch that the caller gets */
    /* first batch whose slot is in use: next_out, or the one before it while the caller has it */
    int64_t low;
    int busy; /* threads that are filling a slot */
    bool stop;
    atomic_bool cancel; /* the batches being filled are not needed any more */
};

/* ---- filling -------------------------------------------------------------------------------- */

static int64_t batch_size(const weft_loader *l, int64_t b)
{
    int64_t left = l->ds->info.count - b * l->opts.batch;
    return left < l->opts.batch ? left : l->opts.batch;
}

/* The element type of the batches' images. */
static weft_dtype type_of(const weft_loader *l)
{
    return l->opts.bytes && l->ds->info.dtype == WEFT_U8 ? WEFT_U8 : WEFT_F32;
}

static weft_status fill_sample(const weft_loader *l, int64_t sample, void *scratch, void *image,
                               int64_t *label, weft_error *err)
{
    const void *pixels;
    WF_TRY(l->ds->view(l->ds, sample, scratch, &pixels, label, err));
    wf_crop crop = wf_augment_draw(l->opts.hflip, l->opts.shift, l->opts.seed, l->epoch, sample);
    char *cropped = (char *)scratch + l->scratch_stride;
    if (type_of(l) == WEFT_U8)
        wf_augment_crop(image, pixels, &l->ds->info, crop, cropped);
    else
        wf_augment(image, pixels, &l->ds->info, crop, l->mean, l->std, cropped);
    return WEFT_OK;
}

static void fill(weft_loader *l, int64_t b, void *scratch)
{
    slot *s = &l->slots[b % l->n_slots];
    const weft_dataset_info *info = &l->ds->info;
    size_t bytes = (size_t)info->channels * (size_t)info->height * (size_t)info->width *
                   weft_dtype_size(type_of(l));
    const int64_t *samples = l->order + b * l->opts.batch;
    s->err.status = WEFT_OK;
    s->err.text[0] = '\0';
    for (int64_t i = 0; i < batch_size(l, b); i++)
        if (atomic_load_explicit(&l->cancel, memory_order_relaxed) ||
            fill_sample(l, samples[i], scratch, (char *)s->images + (size_t)i * bytes,
                        &s->labels[i], &s->err) != WEFT_OK)
            return;
}

static bool can_take(const weft_loader *l)
{
    return l->next_fill < l->batches && l->next_fill < l->low + l->n_slots;
}

static void *run_thread(void *arg)
{
    loader_thread *w = arg;
    weft_loader *l = w->loader;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        if (!can_take(l)) {
            pthread_cond_wait(&l->work, &l->lock);
            continue;
        }
        int64_t b = l->next_fill++;
        l->busy++;
        pthread_mutex_unlock(&l->lock);
        fill(l, b, w->scratch);
        pthread_mutex_lock(&l->lock);
        l->busy--;
        l->slots[b % l->n_slots].ready = true;
        pthread_cond_signal(&l->done); /* at most one caller waits */
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- creating ------------------------------------------------------------------------------- */

static weft_status check_opts(const weft_dataset *ds, const weft_loader_opts *o, weft_error *err)
{
    const weft_dataset_info *info = &ds->info;
    int side = info->height > info->width ? info->height : info->width;
    if (o->batch < 1)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "loader: batch size %" PRId64 ", expected at least 1", o->batch);
    if (o->drop_last && o->batch > info->count)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "loader: a batch of %" PRId64 ", expected at most the %" PRId64
                            " samples of %s, since drop_last is on",
                            o->batch, info->count, info->source);
    if (o->workers < 0 || o->workers > MAX_THREADS)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "loader: workers is %d, expected 0 to %d loader threads", o->workers,
                            MAX_THREADS);
    if (o->ahead < 0 || o->ahead > MAX_AHEAD)
        return wf_error_set(err, WEFT_ERR_INVALID, "loader: %d batches ahead, expected 0 to %d",
                            o->ahead, MAX_AHEAD);
    if (!(o->hflip >= 0 && o->hflip <= 1))
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "loader: mirroring with probability %g, expected 0 to 1", o->hflip);
    if (o->shift < 0 || o->shift > side)
        return wf_error_set(err, WEFT_ERR_INVALID, "loader: shift by %d pixels, expected 0 to %d",
                            o->shift, side);
    for (int c = 0; c < info->channels; c++) {
        float mean = o->mean ? o->mean[c] : 0.0f, std = o->std ? o->std[c] : 1.0f;
        if (!isfinite(mean) || !(std >= 0) || !isfinite(std) || (std > 0 && !isfinite(1.0f / std)))
            return wf_error_set(
                err, WEFT_ERR_INVALID,
                "loader: channel %d has mean %g and standard deviation %g, expected "
                "finite numbers, the deviation not negative and not so small that "
                "its inverse is infinite",
                c, (double)mean, (double)std);
    }
    return WEFT_OK;
}

static size_t round_up(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* Allocates one block for each slot's images and each thread's scratch, all on multiples of ALIGN
 * bytes. */
static bool allocate_pixels(weft_loader *l, size_t batch, size_t sample, size_t threads)
{
    size_t images, slots, total;
    l->scratch_stride = round_up(l->ds->sample_bytes);
    size_t scratch = l->scratch_stride + round_up(2 * l->ds->sample_bytes);
    if (__builtin_mul_overflow(batch, sample * weft_dtype_size(type_of(l)), &images) ||
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
        l->threads[i] = (loader_thread){.loader = l, .scratch = at};
    return true;
}

static weft_status allocate(weft_loader *l, weft_error *err)
{
    const weft_dataset_info *info = &l->ds->info;
    size_t C = (size_t)info->channels;
    size_t sample = C * (size_t)info->height * (size_t)info->width;
    size_t batch = (size_t)(l->opts.batch < info->count ? l->opts.batch : info->count);
    size_t threads = l->n_threads ? (size_t)l->n_threads : 1;
    l->mean = wf_alloc_array(C, sizeof *l->mean);
    l->std = wf_alloc_array(C, sizeof *l->std);
    l->order = wf_alloc_array((size_t)info->count, sizeof *l->order);
    l->slots = wf_zalloc_array((size_t)l->n_slots, sizeof *l->slots);
    l->threads = wf_zalloc_array(threads, sizeof *l->threads);
    bool good = l->mean && l->std && l->order && l->slots && l->threads &&
                allocate_pixels(l, batch, sample, threads);
    for (int i = 0; good && i < l->n_slots; i++) {
        l->slots[i].labels = wf_alloc_array(batch, sizeof(int64_t));
        good = l->slots[i].labels != NULL;
    }
    if (!good)
        return wf_error_set(err, WEFT_ERR_NOMEM,
                            "loader: out of memory for %d batches of %zu samples", l->n_slots,
                            batch);
    l->bytes += (size_t)info->count * sizeof *l->order +
                (size_t)l->n_slots * (batch * sizeof(int64_t) + sizeof *l->slots);
    for (size_t c = 0; c < C; c++) {
        float std = l->opts.std ? l->opts.std[c] : 1.0f;
        l->mean[c] = l->opts.mean ? l->opts.mean[c] : 0.0f;
        l->std[c] = std == 0.0f ? 1.0f : std;
    }
    return WEFT_OK;
}

/* The CPUs on which loader threads may run. The calling thread may be bound to one core, because
 * OMP_PROC_BIND binds it before main. Then OpenMP's places tell which CPUs the process has. False:
 * do not change the threads' masks. */
static bool default_mask(cpu_set_t *mask)
{
    if (sched_getaffinity(0, sizeof *mask, mask) != 0)
        return false; /* more CPUs than a cpu_set_t holds */
    for (int place = 0; place < omp_get_num_places(); place++) {
        int n = omp_get_place_num_procs(place);
        int *cpus = n > 0 ? wf_alloc_array((size_t)n, sizeof *cpus) : NULL;
        if (!cpus)
            continue; /* with fewer CPUs it is slower, but not wrong */
        omp_get_place_proc_ids(place, cpus);
        for (int i = 0; i < n; i++)
            if (cpus[i] >= 0 && cpus[i] < CPU_SETSIZE)
                CPU_SET(cpus[i], mask);
        wf_free(cpus);
    }
    return true;
}

/* Starts the loader threads with all signals blocked: signals are for the program. */
static weft_status start_threads(weft_loader *l, weft_error *err)
{
    sigset_t all, was;
    cpu_set_t mask;
    pthread_attr_t attr;
    if (l->n_threads == 0)
        return WEFT_OK;
    int error = pthread_attr_init(&attr);
    if (error)
        return wf_error_set(err, WEFT_ERR_NOMEM, "loader: %s", strerror(error));
    if (l->opts.cpu_mask)
        error = pthread_attr_setaffinity_np(&attr, l->opts.cpu_mask_bytes, l->opts.cpu_mask);
    else if (default_mask(&mask))
        error = pthread_attr_setaffinity_np(&attr, sizeof mask, &mask);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    for (int i = 0; error == 0 && i < l->n_threads; i++) {
        error = pthread_create(&l->threads[i].thread, &attr, run_thread, &l->threads[i]);
        l->threads[i].running = error == 0;
    }
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    pthread_attr_destroy(&attr);
    if (error)
        return wf_error_set(err, WEFT_ERR_IO, "loader: cannot start %d threads: %s", l->n_threads,
                            strerror(error));
    return WEFT_OK;
}

weft_status weft_loader_create(const weft_dataset *ds, const weft_loader_opts *opts,
                               weft_loader **loader, weft_error *err)
{
    if (!ds || !opts || !loader)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "loader: data set, options or the place for the result is NULL");
    WF_TRY(check_opts(ds, opts, err));
    weft_loader *l = wf_zalloc(sizeof *l);
    if (!l)
        return wf_error_set(err, WEFT_ERR_NOMEM, "loader: out of memory");
    l->ds = ds;
    l->opts = *opts;
    l->n_threads = opts->workers;
    l->process = getpid();
    l->n_slots = 1; /* the one in the caller's hands */
    if (l->n_threads)
        l->n_slots += opts->ahead ? opts->ahead : opts->workers + 1;
    l->batches = wf_sampler_batches(ds->info.count, opts->batch, opts->drop_last);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->done, NULL);
    weft_status status = allocate(l, err);
    if (status == WEFT_OK) {
        wf_sampler_order(l->order, ds->info.count, opts->shuffle, opts->seed, 0);
        status = start_threads(l, err);
    }
    l->opts.mean = l->opts.std = NULL; /* they were copied; the caller may free its arrays */
    l->opts.cpu_mask = NULL;
    if (status == WEFT_OK)
        *loader = l;
    else
        weft_loader_destroy(l);
    return status;
}

/* Whether this process was forked from the one that has the loader's threads. Then the lock and the
 * state under it are as these threads left them at the fork. */
static bool threads_are_elsewhere(const weft_loader *l)
{
    return l->n_threads > 0 && l->process != getpid();
}

static weft_status check_process(const weft_loader *l, weft_error *err)
{
    if (!threads_are_elsewhere(l))
        return WEFT_OK;
    return wf_error_set(err, WEFT_ERR_STATE,
                        "loader: its %d threads belong to process %ld, which this one was forked "
                        "from; create a loader here",
                        l->n_threads, (long)l->process);
}

static void stop_threads(weft_loader *l)
{
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    atomic_store(&l->cancel, true);
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; l->threads && i < l->n_threads; i++)
        if (l->threads[i].running)
            pthread_join(l->threads[i].thread, NULL);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->done);
}

void weft_loader_destroy(weft_loader *l)
{
    if (!l)
        return;
    if (!threads_are_elsewhere(l))
        stop_threads(l);
    for (int i = 0; l->slots && i < l->n_slots; i++)
        wf_free(l->slots[i].labels);
    wf_free(l->pixels);
    wf_free(l->slots);
    wf_free(l->threads);
    wf_free(l->order);
    wf_free(l->mean);
    wf_free(l->std);
    wf_free(l);
}

/* ---- using ---------------------------------------------------------------------------------- */

int64_t weft_loader_batches(const weft_loader *l)
{
    return l ? l->batches : 0;
}

int64_t weft_loader_batch_size(const weft_loader *l)
{
    return l ? l->opts.batch : 0;
}

weft_dtype weft_loader_dtype(const weft_loader *l)
{
    return l ? type_of(l) : WEFT_F32;
}

size_t weft_loader_memory(const weft_loader *l)
{
    return l ? l->bytes : 0;
}

const weft_dataset *weft_loader_get_dataset(const weft_loader *l)
{
    return l ? l->ds : NULL;
}

const weft_dataset_info *weft_loader_get_info(const weft_loader *l)
{
    return l ? &l->ds->info : NULL;
}

void weft_loader_get_normalization(const weft_loader *l, const float **mean, const float **std)
{
    if (mean)
        *mean = l ? l->mean : NULL;
    if (std)
        *std = l ? l->std : NULL;
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
    l->next_fill = l->batches; /* no thread takes a batch now; then wait for those being filled */
    atomic_store(&l->cancel, true);
    while (l->busy > 0)
        pthread_cond_wait(&l->done, &l->lock);
    atomic_store(&l->cancel, false);
    l->epoch = epoch;
    wf_sampler_order(l->order, l->ds->info.count, l->opts.shuffle, l->opts.seed, epoch);
    for (int i = 0; i < l->n_slots; i++)
        l->slots[i].ready = false;
    l->next_fill = l->next_out = l->low = first_batch;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    return WEFT_OK;
}

/* Waits until batch next_out is ready, and returns its slot. Call it with the lock held. */
static slot *await(weft_loader *l)
{
    slot *s = &l->slots[l->next_out % l->n_slots];
    if (l->n_threads == 0 && !s->ready) {
        fill(l, l->next_out, l->threads[0].scratch);
        s->ready = true;
    }
    while (!s->ready)
        pthread_cond_wait(&l->done, &l->lock);
    return s;
}

weft_status weft_loader_next(weft_loader *l, weft_batch *batch, weft_error *err)
{
    weft_status status = WEFT_OK;
    if (!l || !batch)
        return wf_error_set(err, WEFT_ERR_INVALID, "loader: %s is NULL",
                            l ? "the place for a batch" : "the loader to take a batch from");
    weft_batch next = {.index = l->batches};
    WF_TRY(check_process(l, err));
    pthread_mutex_lock(&l->lock);
    if (l->low < l->next_out) { /* the caller does not need the batch before any more */
        l->slots[l->low % l->n_slots].ready = false;
        l->low++;
        pthread_cond_signal(&l->work);
    }
    if (l->next_out < l->batches) {
        const slot *s = await(l);
        if (s->err.status == WEFT_OK)
            next = (weft_batch){.count = batch_size(l, l->next_out),
                                .index = l->next_out,
                                .dtype = type_of(l),
                                .images = s->images,
                                .labels = s->labels,
                                .samples = l->order + l->next_out * l->opts.batch};
        else
            status = wf_error_set(err, s->err.status, "%s", s->err.text);
    }
    if (status == WEFT_OK) {
        l->next_out += next.count > 0;
        *batch = next;
    }
    pthread_mutex_unlock(&l->lock);
    return status;
}
