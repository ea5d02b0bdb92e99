/* Small text files. See text_file.h. */
#include "data/formats/text_file.h"

#include <string.h>
#include <unistd.h>

#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "engine/files/regular_file.h"

#define MOST_BYTES ((int64_t)256 << 20)

weft_status wf_read_text_file(const char *path, char **text, weft_error *err)
{
    int fd;
    int64_t size;
    WF_TRY(wf_open_regular(path, MOST_BYTES, &fd, &size, err));
    char *read = wf_alloc((size_t)size + 1);
    weft_status status = read ? wf_read_at(fd, path, read, size, 0, err)
                              : wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    close(fd);
    if (status == WEFT_OK && memchr(read, '\0', (size_t)size))
        status = wf_error_set(err, WEFT_ERR_FORMAT, "%s: holds zero bytes, expected text", path);
    if (status != WEFT_OK) {
        wf_free(read);
        return status;
    }
    read[size] = '\0';
    *text = read;
    return WEFT_OK;
}
