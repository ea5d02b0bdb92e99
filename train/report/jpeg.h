/* JPEG files in memory, for photographs on a page: the only place that writes them. Any thread. */
#ifndef WF_REPORT_JPEG_H
#define WF_REPORT_JPEG_H

#include <stddef.h>
#include <stdint.h>

#include "weft/status.h"

/* channels: 1 grey, 3 RGB. pixels: (height, width, channels). The caller frees *bytes with wf_free.
 */
weft_status wf_jpeg_encode(int width, int height, int channels, const uint8_t *pixels,
                           unsigned char **bytes, size_t *size, weft_error *err);

#endif
