/* Shapes and element types. */
#include <stdio.h>

#include "weft/tensor.h"

size_t weft_dtype_size(weft_dtype dtype)
{
    switch (dtype) {
#define X(name, bytes, text, st)                                                                   \
    case WEFT_##name: return bytes;
        WEFT_DTYPE_LIST(X)
#undef X
    default: return 0;
    }
}

const char *weft_dtype_name(weft_dtype dtype)
{
    switch (dtype) {
#define X(name, bytes, text, st)                                                                   \
    case WEFT_##name: return text;
        WEFT_DTYPE_LIST(X)
#undef X
    default: return "?";
    }
}

int64_t weft_shape_count(weft_shape shape)
{
    int64_t count = 1;
    if (shape.rank < 0 || shape.rank > WEFT_MAX_RANK)
        return -1;
    for (int i = 0; i < shape.rank; i++)
        if (shape.dim[i] < 0 || __builtin_mul_overflow(count, shape.dim[i], &count))
            return -1;
    return count;
}

bool weft_shape_equal(weft_shape a, weft_shape b)
{
    if (a.rank != b.rank)
        return false;
    for (int i = 0; i < a.rank; i++)
        if (a.dim[i] != b.dim[i])
            return false;
    return true;
}

char *weft_shape_format(weft_shape shape, char *text, size_t size)
{
    if (!text || size == 0)
        return text;
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < shape.rank && i < WEFT_MAX_RANK && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld", i ? ", " : "",
                                 (long long)shape.dim[i]);
    if (used < size)
        snprintf(text + used, size - used, "]");
    return text;
}
