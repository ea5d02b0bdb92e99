/* How much memory the process may use, from /proc/meminfo and the control groups.
 *
 * Threading: no state; any thread. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>

#include "engine/base/error.h"
#include "engine/machine/memory.h"
#include "engine/machine/cgroup.h"

const char *wf_bytes_text(char text[WF_BYTES_TEXT], uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        snprintf(text, WF_BYTES_TEXT, "%u bytes", (unsigned)bytes);
        return text;
    }
    double value = (double)bytes / 1024;
    int unit = 0;
    /* 1023.95 would print as 1024.0. */
    for (; value >= 1023.95 && unit < 5; unit++)
        value /= 1024;
    /* Whole tenths as integers: printf would follow the program's locale, which may have decimal
     * commas. */
    unsigned tenths = (unsigned)lrint(10 * value);
    snprintf(text, WF_BYTES_TEXT, "%u.%u %s", tenths / 10, tenths % 10, units[unit]);
    return text;
}

weft_status wf_memory_get_limit(const char *root, wf_memory_limit *limit, weft_error *err)
{
    char path[PATH_MAX], line[256];
    snprintf(path, sizeof(path), "%s/proc/meminfo", root ? root : "");
    FILE *f = fopen(path, "re");
    if (!f)
        return wf_error_set(err, WEFT_ERR_IO, "memory: cannot read %s", path);
    uint64_t total = 0, available = 0, kib;
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "MemTotal: %" SCNu64, &kib) == 1)
            total = kib * 1024;
        else if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
            available = kib * 1024;
    }
    fclose(f);
    if (total == 0 || available == 0)
        return wf_error_set(err, WEFT_ERR_FORMAT, "memory: %s does not say what is available",
                            path);

    wf_memory_limit l = {
        .machine = total, .total = total, .available = available, .why = "MemAvailable"};
    wf_cgroup_memory group = wf_cgroup_read_memory(root);
    if (group.limited && group.limit < l.total)
        l.total = group.limit;
    if (group.limited && group.room < l.available) {
        l.available = group.room;
        snprintf(l.why, sizeof(l.why), "control group %s", group.group);
    }
    *limit = l;
    return WEFT_OK;
}

weft_status wf_memory_get_own(const char *root, wf_memory_own *own, weft_error *err)
{
    char path[PATH_MAX], line[256];
    snprintf(path, sizeof(path), "%s/proc/self/status", root ? root : "");
    FILE *f = fopen(path, "re");
    if (!f)
        return wf_error_set(err, WEFT_ERR_IO, "memory: cannot read %s", path);
    uint64_t resident = 0, peak = 0, kib;
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "VmHWM: %" SCNu64, &kib) == 1)
            peak = kib * 1024;
        else if (sscanf(line, "VmRSS: %" SCNu64, &kib) == 1)
            resident = kib * 1024;
    }
    fclose(f);
    if (resident == 0 || peak == 0)
        return wf_error_set(err, WEFT_ERR_FORMAT, "memory: %s does not say what is in use", path);
    *own = (wf_memory_own){resident, peak};
    return WEFT_OK;
}

weft_status wf_memory_check(const char *root, uint64_t bytes, const char *what, weft_error *err)
{
    wf_memory_limit l;
    if (wf_memory_get_limit(root, &l, NULL) != WEFT_OK || bytes <= l.available)
        return WEFT_OK;
    char asked[WF_BYTES_TEXT], room[WF_BYTES_TEXT], total[WF_BYTES_TEXT];
    return wf_error_set(err, WEFT_ERR_NOMEM,
                        "out of memory: %" PRIu64
                        " bytes (%s) for %s, but only %s of %s are available (%s)",
                        bytes, wf_bytes_text(asked, bytes), what, wf_bytes_text(room, l.available),
                        wf_bytes_text(total, l.total), l.why);
}
