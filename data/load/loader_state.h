/* A loader inside: batches, slots and threads.
 *
 *   loader.c         creates and destroys one
 *   loader_memory.c  all the memory that it will use
 *   loader_order.c   which samples an epoch has
 *   loader_run.c     fills batches, and hands them out in order
 *
 * The batches of an epoch are numbered. Batch b is prepared in slot b mod n_slots. Its content
 * depends only on seed, epoch and samples. A batch is cut into chunks of samples; a loader thread
 * prepares a chunk at a time, and the one that prepares the last chunk finishes the batch. A slot
 * is free again when the caller asks for the batch after it.
 *
 * Note [Reading ahead]. The bytes of picture files are read by threads of their own, so that the
 * latency of a network file system is hidden. They go through the samples of the slots' batches in
 * order, and leave the bytes in the slot. Each sample's state says who has it: a loader thread that
 * needs a sample nobody has begun to read, reads it itself. Where reading fails, the loader thread
 * reads again, and has the error.
 *
 * `lock` guards all state below it. A slot that is being filled belongs to the threads that fill
 * its chunks; a ready slot belongs to the caller. */
#ifndef WF_DATA_LOAD_LOADER_STATE_H
#define WF_DATA_LOAD_LOADER_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "data/dataset.h"
#include "data/load/stage.h"

/* Who has the bytes of a sample. */
enum { WF_READ_NOBODY, WF_READ_BUSY, WF_READ_DONE, WF_READ_FAILED };

typedef struct wf_slot {
    void *images; /* f32, or u8 */
    int64_t *labels, *samples;
    float *targets;      /* (batch, classes); NULL: nothing mixes */
    bool *out;           /* (batch) samples that are left out */
    wf_bytes *bytes;     /* (batch) read ahead; NULL: nothing is */
    atomic_uchar *reads; /* (batch) WF_READ_ */
    int64_t count;       /* samples that are in it */
    int chunks_left;
    bool ready;
    weft_error err;   /* of the first sample at fault. Status WEFT_OK: the batch is good */
    int64_t error_at; /* its place in the batch */
} wf_slot;

typedef struct wf_loader_thread {
    weft_loader *loader;
    pthread_t thread;
    bool running;
    int number;
    wf_stage *stage;
    void *scratch;           /* for wf_augment, or an image of bytes to be normalised */
    wf_transform_state *mix; /* NULL: nothing mixes */
} wf_loader_thread;

struct weft_loader {
    const weft_dataset *ds;
    weft_dataset_info info; /* the data set's, with the transform's sizes */
    weft_loader_opts opts;
    weft_transform transform; /* opts.transform points here, or is NULL */
    int classes;              /* columns of targets */
    void *pixels;             /* the memory for all slots' images and all threads' scratch */
    size_t bytes;             /* of all that, without the bytes of files read ahead */
    float *mean, *std;        /* C */
    int64_t samples;          /* of an epoch */
    int64_t batches;
    int64_t *order;                   /* (count) the samples of this epoch, in order */
    int64_t *by_class, *class_starts; /* WEFT_SAMPLE_BALANCED; else NULL */
    int64_t chunk;                    /* samples of a chunk */
    int n_slots;
    wf_slot *slots;
    int n_threads;
    wf_loader_thread *threads; /* n_threads, or one without a thread */
    int n_readers;
    wf_loader_thread *readers;
    pid_t process;     /* whose threads they are */
    atomic_uchar *bad; /* (count) samples that are left out; NULL: none are */

    pthread_mutex_t lock;
    pthread_cond_t work; /* there is a chunk to fill, or the threads must end */
    pthread_cond_t idle; /* more threads may work, or must end */
    pthread_cond_t read; /* there is a sample to read ahead, or the threads must end */
    pthread_cond_t here; /* a sample was read that somebody waits for */
    pthread_cond_t done; /* a batch is ready, or no thread is busy any more */
    int64_t epoch;
    int64_t next_fill, next_chunk;       /* the next chunk that a thread takes */
    int64_t next_read, next_read_sample; /* the next sample that is read ahead */
    int64_t next_out;                    /* the next batch that the caller gets */
    /* first batch whose slot is in use: next_out, or the one before it while the caller has it */
    int64_t low;
    int busy;    /* threads that are filling a slot or reading */
    int waiting; /* threads that wait for `here` */
    int active;  /* loader threads that may work */
    int late;    /* how often the caller has waited lately */
    bool stop;
    atomic_bool cancel; /* the batches being filled are not needed any more */
    int64_t left_out;
    char first_left_out[WEFT_ERROR_TEXT];
};

/* The element type of the batches' images. */
weft_dtype wf_loader_type(const weft_loader *l);
/* Puts the samples of l->epoch into l->order. */
void wf_loader_order(weft_loader *l);
/* Allocates what settled options need. Free it in any case. */
weft_status wf_loader_allocate(weft_loader *l, weft_error *err);
void wf_loader_free(weft_loader *l);
/* Gives a slot back, empty. */
void wf_loader_clear(weft_loader *l, wf_slot *s);
/* Fills a chunk of batch b, and finishes the batch after its last one. Call it without the lock. */
void wf_loader_fill(weft_loader *l, wf_loader_thread *w, int64_t b, int64_t chunk);
int64_t wf_loader_chunks(const weft_loader *l, int64_t b);
/* What threads run; `thread` is a wf_loader_thread. */
void *wf_loader_work(void *thread);
void *wf_loader_read(void *thread);

#endif
