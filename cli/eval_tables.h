/* An evaluation on the terminal: figures by class, and the confusion matrix. */
#ifndef CLI_EVAL_TABLES_H
#define CLI_EVAL_TABLES_H

#include <stdbool.h>
#include <stdio.h>

#include <weft/train.h>

/* names: of the classes, or NULL. */
void print_classes(FILE *out, const weft_eval_result *result, const char *const *names);
/* bold: mark the diagonal as a terminal can. */
void print_confusion(FILE *out, const weft_eval_result *result, const char *const *names,
                     bool bold);

#endif
