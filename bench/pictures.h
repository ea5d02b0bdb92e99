/* Transforms of pictures, one thread. */
#ifndef BENCH_PICTURES_H
#define BENCH_PICTURES_H

typedef struct bench_pictures bench_pictures;

/* Registers images/picture/<transform>. NULL when memory runs out. */
bench_pictures *bench_pictures_register(void);
void bench_pictures_destroy(bench_pictures *all); /* after the run; NULL: no effect */

#endif
