/* weft pack: a data set in fewer, larger files: tar shards of its pictures, or pixels of one size. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "progress.h"
#include "session.h"
#include "signals.h"

enum { MOST_SPLITS = 3, MEGABYTE = 1000000, SECONDS_BETWEEN_LINES = 10 };

static const struct {
    weft_split split;
    const char *name;
} splits[MOST_SPLITS] = {
    {WEFT_SPLIT_TRAIN, "train"}, {WEFT_SPLIT_VAL, "val"}, {WEFT_SPLIT_TEST, "test"}};

/* How far a split is. */
typedef struct packed {
    const char *name;
    time_t told; /* when a line said so */
} packed;

static bool on_sample(void *user, int64_t done, int64_t count)
{
    packed *p = user;
    const time_t now = time(NULL);
    if (now - p->told >= SECONDS_BETWEEN_LINES) {
        p->told = now;
        cli_print(stderr, "%s  %lld of %lld\n", p->name, (long long)done, (long long)count);
    }
    return !signals_seen();
}

static int pack_split(session *s, const weft_dataset *ds, const char *name)
{
    const cli_options *o = s->options;
    const weft_dataset_info *info = weft_dataset_get_info(ds);
    weft_transform transform = WEFT_TRANSFORM_INIT;
    packed far = {.name = name, .told = time(NULL)};
    char path[4096];
    int64_t shards = 0;
    weft_pack_opts opts = {.shard_bytes = o->shard_size * MEGABYTE,
                           .workers = WEFT_WORKERS_AUTO,
                           .progress = on_sample,
                           .user = &far};
    if (o->pack_size) {
        transform.height = transform.width = (int)o->pack_size;
        transform.resize = (int)(o->val_resize_size ? o->val_resize_size : o->pack_size);
        transform.interpolation = session_interpolation(s);
        opts.transform = &transform;
    }
    const int length = snprintf(path, sizeof(path), "%s/%s.safetensors", o->pack_folder, name);
    if (length >= (int)sizeof(path))
        return session_usage(s, "%s: too long a path", o->pack_folder);
    weft_status status = o->pack_size || !info->pictures
                             ? weft_pack_pixels(ds, path, &opts, &s->err)
                             : weft_pack_shards(ds, o->pack_folder, name, &opts, &shards, &s->err);
    if (status != WEFT_OK)
        return session_stop(s, status);
    if (shards)
        cli_print(stdout, "%s  %lld pictures in %lld shard%s: %s/%s-*.tar\n", name,
                  (long long)info->count, (long long)shards, shards == 1 ? "" : "s", o->pack_folder,
                  name);
    else
        cli_print(stdout, "%s  %lld images: %s\n", name, (long long)info->count, path);
    return 0;
}

/* A split that the source does not have of its own is another one again, and is left out. */
static int open_split(session *s, int i, weft_dataset **ds)
{
    weft_error err = WEFT_ERROR_INIT;
    weft_status status = session_try_data(s, s->options->data_path, splits[i].split, ds, &err);
    if (status == WEFT_ERR_NOT_FOUND && i > 0)
        return 0;
    if (status != WEFT_OK) {
        s->err = err;
        return session_fail(s);
    }
    const weft_dataset_info *info = weft_dataset_get_info(*ds);
    if (i > 0 && (info->only_split || info->split != splits[i].split)) {
        weft_dataset_destroy(*ds);
        *ds = NULL;
    }
    return 0;
}

/* Old shards would be read beside the new ones. */
static int make_folder(session *s)
{
    const char *folder = s->options->pack_folder;
    if (mkdir(folder, 0777) == 0)
        return 0;
    struct stat st;
    if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode))
        return session_usage(s, "%s: cannot be made a folder", folder);
    return rmdir(folder) == 0 && mkdir(folder, 0777) == 0
               ? 0
               : session_usage(s, "%s: is not empty; --output names a new folder", folder);
}

int cmd_pack(const cli_options *options)
{
    session s;
    int status = session_init(&s, "pack", options);
    if (status == 0)
        status = session_need(&s, "DATA", options->data_path);
    if (status == 0)
        status = session_need(&s, "--output", options->pack_folder);
    signals_catch();
    for (int i = 0; status == 0 && i < MOST_SPLITS; i++) {
        weft_dataset *ds = NULL;
        status = open_split(&s, i, &ds);
        if (status == 0 && i == 0)
            status = make_folder(&s);
        if (status == 0 && ds)
            status = pack_split(&s, ds, splits[i].name);
        weft_dataset_destroy(ds);
    }
    return session_done(&s, status);
}
