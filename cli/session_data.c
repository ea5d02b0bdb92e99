/* The data of a command: whether its splits fit each other and the weights, and what is likely a
 * mistake in them. */
#include <stdlib.h>
#include <string.h>

#include "session.h"

#define CLASS_NAMES "weft.class_names" /* of weights: one a line */
#define IMAGE_TYPE "weft.images"       /* of weights: "u8" or "f32" */

static void print_note(void *user, const char *text)
{
    (void)user;
    cli_print(stdout, "note  %s\n", text);
}

/* The lines of `text`, which is cut up, as an array of the caller's; NULL: no memory. */
static const char **split_lines(char *text, int *n)
{
    size_t lines = 1;
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    const char **list = malloc(lines * sizeof *list);
    *n = 0;
    for (char *rest = text, *line; list && (line = strsep(&rest, "\n"));)
        if (*line || rest) /* the last line may end in a newline */
            list[(*n)++] = line;
    return list;
}

const char **session_weights_classes(session *s, int *n)
{
    const char *given = session_meta(s, CLASS_NAMES);
    *n = 0;
    free(s->class_text);
    s->class_text = given ? strdup(given) : NULL;
    return s->class_text ? split_lines(s->class_text, n) : NULL;
}

/* Renumbers the labels of ds where the weights know its classes in another order. */
static int follow_weights(session *s, weft_dataset *ds)
{
    const char *given = session_meta(s, CLASS_NAMES);
    if (!given || s->options->reset_head || s->options->ignore_class_names)
        return 0;
    int n = 0;
    bool moved = false;
    char *text = strdup(given);
    const char **names = text ? split_lines(text, &n) : NULL;
    weft_status status = WEFT_ERR_NOMEM;
    if (names)
        status = weft_dataset_follow_names(ds, names, n, s->options->weights, &moved, &s->err);
    free(names);
    free(text);
    if (status == WEFT_ERR_NOMEM && s->err.status == WEFT_OK)
        return session_usage(s, "out of memory");
    if (status != WEFT_OK) {
        session_fail(s);
        cli_print(stderr, "  %s\n",
                  session_trains(s)
                      ? "--reset-head begins with a new classifier, --ignore-class-names takes the "
                        "labels as numbers"
                      : "--ignore-class-names takes the labels as numbers");
        return EXIT_FAILED;
    }
    if (moved)
        cli_print(stdout,
                  "note  %s: its labels follow the classes of %s, which are in another order\n",
                  weft_dataset_get_info(ds)->source, s->options->weights);
    return 0;
}

void session_note_images(const session *s, const weft_dataset_info *info)
{
    const char *type = session_meta(s, IMAGE_TYPE);
    if (!type && session_meta(s, "weft.mean"))
        type = weft_dtype_name(WEFT_U8);
    if (!type || strcmp(type, weft_dtype_name(info->dtype)) == 0)
        return;
    if (info->dtype == WEFT_U8)
        cli_print(
            stderr,
            "weft %s: note: %s was trained on f32 images as they were; these are u8, scaled to "
            "0..1 and normalised\n",
            s->command, s->options->weights);
    else
        cli_print(
            stderr,
            "weft %s: note: %s was trained on u8 images, scaled to 0..1 and normalised; these "
            "are f32 and taken as they are\n",
            s->command, s->options->weights);
}

int session_match_data(session *s, weft_dataset *ds)
{
    session_note_images(s, weft_dataset_get_info(ds));
    return follow_weights(s, ds);
}

/* Renumbers the labels of other images where the training images have the classes in another
 * order. */
static int follow_training(session *s, const weft_dataset *train, weft_dataset *other,
                           const char *what)
{
    const weft_dataset_info *info = weft_dataset_get_info(train);
    bool moved = false;
    if (s->options->ignore_class_names || !info->class_names)
        return 0;
    if (weft_dataset_follow_names(other, info->class_names, info->classes, info->source, &moved,
                                  &s->err)) {
        session_fail(s);
        cli_print(stderr, "  --ignore-class-names takes the labels as numbers\n");
        return EXIT_FAILED;
    }
    if (moved)
        cli_print(stdout,
                  "note  the %s labels follow the training classes, which are in another order\n",
                  what);
    return 0;
}

int session_match_test(session *s, const weft_dataset *train, weft_dataset *test)
{
    int status = follow_training(s, train, test, "test");
    if (status == 0 &&
        weft_dataset_check_splits(train, test, (int)s->options->num_classes, &s->err))
        status = session_fail(s);
    return status;
}

int session_match_splits(session *s, weft_dataset *train, weft_dataset *test)
{
    const weft_dataset_info *info = weft_dataset_get_info(train);
    int status = session_match_test(s, train, test);
    if (status == 0 && weft_dataset_check_training(train, test, print_note, NULL, &s->err))
        status = session_fail(s);
    if (status)
        return status;
    session_note_images(s, info);
    status = follow_weights(s, train);
    return status ? status : follow_weights(s, test);
}

char *session_class_names(const weft_dataset_info *info)
{
    size_t length = 1;
    for (int i = 0; info->class_names && i < info->classes; i++)
        length += strlen(info->class_names[i]) + 1;
    char *text = info->class_names ? calloc(length, 1) : NULL, *at = text;
    for (int i = 0; text && i < info->classes; i++)
        at = stpcpy(stpcpy(at, info->class_names[i]), "\n");
    return text;
}
