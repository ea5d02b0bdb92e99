/* Applies a transform to one picture. */
#include "data/transform/steps.h"

weft_status wf_transform_apply(wf_transform_state *s, const weft_transform *t,
                               const wf_picture *picture, wf_transform_key key, uint8_t *image,
                               weft_error *err)
{
    const wf_placement p = wf_choose_placement(t, picture->height, picture->width, &key);
    weft_status status = wf_place_image(s, t, picture, p, image, err);
    if (status != WEFT_OK)
        return status;
    const wf_aug_image placed = {
        s, picture->channels, t->height, t->width, image, (wf_resize_filter)t->interpolation, err};
    return wf_apply_steps(t, &key, &placed);
}
