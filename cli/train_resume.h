/* weft train's checkpoints: when they are written, how a run goes on from one, and what the command
 * says and returns when it stops. */
#ifndef CLI_TRAIN_RESUME_H
#define CLI_TRAIN_RESUME_H

#include "progress.h"
#include "session.h"

typedef struct train_resume {
    session *s;
    weft_checkpoint_opts opts; /* of weft_train_opts */
    char *wisdom;              /* the file of the run that goes on; free */
    const char *from;          /* train_resume_from */
    weft_run *run;
    bool finished;           /* the directory holds a finished run, which was said */
    struct train_time *time; /* told what writes take; NULL: nobody */
    cli_progress *progress;  /* NULL: there is no bar yet */
    char *last;              /* the last checkpoint that is on disk; free; NULL: none */
} train_resume;

/* The checkpoint or run that --resume names, to begin with; NULL: none, or the run in --output-dir has
 * gone on from it already and has checkpoints of its own, as where a job is started again. */
const char *train_resume_from(const cli_options *options);
/* Before anything is opened: reads --checkpoint-freq, --keep and --resume. A run that goes on takes
 * the wisdom that it began with, unless --wisdom names another. Returns 0 or the exit status. */
int train_resume_init(train_resume *r, session *s);
/* How to open the run's directory. */
bool train_resume_wanted(const train_resume *r);
/* With the directory open: whether the run that it holds has the same settings. Returns 0, too, where
 * the run is finished and nothing is to be done: then r->finished is true. */
int train_resume_check(train_resume *r, weft_run *run, const weft_setting *settings, int n);
/* weft_train, from the checkpoint that --resume names or finds. `opts` gets r->opts. */
weft_status train_resume_train(train_resume *r, weft_train_opts *opts, weft_train_result *result);
/* Says why the training ended early; returns the exit status. */
int train_resume_stop(const train_resume *r, weft_status status);
void train_resume_done(train_resume *r);

#endif
