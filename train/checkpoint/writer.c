/* See writer.h. The thread touches the job alone, and the caller the job again after the join. */
#include "train/checkpoint/writer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/files/file_calls.h"
#include "train/checkpoint/background.h"
#include "train/checkpoint/disk.h"

struct wf_ckpt_writer {
    wf_ckpt_job job;
    pthread_t thread;
    bool threaded;
    atomic_bool done;
};

/* The folder of the checkpoints, durable in the folder above it. */
static weft_status make_folder(const char *folder, weft_error *err)
{
    if (wf_files()->mkdir(folder, 0777) != 0)
        return errno == EEXIST ? WEFT_OK
                               : wf_error_set(err, WEFT_ERR_IO, "cannot make the folder %s: %s",
                                              folder, strerror(errno));
    const char *slash = strrchr(folder, '/');
    char *above = slash ? wf_asprintf("%.*s", (int)(slash - folder), folder) : wf_strdup(".");
    int error = above ? wf_folder_sync(above) : ENOMEM;
    wf_free(above);
    return error ? wf_error_set(err, WEFT_ERR_IO, "cannot flush the folder above %s: %s", folder,
                                strerror(error))
                 : WEFT_OK;
}

static void write_job(wf_ckpt_job *job)
{
    char name[48];
    weft_error *err = &job->err;
    const double started = wf_seconds();
    weft_status status = make_folder(job->folder, err);
    if (status == WEFT_OK)
        status = wf_ckpt_new_name(job->folder, job->step, name, err);
    if (status == WEFT_OK && !(job->path = wf_asprintf("%s/%s", job->folder, name)))
        status = wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a checkpoint");
    if (status == WEFT_OK)
        status = wf_ckpt_write(&job->image, job->path, err);
    job->write_seconds = wf_seconds() - started;
    job->bytes = wf_ckpt_image_bytes(&job->image);
    if (status == WEFT_OK)
        wf_ckpt_prune(job->folder, job->keep, job->step, job->best);
}

static void *run(void *arg)
{
    wf_ckpt_writer *w = arg;
    write_job(&w->job);
    atomic_store_explicit(&w->done, true, memory_order_release);
    return NULL;
}

weft_status wf_ckpt_writer_start(const wf_ckpt_job *job, wf_ckpt_writer **writer, weft_error *err)
{
    wf_ckpt_writer *w = wf_zalloc(sizeof *w);
    if (!w)
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a checkpoint");
    w->job = *job;
    w->threaded = wf_ckpt_background(&w->thread, run, w);
    if (!w->threaded)
        run(w);
    *writer = w;
    return WEFT_OK;
}

bool wf_ckpt_writer_done(const wf_ckpt_writer *w)
{
    return atomic_load_explicit(&w->done, memory_order_acquire);
}

void wf_ckpt_writer_join(wf_ckpt_writer *w, wf_ckpt_job *job)
{
    if (w->threaded)
        pthread_join(w->thread, NULL);
    *job = w->job;
    wf_free(w);
}

void wf_ckpt_job_done(wf_ckpt_job *job)
{
    wf_ckpt_image_done(&job->image);
    wf_free(job->folder);
    wf_free(job->path);
    *job = (wf_ckpt_job){0};
}
