/* Status codes, element types and instruction sets: enums and their names, which every layer of
 * Weft shares, kernels included. Other public headers include this one. */
#ifndef WEFT_TYPES_H
#define WEFT_TYPES_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The statuses, as X(name, text). The enum and weft_status_string() are made from this list. */
#define WEFT_STATUS_LIST(X)                                                                        \
    X(OK, "ok")                                                                                    \
    X(ERR_INVALID, "invalid argument")                                                             \
    X(ERR_SHAPE, "shape mismatch")                                                                 \
    X(ERR_DTYPE, "data type mismatch")                                                             \
    X(ERR_STATE, "not allowed in this state")                                                      \
    X(ERR_NOMEM, "out of memory")                                                                  \
    X(ERR_IO, "input/output error")                                                                \
    X(ERR_FORMAT, "malformed data")                                                                \
    X(ERR_NOT_FOUND, "not found")                                                                  \
    X(ERR_UNSUPPORTED, "not supported")                                                            \
    X(ERR_NUMERIC, "not a finite number")                                                          \
    X(ERR_INTERRUPTED, "interrupted")                                                              \
    X(ERR_INTERNAL, "internal error")

/* How a call ended. */
typedef enum weft_status {
#define X(name, text) WEFT_##name,
    WEFT_STATUS_LIST(X)
#undef X
} weft_status;

/* A short text for a status, never NULL. */
const char *weft_status_string(weft_status status);

/* The element types, as X(name, bytes, text, safetensors name). f16 occurs in files only; bf16 is
 * storage, in files and in memory (weft_module_to): ops read it as the f32 that its values are. */
#define WEFT_DTYPE_LIST(X)                                                                         \
    X(F32, 4, "f32", "F32")                                                                        \
    X(F64, 8, "f64", "F64")                                                                        \
    X(BF16, 2, "bf16", "BF16")                                                                     \
    X(U8, 1, "u8", "U8")                                                                           \
    X(I32, 4, "i32", "I32")                                                                        \
    X(I64, 8, "i64", "I64")                                                                        \
    X(F16, 2, "f16", "F16")

/* The type of a tensor's elements. */
typedef enum weft_dtype {
#define X(name, bytes, text, st) WEFT_##name,
    WEFT_DTYPE_LIST(X)
#undef X
        WEFT_DTYPE_COUNT /* how many types there are */
} weft_dtype;

size_t weft_dtype_size(weft_dtype dtype);      /* bytes per element; 0 for an unknown type */
const char *weft_dtype_name(weft_dtype dtype); /* "f32", ...; "?" for an unknown type */

/* Instruction sets that kernels are made for, each containing the one before. */
typedef enum weft_isa { WEFT_ISA_SCALAR, WEFT_ISA_AVX2, WEFT_ISA_AVX512 } weft_isa;
const char *weft_isa_name(weft_isa isa); /* "scalar", "avx2", "avx512" */

/* What the *_OPTS_INIT of the structs of options are made of, which begin a variable:
 * weft_sgd_opts o = WEFT_SGD_OPTS_INIT; C++ before C++20 has no designators, and g++ warns of fields
 * that they leave out. */
/* clang-format off */
#ifdef __cplusplus
#define WEFT_INIT_ZERO {}
#define WEFT_INIT(type, ...) ([] { type init_ = type(); (void)(__VA_ARGS__); return init_; }())
#define WEFT_SET(field, value) init_.field = value
#define WEFT_SET_PAIR(field, a, b) init_.field[0] = a, init_.field[1] = b
#else
#define WEFT_INIT_ZERO {0} /* every member is 0 */
#define WEFT_INIT(type, ...) {__VA_ARGS__} /* these members, the others 0 */
#define WEFT_SET(field, value) .field = value /* a member for WEFT_INIT */
#define WEFT_SET_PAIR(field, a, b) .field = {a, b} /* the same, of a member of two */
#endif
/* clang-format on */

#ifdef __cplusplus
}
#endif
#endif
