/* Kernels that are bound by memory, over images of f32 and of bf16. */
#ifndef BENCH_IMAGES_H
#define BENCH_IMAGES_H

#include "bench/machine.h"

typedef struct bench_images bench_images;

/* Registers images/<kernel>/<type>/<cached or memory>. machine must outlive the run. NULL when
 * memory runs out. */
bench_images *bench_images_register(const bench_machine *machine);
void bench_images_destroy(bench_images *all); /* after the run; NULL: no effect */

#endif
