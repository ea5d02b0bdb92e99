/* This room's random numbers, which are counter-based: Philox4x32-10 (Salmon et al. 2011), with the
 * user's seed as key. The same counter always gives the same numbers, so they do not depend on the
 * order of the calls. */
#ifndef WF_DATA_RANDOM_H
#define WF_DATA_RANDOM_H

#include <stdint.h>

#include <Random123/philox.h>

/* What the numbers are for. This is the last word of the counter, so that no two uses share a
 * stream. */
enum wf_stream {
    WF_STREAM_SHUFFLE = 1,
    WF_STREAM_AUGMENT, /* of a sample: wf_random_draw */
    WF_STREAM_PATTERN,
    WF_STREAM_NOISE,
    WF_STREAM_MIX, /* mixup and cutmix of a batch: wf_random_draw */
    WF_STREAM_SPLIT = 64,
    WF_STREAM_BALANCE,
};

typedef struct wf_random {
    uint32_t v[4];
} wf_random;

static inline wf_random wf_random_at(uint64_t seed, enum wf_stream stream, uint64_t a, uint32_t b)
{
    philox4x32_ctr_t counter = {{(uint32_t)a, (uint32_t)(a >> 32), b, (uint32_t)stream}};
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    philox4x32_ctr_t r = philox4x32(counter, key);
    return (wf_random){{r.v[0], r.v[1], r.v[2], r.v[3]}};
}

/* Numbers of a sample's or batch's own, many of them: block `draw` (0 to 4095) of its repetition (0
 * to 4095). They stand above the stream in the last word. Draw 0 of repetition 0 is wf_random_at's. */
static inline wf_random wf_random_draw(uint64_t seed, enum wf_stream stream, uint64_t a, uint32_t b,
                                       uint32_t draw, uint32_t repetition)
{
    return wf_random_at(seed, (enum wf_stream)(stream | draw << 8 | repetition << 20), a, b);
}

/* Scales 64 random bits to 0 .. n-1. The bias is below n / 2^64. */
static inline uint64_t wf_random_below(uint32_t lo, uint32_t hi, uint64_t n)
{
    uint64_t bits = (uint64_t)hi << 32 | lo;
    return (uint64_t)(((unsigned __int128)bits * n) >> 64);
}

#endif
