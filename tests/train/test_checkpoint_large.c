/* Files of a checkpoint that are large enough to be written past the page cache (O_DIRECT): on file
 * systems that can, on those that refuse, and where calls write less than they were asked to. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/files/file_calls.h"
#include "tests/scratch.h"
#include "train/checkpoint/disk.h"

enum { LARGE = (20 << 20) + 12345 }; /* three pieces, the last of which ends within a page */

typedef enum fault { NONE, REFUSES, REFUSES_LATER, SHORT, UNALIGNED, INTERRUPTED, FULL } fault;

static fault now;
static int direct, plain; /* writes of each kind */

static ssize_t faulty_write(int fd, const void *data, size_t bytes)
{
    const bool is_direct = fcntl(fd, F_GETFL) & O_DIRECT;
    const int n = is_direct ? ++direct : ++plain;
    if (!is_direct)
        return wf_files_system.write(fd, data, bytes);
    assert_int_equal((uintptr_t)data % 4096, 0);
    assert_int_equal(bytes % 4096, 0);
    if (now == REFUSES || (now == REFUSES_LATER && n == 2)) {
        errno = EINVAL;
        return -1;
    }
    if (now == FULL && n == 2) {
        errno = ENOSPC;
        return -1;
    }
    if (now == INTERRUPTED && n % 2 == 1) {
        errno = EINTR;
        return -1;
    }
    if (now == SHORT && n == 1)
        bytes = 4096;
    if (now == UNALIGNED && n == 1) { /* as where a disk has room for so much only */
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_DIRECT);
        const ssize_t wrote = wf_files_system.write(fd, data, 5000);
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_DIRECT);
        return wrote;
    }
    return wf_files_system.write(fd, data, bytes);
}

static void make_image(wf_memory *memory, wf_ckpt_image *image)
{
    wf_block block = WF_BLOCK_INIT;
    const wf_block_request request = {.size = LARGE, .kind = WF_MEM_COPY};
    assert_int_equal(wf_memory_alloc(memory, &request, &block, NULL), WEFT_OK);
    for (size_t i = 0; i < LARGE; i++)
        ((uint8_t *)block.data)[i] = (uint8_t)(i * 2654435761u >> 24);
    image->about = json_object();
    assert_int_equal(wf_ckpt_image_add(image, "large", &block, NULL), WEFT_OK);
    assert_int_equal(wf_ckpt_image_add_copy(image, memory, "small", "bytes", 5, NULL), WEFT_OK);
}

static void a_large_file_has_its_bytes_however_it_was_written(void **state)
{
    static const fault all[] = {NONE, REFUSES, REFUSES_LATER, SHORT, UNALIGNED, INTERRUPTED, FULL};
    wf_file_calls calls = wf_files_system;
    wf_topology *topology = NULL;
    wf_memory *memory = NULL;
    wf_ckpt_image image = {0};
    calls.write = faulty_write;
    assert_int_equal(wf_topology_create(&topology, NULL, NULL), WEFT_OK);
    assert_int_equal(wf_memory_create(&memory, topology, NULL, NULL), WEFT_OK);
    make_image(memory, &image);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        wf_ckpt_image read = {0};
        weft_error err = WEFT_ERROR_INIT;
        now = all[i];
        direct = plain = 0;
        wf_files_set(&calls);
        weft_status status = wf_ckpt_write(&image, in_scratch("at"), &err);
        wf_files_set(NULL);
        if (now == FULL && direct > 1) { /* where the file system refuses O_DIRECT, none comes */
            assert_int_equal(status, WEFT_ERR_IO);
            assert_non_null(strstr(err.text, "No space left"));
            continue;
        }
        if (status != WEFT_OK)
            fail_msg("case %zu: %s", i, err.text);
        assert_true(plain > 0); /* what is left of a page, and the small file */
        for (int threads = 1; threads <= 3; threads++) {
            assert_int_equal(wf_ckpt_read(in_scratch("at"), memory, threads, &read, &err), WEFT_OK);
            const wf_ckpt_file *f = wf_ckpt_image_find(&read, "large");
            assert_int_equal(f->block.size, LARGE);
            assert_memory_equal(f->block.data, image.file[0].block.data, LARGE);
            wf_ckpt_image_done(&read);
        }
        assert_int_equal(wf_ckpt_remove(in_scratch("at")), 0);
    }
    wf_ckpt_image_done(&image);
    wf_memory_destroy(memory);
    wf_topology_unref(topology);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_large_file_has_its_bytes_however_it_was_written, scratch_clean),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
