/* Checkpoints: all state that decides the next bits of a training, so that a run that was killed at
 * any instant goes on as if nothing had happened.
 *
 * A checkpoint is a folder. manifest.json says where training was, what computed it (versions,
 * instruction set, wisdom), and has the size and checksum (XXH3, 64 bits) of every file and of
 * itself. model.safetensors has the model's state, and can be loaded like any weights;
 * optimizer.safetensors and state.json have the rest; beside them are copies of the run's
 * config.json, wisdom.json, log.jsonl and summary.csv. A folder appears under its name as a whole or
 * not at all, whatever fails or crashes meanwhile. Reading trusts nothing.
 *
 * In a run's directory they are RUN/checkpoints/step-0000000120, named by the steps done.
 *
 * On the same machine class, with the same wisdom, the same versions of Weft and oneDNN, and the
 * same data and options, a resumed training has the bits of one that was never interrupted, for any
 * number of threads. */
#ifndef WEFT_CHECKPOINT_H
#define WEFT_CHECKPOINT_H

#include "weft/data.h"
#include "weft/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_trainer weft_trainer; /* a training that is going on (weft/train.h) */

/* ---- while training -------------------------------------------------------------------------- */

/* What became of the write of a checkpoint. */
typedef struct weft_checkpoint_event {
    const char *path;     /* of its folder; NULL: it has none yet */
    int64_t step;         /* steps done then */
    int64_t bytes;        /* of its files */
    double copy_seconds;  /* that training stood still for the copy of the state */
    double write_seconds; /* until all of it was on disk; training went on meanwhile */
    weft_status status;   /* WEFT_OK: it is there */
    const char *error;    /* why not, or "" */
} weft_checkpoint_event;
/* Called between two steps, for every checkpoint that was tried. */
typedef void (*weft_checkpoint_fn)(void *user, const weft_checkpoint_event *event);

/* When a training with a run writes checkpoints into the run's directory. Whichever comes first of
 * steps, epochs and seconds since the last one; 0: this does not count. All zeros: none are
 * written. */
typedef struct weft_checkpoint_opts {
    int64_t steps;           /* every so many steps */
    int64_t epochs;          /* after every so many epochs */
    double seconds;          /* at the first step after so many seconds */
    int64_t keep;            /* how many stay, the best epoch's besides; 0 reads as 3 */
    weft_checkpoint_fn told; /* or NULL */
    void *user;              /* given to it */
} weft_checkpoint_opts;
#define WEFT_CHECKPOINT_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */

/* ---- for programs ---------------------------------------------------------------------------- */

/* Writes a checkpoint as the folder `path`, which must not exist, and waits until it is on disk. Not
 * inside a step: between two calls of weft_trainer_step. On failure nothing of it is left; err (may
 * be NULL) says why; WEFT_ERR_STATE: in a callback of the trainer. */
weft_status weft_checkpoint_save(weft_trainer *trainer, const char *path, weft_error *err);
/* Loads the checkpoint `path` into a trainer whose model, optimizer and data are of the kind that it
 * was saved from: all of it, or on failure nothing. Then the trainer is where it was. Settings of
 * the model and of the data (augmentation, seed) are not part of it. WEFT_ERR_NOT_FOUND: `path` is
 * no checkpoint; WEFT_ERR_FORMAT, WEFT_ERR_IO: it is damaged or cannot be read; others: it does not
 * fit. */
weft_status weft_checkpoint_load(weft_trainer *trainer, const char *path, weft_error *err);

/* Goes on with a run: loads the newest checkpoint that is not damaged, and takes the run's log and
 * its summary back to it.
 *   from NULL: of the trainer's run (weft_run_opts.resume). If there is none, training begins at
 *     its first step.
 *   else: from this one, a checkpoint's folder, its manifest.json or a run's directory. If that is
 *     not the trainer's own run, its log and summary are continued in the trainer's run. A damaged
 *     one is an error, unless `from` is a run's directory with others.
 * note (may be NULL) is told, each as a sentence: what was resumed, which checkpoints were skipped
 * and why, and where bits will differ: other versions, instruction set or wisdom. On failure nothing
 * has changed. */
weft_status weft_trainer_resume(weft_trainer *trainer, const char *from, weft_note_fn note,
                                void *user, weft_error *err);

#ifdef __cplusplus
}
#endif
#endif
