/* Going on with a run: whether it has the same settings, its lines taken back to a checkpoint, and a
 * note that it was resumed. See
 * run_dir.h. Single-threaded. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "engine/files/file_calls.h"
#include "engine/files/json_text.h"
#include "engine/files/regular_file.h"
#include "train/report/config.h"
#include "train/run_dir.h"
#include "train/run_state.h"

#define LOG "log.jsonl"
#define SUMMARY "summary.csv"

/* ---- settings -------------------------------------------------------------------------------- */

#define AS_WRITTEN                                                                                 \
    (JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) /* as config.json has it */

/* Calls fn if the value that was recorded is not what would be recorded now. */
static weft_status compare(const json_t *was, const weft_setting *setting, weft_difference_fn fn,
                           void *user, weft_error *err)
{
    json_t *value = wf_setting_json(setting);
    char *before = wf_json_dumps(was, AS_WRITTEN);
    char *now = value ? wf_json_dumps(value, AS_WRITTEN) : NULL;
    weft_status status = WEFT_OK;
    if (!before || !now)
        status = wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for settings");
    else if (strcmp(before, now) != 0)
        fn(user, setting->name, before, now);
    json_decref(value);
    free(before);
    free(now);
    return status;
}

weft_status weft_run_compare_settings(const weft_run *run, const weft_setting *settings, int n,
                                      weft_difference_fn fn, void *user, weft_error *err)
{
    if (!run || !fn || n < 0 || (n > 0 && !settings))
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "a comparison needs a run, settings, a function");
    char *path = wf_run_file(run, "config.json");
    if (!path)
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for settings");
    json_t *config = wf_json_load_file(path);
    const json_t *options = json_object_get(config, "options");
    weft_status status = WEFT_OK;
    if (!json_is_object(options))
        status = wf_error_set(err, WEFT_ERR_NOT_FOUND,
                              "%s: is missing or damaged, so nobody knows whether the run there is "
                              "of the same settings",
                              path);
    for (int i = 0; i < n && status == WEFT_OK; i++) {
        const json_t *was = json_object_get(options, settings[i].name);
        if (was)
            status = compare(was, &settings[i], fn, user, err);
    }
    json_decref(config);
    wf_free(path);
    return status;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* Adds a copy of a file of the run, if it is there. */
static weft_status copy_file(const weft_run *run, wf_memory *memory, const char *name,
                             wf_ckpt_image *image, weft_error *err)
{
    int fd;
    int64_t size;
    weft_error why = WEFT_ERROR_INIT;
    char *path = wf_run_file(run, name);
    if (!path)
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a checkpoint");
    weft_status status = wf_open_own(path, 0, &fd, &size, &why);
    if (status == WEFT_OK) {
        wf_block block = WF_BLOCK_INIT;
        const wf_block_request request = {.size = (size_t)size, .kind = WF_MEM_COPY, .what = name};
        status = wf_memory_alloc(memory, &request, &block, err);
        if (status == WEFT_OK)
            status = wf_read_at(fd, path, block.data, size, 0, err);
        if (status == WEFT_OK)
            status = wf_ckpt_image_add(image, name, &block, err);
        wf_memory_free(&block);
        close(fd);
    } else if (status == WEFT_ERR_NOT_FOUND) {
        status = WEFT_OK;
    } else {
        wf_error_set(err, status, "%s", why.text);
    }
    wf_free(path);
    return status;
}

weft_status wf_run_copy_files(const weft_run *run, wf_memory *memory, wf_ckpt_image *image,
                              weft_error *err)
{
    static const char *const names[] = {"config.json", "wisdom.json", LOG, SUMMARY};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        WF_TRY(copy_file(run, memory, names[i], image, err));
    return WEFT_OK;
}

/* Whether an open file begins with these bytes. */
static bool begins_with(int fd, const char *bytes, size_t size)
{
    char part[4096];
    for (size_t at = 0; at < size;) {
        size_t most = size - at < sizeof part ? size - at : sizeof part;
        ssize_t n = pread(fd, part, most, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || memcmp(part, bytes + at, (size_t)n) != 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

/* Lines that a crash has lost come back from the checkpoint. A kill in the middle of this leaves a
 * file that the next resumed run takes back again. */
static weft_status take_back(const weft_run *run, int fd, const char *name,
                             const wf_ckpt_image *image, weft_error *err)
{
    const wf_ckpt_file *file = image ? wf_ckpt_image_find(image, name) : NULL;
    const size_t size = file ? file->block.size : 0;
    const bool whole = begins_with(fd, file ? file->block.data : NULL, size);
    if (wf_files()->ftruncate(fd, whole ? (off_t)size : 0) != 0)
        return wf_run_fail_write(run, name, errno, err);
    return whole ? WEFT_OK : wf_run_append(run, fd, name, file->block.data, size, err);
}

weft_status wf_run_take_back(weft_run *run, const wf_ckpt_image *image, weft_error *err)
{
    char *result = wf_run_file(run, "result.json");
    if (!result)
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a run");
    int error = wf_files()->unlink(result) != 0 && errno != ENOENT ? errno : 0;
    wf_free(result);
    if (error)
        return wf_run_fail_write(run, "result.json", error, err);
    WF_TRY(take_back(run, run->log, LOG, image, err));
    WF_TRY(take_back(run, run->summary, SUMMARY, image, err));
    return image && wf_ckpt_image_find(image, SUMMARY) ? WEFT_OK : wf_run_append_header(run, err);
}

weft_status wf_run_note_resumed(weft_run *run, int64_t total_steps, double epochs_done,
                                const char *checkpoint, weft_error *err)
{
    char text[32], host[65] = "";
    time_t now = time(NULL);
    struct tm tm;
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    gethostname(host, sizeof host - 1);
    json_t *o = json_pack("{s:s, s:I, s:f, s:o, s:o}", "time", text, "total_steps",
                          (json_int_t)total_steps, "epochs_done", epochs_done, "checkpoint",
                          wf_json_text(checkpoint), "host", wf_json_text(host));
    char *line = o ? wf_json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(o);
    char *path = wf_run_file(run, "resumed.jsonl");
    int fd = -1;
    weft_status status = WEFT_OK;
    if (!line || !path)
        status = wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a run");
    int error = status ? 0
                       : wf_file_open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK,
                                      0666, &fd); /* a pipe is refused, not waited for */
    if (error)
        status = wf_run_fail_write(run, "resumed.jsonl", error, err);
    if (status == WEFT_OK) {
        size_t length = strlen(line);
        line[length] = '\n'; /* in place of the zero, so that one write suffices */
        status = wf_run_append(run, fd, "resumed.jsonl", line, length + 1, err);
    }
    if (fd >= 0)
        wf_files()->close(fd);
    free(line);
    wf_free(path);
    return status;
}
