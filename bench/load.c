/* Times a loader; see load.h. bench/torch_loader.py does the same with torchvision. */
#include "bench/load.h"

#include "bench/machine.h"
#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/tune/measure.h"

enum { MAX_SAMPLES = 256, PIECE = 512 /* images that one figure is of, at least */ };

static weft_status next_piece(weft_loader *loader, int64_t *epoch, int64_t *images, weft_error *err)
{
    *images = 0;
    while (*images < PIECE) {
        weft_batch batch;
        WF_TRY(weft_loader_next(loader, &batch, err));
        *images += batch.count;
        if (batch.count == 0)
            WF_TRY(weft_loader_start(loader, ++*epoch, 0, err));
    }
    return WEFT_OK;
}

static weft_status time_pieces(weft_loader *loader, double seconds, bench_load_result *r,
                               weft_error *err)
{
    double rate[MAX_SAMPLES];
    int64_t epoch = 0, images;
    WF_TRY(weft_loader_start(loader, epoch, 0, err));
    WF_TRY(next_piece(loader, &epoch, &images, err));
    const double begin = wf_seconds();
    do {
        const double start = wf_seconds();
        WF_TRY(next_piece(loader, &epoch, &images, err));
        rate[r->samples++] = images / (wf_seconds() - start);
        r->images += images;
    } while (r->samples < MAX_SAMPLES && wf_seconds() - begin < seconds);
    r->images_per_s = wf_median(rate, r->samples);
    return WEFT_OK;
}

weft_status bench_load_measure(const bench_load_spec *spec, bench_load_result *result,
                               weft_error *err)
{
    const weft_transform transform = {.height = spec->size,
                                      .width = spec->size,
                                      .random_crop = true,
                                      .scale = {0.08, 1.0},
                                      .ratio = {3.0 / 4.0, 4.0 / 3.0},
                                      .hflip = 0.5};
    const weft_loader_opts opts = {.batch = spec->batch,
                                   .workers = spec->workers,
                                   .shuffle = true,
                                   .bytes = true,
                                   .transform = &transform,
                                   .fast_decode = spec->fast};
    weft_dataset *ds;
    weft_loader *loader = NULL;
    *result = (bench_load_result){0};
    WF_TRY(weft_dataset_open(spec->path, WEFT_SPLIT_TRAIN, &ds, err));
    weft_status status = weft_loader_create(ds, &opts, &loader, err);
    if (status == WEFT_OK)
        status = time_pieces(loader, spec->seconds, result, err);
    result->rss_mb = bench_peak_rss_mb();
    weft_loader_destroy(loader);
    weft_dataset_destroy(ds);
    return status;
}
