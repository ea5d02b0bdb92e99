/* Reading whole picture files. See read_file.h. Any thread. */
#include "data/formats/read_file.h"

#include <unistd.h>

#include "engine/base/error.h"
#include "engine/files/regular_file.h"

weft_status wf_read_picture_part(int fd, const char *name, int64_t offset, int64_t size,
                                 wf_bytes *bytes, weft_error *err)
{
    if (!wf_bytes_resize(bytes, (size_t)size))
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory for its bytes", name);
    return wf_read_at(fd, name, bytes->data, size, offset, err);
}

weft_status wf_read_picture_file(const char *path, wf_bytes *bytes, weft_error *err)
{
    int fd;
    int64_t size;
    WF_TRY(wf_open_regular(path, WF_MOST_PICTURE_BYTES, &fd, &size, err));
    weft_status status = wf_read_picture_part(fd, path, 0, size, bytes, err);
    close(fd);
    return status;
}
