/* Applies a transform to one picture: the order of its steps. */
#include "data/transform/state.h"

weft_status wf_transform_apply(wf_transform_state *s, const weft_transform *t,
                               const wf_picture *picture, wf_transform_key key, uint8_t *image,
                               weft_error *err)
{
    const wf_placement p = wf_choose_placement(t, picture->height, picture->width, &key);
    return wf_place_image(s, t, picture, p, image, err);
}
