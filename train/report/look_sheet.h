/* A sheet: one picture with the samples of a class side by side, as they are and as the network
 * gets them. Any thread, each with a sheet of its own. */
#ifndef WF_REPORT_LOOK_SHEET_H
#define WF_REPORT_LOOK_SHEET_H

#include "data/load/stage.h"
#include "weft/report.h"

enum { WF_LOOK_CELL = 96 }; /* pixels of a cell's side; larger images are shown smaller */

typedef struct wf_look_sheet {
    wf_stage *stage;            /* of the data set */
    wf_transform_state *shrink; /* brings the network's images to the size of a cell */
    wf_bytes image, pixels;     /* of one sample */
    uint8_t *sheet;             /* (height, width, channels) */
    int channels, cell;         /* pixels of a cell's side */
} wf_look_sheet;

weft_status wf_look_sheet_init(wf_look_sheet *s, const weft_look_part *part, weft_error *err);
void wf_look_sheet_done(wf_look_sheet *s); /* also of one that is all zeros */

/* Draws `n` samples of the part: a row of them as they are, then, if the part has a transform, a
 * row for each draw. *uri becomes the picture, which the caller frees (wf_free); *width and *height
 * are its sizes. A sample that cannot be read gets a crossed cell, and `note` is called with the
 * reason. */
weft_status wf_look_sheet_draw(wf_look_sheet *s, const weft_look_part *part, uint64_t seed,
                               const int64_t *samples, int n, weft_note_fn note, void *user,
                               char **uri, int *width, int *height, weft_error *err);

#endif
