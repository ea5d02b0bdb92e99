/* weft pack: a data set in fewer, larger files: tar shards of its pictures, or pixels of one size.
 *
 * Files are written in a hidden folder inside the output folder, and come out of it when all splits
 * are whole: half a data set would train without a word. */
#include <dirent.h>
#include <errno.h>
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

/* The folder inside the output folder that files are written in. */
#define UNFINISHED ".unfinished"

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
    const int length =
        snprintf(path, sizeof(path), "%s/" UNFINISHED "/%s.safetensors", o->pack_folder, name);
    if (length >= (int)sizeof(path))
        return session_usage(s, "%s: too long a path", o->pack_folder);
    weft_status status = WEFT_OK;
    if (o->pack_size || !info->pictures) {
        status = weft_pack_pixels(ds, path, &opts, &s->err);
    } else {
        *strrchr(path, '/') = '\0';
        status = weft_pack_shards(ds, path, name, &opts, &shards, &s->err);
    }
    if (status != WEFT_OK)
        return session_stop(s, status);
    if (shards)
        cli_print(stdout, "%s  %lld pictures in %lld shard%s: %s/%s-*.tar\n", name,
                  (long long)info->count, (long long)shards, shards == 1 ? "" : "s", o->pack_folder,
                  name);
    else
        cli_print(stdout, "%s  %lld images: %s/%s.safetensors\n", name, (long long)info->count,
                  o->pack_folder, name);
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

/* The labels of all splits follow the names of the first one's classes, as in training: shards have
 * one list of names. */
static int follow_first(session *s, const weft_dataset *first, weft_dataset *ds)
{
    const weft_dataset_info *info = weft_dataset_get_info(first);
    bool moved;
    if (!info->class_names || weft_dataset_follow_names(ds, info->class_names, info->classes,
                                                        info->source, &moved, &s->err) == WEFT_OK)
        return 0;
    return session_fail(s);
}

/* Old shards would be read beside the new ones. */
static int make_folder(session *s, char *unfinished, size_t size, bool *made)
{
    const char *folder = s->options->pack_folder;
    struct stat st;
    if (snprintf(unfinished, size, "%s/" UNFINISHED, folder) >= (int)size)
        return session_usage(s, "%s: too long a path", folder);
    *made = mkdir(folder, 0777) == 0;
    if (!*made && (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode)))
        return session_usage(s, "%s: cannot be made a folder", folder);
    DIR *dir = opendir(folder);
    bool empty = dir != NULL;
    for (struct dirent *e; dir && empty && (e = readdir(dir));)
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    if (dir)
        closedir(dir);
    if (!empty)
        return session_usage(s, "%s: is not empty; --output names a new folder", folder);
    return mkdir(unfinished, 0777) == 0
               ? 0
               : session_usage(s, "%s: no folder can be made there: %s", folder, strerror(errno));
}

/* Moves the files into the output folder, or removes them and the folder where packing has failed. */
static int finish(session *s, const char *unfinished, bool made, int status)
{
    const char *folder = s->options->pack_folder;
    DIR *dir = opendir(unfinished);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char from[4096 + 256], to[4096 + 256];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(from, sizeof(from), "%s/%s", unfinished, e->d_name);
        snprintf(to, sizeof(to), "%s/%s", folder, e->d_name);
        if (status == 0 && rename(from, to) != 0) {
            cli_print(stderr, "weft pack: %s: %s\n", to, strerror(errno));
            status = EXIT_FAILED;
        } else if (status != 0) {
            unlink(from);
        }
    }
    if (dir)
        closedir(dir);
    rmdir(unfinished);
    if (status != 0 && made)
        rmdir(folder);
    return status;
}

int cmd_pack(const cli_options *options)
{
    session s;
    char unfinished[4096] = "";
    weft_dataset *sets[MOST_SPLITS] = {NULL};
    int status = session_init(&s, "pack", options);
    if (status == 0)
        status = session_need(&s, "DATA", options->data_path);
    if (status == 0)
        status = session_need(&s, "--output", options->pack_folder);
    signals_catch();
    for (int i = 0; status == 0 && i < MOST_SPLITS; i++) {
        status = open_split(&s, i, &sets[i]);
        if (status == 0 && i > 0 && sets[i])
            status = follow_first(&s, sets[0], sets[i]);
    }
    bool made = false, begun = false;
    if (status == 0) {
        status = make_folder(&s, unfinished, sizeof(unfinished), &made);
        begun = status == 0;
    }
    for (int i = 0; status == 0 && i < MOST_SPLITS; i++)
        if (sets[i])
            status = pack_split(&s, sets[i], splits[i].name);
    if (begun)
        status = finish(&s, unfinished, made, status);
    for (int i = 0; i < MOST_SPLITS; i++)
        weft_dataset_destroy(sets[i]);
    return session_done(&s, status);
}
