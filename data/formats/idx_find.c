/* Finds IDX files by their names:
 *     [prefix-]SPLIT-KIND{-|.}idxN-ubyte[.gz]
 *
 * SPLIT is train, t10k or test, KIND images (N is 3) or labels (N is 1). MNIST's and
 * Fashion-MNIST's have no prefix, EMNIST's say which of its six data sets they are
 * ("emnist-letters-"). They lie in the directory named, or where torchvision puts them below it. */
#include "data/formats/idx_find.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/error.h"

static const char *const folders[] = {
    "", "FashionMNIST/raw/", "MNIST/raw/", "KMNIST/raw/", "EMNIST/raw/", "EMNIST/raw/gzip/"};

/* The parts of a name. */
typedef struct idx_name {
    size_t prefix; /* length of the prefix, with its hyphen */
    int split;     /* WEFT_SPLIT_TRAIN or WEFT_SPLIT_TEST */
    bool images;
    bool plain; /* not gzipped */
} idx_name;

/* Removes `end` from the end of the n bytes of text. False: they do not end like this. */
static bool cut(const char *text, size_t *n, const char *end)
{
    size_t k = strlen(end);
    if (*n < k || memcmp(text + *n - k, end, k) != 0)
        return false;
    *n -= k;
    return true;
}

static bool parse_name(const char *text, idx_name *name)
{
    static const char *const kinds[] = {"-images-idx3-ubyte", "-images.idx3-ubyte",
                                        "-labels-idx1-ubyte", "-labels.idx1-ubyte"};
    static const char *const splits[] = {"train", "t10k", "test"};
    size_t n = strlen(text);
    name->plain = !cut(text, &n, ".gz");
    int kind = 0, split = 0;
    while (kind < 4 && !cut(text, &n, kinds[kind]))
        kind++;
    while (kind < 4 && split < 3 && !cut(text, &n, splits[split]))
        split++;
    if (kind == 4 || split == 3 || (n > 0 && text[n - 1] != '-'))
        return false;
    name->images = kind < 2;
    name->split = split == 0 ? WEFT_SPLIT_TRAIN : WEFT_SPLIT_TEST;
    name->prefix = n;
    return true;
}

/* The state of a search. */
typedef struct search {
    const char *prefix; /* prefix of the names to look for; NULL: any */
    wf_idx_files *files;
    char found[PATH_MAX]; /* folder and prefix of the data set found; "": none yet */
    char other[PATH_MAX]; /* folder and prefix of a second data set; "": none */
} search;

/* Notes one file of the folder, whose name ends in a slash. */
static void note(search *s, const char *folder, const char *file)
{
    idx_name name;
    char whole[PATH_MAX], set[PATH_MAX];
    if (!parse_name(file, &name) ||
        snprintf(whole, sizeof whole, "%s%s", folder, file) >= PATH_MAX ||
        (s->prefix && (strlen(s->prefix) != name.prefix - (name.prefix > 0) ||
                       strncmp(file, s->prefix, strlen(s->prefix)) != 0)))
        return;
    int length = (int)name.prefix - (name.prefix > 0);
    snprintf(set, sizeof set, "%s", whole);
    set[strlen(folder) + (size_t)length] = '\0';
    if (!s->found[0])
        memcpy(s->found, set, sizeof set);
    else if (strcmp(s->found, set) != 0)
        memcpy(s->other, set, sizeof set);
    char *to = name.images ? s->files->images[name.split] : s->files->labels[name.split];
    /* Independent of the order in which the folder is read: prefers plain files to gzipped ones,
     * then goes by name. */
    bool was_plain = to[0] && strcmp(to + strlen(to) - 3, ".gz") != 0;
    if (!to[0] || (name.plain && !was_plain) || (name.plain == was_plain && strcmp(whole, to) < 0))
        memcpy(to, whole, strlen(whole) + 1);
}

static weft_status look_through(search *s, const char *folder, weft_error *err)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return errno == ENOENT || errno == ENOTDIR
                   ? WEFT_OK
                   : wf_error_set(err, WEFT_ERR_IO, "%s: cannot be listed: %s", folder,
                                  strerror(errno));
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        note(s, folder, e->d_name);
    closedir(dir);
    return WEFT_OK;
}

weft_status wf_idx_find(const char *path, wf_idx_files *files, bool *there, weft_error *err)
{
    struct stat st;
    char folder[PATH_MAX];
    search s = {.files = files};
    bool is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    const char *slash = strrchr(path, '/');
    int length = (int)strlen(path);
    if (!is_folder) {
        s.prefix = slash ? slash + 1 : path;
        length = slash ? (int)(slash - path) : 0;
    }
    for (size_t i = 0; i < sizeof folders / sizeof *folders && (is_folder || i == 0); i++) {
        int n = snprintf(folder, sizeof folder, "%.*s%s%s", length, path,
                         length > 0 || slash ? "/" : "./", folders[i]);
        if (n < PATH_MAX)
            WF_TRY(look_through(&s, folder, err));
    }
    *there = s.found[0] != '\0';
    if (s.other[0])
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "%s: holds several data sets, among them %s and %s; name one of them",
                            path, s.found, s.other);
    return WEFT_OK;
}

weft_status wf_idx_need(const char *path, const wf_idx_files *files, weft_split split,
                        weft_error *err)
{
    int i = split == WEFT_SPLIT_TRAIN ? WEFT_SPLIT_TRAIN : WEFT_SPLIT_TEST;
    bool images = files->images[i][0] != '\0';
    if (images && files->labels[i][0])
        return WEFT_OK;
    return wf_error_set(err, WEFT_ERR_NOT_FOUND, "%s: has no %s-%s-ubyte, with or without .gz",
                        path, i == WEFT_SPLIT_TRAIN ? "train" : "t10k",
                        images ? "labels-idx1" : "images-idx3");
}
