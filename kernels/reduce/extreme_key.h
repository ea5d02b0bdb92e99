/* The further of two values, by integers that are ordered as the values are: a value's bits, with
 * all but the sign turned over where it is negative. -0 is below 0. */
#ifndef WF_KERNELS_REDUCE_EXTREME_KEY_H
#define WF_KERNELS_REDUCE_EXTREME_KEY_H

#include <string.h>

#include "kernels/types.h"

/* What a result that is NaN is: quiet, without sign and payload. */
#define WF_NAN_F32 INT32_C(0x7fc00000)
#define WF_NAN_F64 INT64_C(0x7ff8000000000000)

/* wf_further_<type>(least, a, b): the greater of two (least: the lesser), NaN where either is. */
#define WF_FURTHER(type, T, I, all_but_sign, nan)                                                  \
    static inline I wf_key_##type(T x)                                                             \
    {                                                                                              \
        I i;                                                                                       \
        memcpy(&i, &x, sizeof(i));                                                                 \
        return i < 0 ? i ^ all_but_sign : i;                                                       \
    }                                                                                              \
    static inline T wf_further_##type(bool least, T a, T b)                                        \
    {                                                                                              \
        const I none = nan;                                                                        \
        T most = (wf_key_##type(a) > wf_key_##type(b)) != least ? a : b;                           \
        if (a != a || b != b)                                                                      \
            memcpy(&most, &none, sizeof(most));                                                    \
        return most;                                                                               \
    }
WF_FURTHER(f32, float, int32_t, INT32_MAX, WF_NAN_F32)
WF_FURTHER(f64, double, int64_t, INT64_MAX, WF_NAN_F64)
#undef WF_FURTHER

#endif
