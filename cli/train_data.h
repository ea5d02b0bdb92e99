/* The data of `weft train`: what is opened for which purpose, and how images are made of it. */
#ifndef CLI_TRAIN_DATA_H
#define CLI_TRAIN_DATA_H

#include "session.h"

typedef struct train_data {
    weft_dataset *train, *val, *test;
    weft_loader *train_loader;
    weft_loader *val_loader;  /* evaluated between epochs: it chooses the best weights */
    weft_loader *test_loader; /* read once, at the end; NULL: val is the test */
    bool one_split_will_do;   /* the caller evaluates nothing, so pictures need no second split */
    float *class_weights;     /* (n_class_weights); NULL: none */
    int n_class_weights;
    weft_transform training, evaluation; /* of images, where the next two are true */
    bool trains_through, evaluates_through;
    char transform[64]; /* of evaluation, for the weights' metadata; "": none */
    char channels[8];   /* the same, of pictures */
    size_t resident;    /* bytes of the process before the loaders' threads began to fill theirs */
} train_data;

/* Opens and checks everything. Settles what `used`, the options, leaves to the data. Returns 0, or
 * the exit status once the error is printed. */
int train_data_open(session *s, cli_options *used, train_data *d);
/* Whether a run's directory lies outside the class folders: in them it would become a class. */
int train_data_keep_apart(session *s, const train_data *d, const char *run);
/* The lines that say what the data are. */
void train_data_print(const session *s, const train_data *d);
/* After training: how many pictures were left out; the test images, with the run's best weights,
 * where they are apart from those that chose them. test.json in the run gets the figures. */
int train_data_finish(session *s, const train_data *d, const char *run);
void train_data_done(train_data *d);

#endif
