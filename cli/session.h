/* What the commands share: the context, the model with its weights, the images' normalisation, and
 * how errors reach the user. Single-threaded. */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include <weft/weft.h>

#include "options.h"
#include "print.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

#define DEFAULT_MODEL "fmnist_cnn"

/* The images' channel means and deviations. They travel in the weights file's metadata, so that
 * evaluation and prediction see images as training did. Only u8 images are normalised; f32 images
 * are the network's input as they are. */
typedef struct normalisation {
    int channels; /* 0: not known */
    float *mean, *std;
} normalisation;

typedef struct session {
    const char *command; /* "train" */
    const cli_options *options;
    weft_error err; /* the first error of code without a context */
    weft_context *ctx;
    weft_safetensors *weights; /* --weights; NULL: none */
    const char *wisdom;        /* to use instead of --wisdom; NULL: no other */
    const char *model_name;
    /* The model's own options as "key=value,key=value": those the weights were trained with, then
     * --model-arg's. "" for none. */
    char model_args[FLAG_LIST_TEXT];
    weft_module *model;
    normalisation norm;
    char *class_text; /* what session_weights_classes gives is in it */
} session;

/* Prints "weft <command>: <message>" on stderr; returns the exit status. */
int session_usage(const session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for the context's error, which may have several lines. */
void session_print_error(const session *s);
/* The same for the first error of s->err or the context. */
int session_fail(const session *s);

/* The same where a pass over the data ended with `status`: a signal may have stopped it. */
int session_stop(const session *s, weft_status status);

/* Everything below returns 0, or the exit status once the error is printed. */

/* Whether it is `weft train`, or `weft plan`, which prepares the same. */
bool session_trains(const session *s);
/* Whether the command line has a flag that the command cannot do without. */
int session_need(const session *s, const char *name, const char *value);

/* Whether a file can be made at `path` is worth knowing before the work. The folder that
 * --output-dir names may be made yet. */
int session_check_output(const session *s, const char *path);
/* Opens --weights, if given, and settles the model's name and options. */
int session_init(session *s, const char *command, const cli_options *options);
/* Frees everything and writes the trace. Returns `status`, or, where only the trace failed,
 * that. */
int session_done(session *s, int status);
/* Finds s->norm: from the weights' metadata, else from `ds` (may be NULL). */
int session_normalise(session *s, const weft_dataset *ds);
int session_open_context(session *s);
/* Makes the model for images of these sizes, loads the weights and freezes what --freeze names.
 * classes: of the data; 0: not known. Evaluation and prediction take the weights' own number where
 * they have more. */
int session_open_model(session *s, int channels, int height, int width, int classes);

/* The bytes of that model's parameters. They are not drawn, so that their memory is not used, and
 * the random state stays. Nothing is left of it. */
int session_weigh_model(session *s, int channels, int height, int width, int classes,
                        size_t *bytes);

/* Of session_open_model: --freeze and --freeze-bn; the patterns of --recompute. */
int session_freeze(session *s);
int session_recompute(session *s);
bool session_recomputes(const session *s); /* false: --recompute off */

/* Says where weights and data differ in how images reach the network: u8 or f32. */
void session_note_images(const session *s, const weft_dataset_info *info);
/* Whether data fit the weights: labels are renumbered where the weights know the classes in another
 * order, other classes are an error, and images of another type are told. */
int session_match_data(session *s, weft_dataset *ds);
/* Whether training and test data fit each other, and the weights; tells likely mistakes. */
int session_match_splits(session *s, weft_dataset *train, weft_dataset *test);
/* Whether further test images fit the training data. */
int session_match_test(session *s, const weft_dataset *train, weft_dataset *test);
/* The class names, one a line, to travel in the weights; owned by the caller (free). NULL: none. */
char *session_class_names(const weft_dataset_info *info);

/* Opens a split of the data at `path` as the flags and the weights say. */
int session_open_data(session *s, const char *path, weft_split split, weft_dataset **ds);
/* The same for pictures in n files and folders, to predict what they show. */
int session_open_files(session *s, const char *const *files, int64_t n, weft_dataset **ds);
/* The names of the classes that the weights know; the array is the caller's (free), the names are
 * the session's. NULL: they say none. */
const char **session_weights_classes(session *s, int *n);
/* The same without a word, where it may fail. */
weft_status session_try_data(session *s, const char *path, weft_split split, weft_dataset **ds,
                             weft_error *err);
/* The transform that brings pictures to one size in evaluation: by the flags, by what the weights
 * were trained with, or for `crop` pixels a side (0: as the model is made for). False: the data
 * need none. */
bool session_eval_transform(const session *s, const weft_dataset_info *info, int crop,
                            weft_transform *t);
/* weft_dataset_look_through, for pictures. */
int session_look_through(session *s, weft_dataset *ds, const weft_transform *t);
/* The transform as text, to travel in the weights ("weft.transform"). */
void session_format_transform(const weft_transform *t, char *text, size_t size);
weft_interpolation session_interpolation(const session *s);
/* The side of images that the model is made for, 224 where that is no size for photographs. */
int session_model_size(const session *s);
/* Tells of files that are left out, and of EXIF orientations. */
void session_note_pictures(const session *s, const weft_dataset_info *info);
/* Tells of damaged pictures that the loader has left out. */
void session_note_bad(const session *s, const weft_loader *loader);

/* Loader options for these images, in order and without augmentation: batch, workers, seed and, for
 * u8 images, s->norm. */
int session_loader_opts(const session *s, const weft_dataset_info *info, weft_loader_opts *opts);
/* What evaluation and prediction need: a loader over the images, in order and through
 * session_eval_transform, the context, and the model for their size and `classes`
 * (session_open_model). The caller destroys *loader, which is
 * set where the status is not 0, too, if it was made. */
int session_open_images(session *s, weft_dataset *ds, int classes, weft_loader **loader);
/* A text from the weights' metadata, or NULL; a number, or `otherwise`. */
const char *session_meta(const session *s, const char *key);
int64_t session_meta_int(const session *s, const char *key, int64_t otherwise);
/* "3x32x32" into sizes of at least 1; false when it is not of this form. */
bool session_parse_size(const char *text, int size[3]);

#endif
