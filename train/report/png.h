/* PNG files in memory: the only place that knows libpng. Any thread. */
#ifndef WF_REPORT_PNG_H
#define WF_REPORT_PNG_H

#include <stddef.h>
#include <stdint.h>

#include "weft/status.h"

/* channels: 1 grey, 3 RGB, 4 RGBA. pixels: (height, width, channels). The caller frees *bytes with
 * wf_free. */
weft_status wf_png_encode(int width, int height, int channels, const uint8_t *pixels,
                          unsigned char **bytes, size_t *size, weft_error *err);

#endif
