/* Runs transforms on pictures that test_transforms.py sends.
 *
 * A job is a line of words on stdin, then the bytes it announces; the answer is bytes on stdout.
 *
 *     resize C H W top left h w box0 box1 box2 box3 out_h out_w filter hflip vflip
 *         an interleaved picture (H, W, C) -> planes (C, out_h, out_w)
 *     op NUMBER magnitude C H W filter   an op of ops.h: planes -> planes
 *     adjust WHAT value C H W        hue, grey, blur, saturation, ...: planes -> planes
 *     magnitudes policy op H W       -> 31 doubles
 *     apply C H W seed epoch sample member=value ...
 *         wf_transform_apply of a picture -> planes (C, height, width)
 *     draws H W seed epoch sample member=value ...
 *         what apply draws for a picture of that size -> DRAWS doubles
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/transform/policy.h"
#include "data/transform/steps.h"

static void *need(void *p)
{
    if (!p) {
        fprintf(stderr, "transform_driver: out of memory\n");
        exit(1);
    }
    return p;
}

static void bad(const char *what)
{
    fprintf(stderr, "transform_driver: %s\n", what);
    exit(1);
}

/* `bytes` bytes of stdin, in new memory. */
static uint8_t *receive(size_t bytes)
{
    uint8_t *p = need(malloc(bytes));
    if (fread(p, 1, bytes, stdin) != bytes)
        bad("stdin ends within a picture");
    return p;
}

static void resize(wf_transform_state *s, const char *words)
{
    wf_picture in;
    wf_placement p = {0};
    int filter, hflip, vflip;
    if (sscanf(words, "%d %d %d %d %d %d %d %f %f %f %f %d %d %d %d %d", &in.channels, &in.height,
               &in.width, &p.top, &p.left, &p.height, &p.width, &p.box[0], &p.box[1], &p.box[2],
               &p.box[3], &p.to_height, &p.to_width, &filter, &hflip, &vflip) != 16)
        bad("bad resize");
    p.crop_height = p.to_height;
    p.crop_width = p.to_width;
    p.filter = (wf_resize_filter)filter;
    p.hflip = hflip;
    p.vflip = vflip;
    uint8_t *pixels = receive((size_t)in.channels * (size_t)in.height * (size_t)in.width);
    const size_t plane = (size_t)p.to_height * (size_t)p.to_width;
    uint8_t *y = need(malloc(plane * (size_t)in.channels));
    in.pixels = pixels;
    if (wf_place(s, &in, &p, y, (size_t)p.to_width, plane, NULL) != WEFT_OK)
        bad("resize failed");
    fwrite(y, 1, plane * (size_t)in.channels, stdout);
    free(y);
    free(pixels);
}

/* Planes of stdin, in place. */
typedef struct planes {
    wf_aug_image image;
    size_t bytes;
} planes;

static planes receive_planes(wf_transform_state *s, int C, int H, int W)
{
    const size_t bytes = (size_t)C * (size_t)H * (size_t)W;
    return (planes){{s, C, H, W, receive(bytes), WF_RESIZE_NEAREST, NULL}, bytes};
}

static void send_planes(planes *p)
{
    fwrite(p->image.pixels, 1, p->bytes, stdout);
    free(p->image.pixels);
}

static void run_op(wf_transform_state *s, const char *words)
{
    int op, C, H, W, filter;
    double magnitude;
    if (sscanf(words, "%d %lf %d %d %d %d", &op, &magnitude, &C, &H, &W, &filter) != 6)
        bad("bad op");
    planes p = receive_planes(s, C, H, W);
    p.image.filter = (wf_resize_filter)filter;
    if (wf_aug_apply(&p.image, (wf_aug)op, magnitude) != WEFT_OK)
        bad("op failed");
    send_planes(&p);
}

static void adjust(wf_transform_state *s, const char *words)
{
    int C, H, W;
    char what[32];
    double value;
    if (sscanf(words, "%31s %lf %d %d %d", what, &value, &C, &H, &W) != 5)
        bad("bad adjust");
    planes p = receive_planes(s, C, H, W);
    weft_status status = WEFT_OK;
    if (!strcmp(what, "brightness"))
        wf_adjust_brightness(&p.image, value);
    else if (!strcmp(what, "contrast"))
        status = wf_adjust_contrast(&p.image, value);
    else if (!strcmp(what, "saturation"))
        status = wf_adjust_saturation(&p.image, value);
    else if (!strcmp(what, "sharpness"))
        status = wf_adjust_sharpness(&p.image, value);
    else if (!strcmp(what, "hue"))
        wf_adjust_hue(&p.image, value);
    else if (!strcmp(what, "grey"))
        status = wf_to_grey(&p.image);
    else if (!strcmp(what, "rotate"))
        status = wf_rotate(&p.image, WF_RESIZE_NEAREST, value);
    else if (!strncmp(what, "blur", 4)) /* blur13: 13 weights */
        status = wf_gaussian_blur(&p.image, atoi(what + 4), value);
    else
        bad("an unknown adjust");
    if (status != WEFT_OK)
        bad("adjust failed");
    send_planes(&p);
}

static void magnitudes(wf_transform_state *s, const char *words)
{
    int policy, op, H, W;
    if (sscanf(words, "%d %d %d %d", &policy, &op, &H, &W) != 4)
        bad("bad magnitudes");
    for (int i = 0; i < 31; i++) {
        bool is_signed;
        const double m =
            wf_aug_magnitude((weft_auto_augment)policy, (wf_aug)op, i, H, W, &is_signed);
        fwrite(&m, sizeof m, 1, stdout);
    }
}

/* ---- whole transforms ----------------------------------------------------------------------- */

#define MEMBER(kind, name)                                                                         \
    {                                                                                              \
#name, kind, offsetof(weft_transform, name)                                                \
    }
static const struct {
    const char *name;
    char kind; /* b bool, i int, d double */
    size_t at;
} members[] = {
    MEMBER('i', height),       MEMBER('i', width),        MEMBER('b', random_crop),
    MEMBER('i', resize),       MEMBER('i', crop_padding), MEMBER('i', interpolation),
    MEMBER('d', scale[0]),     MEMBER('d', scale[1]),     MEMBER('d', hflip),
    MEMBER('d', vflip),        MEMBER('i', auto_augment), MEMBER('i', ra_ops),
    MEMBER('i', ra_magnitude), MEMBER('d', brightness),   MEMBER('d', contrast),
    MEMBER('d', saturation),   MEMBER('d', hue),          MEMBER('d', grey),
    MEMBER('d', rotation),     MEMBER('d', erase),
};

static void set_member(weft_transform *t, const char *name, double value)
{
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        if (strcmp(members[i].name, name) != 0)
            continue;
        void *at = (char *)t + members[i].at;
        if (members[i].kind == 'd')
            *(double *)at = value;
        else if (members[i].kind == 'i')
            *(int *)at = (int)value;
        else
            *(bool *)at = value != 0;
        return;
    }
    bad(name);
}

/* The key and the members behind the picture's size. */
static weft_transform read_transform(const char *words, wf_transform_key *key)
{
    weft_transform t = WEFT_TRANSFORM_INIT;
    char name[32];
    double value;
    int used;
    long long epoch, sample;
    unsigned long long seed;
    weft_error err = {0};
    if (sscanf(words, "%llu %lld %lld %n", &seed, &epoch, &sample, &used) != 3)
        bad("bad key");
    *key = (wf_transform_key){seed, epoch, sample, 0};
    for (words += used; sscanf(words, "%31[^=]=%lf %n", name, &value, &used) == 2; words += used)
        set_member(&t, name, value);
    if (weft_transform_check(&t, &err) != WEFT_OK)
        bad(err.text);
    return t;
}

static void apply(wf_transform_state *s, const char *words)
{
    wf_picture in;
    wf_transform_key key;
    int used;
    if (sscanf(words, "%d %d %d %n", &in.channels, &in.height, &in.width, &used) != 3)
        bad("bad apply");
    const weft_transform t = read_transform(words + used, &key);
    uint8_t *pixels = receive((size_t)in.channels * (size_t)in.height * (size_t)in.width);
    const size_t bytes = (size_t)in.channels * (size_t)t.height * (size_t)t.width;
    uint8_t *image = need(malloc(bytes));
    in.pixels = pixels;
    if (wf_transform_apply(s, &t, &in, key, image, NULL) != WEFT_OK)
        bad("apply failed");
    fwrite(image, 1, bytes, stdout);
    free(image);
    free(pixels);
}

enum { DRAWS = 64 };

static void draws(wf_transform_state *s, const char *words)
{
    int H, W, used, n = 0;
    wf_transform_key key;
    if (sscanf(words, "%d %d %n", &H, &W, &used) != 2)
        bad("bad draws");
    const weft_transform t = read_transform(words + used, &key);
    const wf_placement p = wf_choose_placement(&t, H, W, &key);
    const wf_jitter j = wf_choose_jitter(&t, &key);
    const wf_erasure e = wf_choose_erasure(&t, &key);
    const wf_random r = wf_transform_draw(&key, WF_DRAW_GREY);
    wf_aug_step steps[WF_AUG_MOST_STEPS];
    double d[DRAWS] = {p.top, p.left, p.height, p.width, p.hflip, p.vflip, p.crop_top, p.crop_left};
    n = 8;
    for (int i = 0; i < 4; i++, n++)
        d[n] = j.order[i];
    for (int i = 0; i < 4; i++, n++)
        d[n] = j.factor[i];
    d[n++] = e.top;
    d[n++] = e.left;
    d[n++] = e.height;
    d[n++] = e.width;
    d[n++] = wf_draw_happens(r.v[0], t.grey);
    d[n++] = wf_draw_uniform(r.v[3], -t.rotation, t.rotation);
    const int augs = wf_choose_augs(&t, t.height, t.width, &key, steps);
    d[n++] = augs;
    for (int i = 0; i < augs; i++) {
        d[n++] = steps[i].op;
        d[n++] = steps[i].magnitude;
    }
    fwrite(d, sizeof *d, DRAWS, stdout);
}

static const struct {
    const char *name;
    void (*run)(wf_transform_state *s, const char *words);
} jobs[] = {
    {"resize", resize}, {"op", run_op},   {"adjust", adjust},
    {"apply", apply},   {"draws", draws}, {"magnitudes", magnitudes},
};

int main(void)
{
    char line[2048], name[32];
    int used;
    wf_transform_state *s = need(wf_transform_state_create());
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "%31s %n", name, &used) != 1)
            bad("an empty line");
        size_t i = 0;
        while (i < sizeof jobs / sizeof *jobs && strcmp(jobs[i].name, name) != 0)
            i++;
        if (i == sizeof jobs / sizeof *jobs)
            bad("a job of no known name");
        jobs[i].run(s, line + used);
    }
    wf_transform_state_destroy(s);
    return fflush(stdout) == 0 ? 0 : 1;
}
