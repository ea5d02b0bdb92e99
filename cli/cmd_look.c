/* weft look: a page that shows data as they are and as the network gets them. */
#include <stdlib.h>

#include "command_line.h"
#include "commands.h"
#include "session.h"
#include "train_data.h"

enum { RANDOM_DRAWS = 3, MOST_PARTS = 3 };

/* The parts of the page: training data through the random steps, the others as evaluation sees
 * them. */
static int parts_of(const train_data *d, weft_look_part *parts)
{
    const weft_dataset *const others[] = {d->val, d->test};
    const weft_split val = weft_dataset_get_info(d->val)->split;
    const char *const names[] = {val == WEFT_SPLIT_VAL ? "Validation" : "Test", "Test"};
    const weft_transform *eval = d->evaluates_through ? &d->evaluation : NULL;
    int n = 0;
    parts[n++] = (weft_look_part){.name = "Training",
                                  .ds = d->train,
                                  .transform = d->trains_through ? &d->training : NULL,
                                  .draws = RANDOM_DRAWS};
    for (int i = 0; i < 2; i++)
        if (others[i] && !(i == 0 && weft_dataset_get_info(d->train)->only_split))
            parts[n++] =
                (weft_look_part){.name = names[i], .ds = others[i], .transform = eval, .draws = 1};
    return n;
}

static int write_page(session *s, const train_data *d)
{
    const cli_options *o = s->options;
    weft_look_part parts[MOST_PARTS];
    char *command = command_line(o->argc, o->argv);
    const weft_look_opts look = {.parts = parts,
                                 .n_parts = parts_of(d, parts),
                                 .classes = (int)o->look_classes,
                                 .seed = (uint64_t)o->seed,
                                 .command = command};
    int status = weft_look_write(o->look_page, &look, &s->err) ? session_fail(s) : 0;
    free(command);
    if (status == 0)
        cli_print(stdout, "page  %s\n", o->look_page);
    return status;
}

int cmd_look(const cli_options *options)
{
    session s;
    train_data d = {.one_split_will_do = true};
    cli_options used = *options;
    used.batch_size = 1; /* so that few images are enough */
    int status = session_init(&s, "look", &used);
    if (status == 0)
        status = session_need(&s, "DATA", options->data_path);
    if (status == 0)
        status = session_check_output(&s, options->look_page);
    if (status == 0)
        status = train_data_open(&s, &used, &d);
    if (status == 0) {
        train_data_print(&s, &d);
        status = write_page(&s, &d);
    }
    train_data_done(&d);
    return session_done(&s, status);
}
