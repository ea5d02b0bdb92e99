/* Small allocations, and the hook with which tests make the n-th one fail.
 *
 * Threading: any thread. `countdown` is the only global state: the hook must reach code that has no
 * context. While it is off (0), it costs one relaxed load for each allocation. */
#include "engine/base/alloc.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"

static atomic_long countdown; /* allocations up to and including the one to fail; 0: off */

long wf_alloc_fail_at(long n)
{
    return atomic_exchange(&countdown, n > 0 ? n : 0);
}

bool wf_alloc_fails(void)
{
    long left = atomic_load_explicit(&countdown, memory_order_relaxed);
    while (left > 0)
        if (atomic_compare_exchange_weak(&countdown, &left, left - 1))
            return left == 1;
    return false;
}

void *wf_alloc(size_t size)
{
    return wf_alloc_fails() ? NULL : malloc(size ? size : 1);
}

void *wf_zalloc(size_t size)
{
    return wf_alloc_fails() ? NULL : calloc(1, size ? size : 1);
}

void *wf_alloc_array(size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : wf_alloc(bytes);
}

void *wf_zalloc_array(size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : wf_zalloc(bytes);
}

void *wf_realloc_array(void *p, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || wf_alloc_fails())
        return NULL;
    return realloc(p, bytes ? bytes : 1);
}

char *wf_strdup(const char *text)
{
    if (!text)
        return NULL;
    size_t bytes = strlen(text) + 1;
    char *copy = wf_alloc(bytes);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

char *wf_asprintf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length < 0 ? NULL : wf_alloc((size_t)length + 1);
    if (text) {
        va_start(args, format);
        vsnprintf(text, (size_t)length + 1, format, args);
        va_end(args);
    }
    return text;
}

void wf_free(void *p)
{
    free(p);
}

weft_status wf_nomem(weft_error *err, size_t bytes, const char *what)
{
    return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory: %zu bytes for %s", bytes, what);
}

bool wf_grow(void *array, int *cap, int n, int more, size_t size)
{
    if (n + more <= *cap)
        return true;
    int want = *cap ? *cap : 64;
    while (want < n + more)
        want *= 2;
    /* `array` points to a pointer of any type: copied as bytes because of C's aliasing rules */
    void *p;
    memcpy(&p, array, sizeof p);
    p = wf_realloc_array(p, (size_t)want, size);
    if (!p)
        return false;
    memcpy(array, &p, sizeof p);
    *cap = want;
    return true;
}
