/* Conversions of pixels, as PIL's Image.convert and ImageOps.exif_transpose. Any thread. */
#ifndef WF_DATA_PICTURE_PIXELS_H
#define WF_DATA_PICTURE_PIXELS_H

#include <stddef.h>
#include <stdint.h>

/* ITU-R BT.601 in 16-bit fixed point, as PIL's convert("L"). */
void wf_pixels_rgb_to_grey(const uint8_t *from, uint8_t *to, size_t pixels);
void wf_pixels_grey_to_rgb(const uint8_t *from, uint8_t *to, size_t pixels);
/* ITU-R BT.601 in 6-bit fixed point, its factors rounded as in PIL's tables. */
void wf_pixels_ycbcr_to_rgb(const uint8_t *from, uint8_t *to, size_t pixels);
void wf_pixels_cmyk_to_rgb(const uint8_t *from, uint8_t *to, size_t pixels);
/* Bits, the highest of a byte first: 0 and 1 become the two values. */
void wf_pixels_bits_to_grey(const uint8_t *from, uint8_t *to, size_t pixels, uint8_t of_0,
                            uint8_t of_1);
/* Looks each byte up in a palette. */
void wf_pixels_look_up(const uint8_t *from, const uint8_t palette[256][3], uint8_t *to,
                       size_t pixels);
/* Grey values of 16 bits, in the machine's order, above 255 are 255: as PIL's mode I;16. */
void wf_pixels_grey16_to_grey(const uint16_t *from, uint8_t *to, size_t pixels);
/* Turns and mirrors as an EXIF orientation says. `to` has the sides exchanged from 5 on. */
void wf_pixels_turn(const uint8_t *from, uint8_t *to, int height, int width, int channels,
                    int orientation);

#endif
