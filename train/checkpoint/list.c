/* Which checkpoints a folder has, and which of them stay. See disk.h. Any thread. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "engine/files/file_calls.h"
#include "train/checkpoint/disk.h"

/* Reads "step-0000000120" or "step-0000000120-2". */
static bool parse_name(const char *name, struct wf_ckpt_listed *item)
{
    long long step;
    int number = 1, end = -1;
    if (strlen(name) >= sizeof item->name || sscanf(name, "step-%lld%n", &step, &end) != 1 ||
        step < 0 || name[5] < '0' || name[5] > '9')
        return false;
    if (name[end] != '\0') {
        const char *rest = name + end;
        end = -1;
        if (sscanf(rest, "-%d%n", &number, &end) != 1 || number < 2 || end < 0 || rest[end] != '\0')
            return false;
    }
    *item = (struct wf_ckpt_listed){.step = step, .number = number};
    strcpy(item->name, name);
    return true;
}

static int newest_first(const void *a, const void *b)
{
    const struct wf_ckpt_listed *x = a, *y = b;
    if (x->step != y->step)
        return x->step < y->step ? 1 : -1;
    return (x->number < y->number) - (x->number > y->number);
}

weft_status wf_ckpt_list_read(const char *folder, wf_ckpt_list *list, weft_error *err)
{
    wf_ckpt_list read = {0};
    struct wf_ckpt_listed item;
    weft_status status = WEFT_OK;
    DIR *d = opendir(folder);
    if (!d && errno != ENOENT)
        return wf_error_set(err, errno == ENOMEM ? WEFT_ERR_NOMEM : WEFT_ERR_IO,
                            "cannot read the folder %s: %s", folder, strerror(errno));
    for (struct dirent *e; d && status == WEFT_OK && (e = readdir(d));) {
        if (!parse_name(e->d_name, &item))
            continue;
        if (wf_grow(&read.item, &read.cap, read.n, 1, sizeof *read.item))
            read.item[read.n++] = item;
        else
            status = wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for the checkpoints of %s",
                                  folder);
    }
    if (d)
        closedir(d);
    if (status != WEFT_OK) {
        wf_ckpt_list_done(&read);
        return status;
    }
    if (read.n)
        qsort(read.item, (size_t)read.n, sizeof *read.item, newest_first);
    *list = read;
    return WEFT_OK;
}

void wf_ckpt_list_done(wf_ckpt_list *list)
{
    wf_free(list->item);
    *list = (wf_ckpt_list){0};
}

weft_status wf_ckpt_new_name(const char *folder, int64_t step, char name[48], weft_error *err)
{
    wf_ckpt_list list = {0};
    int number = 1;
    WF_TRY(wf_ckpt_list_read(folder, &list, err));
    for (int i = 0; i < list.n; i++)
        if (list.item[i].step == step && list.item[i].number >= number)
            number = list.item[i].number + 1;
    wf_ckpt_list_done(&list);
    int n = snprintf(name, 48, "step-%010lld", (long long)step);
    if (number > 1)
        snprintf(name + n, 48 - (size_t)n, "-%d", number);
    return WEFT_OK;
}

void wf_ckpt_clean(const char *folder)
{
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (strncmp(e->d_name, ".new-", 5) != 0 && strncmp(e->d_name, ".old-", 5) != 0)
            continue;
        char *path = wf_asprintf("%s/%s", folder, e->d_name);
        if (path)
            wf_folder_remove(path);
        wf_free(path);
    }
    if (d)
        closedir(d);
}

void wf_ckpt_prune(const char *folder, int keep, int64_t step, int64_t best)
{
    wf_ckpt_list list = {0};
    if (wf_ckpt_list_read(folder, &list, NULL) != WEFT_OK)
        return;
    for (int i = 0, kept = 0; i < list.n; i++) {
        const struct wf_ckpt_listed *item = &list.item[i];
        bool later = item->step > step;
        if (!later && (kept++ < keep || item->step == best))
            continue;
        char *path = wf_asprintf("%s/%s", folder, item->name);
        if (path)
            wf_ckpt_remove(path);
        wf_free(path);
    }
    wf_ckpt_list_done(&list);
}
