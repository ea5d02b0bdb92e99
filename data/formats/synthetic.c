/* Made-up images that a network can learn. Each class has a coarse random pattern; a sample is the
 * mean of its class's pattern and noise. Nothing is stored: every pixel is a function of the
 * sample's number.
 *
 * Training and test samples differ only in their noise. Sample i has class i mod classes. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "data/dataset.h"
#include "data/formats/format.h"
#include "data/random.h"
#include "engine/base/error.h"
#include "engine/base/alloc.h"

#define PREFIX "synthetic:"
#define DEFAULT_COUNT 4096
/* computed again in each epoch; a larger number is probably a typing error */
#define MOST_IMAGES 10000000
#define GRID 4 /* the pattern has GRID x GRID cells per channel: Philox gives 16 bytes at a time */
#define PATTERN_SEED 0x57656674u

/* The cells of one channel of one class. */
static void pattern(int64_t class_index, int channel, unsigned char cells[GRID * GRID])
{
    wf_random r =
        wf_random_at(PATTERN_SEED, WF_STREAM_PATTERN, (uint64_t)class_index, (uint32_t)channel);
    memcpy(cells, r.v, GRID * GRID);
}

static weft_status view(const weft_dataset *ds, int64_t index, void *scratch, const void **pixels,
                        int64_t *label, weft_error *err)
{
    int C = wf_dataset_view_channels(ds), H = ds->info.height, W = ds->info.width;
    unsigned char *p = scratch, cells[GRID * GRID];
    size_t bytes = wf_dataset_view_bytes(ds);
    for (size_t at = 0; at < bytes; at += 16) { /* noise first */
        wf_random r = wf_random_at(ds->key, WF_STREAM_NOISE, (uint64_t)index, (uint32_t)(at / 16));
        size_t left = bytes - at;
        memcpy(p + at, r.v, left < 16 ? left : 16);
    }
    *label = index % ds->info.classes;
    for (int c = 0; c < C; c++) {
        pattern(*label, c, cells);
        for (int h = 0; h < H; h++) {
            const unsigned char *row = cells + (int64_t)h * GRID / H * GRID;
            for (int w = 0; w < W; w++, p++)
                *p = (unsigned char)((*p + row[(int64_t)w * GRID / W]) / 2);
        }
    }
    *pixels = scratch;
    return WEFT_OK;
}

static weft_status open_text(const char *text, weft_split split, weft_dataset **ds, weft_error *err)
{
    int C, H, W, classes, used = 0, more = 0;
    int64_t count = DEFAULT_COUNT;
    bool good = sscanf(text, PREFIX "%5dx%5dx%5d:%7d%n", &C, &H, &W, &classes, &used) == 4;
    if (good && text[used] == ':')
        good = sscanf(text + used, ":%18" SCNd64 "%n", &count, &more) == 1;
    if (!good || text[used + more] != '\0' || classes < 1 || classes > WF_MAX_CLASSES || count < 1)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "%.200s: expected synthetic:CxHxW:classes or "
                            "synthetic:CxHxW:classes:count, as synthetic:3x32x32:10",
                            text);
    if (count > MOST_IMAGES)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "%.200s: %" PRId64 " images, expected at most %d", text, count,
                            MOST_IMAGES);
    if (split != WEFT_SPLIT_TRAIN)
        count = (count + 3) / 4;
    size_t sample_bytes;
    WF_TRY(wf_dataset_geometry(text, count, C, H, W, WEFT_U8, &sample_bytes, err));
    weft_dataset *d = wf_zalloc(sizeof *d);
    char *source = wf_strdup(text);
    if (!d || !source) {
        wf_free(d);
        wf_free(source);
        return wf_error_set(err, WEFT_ERR_NOMEM, "%.200s: out of memory", text);
    }
    *d = (weft_dataset){.info = {count, C, H, W, classes, WEFT_U8, .source = source},
                        .sample_bytes = sample_bytes,
                        .view = view,
                        .source = source,
                        .key = split == WEFT_SPLIT_TRAIN};
    *ds = d;
    return WEFT_OK;
}

static weft_status open_synthetic(const weft_dataset_opts *o, wf_path_kind kind, bool *there,
                                  weft_dataset **ds, weft_error *err)
{
    *there = strncmp(o->path, PREFIX, strlen(PREFIX)) == 0;
    return *there && o->split != WEFT_SPLIT_VAL ? open_text(o->path, o->split, ds, err) : WEFT_OK;
}

const wf_data_format wf_format_synthetic = {NULL, open_synthetic};
