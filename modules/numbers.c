/* Converts values from one type to another.
 *
 * Between floating types values round as C's conversions do. Whole numbers become floating ones the
 * same way. Into whole numbers go only the values that are whole and in range: wf_first_misfit
 * finds what is not. Threading rule: none needed. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "engine/base/error.h"
#include "kernels/eltwise/eltwise.h"
#include "modules/internal.h"

static float as_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* IEEE 754 binary16: a sign, 5 bits of exponent with bias 15, 10 of fraction. */
static float from_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7fff;
    if (rest < 0x400) /* subnormal */
        return (sign != 0 ? -0x1p-24f : 0x1p-24f) * (float)rest;
    /* infinity and NaN stay infinity and NaN */
    uint32_t rebias = rest < 0x7c00 ? 127 - 15 : 255 - 31;
    return as_float(sign | ((rest << 13) + (rebias << 23)));
}

static float from_bf16(uint16_t half)
{
    return as_float((uint32_t)half << 16); /* the upper half of an f32 */
}

bool wf_floating(weft_dtype dtype)
{
    return dtype == WEFT_F32 || dtype == WEFT_F64;
}

static bool whole(weft_dtype dtype)
{
    return dtype == WEFT_U8 || dtype == WEFT_I32 || dtype == WEFT_I64;
}

/* The i-th value of an integer type. */
static int64_t whole_at(const void *from, weft_dtype type, int64_t i)
{
    return type == WEFT_U8    ? ((const uint8_t *)from)[i]
           : type == WEFT_I32 ? ((const int32_t *)from)[i]
                              : ((const int64_t *)from)[i];
}

/* The i-th value of a floating type. */
static double float_at(const void *from, weft_dtype type, int64_t i)
{
    return type == WEFT_F32   ? (double)((const float *)from)[i]
           : type == WEFT_F64 ? ((const double *)from)[i]
           : type == WEFT_F16 ? (double)from_f16(((const uint16_t *)from)[i])
                              : (double)from_bf16(((const uint16_t *)from)[i]);
}

bool wf_converts(weft_dtype from, weft_dtype to)
{
    return from == to || wf_floating(to) || whole(to) || (to == WEFT_BF16 && !whole(from));
}

/* The smallest and the largest value of an integer type. */
static int64_t lowest(weft_dtype type)
{
    return type == WEFT_U8 ? 0 : type == WEFT_I32 ? INT32_MIN : INT64_MIN;
}

static int64_t highest(weft_dtype type)
{
    return type == WEFT_U8 ? UINT8_MAX : type == WEFT_I32 ? INT32_MAX : INT64_MAX;
}

static bool fits(const void *from, weft_dtype from_type, weft_dtype to, int64_t i)
{
    if (whole(from_type)) {
        int64_t value = whole_at(from, from_type, i);
        return value >= lowest(to) && value <= highest(to);
    }
    /* highest() + 1 is a power of two, and so exact. A NaN compares false. */
    double value = float_at(from, from_type, i), end = ldexp((double)(highest(to) / 2 + 1), 1);
    return value >= (double)lowest(to) && value < end && value == trunc(value);
}

int64_t wf_first_misfit(weft_dtype to, const void *from, weft_dtype from_type, int64_t n)
{
    if (!whole(to) || from_type == to)
        return -1;
    for (int64_t i = 0; i < n; i++) {
        if (!fits(from, from_type, to, i))
            return i;
    }
    return -1;
}

/* As snprintf, in any locale. */
static void format_number(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void format_number(char *text, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    wf_vsnprintf(text, size, format, args);
    va_end(args);
}

const char *wf_format_value(const void *from, weft_dtype type, int64_t i, char *text, size_t size)
{
    if (whole(type))
        format_number(text, size, "%" PRId64, whole_at(from, type, i));
    else
        format_number(text, size, "%.9g", float_at(from, type, i));
    return text;
}

static void to_f32(float *to, const void *from, weft_dtype from_type, int64_t n)
{
    const uint16_t *half = from;
    for (int64_t i = 0; i < n && from_type == WEFT_F64; i++)
        to[i] = (float)((const double *)from)[i];
    for (int64_t i = 0; i < n && from_type == WEFT_F16; i++)
        to[i] = from_f16(half[i]);
    for (int64_t i = 0; i < n && from_type == WEFT_BF16; i++)
        to[i] = from_bf16(half[i]);
    for (int64_t i = 0; i < n && whole(from_type); i++)
        to[i] = (float)whole_at(from, from_type, i);
}

static void to_f64(double *to, const void *from, weft_dtype from_type, int64_t n)
{
    const uint16_t *half = from;
    for (int64_t i = 0; i < n && from_type == WEFT_F32; i++)
        to[i] = (double)((const float *)from)[i];
    for (int64_t i = 0; i < n && from_type == WEFT_F16; i++)
        to[i] = (double)from_f16(half[i]);
    for (int64_t i = 0; i < n && from_type == WEFT_BF16; i++)
        to[i] = (double)from_bf16(half[i]);
    for (int64_t i = 0; i < n && whole(from_type); i++)
        to[i] = (double)whole_at(from, from_type, i);
}

/* Rounds once, to nearest even; f16's values are f32's. */
static void to_bf16(uint16_t *to, const void *from, weft_dtype from_type, int64_t n)
{
    const wf_cast_fn cast = wf_cast_get(WEFT_F64, WEFT_BF16);
    if (from_type == WEFT_F32)
        wf_cast_get(WEFT_F32, WEFT_BF16)((size_t)n, from, to);
    for (int64_t i = 0; i < n && from_type != WEFT_F32; i++) {
        const double value = float_at(from, from_type, i);
        cast(1, &value, to + i);
    }
}

static void to_whole(void *to, weft_dtype to_type, const void *from, weft_dtype from_type,
                     int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t value =
            whole(from_type) ? whole_at(from, from_type, i) : (int64_t)float_at(from, from_type, i);
        if (to_type == WEFT_U8)
            ((uint8_t *)to)[i] = (uint8_t)value;
        else if (to_type == WEFT_I32)
            ((int32_t *)to)[i] = (int32_t)value;
        else
            ((int64_t *)to)[i] = value;
    }
}

void wf_convert(void *to, weft_dtype to_type, const void *from, weft_dtype from_type, int64_t n)
{
    if (to_type == from_type)
        memcpy(to, from, (size_t)n * weft_dtype_size(to_type));
    else if (to_type == WEFT_F32)
        to_f32(to, from, from_type, n);
    else if (to_type == WEFT_F64)
        to_f64(to, from, from_type, n);
    else if (to_type == WEFT_BF16)
        to_bf16(to, from, from_type, n);
    else
        to_whole(to, to_type, from, from_type, n);
}
