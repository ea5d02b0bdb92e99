/* Creates and destroys loaders. See loader_state.h.
 *
 * Loader threads are created once and destroyed once; between epochs they sleep. */
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "data/load/loader_state.h"
#include "data/sampler.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"

#define MAX_THREADS 1024
#define MAX_AHEAD 4096
#define MAX_REPEATS 1024
enum {
    AUTO_THREADS = 64,     /* WEFT_WORKERS_AUTO: at most so many */
    READERS = 4,           /* threads that read ahead; they sleep most of the time */
    CHUNKS_PER_THREAD = 4, /* of a batch that all threads share */
    SHARED_AHEAD = 2       /* batches in advance where all threads share one */
};

/* ---- creating ------------------------------------------------------------------------------- */

static weft_status check_transform(const weft_dataset *ds, const weft_loader_opts *o,
                                   weft_error *err)
{
    const weft_dataset_info *info = &ds->info;
    if (!o->transform && info->sizes_vary)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "loader: the pictures of %s have several sizes, expected a transform",
                            info->source);
    if (!o->transform)
        return WEFT_OK;
    WF_TRY(weft_transform_check(o->transform, err));
    if (info->dtype != WEFT_U8 || (info->channels != 1 && info->channels != 3))
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "loader: a transform of %s, which are %s images of %d channels; "
                            "expected u8 images of 1 or 3",
                            info->source, weft_dtype_name(info->dtype), info->channels);
    if (o->hflip != 0 || o->shift != 0)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "loader: hflip and shift beside a transform, which has its own");
    if (!wf_transform_mixes(o->transform))
        return WEFT_OK;
    if (!o->bytes)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "loader: mixup and cutmix mix bytes, expected the option bytes");
    if (o->classes < 0 || o->classes > WF_MAX_CLASSES ||
        (o->classes ? o->classes : info->classes) < info->classes || info->classes == 0)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "loader: targets of %d classes, expected at least the %d classes of %s",
                            o->classes, info->classes, info->source);
    return WEFT_OK;
}

static weft_status check_opts(const weft_dataset *ds, const weft_loader_opts *o, weft_error *err)
{
    const weft_dataset_info *info = &ds->info;
    int side = info->height > info->width ? info->height : info->width;
    if (o->batch < 1)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "loader: batch size %" PRId64 ", expected at least 1", o->batch);
    int64_t samples = wf_sampler_count(info->count, o->sampler);
    if (o->drop_last && o->batch > samples)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "loader: a batch of %" PRId64 ", expected at most the %" PRId64
                            " samples of %s, since drop_last is on",
                            o->batch, samples, info->source);
    if (o->workers < WEFT_WORKERS_AUTO || o->workers > MAX_THREADS)
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
    WF_TRY(check_transform(ds, o, err));
    if (o->sampler > WEFT_SAMPLE_REPEATED || o->repeats < 0 || o->repeats > MAX_REPEATS)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "loader: sampler %d with %d repeats, expected a weft_sampler and 1 to "
                            "%d repeats (0: 3)",
                            (int)o->sampler, o->repeats, MAX_REPEATS);
    if (o->sampler == WEFT_SAMPLE_BALANCED && !ds->labels)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "loader: %s has no labels that samples could be balanced by",
                            info->source);
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

static int start_some(wf_loader_thread *threads, int n, pthread_attr_t *attr, void *(*run)(void *))
{
    int error = 0;
    for (int i = 0; error == 0 && i < n; i++) {
        error = pthread_create(&threads[i].thread, attr, run, &threads[i]);
        threads[i].running = error == 0;
    }
    return error;
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
    if (error == 0)
        error = start_some(l->threads, l->n_threads, &attr, wf_loader_work);
    if (error == 0)
        error = start_some(l->readers, l->n_readers, &attr, wf_loader_read);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    pthread_attr_destroy(&attr);
    if (error)
        return wf_error_set(err, WEFT_ERR_IO, "loader: cannot start %d threads: %s",
                            l->n_threads + l->n_readers, strerror(error));
    return WEFT_OK;
}

/* How many threads WEFT_WORKERS_AUTO may come to. */
static int most_threads(const weft_loader_opts *o)
{
    cpu_set_t mask;
    int cpus = 1;
    if (o->cpu_mask)
        cpus = CPU_COUNT_S(o->cpu_mask_bytes, (const cpu_set_t *)o->cpu_mask);
    else if (default_mask(&mask))
        cpus = CPU_COUNT(&mask);
    return cpus < 1 ? 1 : cpus < AUTO_THREADS ? cpus : AUTO_THREADS;
}

/* Whether all threads share a batch, chunk by chunk: where a sample takes its time. */
static bool shares(const weft_loader *l)
{
    return l->opts.transform || l->ds->read || l->opts.workers == WEFT_WORKERS_AUTO;
}

/* Sizes and numbers, before anything is allocated. */
static void settle(weft_loader *l)
{
    const weft_loader_opts *o = &l->opts;
    l->info = l->ds->info;
    if (o->transform) {
        l->transform = *o->transform;
        l->opts.transform = &l->transform;
        l->info.height = l->transform.height;
        l->info.width = l->transform.width;
        if (wf_transform_mixes(&l->transform))
            l->classes = o->classes ? o->classes : l->info.classes;
    }
    bool chosen = o->workers == WEFT_WORKERS_AUTO;
    l->n_threads = chosen ? most_threads(o) : o->workers;
    l->active = chosen ? 1 : l->n_threads;
    l->n_readers = l->ds->read && l->n_threads > 0 ? READERS : 0;
    l->n_slots = 1; /* the one in the caller's hands */
    if (l->n_threads)
        l->n_slots += o->ahead ? o->ahead : shares(l) ? SHARED_AHEAD : o->workers + 1;
    l->samples = wf_sampler_count(l->info.count, o->sampler);
    l->batches = wf_sampler_batches(l->samples, o->batch, o->drop_last);
    l->chunk = o->batch;
    if (shares(l) && l->n_threads > 0) {
        int64_t pieces = (int64_t)l->n_threads * CHUNKS_PER_THREAD;
        int64_t batch = o->batch < l->samples ? o->batch : l->samples;
        l->chunk = (batch + pieces - 1) / pieces;
    }
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
    l->process = getpid();
    settle(l);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->idle, NULL);
    pthread_cond_init(&l->read, NULL);
    pthread_cond_init(&l->here, NULL);
    pthread_cond_init(&l->done, NULL);
    weft_status status = wf_loader_allocate(l, err);
    if (status == WEFT_OK) {
        for (int i = 0; i < l->n_slots; i++)
            wf_loader_clear(l, &l->slots[i]);
        wf_loader_order(l);
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

static void join(wf_loader_thread *threads, int n)
{
    for (int i = 0; threads && i < n; i++)
        if (threads[i].running)
            pthread_join(threads[i].thread, NULL);
}

static void stop_threads(weft_loader *l)
{
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    atomic_store(&l->cancel, true);
    pthread_cond_broadcast(&l->work);
    pthread_cond_broadcast(&l->idle);
    pthread_cond_broadcast(&l->read);
    pthread_mutex_unlock(&l->lock);
    join(l->threads, l->n_threads);
    join(l->readers, l->n_readers);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->idle);
    pthread_cond_destroy(&l->read);
    pthread_cond_destroy(&l->here);
    pthread_cond_destroy(&l->done);
}

void weft_loader_destroy(weft_loader *l)
{
    if (!l)
        return;
    /* In a process forked from the one that has the threads there are none to stop. */
    if (l->n_threads == 0 || l->process == getpid())
        stop_threads(l);
    wf_loader_free(l);
    wf_free(l);
}

/* ---- looking at it -------------------------------------------------------------------------- */

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
    return l ? wf_loader_type(l) : WEFT_F32;
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
    return l ? &l->info : NULL;
}

void weft_loader_get_normalization(const weft_loader *l, const float **mean, const float **std)
{
    if (mean)
        *mean = l ? l->mean : NULL;
    if (std)
        *std = l ? l->std : NULL;
}

int weft_loader_workers(const weft_loader *loader)
{
    weft_loader *l = (weft_loader *)loader;
    if (!l || l->n_threads == 0)
        return 0;
    pthread_mutex_lock(&l->lock);
    int n = l->active;
    pthread_mutex_unlock(&l->lock);
    return n;
}

int weft_loader_classes(const weft_loader *l)
{
    return l ? l->classes : 0;
}
