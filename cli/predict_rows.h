/* The rows that weft predict writes: an image each, with its likeliest classes. */
#ifndef CLI_PREDICT_ROWS_H
#define CLI_PREDICT_ROWS_H

#include <stdio.h>

#include <weft/weft.h>

/* How rows are written. */
typedef struct predict_rows {
    FILE *out;
    bool json; /* JSON Lines; else CSV */
    int top;   /* classes of a row, at most */
    const weft_dataset *ds;
    const char *const *names; /* of the classes (n_names); a class beyond has its number */
    int n_names;
    int *order; /* (classes) scratch. Owned. */
    int classes;
} predict_rows;

/* Writes the heading of CSV, once. */
bool predict_rows_begin(predict_rows *r, int classes);
/* A weft_outputs_fn, whose user is the predict_rows. */
weft_status predict_rows_take(void *rows, const weft_outputs *outputs, weft_error *err);
void predict_rows_done(predict_rows *r);

#endif
