/* Parser of benchdnn's convolution descriptors; see shapes.h. No state, any thread. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/shapes/shapes.h"

enum { G, MB, IC, IH, IW, OC, OH, OW, KH, KW, SH, SW, DH, DW, PH, PW, KEYS };
static const char *const keys[KEYS] = {"g",  "mb", "ic", "ih", "iw", "oc", "oh", "ow",
                                       "kh", "kw", "sh", "sw", "dh", "dw", "ph", "pw"};
#define MISSING (-1)

#ifndef WF_SHAPES_DIR /* the build gives the full path */
#define WF_SHAPES_DIR "tests/shapes"
#endif

const char *const wf_shapes_files[] = {
    WF_SHAPES_DIR "/conv2d_small",
    WF_SHAPES_DIR "/odd",
    WF_SHAPES_DIR "/resnet18",
    WF_SHAPES_DIR "/resnet50",
    WF_SHAPES_DIR "/resnext50",
    WF_SHAPES_DIR "/vgg16",
    WF_SHAPES_DIR "/googlenet",
    WF_SHAPES_DIR "/mobilenet_v2",
    WF_SHAPES_DIR "/densenet121",
    WF_SHAPES_DIR "/efficientnet_b0_depthwise",
    WF_SHAPES_DIR "/mobilenet_v3_depthwise",
    WF_SHAPES_DIR "/shufflenet_v2_depthwise",
    NULL,
};

/* A number of 0..1e6; -1 when there is none. Advances *p. */
static int number(const char **p)
{
    long value = 0;
    if (!isdigit((unsigned char)**p))
        return MISSING;
    while (isdigit((unsigned char)**p) && value <= 1000000)
        value = value * 10 + (*(*p)++ - '0');
    return value <= 1000000 ? (int)value : MISSING;
}

/* Cuts "*N" off the name. */
static bool read_count(wf_shape_case *c, char *why, size_t size)
{
    char *star = strrchr(c->name, '*');
    c->count = 1;
    if (!star)
        return true;
    const char *p = star + 1;
    c->count = number(&p);
    if (c->count < 1 || *p) {
        snprintf(why, size, "behind * in the name stands how many layers have the shape");
        return false;
    }
    *star = '\0';
    return true;
}

static bool read_keys(const char *text, int v[KEYS], char *name, size_t name_size, char *why,
                      size_t size)
{
    const char *p = text;
    while (*p) {
        int key = 0;
        if (*p == '_') {
            p++;
            continue;
        }
        if (p[0] == 'n' && p[1] == '"') {
            const char *end = strchr(p + 2, '"');
            if (!end || end[1]) {
                snprintf(why, size, "the name must be quoted and come last");
                return false;
            }
            snprintf(name, name_size, "%.*s", (int)(end - p - 2), p + 2);
            return true;
        }
        while (key < KEYS && strncmp(p, keys[key], strlen(keys[key])) != 0)
            key++;
        if (key == KEYS) {
            snprintf(why, size, "unknown field at \"%.12s\"", p);
            return false;
        }
        p += strlen(keys[key]);
        if (v[key] != MISSING) {
            snprintf(why, size, "%s is given twice", keys[key]);
            return false;
        }
        v[key] = number(&p);
        if (v[key] == MISSING) {
            snprintf(why, size, "%s needs a number of at most 1000000", keys[key]);
            return false;
        }
    }
    return true;
}

/* One option, at *p: advances behind it and white space. */
static bool read_option(const char **p, weft_dtype *src, char *why, size_t size)
{
    static const struct {
        const char *text;
        weft_dtype src;
    } options[] = {{"--reset", WEFT_F32},
                   {"--dt=f32", WEFT_F32},
                   {"--dt=f32:f32:f32", WEFT_F32},
                   {"--dt=u8:f32:f32", WEFT_U8}};
    const size_t length = strcspn(*p, " \t");
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (strlen(options[i].text) == length && strncmp(*p, options[i].text, length) == 0) {
            *src = options[i].src;
            *p += length;
            *p += strspn(*p, " \t");
            return true;
        }
    snprintf(why, size, "unknown option \"%.*s\"", (int)length, *p);
    return false;
}

static bool read_options(const char **p, weft_dtype *src, char *why, size_t size)
{
    while (strncmp(*p, "--", 2) == 0)
        if (!read_option(p, src, why, size))
            return false;
    return true;
}

static void mirror(int v[KEYS], int h, int w)
{
    if (v[w] == MISSING)
        v[w] = v[h];
    else if (v[h] == MISSING)
        v[h] = v[w];
}

static void set_default(int v[KEYS], int key, int value)
{
    if (v[key] == MISSING)
        v[key] = value;
}

/* Completes padding and output along one dimension; the indices are of height or width. */
static bool complete(int v[KEYS], int in, int out, int k, int s, int d, int p, char *why,
                     size_t size)
{
    int extent = (v[k] - 1) * (v[d] + 1) + 1;
    if (v[p] == MISSING && v[out] == MISSING)
        v[p] = 0;
    if (v[p] == MISSING) {
        int both = (v[out] - 1) * v[s] + extent - v[in];
        v[p] = both > 0 ? both / 2 : 0;
    }
    int room = v[in] + 2 * v[p] - extent;
    int derived = room < 0 ? 0 : room / v[s] + 1;
    if (derived < 1) {
        snprintf(why, size, "the output is empty: %s%d %s%d %s%d", keys[in], v[in], keys[k], v[k],
                 keys[p], v[p]);
        return false;
    }
    if (v[out] != MISSING && v[out] != derived) {
        snprintf(why, size, "%s is %d, but %s%d %s%d %s%d %s%d give %d", keys[out], v[out],
                 keys[in], v[in], keys[k], v[k], keys[s], v[s], keys[p], v[p], derived);
        return false;
    }
    v[out] = derived;
    return true;
}

bool wf_shape_parse(const char *text, wf_shape_case *out, char *why, size_t size)
{
    int v[KEYS];
    wf_shape_case c = {0};
    weft_dtype src = WEFT_F32;
    if (!read_options(&text, &src, why, size))
        return false;
    for (int i = 0; i < KEYS; i++)
        v[i] = MISSING;
    if (!read_keys(text, v, c.name, sizeof c.name, why, size) || !read_count(&c, why, size))
        return false;
    set_default(v, G, 1);
    set_default(v, MB, 2);
    const int pairs[][2] = {{IH, IW}, {OH, OW}, {KH, KW}, {SH, SW}, {DH, DW}, {PH, PW}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        mirror(v, pairs[i][0], pairs[i][1]);
    set_default(v, SH, 1);
    set_default(v, SW, 1);
    set_default(v, DH, 0);
    set_default(v, DW, 0);
    const int needed[] = {G, MB, IC, IH, IW, OC, KH, KW, SH, SW};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (v[needed[i]] < 1) {
            const char *what = v[needed[i]] == MISSING ? "is missing" : "must be at least 1";
            snprintf(why, size, "%s %s", keys[needed[i]], what);
            return false;
        }
    if (v[IC] % v[G] || v[OC] % v[G]) {
        snprintf(why, size, "g%d does not divide ic%d and oc%d", v[G], v[IC], v[OC]);
        return false;
    }
    if (!complete(v, IH, OH, KH, SH, DH, PH, why, size) ||
        !complete(v, IW, OW, KW, SW, DW, PW, why, size))
        return false;
    c.desc = (wf_conv2d_desc){.N = v[MB],
                              .C = v[IC],
                              .H = v[IH],
                              .W = v[IW],
                              .K = v[OC],
                              .R = v[KH],
                              .S = v[KW],
                              .P = v[OH],
                              .Q = v[OW],
                              .stride = {v[SH], v[SW]},
                              .padding = {v[PH], v[PW]},
                              .dilation = {v[DH] + 1, v[DW] + 1},
                              .groups = v[G],
                              .src_block = 1,
                              .dst_block = 1,
                              .src_type = src,
                              .weights_type = WEFT_F32,
                              .dst_type = WEFT_F32};
    *out = c;
    return true;
}

/* The line without comment and surrounding white space. */
static char *trim(char *line)
{
    line[strcspn(line, "#\r\n")] = 0;
    while (isspace((unsigned char)*line))
        line++;
    size_t n = strlen(line);
    while (n > 0 && isspace((unsigned char)line[n - 1]))
        line[--n] = 0;
    return line;
}

wf_shape_case *wf_shapes_read(const char *path, int *n, char *why, size_t size)
{
    char line[512], reason[160];
    wf_shape_case *cases = NULL;
    int count = 0;
    weft_dtype src = WEFT_F32;
    FILE *f = fopen(path, "r");
    if (!f) {
        snprintf(why, size, "%s: %s", path, strerror(errno));
        return NULL;
    }
    for (int at = 1; fgets(line, sizeof line, f); at++) {
        const char *text = trim(line);
        if (!read_options(&text, &src, reason, sizeof reason)) {
            snprintf(why, size, "%s:%d: %s", path, at, reason);
            goto fail;
        }
        if (!*text)
            continue;
        wf_shape_case *more = realloc(cases, (size_t)(count + 1) * sizeof *cases);
        if (!more) {
            snprintf(why, size, "%s: out of memory", path);
            goto fail;
        }
        cases = more;
        if (!wf_shape_parse(text, &cases[count], reason, sizeof reason)) {
            snprintf(why, size, "%s:%d: %s", path, at, reason);
            goto fail;
        }
        cases[count].desc.src_type = src;
        count++;
    }
    if (count == 0) {
        snprintf(why, size, "%s: no shapes", path);
        goto fail;
    }
    fclose(f);
    *n = count;
    return cases;
fail:
    fclose(f);
    free(cases);
    return NULL;
}
