/* The run's directory: makes and locks it, and replaces an old run in it by the new one. */
#ifndef WF_TRAIN_RUN_PLACE_H
#define WF_TRAIN_RUN_PLACE_H

#include "weft/train.h"

/* Note [Replacing a run]
 *
 * An old run stays complete until the new run has weights. Until then the new run's files are in a
 * folder inside the directory:
 *     RUN/result.json, weights.safetensors, ...       the old run
 *     RUN/.weft-new/config.json, log.jsonl, ...       the new run
 * Its checkpoints go there, too; the first one counts as weights.
 * Then wf_run_place_publish does four things. It renames the folder to .weft-swap: from here on the
 * new run counts. It removes the files of the old run that the new run does not have. It renames
 * the folder to .weft-move, and moves its files into RUN, over those of the old run. It removes the
 * folder. Each step can be repeated. So if the process is killed in between, the next run that
 * opens the directory finishes the work. At every instant there are weights under their name. */
typedef struct wf_run_place {
    char *path;    /* the run's directory */
    char *folder;  /* where its files are now: `path`, or the folder while the old run is there */
    int top, dir;  /* descriptors of path and folder */
    int lock;      /* descriptor of the lock file; -1: this file system has no locks */
    bool made;     /* this run created the directory and may remove it */
    bool ours;     /* the files in `dir` are this run's */
    bool resumed;  /* the directory holds a run that is continued: its files stay */
    bool finished; /* and that run has its last file */
} wf_run_place;

/* The folder of checkpoints in a run's directory. */
#define WF_RUN_CHECKPOINTS "checkpoints"

/* Creates and locks the directory. On failure nothing is left, and *p needs no close. */
weft_status wf_run_place_open(wf_run_place *p, const weft_run_opts *opts, weft_error *err);
/* Replaces the old run, if there is one: Note [Replacing a run]. */
weft_status wf_run_place_publish(wf_run_place *p, weft_error *err);
/* Unlocks. With `keep`, the files stay if they are in the directory itself; else everything that
 * this run created is removed. Needs no memory. */
void wf_run_place_close(wf_run_place *p, bool keep);

#endif
