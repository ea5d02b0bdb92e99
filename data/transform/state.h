/* What the files of this folder share: a thread's buffers, a sample's draws, and the steps. */
#ifndef WF_DATA_TRANSFORM_STATE_H
#define WF_DATA_TRANSFORM_STATE_H

#include "data/random.h"
#include "data/transform/transform.h"
#include "kernels/image/colour.h"
#include "kernels/image/resize.h"

/* ---- buffers -------------------------------------------------------------------------------- */

/* What buffers are for. Each grows to the largest size that was asked for, and is used again. */
enum {
    WF_BUFFER_AXIS_X,  /* a resize's weights along rows */
    WF_BUFFER_AXIS_Y,  /* along columns */
    WF_BUFFER_WEIGHTS, /* one pixel's, in double */
    WF_BUFFER_TURNED,  /* the resize kernels' scratch */
    WF_BUFFER_ROWS,    /* the picture after the pass along rows */
    WF_BUFFER_IMAGE,   /* a copy of an image, or what an op needs beside it */
    WF_N_BUFFERS
};

struct wf_transform_state {
    const wf_resize_kernels *resize;
    const wf_colour_kernels *colour;
    void *buffer[WF_N_BUFFERS];
    size_t size[WF_N_BUFFERS];
};

/* A buffer of at least so many bytes, its content undefined; NULL: no memory, and err says so. */
void *wf_transform_buffer(wf_transform_state *s, int which, size_t bytes, weft_error *err);

/* ---- draws ---------------------------------------------------------------------------------- */

/* Which block of numbers each step draws from, so that switching on one step changes no other. */
enum {
    WF_DRAW_PLACE,       /* shift down, right; horizontal and vertical flip */
    WF_DRAW_CROP,        /* ten tries of a random crop: area, shape, top, left */
    WF_DRAW_POLICY = 16, /* automatic augmentation: a block an op */
    WF_DRAW_JITTER = 48, /* the order of the four; then their factors */
    WF_DRAW_GREY = 50,   /* grey, blur, sigma, angle */
    WF_DRAW_ERASE,       /* whether; then ten tries: area, shape, top, left */
};

static inline wf_random wf_transform_draw(const wf_transform_key *k, uint32_t draw)
{
    return wf_random_draw(k->seed, WF_STREAM_AUGMENT, (uint64_t)k->sample, (uint32_t)k->epoch, draw,
                          (uint32_t)k->repetition);
}

/* 0 .. n-1 from 32 random bits; the bias is below n / 2^32. */
static inline int wf_draw_below(uint32_t bits, int n)
{
    return (int)((uint64_t)bits * (uint64_t)n >> 32);
}

/* Uniform in [low, high). */
static inline double wf_draw_uniform(uint32_t bits, double low, double high)
{
    return low + (high - low) * ((double)bits * 0x1p-32);
}

/* True with probability p, 0 .. 1; as wf_augment_draw mirrors. */
static inline bool wf_draw_happens(uint32_t bits, double p)
{
    return (double)(UINT32_MAX - bits) < p * 0x1p32;
}

/* ---- steps ---------------------------------------------------------------------------------- */

/* Part of a picture, resized; then part of that, flipped. Numbers in pixels. */
typedef struct wf_placement {
    int top, left, height, width; /* of the picture: all that the resize sees */
    float box[4]; /* of that part, left, top, right, bottom: what is resized; PIL's box */
    int to_height, to_width;                          /* what the box becomes */
    int crop_top, crop_left, crop_height, crop_width; /* the part of that to write */
    bool hflip, vflip;
    wf_resize_filter filter;
} wf_placement;

/* Writes the crop, planar: row r of channel c at y + c * plane + r * stride. WEFT_ERR_NOMEM leaves
 * it undefined. */
weft_status wf_place(wf_transform_state *s, const wf_picture *picture, const wf_placement *p,
                     uint8_t *y, size_t stride, size_t plane, weft_error *err);

/* Chooses crop, size and flips as `t` says. The crop may reach beyond what the picture becomes, and
 * crop_top and crop_left may be negative: black there. */
wf_placement wf_choose_placement(const weft_transform *t, int height, int width,
                                 const wf_transform_key *key);
/* Writes the whole image (C, t->height, t->width): the part of the crop that lies inside, and black
 * around it. */
weft_status wf_place_image(wf_transform_state *s, const weft_transform *t,
                           const wf_picture *picture, wf_placement p, uint8_t *image,
                           weft_error *err);

#endif
