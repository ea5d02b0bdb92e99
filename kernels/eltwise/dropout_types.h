/* Dropout over f32, f64 and bf16, of one way to make random words: dropout_f32, dropout_f64, dropout_bf16.
 * Included once by each, behind its philox_words and DROPOUT_CHUNK. */
#define GET(p, i) ((p)[i])
#define PUT(p, i, v) ((p)[i] = (v))
#define T float
#define REAL float
#define U uint32_t
#define FN(name) name##_f32
#include "kernels/eltwise/dropout_body.h"
#undef T
#undef REAL
#undef U
#undef FN
#define T double
#define REAL double
#define U uint64_t
#define FN(name) name##_f64
#include "kernels/eltwise/dropout_body.h"
#undef T
#undef REAL
#undef U
#undef FN
#undef GET
#undef PUT
#define GET(p, i) wf_from_bf16((p)[i])
#define PUT(p, i, v) ((p)[i] = wf_to_bf16(v))
#define T uint16_t
#define REAL float
#define U uint32_t
#define FN(name) name##_bf16
#include "kernels/eltwise/dropout_body.h"
#undef T
#undef REAL
#undef U
#undef FN
