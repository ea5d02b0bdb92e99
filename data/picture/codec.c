/* The errors of codecs. See codec.h. */
#include "data/picture/codec.h"

#include <stdarg.h>

#include "engine/base/error.h"

static weft_status damaged(wf_decoder *d, const char *what, const char *why, va_list args)
{
    char text[256];
    wf_vsnprintf(text, sizeof text, why, args);
    for (char *c = text; *c; c++) /* libraries' texts may have lines; an error is one */
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    return wf_error_set(d->err, WEFT_ERR_FORMAT, "%s: %s %s: %s", d->name, what, d->codec->name,
                        text);
}

weft_status wf_picture_damaged(wf_decoder *d, const char *why, ...)
{
    va_list args;
    va_start(args, why);
    weft_status status = damaged(d, "damaged", why, args);
    va_end(args);
    return status;
}

weft_status wf_picture_unsupported(wf_decoder *d, const char *what, ...)
{
    va_list args;
    va_start(args, what);
    weft_status status = damaged(d, "unsupported", what, args);
    va_end(args);
    return status;
}

weft_status wf_picture_cut_short(wf_decoder *d)
{
    return wf_error_set(d->err, WEFT_ERR_FORMAT,
                        "%s: truncated %s: it has %zu bytes, and the picture needs more", d->name,
                        d->codec->name, d->n);
}

weft_status wf_picture_nomem(wf_decoder *d)
{
    return wf_error_set(d->err, WEFT_ERR_NOMEM, "%s: out of memory while decoding it", d->name);
}
