/* How far each convolution kernel is from the exact result, by channel count. */
#ifndef BENCH_ERRORS_H
#define BENCH_ERRORS_H

#include <stdio.h>

#include "kernels/types.h"

/* Prints, for 3x3 convolutions of 14x14 images with 16 to 512 channels a side, each
 * implementation's error in each pass against the reference in double: Markdown tables. Inputs are
 * positive half normal, as after a ReLU, weights as He et al. draw them, gradients normal. False,
 * and a reason, when memory is out. */
bool bench_errors(weft_isa isa, FILE *out, char *why, size_t size);

#endif
