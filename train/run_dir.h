/* What the trainer writes into a run's directory (include/weft/train.h has the public part). */
#ifndef WF_TRAIN_RUN_DIR_H
#define WF_TRAIN_RUN_DIR_H

#include "train/checkpoint/image.h"
#include "train/run_place.h" /* WF_RUN_CHECKPOINTS */
#include "weft/train.h"

/* Appends a line to log.jsonl. epochs_done: the epochs trained so far, such as 1.25. From the first
 * call on, the directory is kept. */
weft_status wf_run_log_step(weft_run *run, const weft_progress *p, int64_t total_steps,
                            double epochs_done, weft_error *err);
/* Appends a line to log.jsonl and one to summary.csv. */
weft_status wf_run_log_epoch(weft_run *run, const weft_epoch *epoch, weft_error *err);
/* Appends the last line to log.jsonl: "finished", "interrupted" or "failed", and why. */
weft_status wf_run_log_end(weft_run *run, const char *status, const char *message, weft_error *err);
/* Call this when there are weights. Until then an old run that is to be replaced stays in the
 * directory, and the new run's files are in a folder inside it. */
weft_status wf_run_publish(weft_run *run, weft_error *err);
/* Whether the files are in the run's directory itself: wf_run_publish would move nothing. */
bool wf_run_published(const weft_run *run);
/* Where the run's files are now. */
const char *wf_run_folder(const weft_run *run);
/* Marks the directory as worth keeping: a training step has run. */
void wf_run_keep(weft_run *run);

/* Writes result.json. NaN is written as null. */
weft_status wf_run_write_result(weft_run *run, const weft_train_result *result, weft_error *err);

/* ---- going on with a run ---- */

/* Adds copies of the files that a resumed run continues to a checkpoint: config.json, wisdom.json,
 * log.jsonl and summary.csv, as far as they are there. */
weft_status wf_run_copy_files(const weft_run *run, wf_memory *memory, wf_ckpt_image *image,
                              weft_error *err);
/* Takes log.jsonl and summary.csv back to what they were when the checkpoint was made; image NULL:
 * to nothing. A run that was finished is not, from now on. */
weft_status wf_run_take_back(weft_run *run, const wf_ckpt_image *image, weft_error *err);
/* Appends a line to resumed.jsonl, which the report makes marks of. checkpoint: its name. */
weft_status wf_run_note_resumed(weft_run *run, int64_t total_steps, double epochs_done,
                                const char *checkpoint, weft_error *err);

/* "<folder>/<name>", owned by the caller (wf_free); NULL when memory is out. */
char *wf_run_file(const weft_run *run, const char *name);

#endif
