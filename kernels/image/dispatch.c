/* Which image implementation runs: the first of kernels.def that the instruction set allows. Read-only
 * tables: any thread. */
#include "kernels/image/colour.h"
#include "kernels/image/image.h"
#include "kernels/image/resize.h"

#define WF_IMAGE(table, least) extern const wf_image_kernels table;
#define WF_RESIZE(table, least) extern const wf_resize_kernels table;
#define WF_COLOUR(table, least) extern const wf_colour_kernels table;
#include "kernels/image/kernels.def"
#undef WF_IMAGE
#undef WF_RESIZE
#undef WF_COLOUR

#define COUNT(array) (int)(sizeof(array) / sizeof((array)[0]))

/* ---- wf_image_kernels ----------------------------------------------------------------------- */

#define WF_IMAGE(table, least) {&table, least},
#define WF_RESIZE(table, least)
#define WF_COLOUR(table, least)
const wf_image_impl wf_image_impls[] = {
#include "kernels/image/kernels.def"
};
#undef WF_IMAGE
#undef WF_RESIZE
const int wf_n_image_impls = COUNT(wf_image_impls);

const wf_image_kernels *wf_image_get(weft_isa isa)
{
    for (int i = 0; i < wf_n_image_impls; i++)
        if (wf_image_impls[i].isa <= isa)
            return wf_image_impls[i].kernels;
    return NULL;
}

/* ---- wf_resize_kernels ---------------------------------------------------------------------- */

#define WF_IMAGE(table, least)
#define WF_RESIZE(table, least) {&table, least},
const wf_resize_impl wf_resize_impls[] = {
#include "kernels/image/kernels.def"
};
#undef WF_RESIZE
#undef WF_COLOUR
const int wf_n_resize_impls = COUNT(wf_resize_impls);

const wf_resize_kernels *wf_resize_get(weft_isa isa)
{
    for (int i = 0; i < wf_n_resize_impls; i++)
        if (wf_resize_impls[i].isa <= isa)
            return wf_resize_impls[i].kernels;
    return NULL;
}

/* ---- wf_colour_kernels ---------------------------------------------------------------------- */

#define WF_RESIZE(table, least)
#define WF_COLOUR(table, least) {&table, least},
const wf_colour_impl wf_colour_impls[] = {
#include "kernels/image/kernels.def"
};
#undef WF_IMAGE
#undef WF_RESIZE
#undef WF_COLOUR
const int wf_n_colour_impls = COUNT(wf_colour_impls);

const wf_colour_kernels *wf_colour_get(weft_isa isa)
{
    for (int i = 0; i < wf_n_colour_impls; i++)
        if (wf_colour_impls[i].isa <= isa)
            return wf_colour_impls[i].kernels;
    return NULL;
}
