/* Reads, decodes and hashes all samples, in threads. See weft/inspect.h.
 *
 * Threads: each takes the next samples from a counter, and writes what it finds where the sample's
 * number says, so that the result depends on no schedule. Texts of damages are few, and under a
 * lock; findings are put into order afterwards. The calling thread waits and reports progress. */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "data/inspect/inspection.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"

#define SAMPLES_AT_ONCE 16
#define MAX_THREADS 1024
#define MAX_SPLITS 16
#define REPORT_NANOSECONDS (100 * 1000 * 1000)

typedef struct inspector {
    weft_inspection *inspection;
    int64_t total, begins[MAX_SPLITS];
    atomic_llong next, done;
    atomic_bool stop;
    pthread_mutex_t lock; /* of all below, and of the inspection's damages and names of formats */
    pthread_cond_t changed;
    int running;
    weft_error err; /* the first that is no finding */
} inspector;

/* What a thread has of its own. */
typedef struct inspector_thread {
    wf_decoder *decoder;
    wf_bytes bytes;
    void *scratch;
    size_t scratch_bytes;
} inspector_thread;

static weft_status note_damage(inspector *in, int split, int64_t sample, weft_status status,
                               const weft_error *err)
{
    weft_inspection *ins = in->inspection;
    bool damaged = status == WEFT_ERR_FORMAT;
    bool unreadable = status == WEFT_ERR_IO || status == WEFT_ERR_NOT_FOUND;
    if (!damaged && !unreadable)
        return status;
    ins->samples[split][sample].state =
        (uint8_t)(damaged ? WEFT_FINDING_DAMAGED : WEFT_FINDING_UNREADABLE);
    pthread_mutex_lock(&in->lock);
    char *text = wf_strdup(err->text);
    bool room = text && wf_grow(&ins->damages, &ins->damages_capacity, ins->n_damages, 1,
                                sizeof *ins->damages);
    if (room)
        ins->damages[ins->n_damages++] = (struct wf_damage){split, sample, text};
    else
        wf_free(text);
    pthread_mutex_unlock(&in->lock);
    return room ? WEFT_OK : WEFT_ERR_NOMEM;
}

static uint8_t format_number(inspector *in, const char *name)
{
    const char **names = in->inspection->format_name;
    pthread_mutex_lock(&in->lock);
    uint8_t i = 0;
    while (i < WF_INSPECTED_FORMATS - 1 && names[i] && strcmp(names[i], name) != 0)
        i++;
    names[i] = names[i] ? names[i] : name; /* static texts */
    pthread_mutex_unlock(&in->lock);
    return i;
}

static void hash_pixels(wf_inspected *s, const void *pixels, size_t bytes, int height, int width)
{
    s->height = height;
    s->width = width;
    XXH128_hash_t h =
        XXH3_128bits_withSeed(pixels, bytes, (uint64_t)height << 32 | (uint64_t)width);
    s->hash[0] = h.high64;
    s->hash[1] = h.low64;
}

static weft_status inspect_picture(inspector *in, inspector_thread *t, int split, int64_t sample,
                                   weft_error *err)
{
    const weft_dataset *ds = in->inspection->splits[split];
    wf_inspected *s = &in->inspection->samples[split][sample];
    s->label = (int32_t)wf_dataset_label(ds, sample);
    WF_TRY(wf_dataset_read(ds, sample, &t->bytes, err));
    wf_sample_name name = wf_dataset_name(ds, sample);
    wf_picture_info info;
    wf_picture picture;
    WF_TRY(wf_picture_probe(t->decoder, t->bytes.data, t->bytes.size, name.text, &info, err));
    WF_TRY(
        wf_decode(t->decoder, t->bytes.data, t->bytes.size, name.text, &ds->decode, &picture, err));
    s->format = format_number(in, info.format);
    s->grey = info.channels == 1;
    s->oriented = info.orientation > 1;
    hash_pixels(s, picture.pixels,
                (size_t)picture.height * (size_t)picture.width * (size_t)picture.channels,
                picture.height, picture.width);
    return WEFT_OK;
}

static weft_status inspect_pixels(inspector *in, inspector_thread *t, int split, int64_t sample,
                                  weft_error *err)
{
    const weft_dataset *ds = in->inspection->splits[split];
    size_t need = ds->scratch_bytes > ds->sample_bytes ? ds->scratch_bytes : ds->sample_bytes;
    if (need > t->scratch_bytes) {
        wf_free(t->scratch);
        t->scratch_bytes = 0;
        if (!(t->scratch = wf_alloc(need)))
            return wf_nomem(err, need, "a sample");
        t->scratch_bytes = need;
    }
    const void *pixels;
    int64_t label;
    WF_TRY(ds->view(ds, wf_dataset_stored(ds, sample), t->scratch, &pixels, &label, err));
    wf_inspected *s = &in->inspection->samples[split][sample];
    s->label = (int32_t)label;
    hash_pixels(s, pixels, ds->sample_bytes, ds->info.height, ds->info.width);
    return WEFT_OK;
}

/* Sample i of all splits' samples. */
static weft_status inspect_one(inspector *in, inspector_thread *t, int64_t i)
{
    int split = 0;
    while (split + 1 < in->inspection->n && i >= in->begins[split + 1])
        split++;
    int64_t sample = i - in->begins[split];
    weft_error err = WEFT_ERROR_INIT;
    bool picture = in->inspection->splits[split]->read != NULL;
    weft_status status = (picture ? inspect_picture : inspect_pixels)(in, t, split, sample, &err);
    if (status != WEFT_OK)
        status = note_damage(in, split, sample, status, &err);
    if (status != WEFT_OK) {
        pthread_mutex_lock(&in->lock);
        wf_error_set(&in->err, status, "%s", err.text[0] ? err.text : "out of memory");
        pthread_mutex_unlock(&in->lock);
    }
    return status;
}

static void *inspect_some(void *argument)
{
    inspector *in = argument;
    inspector_thread t = {.decoder = wf_decoder_create()};
    if (!t.decoder) {
        pthread_mutex_lock(&in->lock);
        wf_error_set(&in->err, WEFT_ERR_NOMEM, "out of memory: a decoder");
        pthread_mutex_unlock(&in->lock);
        atomic_store(&in->stop, true);
    }
    while (!atomic_load(&in->stop)) {
        int64_t from = atomic_fetch_add(&in->next, SAMPLES_AT_ONCE);
        if (from >= in->total)
            break;
        for (int64_t i = from; i < from + SAMPLES_AT_ONCE && i < in->total; i++) {
            if (inspect_one(in, &t, i) != WEFT_OK)
                atomic_store(&in->stop, true);
            if (atomic_load(&in->stop))
                break;
            atomic_fetch_add(&in->done, 1);
        }
    }
    wf_decoder_destroy(t.decoder);
    wf_bytes_done(&t.bytes);
    wf_free(t.scratch);
    pthread_mutex_lock(&in->lock);
    in->running--;
    pthread_cond_signal(&in->changed);
    pthread_mutex_unlock(&in->lock);
    return NULL;
}

/* Until all threads have ended. */
static void wait_and_report(inspector *in, const weft_inspect_opts *opts)
{
    pthread_mutex_lock(&in->lock);
    while (in->running > 0) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += REPORT_NANOSECONDS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&in->changed, &in->lock, &until);
        pthread_mutex_unlock(&in->lock);
        if (opts->progress && !atomic_load(&in->stop) &&
            !opts->progress(opts->user, atomic_load(&in->done), in->total)) {
            pthread_mutex_lock(&in->lock);
            wf_error_set(&in->err, WEFT_ERR_INTERRUPTED, "inspection stopped");
            pthread_mutex_unlock(&in->lock);
            atomic_store(&in->stop, true);
        }
        pthread_mutex_lock(&in->lock);
    }
    pthread_mutex_unlock(&in->lock);
}

static int thread_count(const weft_inspect_opts *opts, int64_t samples)
{
    cpu_set_t mask;
    int n = opts->threads > 0                               ? opts->threads
            : sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask)
                                                            : 1;
    n = n < MAX_THREADS ? n : MAX_THREADS;
    int64_t useful = (samples + SAMPLES_AT_ONCE - 1) / SAMPLES_AT_ONCE;
    return useful < n ? (int)useful : n;
}

static weft_status run(inspector *in, const weft_inspect_opts *opts)
{
    int n = thread_count(opts, in->total), started = 0;
    pthread_t *threads = wf_alloc_array((size_t)n, sizeof *threads);
    if (!threads)
        return wf_error_set(&in->err, WEFT_ERR_NOMEM, "out of memory: %d threads", n);
    pthread_mutex_lock(&in->lock);
    while (started < n && pthread_create(&threads[started], NULL, inspect_some, in) == 0)
        started++;
    in->running = started;
    pthread_mutex_unlock(&in->lock);
    if (started == 0) {
        in->running = 1;
        inspect_some(in); /* no thread can be had: this one does it */
    }
    wait_and_report(in, opts);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    wf_free(threads);
    return in->err.status;
}

/* ---- the public functions -------------------------------------------------------------------- */

void weft_inspection_destroy(weft_inspection *ins)
{
    if (!ins)
        return;
    for (int i = 0; ins->samples && i < ins->n; i++)
        wf_free(ins->samples[i]);
    for (int i = 0; ins->split && i < ins->n; i++)
        wf_free((void *)(uintptr_t)ins->split[i].per_class);
    for (int i = 0; i < ins->n_damages; i++)
        wf_free(ins->damages[i].text);
    wf_free((void *)(uintptr_t)ins->splits);
    wf_free(ins->samples);
    wf_free(ins->split);
    wf_free(ins->formats);
    wf_free(ins->findings);
    wf_free(ins->damages);
    wf_free(ins);
}

static weft_inspection *create(const weft_dataset *const *splits, int n)
{
    weft_inspection *ins = wf_zalloc(sizeof *ins);
    if (!ins)
        return NULL;
    ins->n = n;
    const weft_dataset **copy = wf_alloc_array((size_t)n, sizeof *copy);
    ins->splits = copy;
    ins->samples = wf_zalloc_array((size_t)n, sizeof *ins->samples);
    ins->split = wf_zalloc_array((size_t)n, sizeof *ins->split);
    ins->formats = wf_zalloc_array((size_t)n, sizeof *ins->formats);
    bool good = copy && ins->samples && ins->split && ins->formats;
    for (int i = 0; good && i < n; i++) {
        copy[i] = splits[i];
        ins->samples[i] = wf_zalloc_array((size_t)splits[i]->info.count, sizeof *ins->samples[i]);
        ins->split[i].per_class = wf_zalloc_array((size_t)splits[i]->info.classes, sizeof(int64_t));
        good = ins->samples[i] && ins->split[i].per_class;
        for (int64_t s = 0; good && s < splits[i]->info.count; s++)
            ins->samples[i][s].state = WF_INSPECTED_GOOD;
    }
    if (good)
        return ins;
    weft_inspection_destroy(ins);
    return NULL;
}

weft_status weft_inspect(const weft_dataset *const *splits, int n, const weft_inspect_opts *opts,
                         weft_inspection **inspection, weft_error *err)
{
    static const weft_inspect_opts defaults = {0};
    opts = opts ? opts : &defaults;
    inspector in = {.err = WEFT_ERROR_INIT,
                    .lock = PTHREAD_MUTEX_INITIALIZER,
                    .changed = PTHREAD_COND_INITIALIZER};
    if (!splits || !inspection || n < 1 || n > MAX_SPLITS)
        return wf_error_set(err, WEFT_ERR_INVALID, "inspecting %d data sets, expected 1 to %d", n,
                            MAX_SPLITS);
    for (int i = 0; i < n; i++) {
        if (!splits[i])
            return wf_error_set(err, WEFT_ERR_INVALID, "inspecting: data set %d is NULL", i);
        in.begins[i] = in.total;
        in.total += splits[i]->info.count;
    }
    if (opts->threads < 0 || opts->tiny < 0 || !(opts->long_ratio >= 0))
        return wf_error_set(err, WEFT_ERR_INVALID, "inspecting: an option is negative");
    in.inspection = create(splits, n);
    if (!in.inspection)
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory: inspecting %" PRId64 " samples",
                            in.total);
    weft_status status = run(&in, opts);
    if (status == WEFT_OK && !wf_inspection_conclude(in.inspection, opts))
        status = wf_error_set(&in.err, WEFT_ERR_NOMEM, "out of memory: the findings");
    pthread_mutex_destroy(&in.lock);
    pthread_cond_destroy(&in.changed);
    if (status != WEFT_OK) {
        weft_inspection_destroy(in.inspection);
        return wf_error_set(err, status, "%s", in.err.text);
    }
    *inspection = in.inspection;
    return WEFT_OK;
}
