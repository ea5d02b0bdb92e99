/* Maps of images, with PIL's pixels: the nearest one, or a mixture of the 2 x 2 or 4 x 4 around.
 *
 * Threading: pure functions, any thread. Images are planar, (C, H, W). x and y do not overlap. Pixels
 * from outside are 0. */
#ifndef WF_KERNELS_IMAGE_AFFINE_H
#define WF_KERNELS_IMAGE_AFFINE_H

#include "kernels/image/resize.h"

/* Pixel (w, h) of y is what x has at the position a[0] w' + a[1] h' + a[2], a[3] w' + a[4] h' + a[5]
 * of the middle w' = w + 1/2, h' = h + 1/2: PIL's transform(AFFINE, a, filter). */
void wf_image_affine(wf_resize_filter filter, int C, int H, int W, const double a[6],
                     const uint8_t *x, uint8_t *y);
/* Counter-clockwise about the middle: PIL's rotate(degrees, filter). */
void wf_image_rotate(wf_resize_filter filter, int C, int H, int W, double degrees, const uint8_t *x,
                     uint8_t *y);

#endif
