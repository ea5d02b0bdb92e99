/* What the pictures of a data set have in common. See settle.h. */
#include "data/formats/settle.h"

#include "data/load/stage.h"
#include "engine/base/error.h"

enum {
    ALL_LOOKED_AT = 1024, /* of so many pictures or fewer every one is looked at, */
    LOOKED_AT = 64,       /* of more only so many, spread over all */
    SMALL_SIDE =
        96 /* pixels: STL-10's. Larger pictures are photographs, to be cropped and resized */
};

weft_status wf_settle_pictures(weft_dataset *ds, int channels, weft_error *err)
{
    int64_t n = ds->info.count <= ALL_LOOKED_AT ? ds->info.count : LOOKED_AT, good = 0,
            oriented = 0;
    int height = 0, width = 0, most = 1;
    size_t files = 0, pixels = 0;
    bool alike = true;
    weft_error first = WEFT_ERROR_INIT;
    wf_stage *stage = wf_stage_create(ds);
    if (!stage)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", ds->source);
    /* Where all of these are damaged, any other that is not will do. */
    const int64_t more = n < ds->info.count ? ds->info.count : 0;
    for (int64_t i = 0; i < n || (good == 0 && i < n + more); i++) {
        wf_picture_info p;
        const int64_t at = i < n ? i * (ds->info.count - 1) / (n > 1 ? n - 1 : 1) : i - n;
        if (wf_stage_probe(stage, at, &p, &first))
            continue;
        bool turned = ds->decode.exif && p.orientation > 4;
        int h = turned ? p.width : p.height, w = turned ? p.height : p.width;
        alike = alike && (good == 0 || (h == height && w == width));
        height = h;
        width = w;
        most = p.channels > most ? p.channels : most;
        oriented += p.orientation > 1;
        files += wf_stage_file_bytes(stage);
        pixels = (size_t)h * (size_t)w > pixels ? (size_t)h * (size_t)w : pixels;
        good++;
    }
    wf_stage_destroy(stage);
    if (good == 0)
        return wf_error_set(err, first.status, "%s", first.text);
    bool small = alike && height <= SMALL_SIDE && width <= SMALL_SIDE;
    weft_dataset_info *info = &ds->info;
    info->channels = channels ? channels : small ? most : 3;
    info->height = small ? height : 0;
    info->width = small ? width : 0;
    info->sizes_vary = !small;
    info->mirrors = !small || most > 1;
    info->oriented = oriented;
    info->looked_at = good;
    ds->file_bytes = files / (size_t)good;
    ds->most_pixels = pixels;
    ds->sample_bytes = (size_t)info->channels * (size_t)info->height * (size_t)info->width;
    return WEFT_OK;
}
