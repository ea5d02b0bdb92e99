/* A switch over the sizes of a register tile, each of which is a constant where it is used. */
#ifndef WF_KERNELS_SIMD_CASES_H
#define WF_KERNELS_SIMD_CASES_H

/* CASE(1) to CASE(6): of 16 registers, in two vectors each. */
#define WF_CASES_6(CASE)                                                                           \
    CASE(1)                                                                                        \
    CASE(2)                                                                                        \
    CASE(3)                                                                                        \
    CASE(4)                                                                                        \
    CASE(5)                                                                                        \
    CASE(6)

/* To CASE(12): what 16 registers hold of sums. */
#define WF_CASES_12(CASE)                                                                          \
    WF_CASES_6(CASE)                                                                               \
    CASE(7)                                                                                        \
    CASE(8)                                                                                        \
    CASE(9)                                                                                        \
    CASE(10)                                                                                       \
    CASE(11)                                                                                       \
    CASE(12)

/* To CASE(14): of 32 registers, in two or more vectors each. */
#define WF_CASES_14(CASE)                                                                          \
    WF_CASES_12(CASE)                                                                              \
    CASE(13)                                                                                       \
    CASE(14)

#endif
