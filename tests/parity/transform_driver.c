/* Runs transforms on pictures that test_transforms.py sends.
 *
 * A job is a line of words on stdin, then the bytes it announces; the answer is bytes on stdout.
 *
 *     resize C H W top left h w box0 box1 box2 box3 out_h out_w filter hflip vflip
 *         an interleaved picture (H, W, C) -> planes (C, out_h, out_w)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/transform/state.h"

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

static const struct {
    const char *name;
    void (*run)(wf_transform_state *s, const char *words);
} jobs[] = {
    {"resize", resize},
};

int main(void)
{
    char line[512], name[32];
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
