/* After warm-up, decoding allocates nothing: counted at malloc itself, libraries included. libwebp and
 * libtiff have no hooks for memory, so theirs is only shown not to grow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "data/picture/picture.h"
#include "tests/data/picture_samples.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

static long allocations;

#ifndef SANITIZED /* they have a malloc of their own, and the decoder another way to allocate */
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    allocations++;
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    allocations++;
    return __libc_realloc(p, size);
}
#endif

static long count(wf_decoder *d, const sample *s)
{
    long before = allocations;
    for (int channels = 0; channels <= 3; channels += channels ? 2 : 1)
        for (int exif = 0; exif < 2; exif++) {
            weft_error err = WEFT_ERROR_INIT;
            wf_picture p;
            wf_picture_info info;
            wf_decode_opts opts = {.channels = channels, .exif = exif};
            if (wf_picture_probe(d, s->bytes, s->n, s->name, &info, &err) != WEFT_OK ||
                wf_decode(d, s->bytes, s->n, s->name, &opts, &p, &err) != WEFT_OK)
                fail_msg("%s", err.text);
        }
    return allocations - before;
}

static void nothing_is_allocated_after_warm_up(void **state)
{
#ifdef SANITIZED
    skip();
#endif
    sample samples[SAMPLES_MOST];
    int n = samples_create(samples);
    wf_decoder *d = wf_decoder_create();
    for (int warm = 0; warm < 3; warm++)
        for (int i = 0; i < n; i++)
            count(d, &samples[i]);
    assert_true(allocations > 0); /* that they are counted */
    for (int i = 0; i < n; i++) {
        long one = count(d, &samples[i]);
        print_message("%s: %ld allocations in 6 pictures\n", samples[i].name, one);
        bool hooks =
            strcmp(samples[i].format, "WebP") != 0 && strcmp(samples[i].format, "TIFF") != 0;
        assert_int_equal(one, hooks ? 0 : count(d, &samples[i]));
    }
    wf_decoder_destroy(d);
    samples_destroy(samples, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_allocated_after_warm_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
