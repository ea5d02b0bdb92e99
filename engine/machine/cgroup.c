/* Control groups: finds the process's group in each hierarchy, and walks from it to the root.
 *
 * Threading: no state; any thread. */
#include "engine/machine/cgroup.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One hierarchy: where it is mounted, and the process's group below the mount point. */
typedef struct hierarchy {
    int version; /* 1 or 2; 0: there is none */
    char mount[PATH_MAX];
    char group[PATH_MAX]; /* "" or "/slurm/job_7", from the mount point */
} hierarchy;

typedef void (*visit_fn)(const char *dir, const char *group, int version, void *user);

static FILE *open_under(const char *root, const char *path)
{
    char full[PATH_MAX];
    int n = snprintf(full, sizeof(full), "%s%s", root ? root : "", path);
    return n < (int)sizeof(full) ? fopen(full, "re") : NULL;
}

static void copy_text(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from);
}

/* Copies a name. Cuts a long one at the front: its end says more. */
static void copy_name(char *to, const char *group)
{
    size_t length = strlen(group);
    if (length == 0)
        group = "/";
    else if (length >= WF_CGROUP_NAME)
        group += length - (WF_CGROUP_NAME - 1);
    copy_text(to, WF_CGROUP_NAME, group);
}

/* Whether the comma-separated list has the word. */
static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *p = list; p; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, word, length) == 0 && (p[length] == ',' || p[length] == '\0'))
            return true;
    }
    return false;
}

/* The process's path in the hierarchy of `controller` (version 1) or in the unified one (NULL). */
static bool find_path(const char *root, const char *controller, char *path, size_t size)
{
    FILE *f = open_under(root, "/proc/self/cgroup");
    if (!f)
        return false;
    char *line = NULL;
    size_t capacity = 0;
    bool found = false;
    while (!found && getline(&line, &capacity, f) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        char *list = strchr(line, ':'); /* 4:cpu,cpuacct:/path, or 0::/path */
        char *p = list ? strchr(list + 1, ':') : NULL;
        if (!p)
            continue;
        *p = '\0';
        found = controller ? has_word(list + 1, controller)
                           : strncmp(line, "0:", 2) == 0 && list[1] == '\0';
        if (found)
            copy_text(path, size, p + 1);
    }
    free(line);
    fclose(f);
    return found;
}

/* mountinfo writes spaces and the like as \040. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *p = text; *p; to++) {
        if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' &&
            p[3] >= '0' && p[3] <= '7') {
            *to = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0'));
            p += 4;
        } else {
            *to = *p++;
        }
    }
    *to = '\0';
}

/* The part of `path` after `prefix`; NULL where `path` does not begin with `prefix`. */
static const char *below(const char *path, const char *prefix)
{
    size_t length = strcmp(prefix, "/") == 0 ? 0 : strlen(prefix);
    if (strncmp(path, prefix, length) != 0 || (path[length] != '/' && path[length] != '\0'))
        return NULL;
    return strcmp(path + length, "/") == 0 ? "" : path + length;
}

/* Splits a line of mountinfo:
 *     41 31 0:38 /root /mount rw,relatime shared:9 - cgroup2 source rw,cpu
 * into its root, mount point, file system type and options. */
static bool split_mount(char *line, char *field[4])
{
    char *save, *word = strtok_r(line, " \n", &save);
    for (int i = 0; word && i < 5; i++, word = strtok_r(NULL, " \n", &save))
        if (i >= 3)
            field[i - 3] = word;
    while (word && strcmp(word, "-") != 0)
        word = strtok_r(NULL, " \n", &save);
    if (!word)
        return false;
    field[2] = strtok_r(NULL, " \n", &save);
    strtok_r(NULL, " \n", &save); /* the source */
    field[3] = strtok_r(NULL, " \n", &save);
    return field[2] && field[3];
}

static hierarchy find_hierarchy(const char *root, const char *controller)
{
    hierarchy h = {0};
    char path[PATH_MAX];
    if (!find_path(root, controller, path, sizeof(path)))
        return h;
    FILE *f = open_under(root, "/proc/self/mountinfo");
    if (!f)
        return h;
    char *line = NULL, *field[4];
    size_t capacity = 0;
    bool exact = false;
    while (!exact && getline(&line, &capacity, f) >= 0) {
        if (!split_mount(line, field))
            continue;
        if (controller ? strcmp(field[2], "cgroup") != 0 || !has_word(field[3], controller)
                       : strcmp(field[2], "cgroup2") != 0)
            continue;
        unescape(field[0]);
        unescape(field[1]);
        /* A container may see only a part of the hierarchy, mounted as if it were all of it. Then
         * its own group is the mount point. ("/../x" also names a group outside of what we see.) */
        const char *rest = strncmp(path, "/..", 3) == 0 ? NULL : below(path, field[0]);
        exact = rest != NULL;
        if (!exact && h.version)
            continue;
        h.version = controller ? 1 : 2;
        copy_text(h.mount, sizeof(h.mount), field[1]);
        copy_text(h.group, sizeof(h.group), exact ? rest : "");
    }
    free(line);
    fclose(f);
    return h;
}

/* Visits the process's group and all groups above it, in both kinds of hierarchy. Where both kinds
 * exist, the controller is in one of them, and its files do not exist in the other. */
static void walk_up(const char *root, const char *controller, visit_fn visit, void *user)
{
    for (int version = 1; version <= 2; version++) {
        hierarchy h = find_hierarchy(root, version == 1 ? controller : NULL);
        if (!h.version)
            continue;
        for (;;) {
            char dir[2 * PATH_MAX];
            snprintf(dir, sizeof(dir), "%s%s", h.mount, h.group);
            visit(dir, h.group, version, user);
            char *slash = strrchr(h.group, '/');
            if (!slash)
                break;
            *slash = '\0';
        }
    }
}

typedef struct reader {
    const char *root;
    void *out;
} reader;

/* Reads the first line of a file. */
static bool read_line(const char *root, const char *dir, const char *name, char *text, int size)
{
    char path[2 * PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = open_under(root, path);
    if (!f)
        return false;
    bool ok = fgets(text, size, f) != NULL;
    fclose(f);
    return ok;
}

/* Reads a number of bytes; "max" and everything that is not a number gives UINT64_MAX. */
static uint64_t read_bytes(const char *root, const char *dir, const char *name)
{
    char text[64];
    unsigned long long value;
    if (!read_line(root, dir, name, text, sizeof(text)) || sscanf(text, "%llu", &value) != 1)
        return UINT64_MAX;
    return value;
}

static void visit_cpu(const char *dir, const char *group, int version, void *user)
{
    const reader *r = user;
    wf_cgroup_cpu *out = r->out;
    char text[64];
    double quota = 0, period = 0;
    if (version == 2) { /* "400000 100000" or "max 100000" */
        if (!read_line(r->root, dir, "cpu.max", text, sizeof(text)) ||
            sscanf(text, "%lf %lf", &quota, &period) != 2)
            return;
    } else { /* -1: no limit */
        if (!read_line(r->root, dir, "cpu.cfs_quota_us", text, sizeof(text)) ||
            sscanf(text, "%lf", &quota) != 1 ||
            !read_line(r->root, dir, "cpu.cfs_period_us", text, sizeof(text)) ||
            sscanf(text, "%lf", &period) != 1)
            return;
    }
    if (!(quota > 0 && period > 0))
        return;
    double cpus = quota / period;
    if (out->cpus == 0 || cpus < out->cpus) {
        out->cpus = cpus;
        copy_name(out->group, group);
    }
}

wf_cgroup_cpu wf_cgroup_read_cpu(const char *root)
{
    wf_cgroup_cpu cpu = {0};
    reader r = {root, &cpu};
    walk_up(root, "cpu", visit_cpu, &r);
    return cpu;
}

/* Bytes of file pages that were not used lately: the kernel drops them when the group needs
 * memory. */
static uint64_t read_droppable(const char *root, const char *dir, int version)
{
    char path[2 * PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/memory.stat", dir);
    FILE *f = open_under(root, path);
    if (!f)
        return 0;
    const char *format = version == 2 ? "inactive_file %llu" : "total_inactive_file %llu";
    char text[256];
    unsigned long long value = 0;
    while (fgets(text, sizeof(text), f) && sscanf(text, format, &value) != 1)
        ;
    fclose(f);
    return value;
}

static void visit_memory(const char *dir, const char *group, int version, void *user)
{
    const reader *r = user;
    wf_cgroup_memory *out = r->out;
    uint64_t limit, used;
    if (version == 2) {
        limit = read_bytes(r->root, dir, "memory.max");
        /* Above `high` the kernel does not kill the group, but slows it down so much that it is of
         * no use. */
        uint64_t high = read_bytes(r->root, dir, "memory.high");
        limit = high < limit ? high : limit;
        used = read_bytes(r->root, dir, "memory.current");
    } else {
        limit = read_bytes(r->root, dir, "memory.limit_in_bytes");
        used = read_bytes(r->root, dir, "memory.usage_in_bytes");
    }
    /* version 1 writes "no limit" as INT64_MAX rounded to whole pages */
    if (limit >= (uint64_t)INT64_MAX / 2)
        return;
    if (used == UINT64_MAX)
        used = 0;
    uint64_t droppable = read_droppable(r->root, dir, version);
    used = droppable < used ? used - droppable : 0;
    uint64_t room = used < limit ? limit - used : 0;
    if (!out->limited || limit < out->limit)
        out->limit = limit;
    if (!out->limited || room < out->room) {
        out->room = room;
        copy_name(out->group, group);
    }
    out->limited = true;
}

wf_cgroup_memory wf_cgroup_read_memory(const char *root)
{
    wf_cgroup_memory memory = {0};
    reader r = {root, &memory};
    walk_up(root, "memory", visit_memory, &r);
    return memory;
}
