/* A page, or a figure, as a file. See page_parts.h. */
#include "engine/base/c_locale.h"
#include "engine/base/error.h"
#include "engine/files/atomic_file.h"
#include "train/report/page_parts.h"

weft_status wf_page_file(const char *path, wf_page_write_fn write, const void *user,
                         weft_error *err)
{
    wf_atomic_file *file = NULL;
    wf_c_locale locale;
    if (!wf_c_locale_begin(&locale))
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    weft_status status = wf_atomic_create(path, &file, err);
    if (status == WEFT_OK) {
        status = write(wf_atomic_stream(file), user, err);
        if (status == WEFT_OK)
            status = wf_atomic_commit(file, err);
        else
            wf_atomic_abort(file);
    }
    wf_c_locale_end(&locale);
    return status;
}
