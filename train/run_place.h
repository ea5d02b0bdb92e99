/* Where a run's files go: its directory, locked while the run lives, and the change from an old run
 * to the new one that replaces it. */
#ifndef WF_TRAIN_RUN_PLACE_H
#define WF_TRAIN_RUN_PLACE_H

#include "weft/train.h"

/* Note [Replacing a run]
 *
 * A run that is to be overwritten stays what it is until the new one has weights. Until then the
 * new one's files are in a folder of the directory:
 *
 *     RUN/result.json, weights.safetensors, ...      the old run
 *     RUN/.weft-new/config.json, log.jsonl, ...      the new one
 *
 * wf_run_place_publish then renames the folder to .weft-swap, which decides that the new run has
 * won; removes those files of the old run that the new one has not; renames the folder to
 * .weft-move; moves its files into RUN, over those of the old run; and removes it. Each step can be
 * repeated, so what a kill in between leaves is finished by the next run that opens the directory.
 * There are weights under their name at every instant. */
typedef struct wf_run_place {
    char *path;   /* the run's directory */
    char *folder; /* where its files are now: `path`, or the folder while the old run stays */
    int top, dir; /* both, open */
    int lock;     /* the lock's file; -1: this file system has no locks */
    bool made;    /* the directory is ours to remove */
    bool ours;    /* the files in `dir` are this run's */
} wf_run_place;

/* Makes and locks the directory. On failure nothing is left, *p included. */
weft_status wf_run_place_open(wf_run_place *p, const weft_run_opts *opts, weft_error *err);
/* Replaces the old run, if there is one; see the note. */
weft_status wf_run_place_publish(wf_run_place *p, weft_error *err);
/* Unlocks. keep: the files stay, if they are in their place; else all that this run made goes.
 * Needs no memory. */
void wf_run_place_close(wf_run_place *p, bool keep);

#endif
